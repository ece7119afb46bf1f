"""Reader of the images of a folder: decodes one and resizes it to the stored size."""

from dataclasses import dataclass

import cv2
import numpy as np

from tfpipe.base import images
from tfpipe.tasks.image_folder.options import ImageFolderOptions, shape_of
from tfpipe.tasks.task import Example, Reading, Source

METADATA = {"file": "str"}


@dataclass(frozen=True, eq=False)
class LabelAndColumns:
    """One image's label and numbers: `Source.about`.

    Attributes:
      label: index into the classes, -1 for unlabelled.
      columns: [columns] float32, finite.
    """

    label: int
    columns: np.ndarray


def read(source: Source, options: ImageFolderOptions) -> Reading:
    """Reads an image, upright, in 8 bits, without transparency.

    Its group comes from `group_from`, from the table's column or, by default, from the file itself:
    images of the same thing share it.

    Args:
      source: as `survey` lists it.
      options: complete, see `infer_size.infer_options`.

    Raises:
      UserError: it cannot be decoded.
    """
    height, width, channels = shape_of(options)
    image = images.read(source.path)
    to_stored = images.to_grey if channels == 1 else _to_rgb
    image = to_stored(image, bits=options.bits)
    image = fit_image(image, height=height, width=width, fit=options.fit)
    image = image.reshape(height, width, channels)
    about = source.about
    return Reading(
        [
            Example(
                source.name, source.group, image, about.label, about.columns, {"file": source.name}
            )
        ]
    )


def _to_rgb(image: np.ndarray, *, bits: int) -> np.ndarray:
    return images.to_rgb(images.to_uint8(image, bits=bits))


def fit_image(image: np.ndarray, *, height: int, width: int, fit: str) -> np.ndarray:
    """Returns an image at a size, [height, width] or [height, width, 3] uint8.

    Args:
      image: [h, w] or [h, w, 3] uint8.
      height: in px.
      width: in px.
      fit: "stretch", "pad" with the median of its border, or "crop" to its middle.
    """
    size = image.shape[:2]
    if fit == "stretch" or size == (height, width):
        return _resized(image, height, width)
    scales = height / size[0], width / size[1]
    scale = min(scales) if fit == "pad" else max(scales)
    inner = [max(1, round(length * scale)) for length in size]
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
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=interpolation)
