"""What models of melt layers find in photos that are harder than the sample, by kind and cause.

    python benchmarks/melt_layers.py --folder FOLDER --models simple-cnn enhanced-cnn --seeds 0 1 2
    python benchmarks/melt_layers.py --folder FOLDER --write

`hard_ice` draws 40 photos to train on, validation among them, and 12 to test on. Each model is
trained by `tfpipe train` with its defaults and predicts the 12 by `tfpipe predict`; `layer_scores`
compares the table with the truth. A run that FOLDER has is not repeated, so more models and seeds
can be added; the table has all of them. `--write` puts it into docs/ice-cores.md.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import hard_ice
import layer_scores
import machine
import numpy as np
import pandas as pd

MODELS = ("simple-cnn", "simple-cnn-2", "enhanced-cnn", "core-unet")
TRAIN_PHOTOS, TRAIN_SEED = 40, 101
TEST_PHOTOS, TEST_SEED = 12, 202
SPLIT = (
    "75/20/5"  # the least that the command takes for its own test split, of which no use is made
)
LONG_PX, LONG_RUNS = (1_500, 30_700), 3
PAGE = Path(__file__).parent.parent / "docs" / "ice-cores.md"
BEGIN, END = "<!-- table: python benchmarks/melt_layers.py --write -->", "<!-- end of table -->"
RECALLS = (*hard_ice.LAYER_KINDS, layer_scores.LENS)
SCORES = ("f1", "precision", *RECALLS, "lens precision", "error_mm")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="of photos, versions, results")
    parser.add_argument("--models", nargs="*", default=[], help=f"such as {', '.join(MODELS)}")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--long", action="store_true", help="also time one photo of 46 megapixels")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    draw(folder)
    for seed in arguments.seeds:
        for model in arguments.models:
            result = folder / "results" / f"{model}-{seed}.json"
            if not result.is_file():
                write(result, run(folder, model, seed=seed))
    for model in arguments.models if arguments.long else []:
        result = folder / "results" / f"{model}-long.json"
        if not result.is_file():
            write(result, time_long_photo(folder, model, seed=arguments.seeds[0]))
    text = report(folder)
    print(text)
    if arguments.write:
        page = PAGE.read_text()
        head, rest = page.split(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")
    return 0


def draw(folder: Path) -> None:
    """Draws what is not there yet; a draw that was stopped is begun again by removing it."""
    for place, photos, seed in (
        (folder / "data" / "raw" / "melt-layer", TRAIN_PHOTOS, TRAIN_SEED),
        (folder / "test", TEST_PHOTOS, TEST_SEED),
    ):
        if not (place / "truth.csv").is_file():
            hard_ice.draw(place, photos=photos, seed=seed)


def write(path: Path, result: dict) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1))
    print(path.name, {name: result[name] for name in list(result)[:4]}, file=sys.stderr)


def tfpipe(*words: str) -> tuple[dict, float]:
    """Returns what a command prints as JSON, and its seconds, start included."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "tfpipe", *words, "--json"],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1]), time.perf_counter() - began


def places(folder: Path, model: str, *, seed: int) -> list[str]:
    """Returns the options that name a run's folders and its model."""
    saved = folder / "runs" / f"{model}-{seed}"
    return ["--model", model, "--data", str(folder / "data"), "--models", str(saved)]


def run(folder: Path, model: str, *, seed: int) -> dict:
    """Trains and predicts; returns scores, seconds and load.

    Raises:
      CalledProcessError: a command failed.
    """
    tfpipe("pack", "melt-layer", "--data", str(folder / "data"), "--split", SPLIT)
    load = os.getloadavg()[0]
    options = places(folder, model, seed=seed)
    words = ["--split", SPLIT, "--seed", str(seed), "--no-random-split"]
    trained, train_s = tfpipe("train", "melt-layer", *options, *words)
    out = folder / "runs" / f"{model}-{seed}.csv"
    photos = str(folder / "test" / "photos")
    _, predict_s = tfpipe("predict", "melt-layer", photos, "--out", str(out), *options)
    truth = pd.read_csv(folder / "test" / "truth.csv", keep_default_na=False)
    counts = layer_scores.tally(pd.read_csv(out), truth, kinds=hard_ice.LAYER_KINDS)
    return {
        **counts.scores(hard_ice.LAYER_KINDS),
        "train_s": train_s,
        "predict_s": predict_s,
        "true": dict(counts.true),
        "load": [load, os.getloadavg()[0]],
        "validation": trained["metrics"]["validation"],
    }


