"""Registration of pairs of small square images: how far one is moved, and how alike they are then.

The shift that correlates best in whole pixels is refined by least squares (Lucas and Kanade 1981).
"""

from typing import NamedTuple

import cv2
import numpy as np
from scipy import fft

MARGIN = 4  # px along the border that a moved image may lack
ITERATIONS = 4
ROUGHLY = 0.7  # least correlation of details at a whole shift, half a pixel off or less
BLUR = 1.5  # px; detail is what this takes away
_TINY = 1e-9


class Registration(NamedTuple):
    """How alike n pairs are where they fit best, inside the margin.

    Attributes:
      shifts: rows and columns that the second is moved by, px, [n, 2] float32.
      detail: correlation of the images less their blur, [n].
      fine: correlation of the cosine coefficients of the upper half of the frequencies, [n].
      gain: how many times the contrast of one is that of the other, at least 1, [n].
      offset: difference of their means, in standard deviations of the first, [n].
    """

    shifts: np.ndarray
    detail: np.ndarray
    fine: np.ndarray
    gain: np.ndarray
    offset: np.ndarray


def detail_of(images: np.ndarray, *, blur: float = BLUR) -> np.ndarray:
    """Returns images [n, side, side] float32 less their blur, of a standard deviation in px."""
    blurred = [cv2.GaussianBlur(one, (0, 0), blur, borderType=cv2.BORDER_REFLECT) for one in images]
    return images - np.array(blurred, np.float32).reshape(images.shape)


def align(one: np.ndarray, other: np.ndarray, *, scales: np.ndarray) -> Registration:
    """Moves the second image of each pair onto the first.

    Args:
      one: [n, side, side] float32.
      other: [n, side, side] float32.
      scales: height and width of what the first shows, over those of the second, [n, 2].
    """
    left, right = detail_of(one), detail_of(other)
    shifts, detail = _whole_shifts(left, _warp(right, scales, np.zeros_like(scales)))
    worst = np.zeros(len(one))
    fit = Registration(shifts, detail, worst, worst + np.inf, worst + np.inf)
    rows = np.flatnonzero(detail >= ROUGHLY)
    if len(rows):
        better = _refined(
            one[rows],
            other[rows],
            details=(left[rows], right[rows]),
            scales=scales[rows],
            shifts=shifts[rows],
        )
        for values, refined in zip(fit, better, strict=True):
            values[rows] = refined
    return fit


def _refined(
    one: np.ndarray,
    other: np.ndarray,
    *,
    details: tuple[np.ndarray, np.ndarray],
    scales: np.ndarray,
    shifts: np.ndarray,
) -> Registration:
    """Returns the alignment to parts of a pixel, from whole shifts [n, 2]."""
    inside = slice(MARGIN, one.shape[1] - MARGIN)
    left, right = details
    target = _normalized(left[:, inside, inside])
    best, detail = shifts, np.full(len(one), -np.inf)
    for _ in range(ITERATIONS + 1):
        warped = _warp(right, scales, shifts)
        moved = _normalized(warped[:, inside, inside])
        correlation = (target * moved).mean(axis=(1, 2))
        is_better = correlation > detail
        detail = np.where(is_better, correlation, detail)
        best = np.where(is_better[:, None], shifts, best)
        shifts = np.clip(shifts + _step(warped, target - moved, inside), -MARGIN - 1, MARGIN + 1)
    here = one[:, inside, inside]
    there = _warp(other, scales, best)[:, inside, inside]
    contrasts = here.std(axis=(1, 2)) + _TINY
    ratio = (there.std(axis=(1, 2)) + _TINY) / contrasts
    offset = np.abs(here.mean(axis=(1, 2)) - there.mean(axis=(1, 2)))
    gain = np.maximum(ratio, 1 / ratio)
    return Registration(best, detail, _fine(here, there), gain, offset / contrasts)


def _normalized(images: np.ndarray) -> np.ndarray:
    images = images - images.mean(axis=(1, 2), keepdims=True)
    return images / (images.std(axis=(1, 2), keepdims=True) + _TINY)


