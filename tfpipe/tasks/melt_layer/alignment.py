"""Alignment: how far each photo's labels must be moved (seed document 002).

The document: labels do not align with the photo; the offset is the same for all layers of a photo
and differs between photos; try shifts and take the one with the lowest
`cost = sum over layers of mean(intensity[layer])` ("Preprocessing II"). A melt layer is dark
because bubble-free ice scatters no light. Where the offset is not quite the same for all layers, it
may change evenly from the photo's top to its bottom, by some millimetres.
"""

from dataclasses import dataclass, replace

import numpy as np

from tfpipe.tasks.melt_layer.tables import Feature

THIN_MM = 2.0  # thickness of a feature without thickness in the table
TREND_MM = 300.0  # slower changes of brightness are illumination
BRIGHT_SHARE = 0.7  # quantile of the rows around that is the trend: layers up to 180 mm are not
# In robust standard deviations of the cost of random tables:
LEAST_DEPTH = 4.0  # of the minimum under their median
LEAST_MARGIN = 3.0  # of the minimum under the next best one
FAR_MARGIN = 2.0  # of several layers' minimum under the best one beyond the range
LEAST_DARKNESS = 1.0  # of each tabled layer's mean, in robust deviations of the photo's rows
ALONE_SHARE = 0.5  # of a lone layer's darkness, that no other place in the range may have
RANDOM_TABLES = 199  # with as many layers, as thick, at random depths
MAX_END_MM = 2.0  # by which the shift at the photo's top or bottom may differ from its own
DRIFT_STEPS = 17  # of each end that are tried
LEAST_DRIFTING = 3  # features: fewer are moved by noise
DRIFT_GAIN = 0.35  # of a feature's mean darkness, on average, for which the shift may drift
MAX_P = 0.05  # share of the random tables that may cost as little as the table, each at its best


@dataclass(frozen=True)
class Alignment:
    """A photo's shift.

    Attributes:
      shift_px: rows of the scaled core by which labels move; positive is deeper. 0 if unknown.
      confidence: margin of the lowest cost against the next best, in robust deviations of the cost
        of tables with layers at random depths.
      status: "aligned", "no layers" (nothing to align) or "not identifiable".
      why: the reason, for the last: which layer is not dark, where the labels would fit better,
        or what share of random tables fits as well.
      shifts_px: [shifts] int, the shifts tried.
      cost: [shifts] float, in robust deviations of the detrended profile.
      drift_px: rows by which labels at the photo's bottom move further than those at its top;
        `shift_px` is that of its middle.
    """

    shift_px: int
    confidence: float
    status: str
    why: str
    shifts_px: np.ndarray
    cost: np.ndarray
    drift_px: float = 0.0


