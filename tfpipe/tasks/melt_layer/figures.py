"""Figures of a core: the alignment of its labels, and its predicted layers."""

from collections.abc import Sequence

import cv2
import numpy as np

from tfpipe.tasks.melt_layer.alignment import Alignment
from tfpipe.tasks.melt_layer.tables import Feature

HEIGHT_PX = 1400  # height of a figure; cores are shown at this length
WIDTH_PX = 160  # of a core in a figure
TRACE_PX = 260  # width of a curve
MARGIN_PX = 60  # for depths and headings
INK, GRID = (30, 30, 30), (215, 215, 215)
COLOURS = {"layer": (200, 30, 40), "lens": (230, 140, 0), "uncertain": (90, 110, 200)}


def alignment(
    core: np.ndarray,
    features: list[Feature],
    before: np.ndarray,
    aligned: Alignment,
    *,
    name: str,
    top_m: float,
    px_per_m: float,
) -> np.ndarray:
    """Draws a core with its labels before and after alignment, and the cost of every shift.

    Args:
      core: [height, 200, 3] uint8.
      features: its tabled features.
      before: [features, 2] int, their rows by the table alone.
      aligned: the shift and its cost curve.
      name: heading.
      top_m: depth of the first row.
      px_per_m: rows per metre.

    Returns:
      [about 1500, about 1000, 3] uint8 RGB.
    """
    zoom = HEIGHT_PX / len(core)
    panels = [
        _core_panel(core, title="core", top_m=top_m, px_per_m=px_per_m),
        _marked(core, features, before, title="table", zoom=zoom),
        _marked(core, features, before + aligned.shift_px, title="aligned", zoom=zoom),
        _cost_panel(aligned, px_per_m=px_per_m),
    ]
    shift_mm = 1000 * aligned.shift_px / px_per_m
    heading = f"{name}: {aligned.status}" + (f" ({aligned.why})" if aligned.why else "")
    if aligned.status == "aligned":
        heading += f", shift {shift_mm:+.1f} mm, confidence {aligned.confidence:.1f}"
    return _headed(np.concatenate(panels, axis=1), heading)


def overlay(
    core: np.ndarray,
    probability: np.ndarray,
    spans: list[tuple[int, int, float, bool]],
    *,
    name: str,
    threshold: float,
    top_m: float,
    px_per_m: float,
    is_lens: Sequence[bool] = (),
) -> np.ndarray:
    """Draws a core, the probability along depth and the predicted layers.

    Args:
      core: [height, 200, 3] uint8.
      probability: [height] float, each row's probability.
      spans: (first row, one past last, probability, uncertain) of each layer.
      name: heading.
      threshold: drawn as a line.
      top_m: depth of the first row.
      px_per_m: rows per metre.
      is_lens: which of the layers are lenses; () for none.

    Returns:
      [about 1500, about 800, 3] uint8 RGB.
    """
    zoom = HEIGHT_PX / len(core)
    trace = np.full((HEIGHT_PX, TRACE_PX, 3), 255, np.uint8)
    for share in (0, 0.5, 1):
        x = int(share * (TRACE_PX - 21)) + 10
        cv2.line(trace, (x, 0), (x, HEIGHT_PX), GRID, 1)
        _write(trace, f"{share:g}", (max(x - 8, 2), 12))
    x = int(threshold * (TRACE_PX - 21)) + 10
    cv2.line(trace, (x, 0), (x, HEIGHT_PX), (120, 120, 120), 1, cv2.LINE_AA)
    _write(trace, "threshold", (min(x + 4, TRACE_PX - 70), HEIGHT_PX - 8))
    rows = np.arange(HEIGHT_PX)
    points = np.stack(
        [np.interp(rows / zoom, np.arange(len(core)), probability) * (TRACE_PX - 21) + 10, rows],
        axis=1,
    )
    cv2.polylines(
        trace, [np.rint(points).astype(np.int32)], False, COLOURS["layer"], 2, cv2.LINE_AA
    )
    marked, labels = _shrunk(core), np.full((HEIGHT_PX, 250, 3), 255, np.uint8)
    lowest = 0
    lenses = list(is_lens) or [False] * len(spans)
    for (top, bottom, highest, uncertain), lens in zip(spans, lenses, strict=True):
        colour = COLOURS["uncertain" if uncertain else "lens" if lens else "layer"]
        _band(marked, top * zoom, bottom * zoom, colour)
        y = max(int((top + bottom) / 2 * zoom) + 4, lowest + 15)
        lowest = y
        thickness_mm = 1000 * (bottom - top) / px_per_m
        text = f"{top_m + top / px_per_m:.4f} m  {thickness_mm:.1f} mm  {highest:.2f}"
        text += (" lens" if lens else "") + (" ?" if uncertain else "")
        _write(labels, text, (6, y), colour)
    core_panel = _core_panel(core, title="core", top_m=top_m, px_per_m=px_per_m)
    panels = [
        core_panel,
        _titled(trace, "probability"),
        _titled(marked, "layers"),
        _titled(labels, "depth, thickness, probability"),
    ]
    n_lenses = sum(lenses)
    n_layers = len(spans) - n_lenses
    counts = "1 layer" if n_layers == 1 else f"{n_layers} layers"
    if n_lenses:
        counts += ", 1 lens" if n_lenses == 1 else f", {n_lenses} lenses"
    return _headed(np.concatenate(panels, axis=1), f"{name}: {counts}")