def _whole_shifts(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the whole shift of each pair at which the inside of the first correlates best."""
    side = one.shape[1]
    inner = side - 2 * MARGIN
    inside = slice(MARGIN, side - MARGIN)
    template = np.zeros_like(one)
    template[:, inside, inside] = _normalized(one[:, inside, inside])
    spectrum = fft.rfft2(other) * np.conj(fft.rfft2(template))
    moves = np.arange(-MARGIN, MARGIN + 1)
    products = fft.irfft2(spectrum, s=(side, side))[:, moves % side][:, :, moves % side]
    sums, squares = (_window_sums(part, inner) for part in (other, other**2))
    spread = np.sqrt(np.maximum(squares - sums**2 / inner**2, _TINY))
    correlations = (products / spread / inner).reshape(len(one), -1)
    best = correlations.argmax(axis=1)
    shifts = MARGIN - np.stack(np.divmod(best, len(moves)), axis=1).astype(np.float32)
    return shifts, correlations.max(axis=1)


def _window_sums(images: np.ndarray, inner: int) -> np.ndarray:
    """Returns the sum in the window at each place where it fits."""
    sums = np.pad(images.astype(np.float64), ((0, 0), (1, 0), (1, 0))).cumsum(1).cumsum(2)
    low, high = slice(0, 2 * MARGIN + 1), slice(inner, inner + 2 * MARGIN + 1)
    return sums[:, high, high] - sums[:, low, high] - sums[:, high, low] + sums[:, low, low]


def _warp(images: np.ndarray, scales: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Returns images scaled about their middle and moved, by cubic interpolation."""
    side = images.shape[1]
    offsets = np.arange(side, dtype=np.float32) - (side - 1) / 2
    weights = []
    for scale, shift in zip(scales.T, shifts.T, strict=True):
        places = (side - 1) / 2 + offsets * scale[:, None] - shift[:, None]
        weights.append(_cubic_weights(np.clip(places, 0, side - 1)))
    return weights[0] @ images @ weights[1].transpose(0, 2, 1)


def _cubic_weights(places: np.ndarray) -> np.ndarray:
    """Returns the weight of each pixel at places [n, side] (Keys 1981, a = -1/2), [n, side, side].

    Pixels beyond the border have none.
    """
    n, side = places.shape
    before = np.floor(places).astype(np.intp)
    t = (places - before).astype(np.float32)
    taps = (
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    weights = np.zeros((n, side, side + 3), np.float32)
    for i, tap in enumerate(taps):
        np.put_along_axis(weights, before[:, :, None] + i, tap[:, :, None], axis=2)
    return weights[:, :, 1:-2]


def _step(warped: np.ndarray, error: np.ndarray, inside: slice) -> np.ndarray:
    """Returns the change of the shifts that leaves the least squares, at most 1 px."""
    spread = warped[:, inside, inside].std(axis=(1, 2), keepdims=True) + _TINY
    rows, columns = (np.gradient(warped, axis=i)[:, inside, inside] / -spread for i in (1, 2))
    rr, cc, rc = (rows**2).sum((1, 2)), (columns**2).sum((1, 2)), (rows * columns).sum((1, 2))
    er, ec = (rows * error).sum((1, 2)), (columns * error).sum((1, 2))
    area = np.maximum(rr * cc - rc**2, 1e-3 * rr * cc + _TINY)
    step = np.stack([(cc * er - rc * ec) / area, (rr * ec - rc * er) / area], axis=1)
    return np.clip(step, -1, 1).astype(np.float32)


def _fine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    side = one.shape[1]
    is_high = np.arange(side) >= side // 2
    is_fine = is_high[:, None] | is_high
    left, right = (fft.dctn(part, axes=(1, 2), norm="ortho")[:, is_fine] for part in (one, other))
    sizes = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return (left * right).sum(axis=1) / (sizes + _TINY)
