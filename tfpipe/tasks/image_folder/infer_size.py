"""Looks at some pictures of a folder to choose the size and the channels that all are stored in."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tfpipe.base import images
from tfpipe.base.errors import UserError
from tfpipe.tasks.image_folder.options import LEAST_PX, Options, shape_of

PROBED, DECODED = 500, 24  # pictures looked at: headers, and pixels
MOST_PX, STEP_PX = 128, 8  # a side as stored: at most, and in steps that networks halve thrice


def settled(paths: list[Path], options: Options) -> tuple[Options, str]:
    """Returns the options with size and channels chosen, and a sentence about them.

    Args:
      paths: the pictures.
      options: the user's.

    Raises:
      UserError: not one of the pictures looked at can be read.
    """
    sizes = _sizes(_some(paths, PROBED))
    low, high = (np.array(found).astype(int) for found in (sizes.min(axis=0), sizes.max(axis=0)))
    is_grey = _grey(_some(paths, DECODED))
    if options.channels == "as found":
        options = replace(options, channels="grey" if is_grey else "colour")
    if not options.size:
        options = replace(options, size="x".join(map(str, _chosen(sizes))))
    height, width, _ = shape_of(options)
    one = f"{low[0]} x {low[1]} px"
    looked = one if (low == high).all() else f"{one} to {high[0]} x {high[1]} px"
    kind = "grey" if is_grey else "in colour"
    how = {"stretch": "stretched", "pad": "padded with their border", "crop": "cropped"}
    return options, (
        f"Pictures are {looked} (height x width), {kind}; they are stored as {height} x {width} "
        f"px, {options.channels}, {how[options.fit]} where their shape is another. Choose "
        "otherwise by --option size=, channels= and fit=."
    )


def _some(paths: list[Path], most: int) -> list[Path]:
    """Returns at most so many of the paths, evenly spread."""
    places = np.linspace(0, len(paths) - 1, min(len(paths), most)).round().astype(int)
    return [paths[place] for place in places]


def _sizes(paths: list[Path]) -> np.ndarray:
    """Returns (height, width) of those of some pictures that have them, [n, 2]."""
    found, why = [], None
    for path in paths:
        try:
            found.append(images.probe(path)[:2])
        except UserError as error:  # reading it will say so once more, and names it
            why = error
    if not found:
        raise UserError(f"Not one of the {len(paths)} pictures looked at can be read: {why}")
    return np.array(found, float)


def _grey(paths: list[Path]) -> bool:
    """Returns whether those of some pictures that can be read have no colours."""
    for path in paths:
        try:
            image = images.read(path)
        except UserError:  # as above
            continue
        if image.ndim == 3 and (image != image[..., :1]).any():
            return False
    return True


def _chosen(sizes: np.ndarray) -> tuple[int, int]:
    """Returns the median height and width, made smaller together where they are large."""
    median = np.median(sizes, axis=0)
    scaled = median * min(1.0, MOST_PX / median.max())
    stepped = np.maximum(LEAST_PX, STEP_PX * np.rint(scaled / STEP_PX)).astype(int)
    return int(stepped[0]), int(stepped[1])