def profile(core: np.ndarray, *, px_per_m: float) -> np.ndarray:
    """Returns each row's brightness [height] float, without trend, in robust deviations.

    The trend is a high quantile of the rows around, so that a thick layer is not taken for it. The
    median row of the core is 0.

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
    flat = rows - np.quantile(views, BRIGHT_SHARE, axis=1)
    flat -= np.median(flat)
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
    rows = rows_of(certain, top_m=top_m, px_per_m=px_per_m)
    cost = _cost(brightness, rows, shifts_px=shifts_px)
    random_costs = _random_costs(brightness, rows, shifts_px)
    spread = max(_deviation(random_costs), 1e-6)
    chosen = _choose_shift(
        cost,
        shifts_px=shifts_px,
        px_per_m=px_per_m,
        usual=float(np.median(random_costs)),
        spread=spread,
        alone_px=int(rows[0, 1] - rows[0, 0]) if len(rows) == 1 else 0,
    )
    if chosen.status != "aligned":
        return chosen
    why = _doubt(brightness, rows, certain, chosen, px_per_m=px_per_m, spread=spread)
    as_low = int((random_costs.min(axis=1) <= cost.min()).sum())
    p_value = (1 + as_low) / (1 + RANDOM_TABLES)
    if not why and len(rows) > 1 and p_value > MAX_P:
        why = f"{p_value:.0%} of tables with layers at random depths cost as little"
    if why:
        return replace(chosen, status="not identifiable", why=why)
    return _drifted(brightness, rows, chosen, px_per_m=px_per_m)


def _drifted(
    brightness: np.ndarray, rows: np.ndarray, chosen: Alignment, *, px_per_m: float
) -> Alignment:
    """Returns an alignment with the drift that makes the features darkest, if it does so clearly.

    One feature has no drift. The shifts of both ends are tried, and features between them move in
    proportion.

    Args:
      brightness: [height] float, of `profile`.
      rows: [features, 2] int, unshifted.
      chosen: the alignment without drift.
      px_per_m: rows per metre of depth.
    """
    if len(rows) < LEAST_DRIFTING:
        return chosen
    most = MAX_END_MM / 1000 * px_per_m
    offsets = np.arange(-int(np.ceil(most)), int(np.ceil(most)) + 1)
    sums = np.concatenate(([0.0], np.cumsum(brightness)))
    means = _means(sums, rows, chosen.shift_px + offsets)
    ends = np.linspace(-most, most, DRIFT_STEPS)
    top, bottom = (end.ravel()[:, None] for end in np.meshgrid(ends, ends))
    place = np.clip(rows.mean(axis=1) / len(brightness), 0, 1)
    local = np.rint(top * (1 - place) + bottom * place).astype(int)  # [drifts, features]
    cost = means[np.arange(len(rows)), local - offsets[0]].sum(axis=1)
    cost += 1e-6 * (np.abs(top) + np.abs(bottom))[:, 0]  # the smallest of equals
    best = int(cost.argmin())
    if means[:, -offsets[0]].sum() - cost[best] < DRIFT_GAIN * len(rows):
        return chosen
    ends_px = float(top[best, 0]), float(bottom[best, 0])
    middle_px = round(sum(ends_px) / 2)
    return replace(chosen, shift_px=chosen.shift_px + middle_px, drift_px=ends_px[1] - ends_px[0])


def _doubt(
    brightness: np.ndarray,
    rows: np.ndarray,
    features: list[Feature],
    chosen: Alignment,
    *,
    px_per_m: float,
    spread: float,
) -> str:
    """Returns why the photo itself speaks against a shift of low cost; "" where it does not.

    Args:
      brightness: [height] float, of `profile`.
      rows: [features, 2] int, unshifted.
      features: the certain ones.
      chosen: the alignment by cost alone.
      px_per_m: rows per metre of depth.
      spread: robust standard deviation of the cost of random tables.
    """
    sums = np.concatenate(([0.0], np.cumsum(brightness)))
    height = len(brightness)
    is_layer = np.array([feature.is_layer for feature in features])  # a lens may be small
    is_dark = _means(sums, rows, np.array([chosen.shift_px])) <= -LEAST_DARKNESS
    is_visible = (rows[:, 1] + chosen.shift_px > 0) & (rows[:, 0] + chosen.shift_px < height)
    bright = np.flatnonzero(is_layer & is_visible & ~is_dark[:, 0])
    if len(bright):
        depth = features[bright[0]].depth_from_m
        return f"the layer at {depth:.3f} m is not dark at the best shift"
    # Beyond the range as well: where all features are dark, too, that shift may be the true one.
    every = np.arange(-height, height + 1)
    means = _means(sums, rows, every)
    is_far = np.abs(every) > np.abs(chosen.shifts_px).max()
    is_far &= (means <= -LEAST_DARKNESS).all(axis=0)
    far, cost = every[is_far], means.sum(axis=0)[is_far]
    margin = FAR_MARGIN if len(rows) > 1 else LEAST_MARGIN  # random tables test several as well
    if len(far) and cost.min() < chosen.cost.min() + margin * spread:
        shift_mm = 1000 * far[cost.argmin()] / px_per_m
        return f"a shift of {shift_mm:.0f} mm, beyond those tried, costs nearly as little"
    return ""


def _random_costs(brightness: np.ndarray, rows: np.ndarray, shifts_px: np.ndarray) -> np.ndarray:
    """Returns the cost [tables, shifts] of tables with as many layers, as thick, at random depths.

    The seed is fixed, so that a photo has one answer.
    """
    sums = np.concatenate(([0.0], np.cumsum(brightness)))
    height, most = len(brightness), int(np.abs(shifts_px).max())
    tops = np.arange(-most, height + most + 1)
    rng = np.random.default_rng(0)
    cost = np.zeros((RANDOM_TABLES, len(shifts_px)))
    for thickness in (rows[:, 1] - rows[:, 0]).tolist():
        inside = sums[np.clip(tops + thickness, 0, height)] - sums[np.clip(tops, 0, height)]
        first = rng.integers(0, max(height - thickness, 0) + 1, RANDOM_TABLES)
        cost += (inside / thickness)[first[:, None] + most + shifts_px]
    return cost


def _cost(brightness: np.ndarray, rows: np.ndarray, *, shifts_px: np.ndarray) -> np.ndarray:
    """Returns the cost [shifts] of each shift: sum over layers of the mean brightness inside.

    Rows outside the photo count as the median, so that no layer gains by leaving.
    """
    sums = np.concatenate(([0.0], np.cumsum(brightness)))
    return _means(sums, rows, shifts_px).sum(axis=0)


def _means(sums: np.ndarray, rows: np.ndarray, shifts_px: np.ndarray) -> np.ndarray:
    """Returns the mean brightness [features, shifts] inside each feature at each shift.

    Args:
      sums: [height + 1] float, running sums of the brightness.
      rows: [features, 2] int, unshifted.
      shifts_px: [shifts] int.
    """
    height = len(sums) - 1
    tops = np.clip(rows[:, :1] + shifts_px, 0, height)
    bottoms = np.clip(rows[:, 1:] + shifts_px, 0, height)
    return (sums[bottoms] - sums[tops]) / (rows[:, 1:] - rows[:, :1])


def _choose_shift(
    cost: np.ndarray,
    *,
    shifts_px: np.ndarray,
    px_per_m: float,
    usual: float,
    spread: float,
    alone_px: int,
) -> Alignment:
    """Returns the shift of lowest cost, its margin, and whether it is identifiable.

    One layer has no pattern that random tables could fail to have: any dark place within the range
    fits it. So no other place there may be half as dark.

    Args:
      cost: [shifts] float.
      shifts_px: [shifts] int.
      px_per_m: rows per metre of depth.
      usual: median of the cost of random tables.
      spread: their robust standard deviation.
      alone_px: thickness of the table's only layer; 0 where it has several.
    """
    best = int(np.argmin(cost))
    near = max(2, round(0.008 * px_per_m))
    others = np.abs(shifts_px - shifts_px[best]) > near
    next_best = cost[others].min() if others.any() else cost[best]
    beside = np.abs(shifts_px - shifts_px[best]) > near + alone_px  # shares no row with it
    margin = float((next_best - cost[best]) / spread)
    depth = float((usual - cost[best]) / spread)
    why = ""
    if best in (0, len(cost) - 1):
        why = "the lowest cost lies on the edge of the range of shifts"
    elif depth < LEAST_DEPTH:
        why = "the cost curve is flat"
    elif margin < LEAST_MARGIN:
        why = "another shift costs nearly as little"
    elif alone_px and (cost[beside] < ALONE_SHARE * cost[best]).any():
        why = "another place is more than half as dark, and there is only one layer to align"
    status = "not identifiable" if why else "aligned"
    return Alignment(int(shifts_px[best]), margin, status, why, shifts_px, cost)


def _deviation(values: np.ndarray) -> float:
    """Returns the standard deviation as the median absolute deviation estimates it."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
