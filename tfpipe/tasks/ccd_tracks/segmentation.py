"""Segmentation of an exposure into tracks: connected pixels above a threshold."""

from typing import NamedTuple

import cv2
import numpy as np

from tfpipe.base.errors import UserError
from tfpipe.tasks.ccd_tracks import shape_features

CLIP_ROUNDS, CLIP_SIGMAS = 8, 3.0  # of sigma clipping
SAMPLED = 1_000_000  # pixels that are enough to estimate the background
MAD_TO_SIGMA = 1.4826  # of a normal distribution
MAX_COVERAGE = 0.5  # share of an exposure that tracks may cover


class Tracks(NamedTuple):
    """The tracks of an exposure, in the order of their first pixels; boxes in px of the section.

    Attributes:
      components: [height, width] int32, component number of each pixel; 0 for none.
      number: [n] int, component number of each track.
      top: [n] int, first row.
      left: [n] int, first column.
      height: [n] int.
      width: [n] int.
      pixels: [n] int, number of pixels above the threshold.
      energy: [n] float64, their sum in ADU, background included, as in Preuss et al. (seed
        document 001).
      y: [n] int, row of the brightest pixel.
      x: [n] int, column of the brightest pixel.
      shape: [n, 6] float64, see `shape_features.measure`.
      pixel: [pixels above, all tracks] int, places in the flat exposure, track by track.
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
    pixel: np.ndarray


def find(image: np.ndarray, *, threshold: float, min_px: int = 1) -> Tracks:
    """Returns the 8-connected components of pixels above a threshold.

    As in the appendix of Preuss et al. (seed document 001). Sums over a track are taken over its
    own pixels only, a hundredth of an exposure. That makes it fast.

    Args:
      image: [height, width] float32 in ADU; NaN is never above.
      threshold: in ADU.
      min_px: pixels of the smallest track.
    """
    is_above = image > threshold
    _, components = cv2.connectedComponents(
        is_above.view(np.uint8), connectivity=8, ltype=cv2.CV_32S
    )
    pixel = np.flatnonzero(is_above)
    component = components.ravel()[pixel]
    sizes = np.bincount(component)
    is_large = sizes[component] >= min_px
    pixel, component = pixel[is_large], component[is_large]
    # The sort is stable: within a component, pixels stay ordered by rows.
    order = np.argsort(component, kind="stable")
    pixel, component = pixel[order], component[order]
    starts = np.flatnonzero(np.diff(component, prepend=0))
    number = component[starts]
    rows, columns = np.divmod(pixel, image.shape[1])
    shape = shape_features.measure(rows, columns, starts)
    if not len(starts):
        none = np.zeros(0, int)
        return Tracks(
            components=components,
            number=none,
            top=none,
            left=none,
            height=none,
            width=none,
            pixels=none,
            energy=np.zeros(0),
            y=none,
            x=none,
            shape=shape,
            pixel=pixel,
        )
    pixels = sizes[number]
    values = image.ravel()[pixel].astype(np.float64)
    top, left = rows[starts], np.minimum.reduceat(columns, starts)
    brightest = np.repeat(np.maximum.reduceat(values, starts), pixels)
    peaks = np.flatnonzero(values == brightest)
    peaks = peaks[np.unique(component[peaks], return_index=True)[1]]
    return Tracks(
        components=components,
        number=number,
        top=top,
        left=left,
        height=rows[starts + pixels - 1] - top + 1,
        width=np.maximum.reduceat(columns, starts) - left + 1,
        pixels=pixels,
        energy=np.add.reduceat(values, starts),
        y=rows[peaks],
        x=columns[peaks],
        shape=shape,
        pixel=pixel,
    )


def squares(image: np.ndarray, tracks: Tracks, *, side: int, threshold: float) -> np.ndarray:
    """Returns each track in the middle of a square, the threshold outside the track.

    Args:
      image: [height, width] float32 in ADU.
      tracks: of the image.
      side: of the squares, px. The square of a track that is longer is empty.
      threshold: in ADU.

    Returns:
      [n, side, side] float32.
    """
    # All pixels are written at once: a thousand small copies take three times as long.
    fits = np.maximum(tracks.height, tracks.width) <= side
    row, column = np.divmod(tracks.pixel, image.shape[1])
    first = np.arange(len(fits)) * side - tracks.top + (side - tracks.height) // 2
    left = (side - tracks.width) // 2 - tracks.left
    of_track = np.repeat(np.arange(len(fits)), tracks.pixels)
    place = (row + first[of_track]) * side + column + left[of_track]
    is_written = fits[of_track]
    result = np.full((len(fits), side, side), threshold, np.float32)
    result.reshape(-1)[place[is_written]] = image.reshape(-1)[tracks.pixel[is_written]]
    return result


def crop(image: np.ndarray, tracks: Tracks, i: int, *, threshold: float) -> np.ndarray:
    """Returns the box of track i, [height, width] float32, the threshold outside the track."""
    box = (
        slice(tracks.top[i], tracks.top[i] + tracks.height[i]),
        slice(tracks.left[i], tracks.left[i] + tracks.width[i]),
    )
    is_track = tracks.components[box] == tracks.number[i]
    return np.where(is_track, image[box], np.float32(threshold))


def background_threshold(image: np.ndarray, *, sigmas: float) -> float:
    """Returns the background's median plus a number of its standard deviations, in ADU.

    Both come from sigma clipping: pixels more than three deviations from the median are left out,
    repeatedly. The first deviation is the median absolute deviation, which tracks hardly change.

    Args:
      image: [height, width] float32 in ADU; NaN is left out.
      sigmas: number of standard deviations.
    """
    values = image.ravel()
    if len(values) > SAMPLED:
        # Each k-th pixel would be of the same columns where k divides the width.
        values = values[np.random.default_rng(0).integers(0, len(values), SAMPLED)]
    # In order, so that what is inside is a slice and its median in the middle.
    values = np.sort(values[np.isfinite(values)]).astype(np.float64)
    centre = _middle(values)
    deviation = MAD_TO_SIGMA * np.median(np.abs(values - centre)) if len(values) else 0.0
    for _ in range(CLIP_ROUNDS):
        most = CLIP_SIGMAS * deviation
        offsets = values - centre
        inside = values[np.searchsorted(offsets, -most) : np.searchsorted(offsets, most, "right")]
        if len(inside) == len(values) or not len(inside):
            break
        values, centre, deviation = inside, _middle(inside), inside.std()
    return float(centre + sigmas * deviation)


def _middle(values: np.ndarray) -> float:
    """Returns the median of ascending values; 0 of none."""
    half = len(values) // 2
    return float(values[half - 1 + len(values) % 2 : half + 1].mean()) if len(values) else 0.0


def explain_none(image: np.ndarray, *, threshold: float, min_px: int) -> str:
    """Returns why an exposure without a track has none: "no pixel above 4000 ADU, ..."."""
    is_above = image > threshold
    largest = float(np.nanmax(image))
    if not is_above.any():
        return (
            f"no pixel is above {threshold:g} ADU, the largest is {largest:g}. Give --option "
            "threshold=ADU, or threshold=0 for one above the background"
        )
    return (
        f"{int(is_above.sum())} pixels are above {threshold:g} ADU, and none of their clusters has "
        f"{min_px} px. Give --option min_px=NUMBER for smaller ones"
    )


def check_coverage(image: np.ndarray, tracks: Tracks, *, threshold: float, name: str) -> None:
    """Raises a UserError if tracks cover most of an exposure, as with a threshold too low."""
    share = tracks.pixels.sum() / image.size
    if share > MAX_COVERAGE:
        raise UserError(
            f"{name}: {share:.0%} of the pixels are above {threshold:g} ADU, the largest cluster "
            f"has {tracks.pixels.max():,}. The exposure is saturated, or the threshold is below "
            "its background. Leave it out, or give --option threshold=ADU."
        )