def time_long_photo(folder: Path, model: str, *, seed: int) -> dict:
    """Returns the seconds of `tfpipe predict` for a photo of 30,700 x 1,500 px, with its start."""
    photo = folder / "long" / "long.jpg"
    if not photo.is_file():
        photo.parent.mkdir(exist_ok=True)
        first = sorted((folder / "test" / "photos").iterdir())[0]
        pixels = cv2.resize(cv2.imread(str(first)), LONG_PX, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(photo), pixels, [cv2.IMWRITE_JPEG_QUALITY, 93])
    options = places(folder, model, seed=seed)
    words = ("predict", "melt-layer", str(photo), "--out", str(photo.with_suffix(".csv")))
    seconds = [tfpipe(*words, *options)[1] for _ in range(LONG_RUNS)]
    return {"seconds": seconds, "load": os.getloadavg()[0]}


def report(folder: Path) -> str:
    """Returns the tables of all results in Markdown, and how they were made."""
    results = sorted((folder / "results").glob("*.json"))
    by_model: dict[str, list[dict]] = {}
    long_s: dict[str, list[float]] = {}
    for path in results:
        model, _, seed = path.stem.rpartition("-")
        result = json.loads(path.read_text())
        if seed == "long":
            long_s[model] = result["seconds"]
        else:
            by_model.setdefault(model, []).append(result)
    names = sorted(by_model, key=lambda name: (MODELS + (name,)).index(name))
    loads = [load for runs in by_model.values() for one in runs for load in one["load"]]
    about = machine.about()
    true = next(iter(by_model.values()))[0]["true"] if by_model else {}
    lines = [
        f"Measured on {about['cores']} cores of {about['processor']}, at a load of "
        f"{min(loads, default=0):.0f} to {max(loads, default=0):.0f}, so the seconds are a busy "
        "machine's. The 12 photos have "
        + ", ".join(f"{true.get(kind, 0)} {kind}" for kind in hard_ice.LAYER_KINDS)
        + " layers.",
        "",
        "| model | seeds | F1 | precision | "
        + " | ".join(f"recall, {k}" for k in RECALLS)
        + " | precision, lens | depth error mm |",
        "|---" * (6 + len(RECALLS)) + "|",
    ]
    for name in names:
        cells = [spread(by_model[name], key) for key in SCORES]
        lines.append(f"| `{name}` | {len(by_model[name])} | " + " | ".join(cells) + " |")
    heads = [f"false, {cause}" for cause in layer_scores.COLUMNS]
    lines += ["", "| model | " + " | ".join(heads) + " | train s | predict 12 photos s | 46 MP s |",
              "|---" * (4 + len(heads)) + "|"]  # fmt: skip
    for name in names:
        keys = [*(f"false {cause}" for cause in layer_scores.COLUMNS), "train_s", "predict_s"]
        cells = [spread(by_model[name], key, digits=0) for key in keys]
        seconds = f"{np.median(long_s[name]):.1f}" if name in long_s else ""
        lines.append(f"| `{name}` | " + " | ".join([*cells, seconds]) + " |")
    return "\n".join(lines)


def spread(runs: list[dict], key: str, *, digits: int = 2) -> str:
    """Returns the mean over seeds, and the least and the most where there are several."""
    values = np.array([one[key] for one in runs], float)
    if np.isnan(values).all():
        return "-"
    text = f"{np.nanmean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ({np.nanmin(values):.{digits}f} to {np.nanmax(values):.{digits}f})"
    return text


if __name__ == "__main__":
    sys.exit(main())
