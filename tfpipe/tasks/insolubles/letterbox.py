"""Brings particles of any size to pictures of one size, without stretching: size is information."""

import cv2
import numpy as np

from tfpipe.base import images


def framed(image: np.ndarray, *, side: int) -> tuple[np.ndarray, float]:
    """Returns a picture in the middle of a square of its own background, and how far it shrank.

    Args:
      image: [height, width] or [height, width, 3], uint8 or uint16, at least 1 x 1.
      side: of the square, px.

    Returns:
      [side, side, 3] uint8 RGB, grey ones with three equal channels; and the scale: 1 where the
      picture fits, else less, the same for height and width (each at least 1 px).
    """
    image = images.to_rgb(images.to_uint8(image))
    # Its own, not that of the shrunk one: there the border is mixed with what lies inside.
    background = np.rint(np.median(_border(image), axis=0)).astype(np.uint8)
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    if scale < 1:
        height, width = (max(1, round(length * scale)) for length in (height, width))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    square = np.empty((side, side, 3), np.uint8)
    square[:] = background
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return square, scale


def _border(image: np.ndarray) -> np.ndarray:
    """Returns the outermost pixels [n, 3] of a picture [height, width, 3]."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