def _core_panel(core: np.ndarray, *, title: str, top_m: float, px_per_m: float) -> np.ndarray:
    """Returns the core with its depths in metres at the left."""
    zoom = HEIGHT_PX / len(core)
    scale = np.full((HEIGHT_PX, MARGIN_PX, 3), 255, np.uint8)
    length_m = len(core) / px_per_m
    step_m = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1e9) if length_m / s <= 20)
    for tick in np.arange(np.ceil(top_m / step_m), (top_m + length_m) / step_m):
        y = int((tick * step_m - top_m) * px_per_m * zoom)
        cv2.line(scale, (MARGIN_PX - 6, y), (MARGIN_PX, y), INK, 1)
        _write(scale, f"{tick * step_m:.2f}", (2, y + 4))
    return _titled(np.concatenate([scale, _shrunk(core)], axis=1), f"{title} (m)")


def _shrunk(core: np.ndarray) -> np.ndarray:
    """Returns the core at the figures' size with its contrast stretched."""
    small = cv2.resize(core, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA)
    low, high = np.percentile(small, (1, 99))
    gain = 255 / max(high - low, 1)
    return np.clip((small.astype(np.float32) - low) * gain, 0, 255).astype(np.uint8)


def _marked(
    core, features: list[Feature], rows: np.ndarray, *, title: str, zoom: float
) -> np.ndarray:
    panel = _shrunk(core)
    for feature, (top, bottom) in zip(features, rows, strict=True):
        kind = "uncertain" if feature.is_uncertain else "layer" if feature.is_layer else "lens"
        _band(panel, top * zoom, bottom * zoom, COLOURS[kind])
    gap = np.full((HEIGHT_PX, 20, 3), 255, np.uint8)
    return _titled(np.concatenate([gap, panel], axis=1), title)


def _band(panel: np.ndarray, top: float, bottom: float, colour: tuple[int, int, int]) -> None:
    """Marks rows by bars at both sides, so that the ice between them stays visible."""
    rows = (int(top), max(int(np.ceil(bottom)), int(top) + 2))
    for x in (0, WIDTH_PX - 26):
        cv2.rectangle(panel, (x, rows[0]), (x + 25, rows[1]), colour, -1)


def _cost_panel(aligned: Alignment, *, px_per_m: float) -> np.ndarray:
    """Returns the cost curve: shift in mm down, cost across."""
    width = 2 * TRACE_PX
    panel = np.full((HEIGHT_PX, width, 3), 255, np.uint8)
    shifts, cost = aligned.shifts_px, aligned.cost
    low, high = float(cost.min()), float(cost.max())
    x = 30 + (cost - low) / max(high - low, 1e-9) * (width - 60)
    y = (shifts - shifts[0]) / max(shifts[-1] - shifts[0], 1) * (HEIGHT_PX - 1)
    for mm in range(-200, 201, 10):
        row = int(np.interp(mm / 1000 * px_per_m, shifts, y, left=-1, right=-1))
        if row >= 0:
            cv2.line(panel, (30, row), (width - 30, row), GRID, 1)
            _write(panel, f"{mm:+d}", (2, row + 4))
    points = np.rint(np.stack([x, y], axis=1)).astype(np.int32)
    cv2.polylines(panel, [points], False, INK, 1, cv2.LINE_AA)
    if aligned.status == "aligned":
        best = points[np.searchsorted(shifts, aligned.shift_px)]
        cv2.circle(panel, tuple(int(v) for v in best), 6, COLOURS["layer"], 2, cv2.LINE_AA)
    return _titled(panel, "cost of each shift (mm)")


def _titled(panel: np.ndarray, title: str) -> np.ndarray:
    head = np.full((30, panel.shape[1], 3), 255, np.uint8)
    _write(head, title, (6, 20))
    return np.concatenate([head, panel], axis=0)


def _headed(figure: np.ndarray, heading: str) -> np.ndarray:
    head = np.full((40, figure.shape[1], 3), 255, np.uint8)
    ascii_only = heading.encode("ascii", "replace").decode()
    cv2.putText(head, ascii_only, (8, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.55, INK, 1, cv2.LINE_AA)
    return np.concatenate([head, figure], axis=0)


def _write(panel: np.ndarray, text: str, at: tuple[int, int], colour=INK) -> None:
    cv2.putText(panel, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, 1, cv2.LINE_AA)
