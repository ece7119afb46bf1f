"""Infers the size and the channels in which the images of a folder are stored."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tfpipe.base import images
from tfpipe.base.errors import UserError
from tfpipe.tasks.image_folder.options import LEAST_PX, ImageFolderOptions, shape_of

PROBED, DECODED = 500, 24  # images whose header is read; whose pixels are decoded
MOST_PX, STEP_PX = 128, 8  # of a stored side; networks halve a multiple of 8 three times


def infer_options(paths: list[Path], options: ImageFolderOptions) -> tuple[ImageFolderOptions, str]:
    """Returns the options with size and channels chosen, and a sentence about them.

    Args:
      paths: the images.
      options: the user's.

    Raises:
      UserError: none of the sampled images can be read.
    """
    sizes = _sizes(_sample(paths, PROBED))
    low, high = sizes.min(axis=0).astype(int), sizes.max(axis=0).astype(int)
    is_grey = _grey(_sample(paths, DECODED))
    if options.channels == "as found":
        options = replace(options, channels="grey" if is_grey else "colour")
    if not options.size:
        options = replace(options, size="x".join(map(str, median_size(sizes))))
    if not options.bits:
        options = replace(options, bits=images.camera_bits(paths))
    height, width, _ = shape_of(options)
    depth = f" Of their 16 bits, {options.bits} become 0 to 255." if options.bits else ""
    smallest = f"{low[0]} x {low[1]} px"
    largest = "" if (low == high).all() else f" to {high[0]} x {high[1]} px"
    kind = "grey" if is_grey else "in colour"
    how = {"stretch": "stretched", "pad": "padded with their border", "crop": "cropped"}
    return options, (
        f"Images are {smallest}{largest} (height x width), {kind}; they are stored as {height} x "
        f"{width} px, {options.channels}, {how[options.fit]} where their shape differs. Change "
        f"this by --option size=, channels= and fit=.{depth}"
    )


def _sample(paths: list[Path], most: int) -> list[Path]:
    """Returns at most `most` of the paths, evenly spaced."""
    places = np.linspace(0, len(paths) - 1, min(len(paths), most)).round().astype(int)
    return [paths[place] for place in places]


def _sizes(paths: list[Path]) -> np.ndarray:
    """Returns (height, width) [n, 2] of the images that can be read."""
    sizes, why = [], None
    for path in paths:
        try:
            sizes.append(images.probe(path)[:2])
        except UserError as error:  # reading it raises this again, with its name
            why = error
    if not sizes:
        raise UserError(f"None of the {len(paths)} sampled images can be read: {why}")
    return np.array(sizes, float)


def _grey(paths: list[Path]) -> bool:
    """Returns whether all images that can be read are grey."""
    for path in paths:
        try:
            image = images.read(path)
        except UserError:  # as above
            continue
        if image.ndim == 3 and (image != image[..., :1]).any():
            return False
    return True


def median_size(sizes: np.ndarray) -> tuple[int, int]:
    """Returns the median height and width, reduced by one factor where they are large."""
    median = np.median(sizes, axis=0)
    scaled = median * min(1.0, MOST_PX / median.max())
    stepped = np.maximum(LEAST_PX, STEP_PX * np.rint(scaled / STEP_PX)).astype(int)
    return int(stepped[0]), int(stepped[1])
