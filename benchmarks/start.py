"""How long a command takes to start, and which imports it waits for.

    python benchmarks/start.py
    python benchmarks/start.py --against ANOTHER_CHECKOUT

Runs commands that compute nothing, each in a process of its own, and prints the seconds of
processor and wall time: the median of `ROUNDS` runs. With --against, a run of the other checkout
follows each run of this one. Then come the imports that take longest, by Python's -X importtime,
each without what it imports itself.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine

HERE = Path(__file__).parents[1]
COMMANDS = (
    ("--help",),
    ("tune", "--help"),
    ("tasks",),
    ("tasks", "insolubles"),
    ("pack", "melt-layr"),  # a sentence
    ("versions", "melt-layer"),
)
ROUNDS, N_IMPORTS = 7, 8
HEADS = ("processor s", "wall s")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--against", type=Path, help="another checkout of tfpipe")
    arguments = parser.parse_args()
    checkouts = [HERE, *([arguments.against.resolve()] if arguments.against else [])]
    about = machine.about()
    print(f"{about['cores']} cores of {about['processor']}, load {os.getloadavg()[0]:.1f}\n")
    heads = [f"{kind}{' there' * number}" for number in range(len(checkouts)) for kind in HEADS]
    print("| `tfpipe ...` | " + " | ".join(heads) + " |")
    print("|---" * (1 + len(heads)) + "|")
    with tempfile.TemporaryDirectory() as folder:
        for words in COMMANDS:
            runs = [[run(one, words, folder) for one in checkouts] for _ in range(ROUNDS)]
            cells = [
                f"{statistics.median(row[number][kind] for row in runs):.2f}"
                for number in range(len(checkouts))
                for kind in range(len(HEADS))
            ]
            print(f"| `{' '.join(words)}` | " + " | ".join(cells) + " |", flush=True)
        print("\n| `tfpipe ...` | longest imports, ms |\n|---|---|")
        for words in COMMANDS:
            imports = ", ".join(f"{name} {ms:.0f}" for name, ms in longest_imports(words, folder))
            print(f"| `{' '.join(words)}` | {imports} |")
    return 0


def command_of(words: tuple[str, ...], *options: str) -> list[str]:
    return [sys.executable, *options, "-m", "tfpipe", *words]


def environment_of(checkout: Path) -> dict[str, str]:
    """Returns the environment in which Python imports a checkout, and keeps its bytecode."""
    variables = os.environ | {"PYTHONPATH": str(checkout)}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    return variables


def run(checkout: Path, words: tuple[str, ...], folder: str) -> tuple[float, float]:
    """Returns the processor and the wall seconds of a command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        command_of(words),
        cwd=folder,
        env=environment_of(checkout),
        capture_output=True,
        check=False,
    )
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall_s


def longest_imports(words: tuple[str, ...], folder: str) -> list[tuple[str, float]]:
    """Returns names and milliseconds of the imports that take longest themselves."""
    done = subprocess.run(
        command_of(words, "-X", "importtime"),
        cwd=folder,
        env=environment_of(HERE),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.split("|") for line in done.stderr.splitlines() if line.startswith("import time")]
    times = [(name.strip(), int(own[12:])) for own, _, name in lines if own[12:].strip().isdigit()]
    longest = sorted(times, key=lambda one: -one[1])[:N_IMPORTS]
    return [(name, us / 1000) for name, us in longest]


if __name__ == "__main__":
    sys.exit(main())
