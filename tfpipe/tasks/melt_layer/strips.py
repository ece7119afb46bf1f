"""Strips of a core: cutting at one scale for all cameras, and the class of each row."""

import cv2
import numpy as np

from tfpipe.base import images
from tfpipe.tasks.melt_layer.tables import DUBIOUS, Feature

PX_PER_MM = 2.0  # along the core, by the depths of the photo
WIDTH_PX = 64  # the core's whole width
HEIGHT_PX = 512  # 256 mm
STRIDE_PX = 128  # between strips of a training photo; half of the height when predicting

ROW_CLASSES = ("none", "layer", "lens")
NONE, LAYER, LENS = range(3)
SILENT = 255  # of a row that the table does not speak of
INSIDE = 0.75  # share of a layer that a strip has, if it shows one
EDGE_MM = 2.0  # around a feature whose thickness is not in the table, rows are silent


def resampled(core: np.ndarray, *, px_per_m: float) -> np.ndarray:
    """Returns a core [rows, 64, 1] uint8, grey, of 2 px per mm along and 64 px across.

    Args:
      core: [height, 200, 3] uint8, depth downwards.
      px_per_m: its rows per metre of depth.
    """
    grey = images.to_grey(core)
    rows = max(1, round(len(core) / px_per_m * 1000 * PX_PER_MM))
    narrow = cv2.resize(grey, (WIDTH_PX, len(core)), interpolation=cv2.INTER_AREA)
    along = cv2.INTER_AREA if rows < len(core) else cv2.INTER_LINEAR
    return cv2.resize(narrow, (WIDTH_PX, rows), interpolation=along)[..., None]


def tops(n_rows: int, *, stride_px: int) -> np.ndarray:
    """Returns the first row [strips] int of each strip; the last ends on the core's last row.

    A core shorter than a strip has one, which begins at its first row.
    """
    last = max(n_rows - HEIGHT_PX, 0)
    rows = np.arange(0, last + 1, stride_px)
    return rows if rows[-1] == last else np.append(rows, last)


def padded(core: np.ndarray) -> np.ndarray:
    """Returns a core [rows, ...] of at least a strip's height; what it lacks is its last row."""
    lacking = max(HEIGHT_PX - len(core), 0)
    return np.concatenate([core, np.repeat(core[-1:], lacking, axis=0)]) if lacking else core


def row_labels(
    n_rows: int,
    features: list[Feature],
    rows: np.ndarray,
    *,
    covered: tuple[int, int],
    guard_px: int,
    includes_uncertain: bool = False,
) -> np.ndarray:
    """Returns the class [n_rows] uint8 of each row: an index into `ROW_CLASSES`, or `SILENT`.

    Silent are rows that the table does not cover, uncertain features with a guard around them, and
    the surroundings of a lens or layer whose thickness is not in the table.

    Args:
      n_rows: of the core.
      features: the table's.
      rows: [features, 2] int, first and one-past-last row of each.
      covered: first and one-past-last row that the table covers.
      guard_px: rows around an uncertain feature.
      includes_uncertain: whether uncertain features count as layers and lenses, except those that a
        reviewer could not decide about.
    """
    labels = np.full(n_rows, NONE, np.uint8)
    edge_px = round(EDGE_MM * PX_PER_MM)
    certain: dict[int, list[tuple[int, int]]] = {LENS: [], LAYER: []}
    for feature, span in zip(features, rows.tolist(), strict=True):
        is_silent = feature.is_uncertain and not (includes_uncertain and feature.kind != DUBIOUS)
        if not is_silent:
            is_lens = "lens" in feature.kind.lower()
            certain[LENS if is_lens else LAYER].append(span)
        if is_silent or feature.depth_to_m <= feature.depth_from_m:
            around = guard_px if is_silent else edge_px
            labels[max(span[0] - around, 0) : max(span[1] + around, 0)] = SILENT
    for row_class in (LENS, LAYER):  # a lens beside a layer does not hide it
        for first, end in certain[row_class]:
            labels[max(first, 0) : max(end, 0)] = row_class
    labels[: max(covered[0], 0)] = SILENT
    labels[max(covered[1], 0) :] = SILENT
    return labels


def label(labels: np.ndarray, top: int) -> int:
    """Returns the class of a strip: 1 with a layer, 0 without one, -1 where that is not known.

    A layer is in a strip if at least three quarters of it are; with less of one, or with silent
    rows and no layer, the strip has no class.

    Args:
      labels: [n_rows] uint8, of the whole core.
      top: first row of the strip.
    """
    bottom = top + HEIGHT_PX
    shown = labels[top:bottom]
    if not (shown == LAYER).any():
        return -1 if (shown == SILENT).any() else 0
    steps = np.diff(np.concatenate(([0], (labels == LAYER).astype(np.int8), [0])))
    first, end = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    inside = np.clip(np.minimum(end, bottom) - np.maximum(first, top), 0, None)
    return 1 if (inside >= INSIDE * (end - first)).any() else -1
