"""A task whose pictures are drawn while they are read: is there a dark band across them?

A raw file is a line of text, `SEED PICTURES`. No picture is on disk before it is packed, so that a
million fit. Used by scale.py, and as any task: `tfpipe pack benchmarks/scale_task.py --data ...`.
"""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from tfpipe import Example, Reading, Source, Survey, Task
from tfpipe.tasks.task import Preprocessing

SIDE_PX = 64
CLASSES = ("empty", "band")


@dataclass(frozen=True)
class Options:
    channels: int = field(default=1, metadata={"help": "1 for grey, 3 for colour", "least": 1})


def survey(folder: Path, options: Options) -> Survey:
    return survey_new(sorted(folder.glob("*.txt")), None, options)


def survey_new(paths: list[Path], table: Path | None, options: Options) -> Survey:
    return Survey(
        tuple(Source(path.name, path.stem, path) for path in paths),
        image_shape=(SIDE_PX, SIDE_PX, options.channels),
    )


def read(source: Source, options: Options) -> Reading:
    seed, count = map(int, source.path.read_text().split())
    return Reading(
        [
            Example(
                f"{source.name}@{i}",
                source.group,
                draw(np.random.default_rng([seed, i]), i % 2, options.channels),
                i % 2,
                np.zeros(0, np.float32),
                {},
            )
            for i in range(count)
        ]
    )


def draw(rng: np.random.Generator, label: int, channels: int) -> np.ndarray:
    """Returns soft noise, with a dark band across it or a spot as dark, [64, 64, channels] uint8.

    The spot is there so that darkness alone is no answer.
    """
    noise = rng.standard_normal((SIDE_PX, SIDE_PX), np.float32)
    grey = 120 + 200 * cv2.GaussianBlur(noise, (0, 0), 2)
    if label:
        ends = rng.integers(4, SIDE_PX - 4, 2).tolist()
        cv2.line(grey, (0, ends[0]), (SIDE_PX, ends[1]), 40, 3)
    else:
        cv2.circle(grey, rng.integers(8, SIDE_PX - 8, 2).tolist(), 6, 40, -1)
    image = np.clip(grey, 0, 255).astype(np.uint8)[..., None]
    return np.ascontiguousarray(np.repeat(image, channels, axis=2))


TASK = Task(
    name="scale",
    title="drawn pictures: which have a band?",
    expects="*.txt with a seed and a number of pictures",
    classes=CLASSES,
    image_shape=(SIDE_PX, SIDE_PX, 1),
    options=Options(),
    survey=survey,
    read=read,
    survey_new=survey_new,
    models=("simple-cnn", "conv-autoencoder"),
    preprocessing=Preprocessing(augmentation="turns"),
)
