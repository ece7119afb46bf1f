"""Figures of a core: the alignment of its labels, and its predicted layers."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from tfpipe.tasks.melt_layer.alignment import Alignment
from tfpipe.tasks.melt_layer.tables import Feature

HEIGHT_PX = 1400  # height of a figure; cores are shown at this length
WIDTH_PX = 160  # of a core in a figure
TRACE_PX = 260  # width of a curve
MARGIN_PX = 60  # for depths and headings
INK, GRID = (30, 30, 30), (215, 215, 215)
SOFT = (110, 110, 110)
# Okabe & Ito (2008), safe for colour-blind readers.
COLOURS = {"layer": (213, 94, 0), "lens": (0, 114, 178), "uncertain": (204, 121, 167)}
TABLED = (0, 158, 115)
LABELS_PX = 330  # width of the text beside the layers
LINE_PX = 15  # height of a line of text
BELOW_PX = 5  # below the last line of text
BARS_MM = (500, 200, 100, 50, 20, 10, 5, 2, 1)  # lengths of the scale
BAR_PX = 120  # the longest scale


class LayerMark(NamedTuple):
    """A predicted layer or lens of a core.

    Attributes:
      top_px: its first row.
      bottom_px: one past its last row.
      probability: 0..1.
      is_uncertain: whether the model is.
      is_lens: whether it is no whole layer.
    """

    top_px: int
    bottom_px: int
    probability: float
    is_uncertain: bool
    is_lens: bool = False


class Tabled(NamedTuple):
    """Labels of the table for a core.

    Attributes:
      features: of the table.
      rows: [features, 2] int, first and one past last row of each.
      note: how the rows follow from the table's depths.
    """

    features: Sequence[Feature] = ()
    rows: np.ndarray = np.zeros((0, 2), int)
    note: str = ""


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
        _core_panel(core, title="depth (m)", top_m=top_m, px_per_m=px_per_m),
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
    findings: Sequence[LayerMark],
    tabled: Tabled,
    *,
    name: str,
    threshold: float,
    lens_threshold: float | None = None,
    top_m: float | None,
    px_per_m: float,
) -> np.ndarray:
    """Draws a core, the probability along depth, the predicted layers, and those of the table.

    Args:
      core: [height, 200, 3] uint8.
      probability: [height] float, each row's probability.
      findings: what is predicted, from the top down.
      tabled: the table's labels, if it has some.
      name: heading.
      threshold: drawn as a line.
      lens_threshold: that of lenses, drawn as a second line; None where it is the same.
      top_m: depth of the first row; None where unknown.
      px_per_m: rows per metre.

    Returns:
      [about 1500, about 900, 3] uint8 RGB.
    """
    zoom = HEIGHT_PX / len(core)
    marked = _shrunk(core)
    for finding in findings:
        _band(marked, finding.top_px * zoom, finding.bottom_px * zoom, COLOURS[_kind(finding)])
    scale = {"top_m": top_m or 0.0, "px_per_m": px_per_m}
    thresholds = {"found": threshold}
    if lens_threshold is not None:
        thresholds = {"layers": threshold, "lenses": lens_threshold}
    axis = "from top (m)" if top_m is None else "depth (m)"
    panels = [
        _core_panel(core, title=axis, **scale),
        _titled(_trace(probability, thresholds=thresholds, zoom=zoom), "probability of melt"),
        _titled(marked, "found"),
    ]
    if tabled.features:
        panels.append(_titled(_table_marks(tabled, zoom=zoom), "table"))
    texts = _texts(findings, tabled, **scale)
    panels.append(_titled(_written(texts, zoom=zoom), "depth, thickness, probability"))
    heading = f"{name}: {_counts(findings)}"
    if tabled.features:
        heading += f". In the table: {len(tabled.features)}, {tabled.note}"
    return _headed(np.concatenate(panels, axis=1), heading)


def _kind(finding: LayerMark) -> str:
    return "uncertain" if finding.is_uncertain else "lens" if finding.is_lens else "layer"


def _counts(findings: Sequence[LayerMark]) -> str:
    n_lenses = sum(finding.is_lens for finding in findings)
    n_layers = len(findings) - n_lenses
    counts = "1 layer" if n_layers == 1 else f"{n_layers} layers"
    if n_lenses:
        counts += ", 1 lens" if n_lenses == 1 else f", {n_lenses} lenses"
    return f"{counts} found"


def _trace(probability: np.ndarray, *, thresholds: dict[str, float], zoom: float) -> np.ndarray:
    """Returns the panel of the probability along depth, and thresholds by what they are of."""
    trace = np.full((HEIGHT_PX, TRACE_PX, 3), 255, np.uint8)
    for share in (0, 0.5, 1):
        x = int(share * (TRACE_PX - 21)) + 10
        cv2.line(trace, (x, 0), (x, HEIGHT_PX), GRID, 1)
        _write(trace, f"{share:g}", (max(x - 8, 2), 12))
    for i, (name, threshold) in enumerate(thresholds.items()):
        x = int(threshold * (TRACE_PX - 21)) + 10
        cv2.line(trace, (x, 0), (x, HEIGHT_PX), (120, 120, 120), 1, cv2.LINE_AA)
        place = min(x + 4, TRACE_PX - 120), HEIGHT_PX - 8 - LINE_PX * i
        _write(trace, f"{name} from {threshold:.2f}", place)
    rows = np.arange(HEIGHT_PX)
    across = np.interp(rows / zoom, np.arange(len(probability)), probability) * (TRACE_PX - 21) + 10
    points = np.rint(np.stack([across, rows], axis=1)).astype(np.int32)
    cv2.polylines(trace, [points], False, COLOURS["layer"], 2, cv2.LINE_AA)
    return trace


def _table_marks(tabled: Tabled, *, zoom: float) -> np.ndarray:
    """Returns a narrow panel with a bar for each feature of the table; hollow if uncertain."""
    panel = np.full((HEIGHT_PX, 44, 3), 255, np.uint8)
    for feature, (top, bottom) in zip(tabled.features, tabled.rows, strict=True):
        begin, end = int(top * zoom), max(int(np.ceil(bottom * zoom)), int(top * zoom) + 2)
        is_hollow = feature.is_uncertain
        cv2.rectangle(panel, (8, begin), (35, end), TABLED, 1 if is_hollow else -1)
    return panel


def _texts(
    findings: Sequence[LayerMark], tabled: Tabled, *, top_m: float, px_per_m: float
) -> list[tuple[float, list[tuple[str, tuple[int, int, int]]]]]:
    """Returns (row, lines of text with their colours) of each finding and label, from the top."""
    texts = []
    is_found = np.zeros(len(tabled.features), bool)
    for finding in findings:
        thickness_mm = 1000 * (finding.bottom_px - finding.top_px) / px_per_m
        text = f"{top_m + finding.top_px / px_per_m:.4f} m  {thickness_mm:.1f} mm  "
        text += f"{finding.probability:.2f}"
        text += (" lens" if finding.is_lens else "") + (" ?" if finding.is_uncertain else "")
        lines = [(text, COLOURS[_kind(finding)])]
        if tabled.features:
            overlaps = (tabled.rows[:, 0] < finding.bottom_px) & (
                tabled.rows[:, 1] > finding.top_px
            )
            is_found |= overlaps
            kinds = ", ".join(tabled.features[i].kind for i in np.flatnonzero(overlaps).tolist())
            lines.append((f"  table: {kinds}" if kinds else "  not in the table", TABLED))
        texts.append(((finding.top_px + finding.bottom_px) / 2, lines))
    for i in np.flatnonzero(~is_found).tolist():
        feature = tabled.features[i]
        text = f"table: {feature.kind}, not found"
        texts.append((float(tabled.rows[i].mean()), [(text, TABLED)]))
    return sorted(texts, key=lambda item: item[0])


def _written(
    texts: list[tuple[float, list[tuple[str, tuple[int, int, int]]]]], *, zoom: float
) -> np.ndarray:
    """Returns the panel of texts, near their rows where the place is taken.

    Texts that do not fit are left out from the lower end, and the last line says how many.
    """
    panel = np.full((HEIGHT_PX, LABELS_PX, 3), 255, np.uint8)
    ends = np.cumsum([len(lines) for _, lines in texts])
    most = (HEIGHT_PX - BELOW_PX) // LINE_PX  # lines of the panel
    n_shown = len(texts)
    if len(texts) and ends[-1] > most:
        n_shown = int((ends < most).sum())  # one line is for how many more there are
    rest = f"and {len(texts) - n_shown} more, see the table"
    shown = list(texts[:n_shown])
    if n_shown < len(texts):
        shown.append((texts[-1][0], [(rest, SOFT)]))
    for (row, lines), top in zip(shown, _tops(shown, zoom=zoom), strict=True):
        cv2.line(panel, (0, int(row * zoom)), (14, top - 4), SOFT, 1, cv2.LINE_AA)
        for number, (text, colour) in enumerate(lines):
            _write(panel, text, (18, top + number * LINE_PX), colour)
    return panel


def _tops(
    texts: Sequence[tuple[float, list[tuple[str, tuple[int, int, int]]]]], *, zoom: float
) -> list[int]:
    """Returns the base line of each text's first line: none overlaps, none is off the panel."""
    tops, free = [], LINE_PX
    for row, lines in texts:
        tops.append(max(int(row * zoom) + 4, free))
        free = tops[-1] + len(lines) * LINE_PX
    free = HEIGHT_PX - BELOW_PX
    for i in reversed(range(len(texts))):
        tops[i] = min(tops[i], free - (len(texts[i][1]) - 1) * LINE_PX)
        free = tops[i] - LINE_PX
    return tops


