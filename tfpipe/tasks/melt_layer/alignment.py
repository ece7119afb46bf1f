"""Alignment: how far each photo's labels must be moved (seed document 002).

The document: labels do not align with the photo; the offset is the same for all layers of a photo
and differs between photos; try shifts and take the one with the lowest
`cost = sum over layers of mean(intensity[layer])` ("Preprocessing II"). A melt layer is dark
because bubble-free ice scatters no light.
"""

from dataclasses import dataclass

import numpy as np

from tfpipe.tasks.melt_layer.tables import Feature

THIN_MM = 2.0  # thickness of a feature without thickness in the table
TREND_MM = 150.0  # slower changes of brightness are illumination
LEAST_DEPTH = 4.0  # of the minimum under the curve's median, in robust standard deviations
LEAST_MARGIN = 3.0  # of the minimum under the next best one, likewise


@dataclass(frozen=True)
class Alignment:
    """A photo's shift.

    Attributes:
      shift_px: rows of the scaled core by which labels move; positive is deeper. 0 if unknown.
      confidence: margin of the lowest cost against the next best, in the curve's robust deviations.
      status: "aligned", "no layers" (nothing to align) or "not identifiable".
      why: the reason, for the last.
      shifts_px: [shifts] int, the shifts tried.
      cost: [shifts] float, in robust deviations of the detrended profile.
    """

    shift_px: int
    confidence: float
    status: str
    why: str
    shifts_px: np.ndarray
    cost: np.ndarray


def profile(core: np.ndarray, *, px_per_m: float) -> np.ndarray:
    """Returns each row's brightness [height] float, without trend, in robust deviations.

    Args:
      core: [height, 200, 3] uint8.
      px_per_m: rows per metre of depth.
    """
    inner = core[:, core.shape[1] // 10 : -(core.shape[1] // 10)]
    rows = inner.mean(axis=(1, 2), dtype=np.float64)
    window = max(3, int(TREND_MM / 1000 * px_per_m) | 1)
    half = window // 2
    padded = np.pad(rows, half, mode="reflect" if half < len(rows) else "edge")
    step = max(1, window // 40)
    views = np.lib.stride_tricks.sliding_window_view(padded, window)[:, ::step]
    flat = rows - np.median(views, axis=1)
    return flat / max(_deviation(flat), 1e-6)


def rows_of(
    features: list[Feature], *, top_m: float, px_per_m: float, shift_px: int = 0
) -> np.ndarray:
    """Returns first and one-past-last row [features, 2] int of each feature; one row at least."""
    edges_m = np.array([(f.depth_from_m, f.depth_to_m) for f in features]).reshape(-1, 2)
    thin = edges_m[:, 1] - edges_m[:, 0] < THIN_MM / 1000
    middle = edges_m[thin].mean(axis=1, keepdims=True)
    edges_m[thin] = middle + np.array([-0.5, 0.5]) * THIN_MM / 1000
    rows = np.rint((edges_m - top_m) * px_per_m).astype(int) + shift_px
    rows[:, 1] = np.maximum(rows[:, 1], rows[:, 0] + 1)
    return rows


def align(
    core: np.ndarray, features: list[Feature], *, top_m: float, px_per_m: float, max_shift_mm: float
) -> Alignment:
    """Finds the shift of one photo's labels; running sums give the cost of all shifts at once.

    Args:
      core: [height, 200, 3] uint8.
      features: of the table, in this photo's depths.
      top_m: depth of the core's first row.
      px_per_m: rows per metre of depth.
      max_shift_mm: the largest shift tried, up and down.

    Returns:
      The shift, its confidence and the cost curve.
    """
    most = max(2, round(min(max_shift_mm / 1000 * px_per_m, len(core))))
    shifts_px = np.arange(-most, most + 1)
    certain = [f for f in features if not f.is_uncertain]
    if not certain:
        status = "not identifiable" if features else "no layers"
        why = "only uncertain features" if features else ""
        return Alignment(0, 0.0, status, why, shifts_px, np.zeros(len(shifts_px)))
    brightness = profile(core, px_per_m=px_per_m)
    cost = _cost(brightness, rows_of(certain, top_m=top_m, px_per_m=px_per_m), shifts_px=shifts_px)
    return _choose_shift(cost, shifts_px=shifts_px, px_per_m=px_per_m)


def _cost(brightness: np.ndarray, rows: np.ndarray, *, shifts_px: np.ndarray) -> np.ndarray:
    """Returns the cost [shifts] of each shift: sum over layers of the mean brightness inside.

    Rows outside the photo count as the median, so that no layer gains by leaving.
    """
    sums = np.concatenate(([0.0], np.cumsum(brightness)))
    tops = np.clip(rows[:, :1] + shifts_px, 0, len(brightness))
    bottoms = np.clip(rows[:, 1:] + shifts_px, 0, len(brightness))
    means = (sums[bottoms] - sums[tops]) / (rows[:, 1:] - rows[:, :1])
    return means.sum(axis=0)


def _choose_shift(cost: np.ndarray, *, shifts_px: np.ndarray, px_per_m: float) -> Alignment:
    """Returns the shift of lowest cost, its margin, and whether it is identifiable."""
    best = int(np.argmin(cost))
    spread = max(_deviation(cost), 1e-6)
    near = max(2, round(0.008 * px_per_m))
    others = np.abs(shifts_px - shifts_px[best]) > near
    next_best = cost[others].min() if others.any() else cost[best]
    margin = float((next_best - cost[best]) / spread)
    depth = float((np.median(cost) - cost[best]) / spread)
    why = ""
    if best in (0, len(cost) - 1):
        why = "the lowest cost lies on the edge of the range of shifts"
    elif depth < LEAST_DEPTH:
        why = "the cost curve is flat"
    elif margin < LEAST_MARGIN:
        why = "another shift costs nearly as little"
    status = "not identifiable" if why else "aligned"
    return Alignment(int(shifts_px[best]), margin, status, why, shifts_px, cost)


def _deviation(values: np.ndarray) -> float:
    """Returns the standard deviation as the median absolute deviation estimates it."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
