"""Damages files and requests at random, and runs the readers on them.

    python benchmarks/fuzz.py                     a minute, every reader in turn
    python benchmarks/fuzz.py --minutes 30        longer
    python benchmarks/fuzz.py images --seed 7     one reader, from another random seed

A reader may return, or raise a `UserError` (for requests a `RequestError`). Everything else is a
finding: another exception, more than 10 s, more than 8 GB. Each finding is printed once, with the
damaged file's path. The exit code is 1 where there are findings.
"""

import argparse
import contextlib
import logging
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))
import fuzzing

MOST_S = 10
MOST_BYTES = 8 << 30


class Overdue(BaseException):
    """A reader takes too long; no reader takes it for an error of its own."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("reader", nargs="*", help=f"some of: {', '.join(fuzzing.READERS)}")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    arguments = parser.parse_args()
    names = arguments.reader or list(fuzzing.READERS)
    if unknown := sorted(set(names) - set(fuzzing.READERS)):
        parser.error(f"there is no reader {unknown[0]}; there are {', '.join(fuzzing.READERS)}")
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    signal.signal(signal.SIGALRM, _interrupt)
    warnings.simplefilter("ignore")
    logging.disable()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    rng = np.random.default_rng(arguments.seed)
    files = {name: fuzzing.seed_files(name, folder / name) for name in names}
    counts, findings = dict.fromkeys(names, 0), set[str]()
    end = time.monotonic() + 60 * arguments.minutes
    while time.monotonic() < end:
        for name in names:
            path = files[name][counts[name] % len(files[name])]
            counts[name] += 1
            with fuzzing.damaged(path, rng):
                place, message = _finding(name, path) or ("", "")
                if place and place not in findings:
                    findings.add(place)
                    copy = folder / f"finding-{len(findings):03d}-{path.name}"
                    copy.write_bytes(path.read_bytes())
                    print(f"{name}: {place}: {message}\n    {copy}", flush=True)
    for name, count in counts.items():
        print(f"{name:12s} {count:8,} files")
    print(f"{sum(counts.values()):,} files, {len(findings)} findings.")
    return 1 if findings else 0


def _finding(name: str, path: Path) -> tuple[str, str] | None:
    """Returns where and how a reader fails in a way that it may not; None where all is well."""
    signal.alarm(MOST_S)
    try:
        fuzzing.read(name, path)
    except fuzzing.REFUSALS:
        return None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "/tfpipe/" in frame.filename] or frames
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return f"{type(error).__name__} at {place}", repr(str(error)[:120])
    finally:
        signal.alarm(0)
    return None


def _interrupt(number: int, frame: object) -> None:
    raise Overdue(f"takes more than {MOST_S} s")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
