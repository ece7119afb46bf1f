"""Trials an hour and peak memory of a search: `tfpipe tune`'s against KerasTuner as it comes.

    python benchmarks/searching.py
    python benchmarks/searching.py --algorithm hyperband --trial-epochs 9

Both search the same space of a small simple-cnn on the same drawn pictures of 50 x 200 x 3, by the
same algorithm, with as many trials of as many epochs: KerasTuner with a plain Keras model on arrays
in memory, ours on records with one worker and with two. Every search runs in a process of its own,
one after the other, and again from another seed. The time is that of the search alone: without
imports, but with the start of our workers. Memory is the proportional set size of the process and
all that it started, looked at twice a second. Needs psutil.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import drawn
import laptop_space
import machine
import psutil

from tfpipe.base.tensorflow import start_tensorflow
from tfpipe.training import open_records

HERE = Path(__file__).parent
SHAPE, BATCH, FACTOR = (50, 200, 3), 32, 3
LOOK_S = 0.5
TARGET = 1.8


def plain(given: argparse.Namespace, folder: Path) -> int:
    """What KerasTuner's guide shows; returns how many trials were completed."""
    import keras
    import keras_tuner as kt
    import plain_keras

    from tfpipe.data import manifest as data_manifest

    manifest = data_manifest.read(given.folder / "records")
    train, validation = (drawn.arrays(manifest, split)[:2] for split in ("train", "validation"))
    makers = {
        "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
        "nadam": keras.optimizers.Nadam,
    }

    def build(hp) -> keras.Model:
        model = plain_keras.simple_cnn(SHAPE, **laptop_space.space(hp))
        values = laptop_space.training(hp)
        model.compile(
            optimizer=makers[values["optimizer"]](values["learning_rate"]),
            loss="binary_crossentropy",
            metrics=["accuracy"],
        )
        return model

    rules = {"objective": "val_accuracy", "seed": given.seed + 1, "directory": folder}
    if given.algorithm == "hyperband":
        tuner = kt.Hyperband(build, max_epochs=given.trial_epochs, factor=FACTOR, **rules)
    else:
        tuner = kt.RandomSearch(build, max_trials=given.trials, **rules)
    tuner.search(
        *train,
        batch_size=BATCH,
        epochs=given.trial_epochs,
        validation_data=validation,
        verbose=0,
    )
    return len(tuner.oracle.end_order)


def ours(given: argparse.Namespace, folder: Path, *, workers: int) -> int:
    """The search of `tfpipe tune`; returns how many trials were completed."""
    from tfpipe.search import run as search_run
    from tfpipe.search.config import SearchConfig

    config = SearchConfig(
        task=str(HERE / "drawn.py"),
        model="simple-cnn",
        records=str(given.folder / "records"),
        algorithm=given.algorithm,
        space=str(HERE / "laptop_space.py"),
        trials=given.trials,
        trial_epochs=given.trial_epochs,
        training={"balance": "none", "batch_size": BATCH, "seed": given.seed},
    )
    records = open_records.opened(
        drawn.TASK, Path(config.records), model=config.model, is_checked=True
    )
    worker_config = search_run.WorkerConfig(count=workers)
    best = search_run.run_search(config, folder / "search", records=records, workers=worker_config)
    return sum(trial["status"] == "COMPLETED" for trial in best["trials"])


SIDES: dict[str, Callable[[argparse.Namespace, Path], int]] = {
    "keras-tuner": plain,
    "tfpipe, one worker": lambda given, folder: ours(given, folder, workers=1),
    "tfpipe, two workers": lambda given, folder: ours(given, folder, workers=2),
}


def search_once(given: argparse.Namespace) -> None:
    """Runs one side's search, and prints how long it took."""
    if given.side.startswith("tfpipe"):
        start_tensorflow()
    import tfpipe.search.run  # noqa: F401  so that no side's time has imports in it

    with tempfile.TemporaryDirectory() as name:
        began = time.perf_counter()
        trials = SIDES[given.side](given, Path(name))
        seconds = time.perf_counter() - began
    print(f"{machine.MARK}{json.dumps({'trials': trials, 'seconds': seconds})}")


def measured(words: list[str]) -> dict[str, float]:
    """Runs one search in a process of its own, and looks at its memory meanwhile."""
    command = [sys.executable, sys.argv[0], *words]
    process = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    peak, root = 0, psutil.Process(process.pid)
    while process.poll() is None:
        peak = max(peak, memory(root))
        time.sleep(LOOK_S)
    lines = [line for line in process.stdout if line.startswith(machine.MARK)]
    if not lines:
        raise SystemExit(f"A search ended with exit code {process.returncode}: {command}")
    summary = json.loads(lines[0].removeprefix(machine.MARK))
    return summary | {
        "trials_h": 3600 * summary["trials"] / summary["seconds"],
        "peak_mb": peak / 2**20,
    }


def memory(root: psutil.Process) -> int:
    """Returns the bytes that a process and those it started hold, shared ones counted once."""
    total = 0
    for process in [root, *children(root)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue  # it has ended
    return total


def children(root: psutil.Process) -> list[psutil.Process]:
    try:
        return root.children(recursive=True)
    except psutil.Error:
        return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--algorithm", choices=("random", "hyperband"), default="random")
    parser.add_argument("--trials", type=int, default=12, help="of a random search")
    parser.add_argument("--trial-epochs", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=650, help="for training; a multiple of 25")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        search_once(given)
        return
    summary = machine.about()
    results: dict[str, list[dict]] = {side: [] for side in SIDES}
    same = ("algorithm", "trials", "trial_epochs")
    words = [f"--{name.replace('_', '-')}={getattr(given, name)}" for name in same]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "drawn"
        drawn.packed(folder, pictures=given.pictures, shape=SHAPE)
        for one in range(given.rounds):
            for side in SIDES:
                rest = [f"--seed={one}", f"--folder={folder}", f"--side={side}"]
                results[side].append(measured([*words, *rest]))
                print(f"round {one + 1}, {side}: {results[side][-1]}", file=sys.stderr)
    for what in ("trials", "trials_h", "peak_mb"):
        summary[what] = {
            side: machine.spread([one[what] for one in results[side]]) for side in SIDES
        }
    rates = {side: [one["trials_h"] for one in results[side]] for side in SIDES}
    first, *rest = SIDES
    summary["times_as_fast"] = {
        f"{side} / {first}": machine.ratio(rates[side], rates[first]) for side in rest
    }
    summary["target"] = TARGET
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
