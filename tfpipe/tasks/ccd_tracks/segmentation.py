"""Finds the tracks of an exposure: what hangs together above a threshold."""

from typing import NamedTuple

import cv2
import numpy as np

from tfpipe.base.errors import UserError
from tfpipe.tasks.ccd_tracks import shape_features

CLIPS, CLIP_SIGMAS = 8, 3.0  # rounds of clipping, and what is left out as no background
SAMPLED = 1_000_000  # pixels that are enough to know the background by
MAD_TO_SIGMA = 1.4826  # of a normal distribution
MOST_SHARE = 0.5  # of an exposure that tracks may cover


class Tracks(NamedTuple):
    """The tracks of an exposure, in the order of their first pixels; boxes in px of the section.

    Attributes:
      components: [height, width] int32, number of the component that each pixel is of; 0 for none.
      number: [n] int, of each track's component.
      top: [n] int, first row.
      left: [n] int, first column.
      height: [n] int.
      width: [n] int.
      pixels: [n] int, how many are above the threshold.
      energy: [n] float64, their sum in ADU, as seed 001 has it (its pixels keep the background).
      y: [n] int, row of the brightest pixel.
      x: [n] int, column of the brightest pixel.
      shape: [n, 6] float64, see `shape.measured`.
    """

    components: np.ndarray
    number: np.ndarray
    top: np.ndarray
    left: np.ndarray
    height: np.ndarray
    width: np.ndarray
    pixels: np.ndarray
    energy: np.ndarray
    y: np.ndarray
    x: np.ndarray
    shape: np.ndarray


def find(image: np.ndarray, *, threshold: float, min_px: int = 1) -> Tracks:
    """Returns the 8-connected components of pixels above a threshold (seed 001, appendix).

    What is summed over tracks is summed over their pixels only, a hundredth of an exposure: that is
    what makes it fast.

    Args:
      image: [height, width] float32 in ADU; NaN is never above.
      threshold: in ADU.
      min_px: pixels of the smallest that is kept.
    """
    is_above = image > threshold
    mask = is_above.view(np.uint8)
    _, components = cv2.connectedComponents(mask, connectivity=8, ltype=cv2.CV_32S)
    where = np.flatnonzero(is_above)
    own = components.ravel()[where]
    sizes = np.bincount(own)
    kept = sizes[own] >= min_px
    where, own = where[kept], own[kept]
    # Within a component they stay in the order of the picture, by rows.
    order = np.argsort(own, kind="stable")
    where, own = where[order], own[order]
    starts = np.flatnonzero(np.diff(own, prepend=0))
    number = own[starts]
    if not len(starts):
        nothing = (np.zeros(0, int) for _ in Tracks._fields[1:-1])
        return Tracks(components, *nothing, shape_features.measured(where, where, starts))
    pixels = sizes[number]
    rows, columns = np.divmod(where, image.shape[1])
    values = image.ravel()[where].astype(np.float64)
    top, left = rows[starts], np.minimum.reduceat(columns, starts)
    brightest = np.repeat(np.maximum.reduceat(values, starts), pixels)
    peaks = np.flatnonzero(values == brightest)
    peaks = peaks[np.unique(own[peaks], return_index=True)[1]]
    return Tracks(
        components,
        number,
        top,
        left,
        rows[starts + pixels - 1] - top + 1,
        np.maximum.reduceat(columns, starts) - left + 1,
        pixels,
        np.add.reduceat(values, starts),
        rows[peaks],
        columns[peaks],
        shape_features.measured(rows, columns, starts),
    )


def crop(image: np.ndarray, tracks: Tracks, i: int, *, threshold: float) -> np.ndarray:
    """Returns the box of a track [height, width] float32, the threshold where the track is not."""
    box = (
        slice(tracks.top[i], tracks.top[i] + tracks.height[i]),
        slice(tracks.left[i], tracks.left[i] + tracks.width[i]),
    )
    is_track = tracks.components[box] == tracks.number[i]
    return np.where(is_track, image[box], np.float32(threshold))


def threshold_of(image: np.ndarray, *, sigmas: float) -> float:
    """Returns the background's median plus so many of its standard deviations, in ADU.

    Both are of what is left when pixels more than three deviations from the median have been left
    out, again and again. At first the deviation is by the median of absolute differences, which
    tracks hardly move.

    Args:
      image: [height, width] float32 in ADU; NaN is left out.
      sigmas: how many.
    """
    values = image.ravel()[:: max(1, image.size // SAMPLED)]
    values = values[np.isfinite(values)].astype(np.float64)
    centre = np.median(values) if len(values) else 0.0
    deviation = MAD_TO_SIGMA * np.median(np.abs(values - centre)) if len(values) else 0.0
    for _ in range(CLIPS):
        inside = values[np.abs(values - centre) <= CLIP_SIGMAS * deviation]
        if len(inside) == len(values) or not len(inside):
            break
        values, centre, deviation = inside, np.median(inside), inside.std()
    return float(centre + sigmas * deviation)


def refuse_flooded(image: np.ndarray, tracks: Tracks, *, threshold: float, name: str) -> None:
    """Raises a UserError if tracks cover most of an exposure: then the threshold is below it."""
    share = tracks.pixels.sum() / image.size
    if share > MOST_SHARE:
        raise UserError(
            f"{name}: {share:.0%} of the pixels are above {threshold:g} ADU, the largest cluster "
            f"has {tracks.pixels.max():,}. The exposure is saturated or the threshold below its "
            "background: leave it out, or give --option threshold=ADU."
        )
