"""Reads one picture of a folder, and brings it to the size that all are stored in."""

from dataclasses import dataclass

import cv2
import numpy as np

from tfpipe.base import images
from tfpipe.tasks.image_folder.options import Options, shape_of
from tfpipe.tasks.task import Example, Reading, Source

METADATA = {"file": "str"}


@dataclass(frozen=True, eq=False)
class About:
    """What is known of one picture: `Source.about`.

    Attributes:
      label: index into the classes, -1 where nobody knows.
      columns: [columns] float32, finite.
    """

    label: int
    columns: np.ndarray


def read(source: Source, options: Options) -> Reading:
    """Reads a picture, upright, in 8 bits, without transparency.

    The group is what `group_from`, the table's column or, by default, the file itself tells:
    pictures of the same thing share it.

    Args:
      source: as `survey` found it.
      options: settled, see `sizes.settled`.

    Raises:
      UserError: it cannot be decoded.
    """
    height, width, channels = shape_of(options)
    image = images.read(source.path)
    image = images.to_grey(image) if channels == 1 else images.to_rgb(images.to_uint8(image))
    image = fitted(image, height=height, width=width, fit=options.fit)
    image = image.reshape(height, width, channels)
    about = source.about
    return Reading(
        [
            Example(
                source.name, source.group, image, about.label, about.columns, {"file": source.name}
            )
        ]
    )


def fitted(image: np.ndarray, *, height: int, width: int, fit: str) -> np.ndarray:
    """Returns a picture at a size, [height, width] or [height, width, 3] uint8.

    Args:
      image: [h, w] or [h, w, 3] uint8.
      height: in px.
      width: in px.
      fit: "stretch", "pad" with the median of its border, or "crop" to its middle.
    """
    own = image.shape[:2]
    if fit == "stretch" or own == (height, width):
        return _resized(image, height, width)
    scales = height / own[0], width / own[1]
    scale = min(scales) if fit == "pad" else max(scales)
    inner = [max(1, round(length * scale)) for length in own]
    image = _resized(image, *inner)
    if fit == "crop":
        top, left = (inner[0] - height) // 2, (inner[1] - width) // 2
        return image[top : top + height, left : left + width]
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    whole = np.empty((height, width, *image.shape[2:]), np.uint8)
    whole[:] = np.rint(np.median(border, axis=0)).astype(np.uint8)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    whole[top : top + inner[0], left : left + inner[1]] = image
    return whole


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    shrinks = height < image.shape[0] or width < image.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=way)
