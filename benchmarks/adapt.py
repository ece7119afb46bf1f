"""Adaptation to another light and focus: drawn insolubles, with labels of new runs and without.

    python benchmarks/adapt.py --data FOLDER --seeds 5

For each seed it draws runs and trains the default network on them. New runs are drawn likewise, and
their images blurred and darkened. The version is adapted with labels of two thirds of the new runs,
by people who know the truth, and without labels. Scores are shares of correct images: of the test
split at home, and of the other third of the new runs. Versions that the gate refuses are measured,
too.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

import tfpipe
from tfpipe.evaluation import adaptation
from tfpipe.evaluation.version_comparison import Answers
from tfpipe.review import inspection_sample
from tfpipe.review.inspection_queue import InspectionQueue
from tfpipe.review.inspection_sample import UNIDENTIFIABLE
from tfpipe.tasks.task import Example

TASK = "insolubles"
RUNS, NEW_RUNS, PARTICLES = 12, 24, 80
MODEL = "compact-resnet"
BLUR_PX, GAIN = 1.5, 0.7
WAYS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("64 labels", 64, ()),
    ("256 labels", 256, ()),
    ("prior-shift", 256, ("prior-shift",)),
)


def main() -> None:
    """Prints a row for each seed and way of adapting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder for samples and versions")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=60)
    arguments = parser.parse_args()
    print("seed | way | home | new runs | difference there, 95 % for new runs | published")
    for seed in range(arguments.seeds):
        folder = arguments.data / str(seed)
        project = tfpipe.Project(
            data=folder, saved_models=folder / "models", seed=seed, progress=False
        )
        version = train(project, epochs=arguments.epochs)
        new, kept_out = draw_new(folder, seed=seed)
        truth, examples = read(version, new), read(version, kept_out)
        home = read(version, None)
        print(row(seed, "none", version, version, home=home, there=examples), flush=True)
        for way, labels, unlabelled in WAYS:
            drawn = project.adapt(
                TASK, [new], labels=labels, number=version.number, out=folder / f"adapt-{labels}"
            )
            label(drawn, {one.key: version.card.classes[one.label] for one in truth})
            made = drawn.train(unlabelled=unlabelled, force=True)
            text = row(seed, way, version, made.version, home=home, there=examples)
            is_published = not made.version.card.comparison["forced"]
            print(f"{text} | {'yes' if is_published else 'no'}", flush=True)


def train(project: tfpipe.Project, *, epochs: int) -> tfpipe.Version:
    """Returns a version of a small network, trained on drawn runs unless that was done."""
    if (project.saved_models / TASK / MODEL / "1").is_dir():
        return project.version(TASK, number=1)
    project.sample(TASK, runs=RUNS, field_runs=0, particles=PARTICLES)
    return project.train(TASK, model=MODEL, epochs=epochs, random_split=False)


def draw_new(folder: Path, *, seed: int) -> tuple[Path, Path]:
    """Returns two folders of runs in another light and focus: to label, and kept out."""
    folders = folder / "to_label", folder / "kept_out"
    if folders[1].is_dir():
        return folders
    other = tfpipe.Project(data=folder / "new", seed=1000 + seed, progress=False)
    other.sample(TASK, runs=NEW_RUNS, field_runs=0, particles=PARTICLES)
    raw = other.data / "raw" / TASK
    for path in [*raw.rglob("*.tif"), *raw.rglob("*.png")]:
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        blurred = cv2.GaussianBlur(image, (0, 0), BLUR_PX).astype(np.float32)
        cv2.imwrite(str(path), np.clip(GAIN * blurred, 0, 255).astype(image.dtype))
    for i, run in enumerate(sorted(path for path in raw.iterdir() if path.is_dir())):
        target = folders[i % 3 == 2]
        target.mkdir(exist_ok=True)
        shutil.move(run, target / run.name)
    return folders


def read(version: tfpipe.Version, folder: Path | None) -> list[Example]:
    """Returns the labelled images of some runs; of the test runs at home for None."""
    card, options = version.card, version.task.options
    task = replace(version.task, classes=card.classes, columns=card.columns)
    raw = version.path.parents[3] / "raw" / task.name
    sources = task.survey(folder or raw, options).sources
    if folder is None:
        table = (version.path / "assets.extra" / "sources.csv").read_text()
        sources = tuple(one for one in sources if f"test,{one.name}\n" in table)
    examples = [one for source in sources for one in task.read(source, options).examples]
    return [one for one in examples if one.label >= 0]


def label(drawn: tfpipe.Adaptation, truth: dict[str, str]) -> None:
    """Answers for each drawn image, as one who knows the truth, or cannot tell."""
    opened = inspection_sample.open_folder(drawn.path)
    if opened is None or opened.judges:
        return
    queue = InspectionQueue(opened, judge="truth")
    for i, key in enumerate(drawn.sample["key"]):
        label_ = truth.get(key, UNIDENTIFIABLE)
        queue.decide(i, who="truth", action="label", label=label_)


def row(
    seed: int,
    way: str,
    before: tfpipe.Version,
    after: tfpipe.Version,
    *,
    home: list[Example],
    there: list[Example],
) -> str:
    """Returns the shares of correct images, and the difference there with its interval."""
    at_home, new = (compare(before, after, examples) for examples in (home, there))
    difference, low, high = new.difference
    shares = f"{at_home.after[0]:.3f} | {new.after[0]:.3f}"
    return f"{seed} | {way} | {shares} | {difference:+.3f} ({low:+.3f} to {high:+.3f})"


def compare(
    before: tfpipe.Version, after: tfpipe.Version, examples: list[Example]
) -> adaptation.ShareCorrect:
    """Returns how two versions compare on some images."""
    images = np.stack([one.image for one in examples])
    columns = np.stack([one.columns for one in examples])
    outputs = [version.predict_proba(images, columns) for version in (before, after)]
    return adaptation.compare_correct(
        Answers(
            np.array([one.label for one in examples]),
            np.array([one.group for one in examples]),
            *outputs,
            *(array.argmax(axis=1) for array in outputs),
        )
    )


if __name__ == "__main__":
    main()