def _core_panel(core: np.ndarray, *, title: str, top_m: float, px_per_m: float) -> np.ndarray:
    """Returns the core with its depths in metres at the left."""
    zoom = HEIGHT_PX / len(core)
    scale = np.full((HEIGHT_PX, MARGIN_PX, 3), 255, np.uint8)
    length_m = len(core) / px_per_m
    step_m = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1e9) if length_m / s <= 20)
    for tick in np.arange(np.ceil(top_m / step_m), (top_m + length_m) / step_m):
        y = int((tick * step_m - top_m) * px_per_m * zoom)
        cv2.line(scale, (MARGIN_PX - 6, y), (MARGIN_PX, y), INK, 1)
        _write(scale, f"{tick * step_m:.2f}", (2, min(max(y + 4, 11), HEIGHT_PX - 4)))
    panel = np.concatenate([scale, _shrunk(core)], axis=1)
    _scale_bar(panel, px_per_mm=px_per_m * zoom / 1000)
    return _titled(panel, title)


def _scale_bar(panel: np.ndarray, *, px_per_mm: float) -> None:
    """Draws how long so many mm of depth are, in the lower right corner."""
    length_mm = next((mm for mm in BARS_MM if mm * px_per_mm <= BAR_PX), BARS_MM[-1])
    bottom = len(panel) - 14
    top, x = bottom - round(length_mm * px_per_mm), panel.shape[1] - 16
    text = f"{length_mm} mm"
    panel[top - 6 : bottom + 7, x - 58 : x + 10] = 255
    for y in (top, bottom):
        cv2.line(panel, (x - 5, y), (x + 5, y), INK, 1)
    cv2.line(panel, (x, top), (x, bottom), INK, 2)
    _write(panel, text, (x - 55, (top + bottom) // 2 + 4))


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
