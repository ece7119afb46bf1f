"""The tables of docs/speed.md and README.md: runs the other benchmarks, both sides in one run.

    make bench                                          # about 25 minutes on two quiet cores
    python benchmarks/table.py --only inputs serving --folder FOLDER

Each result is kept in FOLDER as JSON; a benchmark that FOLDER has a result of is not run again.
The pages change where FOLDER has all results.
PyTorch's sides need torch, and are left out without it.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE, README = HERE.parent / "docs" / "speed.md", HERE.parent / "README.md"
BEGIN, END = "<!-- table: make bench -->", "<!-- end of table -->"
HEADS = (
    "| work, and the command after `python benchmarks/` | against | times as fast |\n|---|---|---|"
)
Result = dict[str, Any]
Row = tuple[str, str, dict[str, float]]


@dataclass(frozen=True)
class Benchmark:
    """A benchmark of the table.

    Attributes:
      command: script and options.
      rows: returns (what was measured, against what, ratio) of a result.
    """

    command: str
    rows: Callable[[Result], Iterator[Row]]


def of_inputs(result: Result) -> Iterator[Row]:
    rate = result["pictures_s"]["tfpipe"]["median"]
    yield from ratios(
        result, f"batches of 128 x 128 px and 36 columns, {rate:,.0f} images a second"
    )


def of_training(result: Result) -> Iterator[Row]:
    rate = result["pictures_s"]["tfpipe"]["median"]
    name = result["command"].split("--model ")[1].split()[0]
    yield from ratios(result, f"training {name}, 50 x 200 px, {rate:,.0f} images a second")


def of_searching(result: Result) -> Iterator[Row]:
    for label, ratio in result["times_as_fast"].items():
        side, _, other = label.partition(" / ")
        rates, memory = result["trials_h"][side], result["peak_mb"]
        share = memory[side]["median"] / memory[other]["median"]
        yield (
            f"searching, {side.removeprefix('tfpipe, ')}, {rates['median']:,.0f} trials an hour, "
            f"{share:.1f} times the memory",
            "KerasTuner on arrays",
            ratio,
        )


def of_serving(result: Result) -> Iterator[Row]:
    direct = "the SavedModel called directly"
    for key, what in (
        ("images_s", "serving 64 images in a request, {:,.0f} images a second"),
        ("one_p50_ms", "serving one image, median {:.1f} ms"),
    ):
        ratio = result[f"savedmodel / direct, {key}"]
        if key == "one_p50_ms":  # of times, so less is faster
            ratio = {
                "median": 1 / ratio["median"], "min": 1 / ratio["max"], "max": 1 / ratio["min"]
            }  # fmt: skip
        yield what.format(result["savedmodel"][key]["median"]), direct, ratio


def of_photos(result: Result) -> Iterator[Row]:
    what = f"the windows of a core photo in four flips, {result['predict_s']['median']:.2f} s"
    every, deck = result["times_as_fast"].values()
    yield what, "all windows in all flips", every
    yield what, "`predict` on slice after slice, extrapolated", deck


def ratios(result: Result, what: str) -> Iterator[Row]:
    for label, ratio in result["times_as_fast"].items():
        yield what, label.partition(" / ")[2], ratio


BENCHMARKS = {
    "inputs": Benchmark("inputs.py", of_inputs),
    "simple-cnn": Benchmark("training.py --model simple-cnn --pictures 325", of_training),
    "resnet18": Benchmark("training.py --model resnet18 --pictures 325 --epochs 3", of_training),
    "searching": Benchmark("searching.py", of_searching),
    "serving": Benchmark("serving.py --rounds 3", of_serving),
    "photos": Benchmark("photos.py {version}", of_photos),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=BENCHMARKS, help="all by default")
    parser.add_argument("--folder", type=Path, default=HERE.parent / "build" / "bench")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.only or BENCHMARKS:
        path = folder / f"{name}.json"
        if not path.is_file():
            result = run(BENCHMARKS[name].command, folder)
            path.write_text(json.dumps(result | {"day": date.today().isoformat()}, indent=1))
    text = table(folder)
    print(text)
    if len([*results_in(folder)]) < len(BENCHMARKS):
        print("Not all benchmarks have results, so no page is changed.", file=sys.stderr)
        return 0
    for page, content in ((PAGE, text), (README, short_table(folder))):
        head, rest = page.read_text().split(BEGIN)
        page.write_text(f"{head}{BEGIN}\n{content}\n{END}{rest.split(END)[1]}")
    return 0


def run(command: str, folder: Path) -> Result:
    """Returns what a benchmark prints as JSON, with the minutes that it took."""
    script, *words = command.format(version=version_in(folder)).split()
    print(f"running {command}", file=sys.stderr, flush=True)
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(HERE / script), *words], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout) | {"minutes": (time.perf_counter() - began) / 60}


def version_in(folder: Path) -> Path:
    """Returns a version of simple-cnn for melt layers; it is trained if the folder has none."""
    saved = folder / "saved_models"
    version = saved / "melt-layer" / "simple-cnn" / "1"
    if not version.is_dir():
        data = ["--data", str(folder / "data")]
        for words in (
            ["sample", "melt-layer", *data],
            ["train", "melt-layer", "--model", "simple-cnn", "--no-random-split",
             "--models", str(saved), *data],
        ):  # fmt: skip
            command = [sys.executable, "-m", "tfpipe", *words]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return version


def results_in(folder: Path) -> Iterator[tuple[Benchmark, Result]]:
    """Yields the benchmarks that a folder has results of, in the table's order."""
    for name, benchmark in BENCHMARKS.items():
        path = folder / f"{name}.json"
        if path.is_file():
            yield benchmark, json.loads(path.read_text())


def short_table(folder: Path) -> str:
    """Returns the first row of each benchmark in Markdown."""
    lines = ["| work | against | times as fast |", "|---|---|---|"]
    for benchmark, result in results_in(folder):
        what, against, ratio = next(benchmark.rows(result))
        lines.append(f"| {what} | {against} | {ratio['median']:.2g} |")
    return "\n".join(lines)


def table(folder: Path) -> str:
    """Returns the results of a folder in Markdown, and how they were made."""
    lines, days, loads, minutes = [HEADS], set(), [], 0.0
    for benchmark, result in results_in(folder):
        days.add(result["day"])
        loads.append(result["load"])
        minutes += result["minutes"]
        before = ""
        for what, against, ratio in benchmark.rows(result):
            command = f" (`{benchmark.command.format(version='VERSION')}`)" if not before else ""
            cell = "the same" if what == before else f"{what}{command}"
            spread = f"{ratio['median']:.2g} ({ratio['min']:.2g} to {ratio['max']:.2g})"
            lines.append(f"| {cell} | {against} | {spread} |")
            before = what
    cores = " or ".join(sorted({str(result["cores"]) for _, result in results_in(folder)}))
    machines = {result["processor"] for _, result in results_in(folder)}
    versions = {f"{name} {n}" for _, r in results_in(folder) for name, n in r["versions"].items()}
    lines += [
        "",
        f"{' to '.join(sorted({min(days), max(days)}))}, {cores} cores of "
        f"{' and of '.join(sorted(machines))}, load before each {min(loads)} to {max(loads)}, "
        f"{minutes:.0f} minutes in all. "
        f"{', '.join(sorted(versions))}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
