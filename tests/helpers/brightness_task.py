"""The tiny task, with files that may be brighter: "seed" or "seed added", such as "3 40"."""

from dataclasses import replace

import numpy as np
import tiny

from tfpipe.tasks.task import Reading


def read(source, options) -> Reading:
    seed, _, added = source.path.read_text().partition(" ")
    rng = np.random.default_rng(int(seed))
    images = rng.integers(0, 120, (options.pictures, 16, 16, 1), dtype=np.uint8)
    images += rng.integers(0, 20, dtype=np.uint8)  # no two files have the same brightness
    images[1::2, 4:12, 4:12] += np.uint8(60)
    images += np.uint8(added or 0)
    of_tiny = tiny.read(replace(source, path=_Seed(seed)), options)
    examples = [
        example._replace(image=image)
        for example, image in zip(of_tiny.examples, images, strict=True)
    ]
    return replace(of_tiny, examples=examples)


class _Seed:
    """A path of a file that holds a seed."""

    def __init__(self, seed: str):
        self.read_text = lambda: seed


def infer(source, classify, options):
    images = np.stack([example.image for example in read(source, options).examples])
    return classify(images)[:, 1]


TASK = replace(
    tiny.TASK, name="lights", read=read, whole_file=replace(tiny.TASK.whole_file, infer=infer)
)
