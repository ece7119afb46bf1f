"""Where the seconds of a command go: by part, and by its longest calls.

    python benchmarks/profiles.py predict melt-layer photos/ --out layers.csv
    ONEDNN_VERBOSE=1 python benchmarks/profiles.py train melt-layer > log

Runs `tfpipe ...` in this process under Python's profiler, which sees the main thread: TensorFlow's
and tf.data's own threads show as waiting for them. A part is the time within calls of its files and
C functions, without what they call in turn. With ONEDNN_VERBOSE=1 oneDNN prints each primitive
with its milliseconds; `--onednn LOG` adds those up instead.
"""

import argparse
import cProfile
import pstats
import re
import sys
import time
from collections import Counter
from pathlib import Path

import machine

# Part -> what the name of a file or of a C function has; the first that fits.
PARTS = {
    "imports": r"importlib|<frozen|marshal|builtins.compile|posix.stat|_imp",
    "TensorFlow's operations and functions": r"pywrap|tensorflow.*(execute|saved_model)|_tfe|TFE_",
    "waiting for threads, processes and files": r"acquire|time.sleep|select|posix.wait|poll|fsync",
    "OpenCV": r"cv2|~ <\w+>$",
    "tracing and building graphs (Keras, TensorFlow)": r"keras|tensorflow|wrapt|optree|tree",
    "UMAP and its neighbours (numba)": r"umap|numba|pynndescent|llvmlite",
    "scikit-learn, SciPy, hdbscan": r"sklearn|scipy|joblib",
    "pandas": r"pandas",
    "NumPy": r"numpy",
    "Matplotlib": r"matplotlib|PIL",
    "tfpipe": r"tfpipe|tuning/",
}
OTHER = "other Python"
N_CALLS = 12


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--onednn", type=Path, help="log of a run with ONEDNN_VERBOSE=1")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="of tfpipe, with its options")
    arguments = parser.parse_args()
    if arguments.onednn:
        print(primitives(arguments.onednn.read_text(errors="replace")))
        return 0
    profile, began, code = cProfile.Profile(time.perf_counter), time.perf_counter(), 0
    sys.argv = ["tfpipe", *arguments.command]
    profile.enable()
    try:
        from tfpipe.__main__ import main as tfpipe

        tfpipe()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    profile.disable()
    print(report(profile, seconds=time.perf_counter() - began), file=sys.stderr)
    return code


def report(profile: cProfile.Profile, *, seconds: float) -> str:
    """Returns the parts and the longest calls in Markdown."""
    parts: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    imports_s = 0.0
    for (file, _, function), (_, _, own, total, _) in pstats.Stats(profile).stats.items():
        name = f"{file} {function}"
        part = next((part for part, words in PARTS.items() if re.search(words, name)), OTHER)
        parts[part] += own
        calls[f"{Path(file).name} {function}"] += own
        if function == "_find_and_load":
            imports_s = total
    about = machine.about()
    lines = [
        f"{seconds:.1f} s, {imports_s:.1f} of them in imports, "
        f"{about['cores']} cores of {about['processor']}\n"
    ]
    for heading, times, count in (("part", parts, len(parts)), ("call", calls, N_CALLS)):
        lines += [f"| {heading} | seconds | share |", "|---|---|---|"]
        lines += [
            f"| {name} | {own:.2f} | {own / seconds:.0%} |"
            for name, own in times.most_common(count)
        ]
        lines.append("")
    return "\n".join(lines)


def primitives(log: str) -> str:
    """Returns the milliseconds and calls of oneDNN's primitives in Markdown."""
    times: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for line in log.splitlines():
        words = line.split(",")
        if words[0] == "onednn_verbose" and "exec" in words:
            at = words.index("exec")
            name = f"{words[at + 2]} {words[at + 4]} ({words[at + 3]})"
            times[name] += float(words[-1])
            counts[name] += 1
    lines = ["| primitive (kernel) | ms | calls |", "|---|---|---|"]
    lines += [
        f"| {name} | {ms:,.0f} | {counts[name]:,} |" for name, ms in times.most_common(N_CALLS)
    ]
    return "\n".join([*lines, f"| all | {times.total():,.0f} | {counts.total():,} |"])


if __name__ == "__main__":
    sys.exit(main())
