"""What the benchmarks share: the machine they ran on, and sides that take turns on it.

Each side runs in a process of its own, that its threads and its memory may not disturb the others,
and they take turns, A B C A B C, that a busy minute of the machine may not fall on one alone.
"""

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np

PACKAGES = ("tfpipe", "tensorflow", "keras", "keras-tuner", "torch", "opencv-python-headless")
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
MARK = "measured: "  # begins the lines that are meant; libraries print, too


def about() -> dict[str, object]:
    """Returns the machine, its load before the benchmark, versions, and the command."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    names = [
        line.partition(":")[2].strip() for line in cpuinfo.splitlines() if "model name" in line
    ]
    flags = [flag for flag in FLAGS if flag in cpuinfo.split()]
    return {
        "processor": f"{names[0] if names else platform.machine()}, {' '.join(flags)}",
        "bfloat16": "avx512_bf16" in flags or "amx_bf16" in flags,
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES if installed(name)},
        "command": shlex.join(["python", *sys.argv]),
    }


def installed(name: str) -> bool:
    """Returns whether a package is there."""
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def take_turns(sides: Sequence[str], *, rounds: int, words: Sequence[str]) -> dict[str, list[dict]]:
    """Starts `python this_file *words --side NAME` for each side, and lets them measure in turn.

    Args:
      sides: their names.
      rounds: how often each measures.
      words: more arguments of the command.

    Returns:
      Side to what it measured each round.
    """
    command = [sys.executable, sys.argv[0], *words, "--side"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    started = {side: subprocess.Popen([*command, side], text=True, **pipes) for side in sides}
    measured: dict[str, list[dict]] = {side: [] for side in sides}
    for one in range(rounds):
        for side, process in started.items():
            process.stdin.write(f"{one}\n")
            process.stdin.flush()
            measured[side].append(_answer(process, side=side))
            print(f"round {one + 1} of {rounds}, {side}: {measured[side][-1]}", file=sys.stderr)
    for process in started.values():
        process.stdin.close()
        process.wait()
    return measured


def measure_each_round(measure: Callable[[int], dict]) -> None:
    """Measures whenever a line with the round's number comes in, until none does: a side's part."""
    for line in sys.stdin:
        print(f"{MARK}{json.dumps(measure(int(line)))}", flush=True)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Returns median, least and most."""
    return {
        "median": _short(np.median(values)),
        "min": _short(np.min(values)),
        "max": _short(np.max(values)),
    }


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Returns ours over theirs, round by round, as median, least and most."""
    return spread(np.divide(ours, theirs))


def _answer(process: subprocess.Popen, *, side: str) -> dict:
    for line in process.stdout:
        if line.startswith(MARK):
            return json.loads(line.removeprefix(MARK))
    raise SystemExit(f"{side} ended with exit code {process.wait()}; run it alone with --side.")


def _short(value: float) -> float:
    return float(f"{value:.4g}")
