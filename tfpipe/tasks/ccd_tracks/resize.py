"""Brings tracks of any size to pictures of one size, as the appendix of seed 001 does."""

import numpy as np


def framed(crop: np.ndarray, *, side: int, fill: float) -> tuple[np.ndarray, int]:
    """Returns a track in the middle of a square, and how often it was halved to fit.

    Args:
      crop: [height, width] float32, `fill` where the track is not.
      side: of the square, px.
      fill: pixel value around the track, the threshold.

    Returns:
      [side, side, 1] float32, and the number n of halvings. What a track has above `fill`, summed,
      is 4 ** n times what its picture has.
    """
    halvings = 0
    while max(crop.shape) > side:
        crop, halvings = _halved(crop, fill=fill), halvings + 1
    square = np.full((side, side, 1), fill, np.float32)
    top, left = (side - crop.shape[0]) // 2, (side - crop.shape[1]) // 2
    square[top : top + crop.shape[0], left : left + crop.shape[1], 0] = crop
    return square, halvings


def _halved(crop: np.ndarray, *, fill: float) -> np.ndarray:
    """Returns the averages of 2 x 2 px; where a side is odd, the last ones are with `fill`."""
    height, width = ((length + 1) // 2 for length in crop.shape)
    even = np.full((2 * height, 2 * width), fill, np.float32)
    even[: crop.shape[0], : crop.shape[1]] = crop
    return even.reshape(height, 2, width, 2).mean(axis=(1, 3), dtype=np.float64)
