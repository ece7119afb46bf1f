"""Pictures that the benchmarks read and train on: is there a dark band across them?"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tfpipe.data.manifest import RecordManifest
from tfpipe.tasks.task import Example, Reading, Source, Survey, Task

CLASSES = ("empty", "band")
FILES, TRAINING_FILES = 40, 25  # by the hash of their names; 11 are for validation
COLUMNS = tuple(f"column{i}" for i in range(36))


@dataclass(frozen=True)
class Options:
    """None."""


def draw(count: int, *, shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, ...]:
    """Draws noise over slow changes of brightness, and in every second picture a band.

    The others have a spot as dark, so that darkness alone is no answer.

    Returns:
      Images [count, *shape] uint8, labels [count] int64, columns [count, 36] float32 of noise.
    """
    rng = np.random.default_rng(seed)
    height, width, _ = shape
    row, column = np.arange(height)[:, None], np.arange(width)
    labels = np.arange(count) % 2
    images = np.empty((count, *shape), np.uint8)
    for image, label in zip(images, labels, strict=True):
        shade = cv2.resize(rng.normal(120, 15, (6, 12)), (width, height))
        middle = rng.uniform(0.2, 0.8) * height + rng.uniform(-0.2, 0.2) * height * column / width
        dark = np.abs(row - middle) < max(2, height / 20)
        if label == 0:
            dark = dark & (np.abs(column - rng.uniform(0, width)) < width / 6)
        grey = shade - 40 * dark
        image[:] = np.clip(grey[..., None] + rng.normal(0, 8, shape), 0, 255)
    return images, labels, rng.normal(size=(count, len(COLUMNS))).astype(np.float32)


def task(shape: tuple[int, int, int], *, share: int) -> Task:
    """Returns a task whose raw files stand for `share` pictures each."""

    def survey(raw: Path, options: Options) -> Survey:
        paths = sorted(raw.glob("*.txt"))
        return Survey(tuple(Source(path.name, path.stem, path) for path in paths))

    def read(source: Source, options: Options) -> Reading:
        drawn = zip(*draw(share, shape=shape, seed=int(source.group)), strict=True)
        return Reading(
            [
                Example(f"{source.name}@{i}", source.group, image, int(label), columns, {})
                for i, (image, label, columns) in enumerate(drawn)
            ]
        )

    return Task(
        name="drawn",
        title="is there a band?",
        expects="*.txt",
        classes=CLASSES,
        image_shape=shape,
        options=Options(),
        survey=survey,
        read=read,
        survey_new=None,
        models=("simple-cnn", "resnet18"),
        columns=COLUMNS,
    )


TASK = task((50, 200, 3), share=26)


def packed(folder: Path, *, pictures: int, shape: tuple[int, int, int]) -> RecordManifest:
    """Packs pictures to folder/records; returns the manifest.

    Args:
      folder: does not exist yet.
      pictures: of the training split, a multiple of 25; there are 1.6 times as many in all.
      shape: (height, width, channels).
    """
    from tfpipe.data import pack

    made = task(shape, share=pictures // TRAINING_FILES)
    raw = folder / "raw"
    raw.mkdir(parents=True)
    for i in range(FILES):
        (raw / f"{i:02d}.txt").write_text(f"{pictures} of {shape}")
    return pack.pack(made, raw, folder / "records", options=made.options)


def arrays(manifest: RecordManifest, split: str) -> tuple[np.ndarray, ...]:
    """Returns the images, labels and columns of a packed split, in the records' order."""
    shape, names = tuple(manifest.image_shape), manifest.sources[split]
    share = sum(manifest.counts[split].values()) // len(names)
    drawn = [draw(share, shape=shape, seed=int(name.split(".")[0])) for name in names]
    return tuple(np.concatenate(parts) for parts in zip(*drawn, strict=True))
