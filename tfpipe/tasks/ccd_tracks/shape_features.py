"""Shape features of tracks: muons are straight, electrons bend, x-rays are dots."""

import numpy as np

NAMES = ("length_px", "breadth_px", "roundness", "fill", "bend_px", "scatter_px")
PIXEL_VARIANCE = 1 / 12  # of a square of side 1 about its middle


def measure(rows: np.ndarray, columns: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Returns the shape of each track, [n, 6] float64, the same if it is turned or mirrored.

    All tracks are measured at once, by sums over their pixels.

    Args:
      rows: [pixels] int, row of each pixel, track by track.
      columns: [pixels] int, column of each pixel.
      starts: [n] int, index of each track's first pixel.

    Returns:
      NAMES: extent along the principal axis and across it, px; the ratio of the deviations across
      and along; the share of that box that the track covers; the distance at its ends between the
      best parabola along the axis and a straight line, px; and the pixels' root mean square
      distance from that parabola, px.
    """
    if not len(starts):
        return np.zeros((0, len(NAMES)))
    pixels = np.diff(starts, append=len(rows))
    track = np.repeat(np.arange(len(starts)), pixels)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, starts) / pixels

    y, x = (values - mean(values.astype(np.float64))[track] for values in (rows, columns))
    down, both, right = mean(y * y) + PIXEL_VARIANCE, mean(x * y), mean(x * x) + PIXEL_VARIANCE
    middle, half = (down + right) / 2, np.hypot((down - right) / 2, both)
    angle = np.arctan2(2 * both, right - down) / 2
    cosine, sine = np.cos(angle)[track], np.sin(angle)[track]
    along, across = x * cosine + y * sine, y * cosine - x * sine
    sides = [
        np.maximum.reduceat(values, starts) - np.minimum.reduceat(values, starts) + 1
        for values in (along, across)
    ]
    length, breadth = np.maximum(*sides), np.minimum(*sides)
    # The part of the parabola that neither a shift nor a tilt explains.
    square = along**2
    slope = _ratio(mean(square * along), mean(square))
    curve = square - mean(square)[track] - slope[track] * along
    curvature = _ratio(mean(curve * across), mean(curve**2))
    residual = across - curvature[track] * curve
    roundness = np.sqrt((middle - half) / (middle + half))
    bend = np.abs(curvature) * (length / 2) ** 2
    scatter = np.sqrt(mean(residual**2))
    fill = pixels / (length * breadth)
    return np.stack([length, breadth, roundness, fill, bend, scatter], axis=1)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Returns part / whole; 0 where whole is 0 up to rounding, as for a single row of pixels."""
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 1e-9)
