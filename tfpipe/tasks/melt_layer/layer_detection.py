"""Layer detection: from probabilities of windows to layers in rows of the core."""

from dataclasses import dataclass

import numpy as np

from tfpipe.tasks.melt_layer import windows

HALF = 0.5  # a layer ends where its darkness has fallen to half of its deepest
LEAST_DARKNESS = 2.0  # of a layer's darkest row, in robust deviations below its surroundings
BESIDE_DARKNESS = 4.0  # the same, for a layer beside a darker one; noise beside a layer has less
# Pieces of one layer that noise has cut: between two layers there is more bright ice than this.
GAP_MM = 1.0
SHARE = 0.8  # dark rows below this share of their zone's highest probability are no layer


@dataclass(frozen=True)
class Layer:
    """A layer detected in a core.

    Attributes:
      top_px: first row in the scaled core.
      bottom_px: one past its last row.
      probability: highest of its rows' probabilities (`trace`).
    """

    top_px: int
    bottom_px: int
    probability: float


def trace(top_px: np.ndarray, probability: np.ndarray, *, height_px: int) -> np.ndarray:
    """Returns each row's probability [height] float: the mean over the windows that hold the row.

    All windows around a thin layer show it, but only some of the windows around its neighbouring
    rows. So the mean peaks at the layer, although a window only tells that it shows one.

    Args:
      top_px: [windows] int, first row of each window.
      probability: [windows] float, that the window shows a layer.
      height_px: of the core.
    """
    spans = np.stack([top_px, top_px + windows.HEIGHT_PX], axis=1)
    sums = _stacked(spans, probability, height_px=height_px)
    counts = _stacked(spans, np.ones(len(spans)), height_px=height_px)
    return np.clip(sums / np.maximum(counts, 1), 0, 1)


def _stacked(spans: np.ndarray, weights: np.ndarray, *, height_px: int) -> np.ndarray:
    """Returns the sum [height] of the weights [n] of the spans [n, 2] int that hold each row."""
    steps = np.zeros(height_px + 1)
    np.add.at(steps, spans[:, 0], weights)
    np.add.at(steps, spans[:, 1], -weights)
    return np.cumsum(steps)[:-1]


def merge(
    probability: np.ndarray, *, brightness: np.ndarray, threshold: float, px_per_m: float
) -> list[Layer]:
    """Merges rows above the threshold into layers, each as thick as it is dark.

    Args:
      probability: [height] float, each row's probability (`trace`).
      brightness: [height] float, the core's row profile without trend (`alignment.profile`).
      threshold: a zone of rows at or above it holds one layer or several.
      px_per_m: rows per metre of depth.

    Returns:
      The layers, from the top. In each zone these are its dark runs of rows, each as far as it is
      half as dark as its own darkest row. Two runs at most a millimetre apart are one, unless one
      is over twice as dark. Runs of much lower probability, such as a lens or a break beside a
      layer, are left out: their windows show the neighbour.
    """
    layers: list[Layer] = []
    for low, high in _runs(probability >= threshold):
        peak = probability[low:high].max()
        is_first = True
        inside = []
        for top, bottom in _dark_runs(brightness, low, high):  # the darkest first
            highest = float(probability[top:bottom].max())
            is_dark = is_first or brightness[top:bottom].min() <= -BESIDE_DARKNESS
            if highest >= SHARE * peak and is_dark:
                inside.append(Layer(top, bottom, highest))
                is_first = False
        layers += [
            layer
            for layer in _joined(inside, brightness=brightness, gap_px=GAP_MM / 1000 * px_per_m)
            if not layers or layer.top_px >= layers[-1].bottom_px
        ]
    return layers


def _joined(pieces: list[Layer], *, brightness: np.ndarray, gap_px: float) -> list[Layer]:
    """Returns layers from the top, those joined that are about as dark and next to each other."""
    layers: list[Layer] = []
    for piece in sorted(pieces, key=lambda layer: layer.top_px):
        if layers and piece.top_px - layers[-1].bottom_px <= gap_px:
            last = layers[-1]
            depths = [-brightness[one.top_px : one.bottom_px].min() for one in (last, piece)]
            if min(depths) >= HALF * max(depths):
                probability = max(last.probability, piece.probability)
                layers[-1] = Layer(last.top_px, piece.bottom_px, probability)
                continue
        layers.append(piece)
    return layers


def merge_intervals(
    top_px: np.ndarray,
    probability: np.ndarray,
    ends_px: np.ndarray,
    *,
    height_px: int,
    threshold: float,
) -> list[Layer]:
    """Merges the begin and end rows that a model predicts for the layer in each window.

    A row belongs to a layer if at least half of the windows that contain the row and show a layer
    put it inside that layer. Windows are weighted by their probability.

    Args:
      top_px: [windows] int, first row of each window.
      probability: [windows] float, that the window shows a layer.
      ends_px: [windows, 2] float, rows of the core at which its layer begins and ends.
      height_px: of the core.
      threshold: windows below it show no layer.

    Returns:
      The layers, from the top, each with the highest probability of its windows.
    """
    shows = probability >= threshold
    weights, top_px = probability[shows], top_px[shows]
    spans = np.rint(ends_px[shows]).astype(int)
    spans[:, 0] = np.clip(spans[:, 0], 0, height_px - 1)
    spans[:, 1] = np.clip(spans[:, 1], spans[:, 0] + 1, height_px)
    inside = _stacked(spans, weights, height_px=height_px)
    whole = np.stack([top_px, top_px + windows.HEIGHT_PX], axis=1)
    containing = _stacked(whole, weights, height_px=height_px)
    layers = []
    for top, bottom in _runs((inside >= HALF * containing) & (inside > 1e-9)):
        overlaps = (spans[:, 0] < bottom) & (spans[:, 1] > top)
        layers.append(Layer(top, bottom, float(weights[overlaps].max())))
    return layers


def _dark_runs(brightness: np.ndarray, low: int, high: int) -> list[tuple[int, int]]:
    """Returns the dark runs of rows that reach into [low, high), whole, the darkest first.

    A run extends as far as rows are at least half as dark as its own darkest row. A row that is
    not separated from a darker run by one less than half as dark belongs to that run. The run of a
    thick layer extends beyond its zone, as few windows at its ends show enough of it. Where no row
    is dark across the core there is no run: it is a bright or an oblique crack.
    """
    runs: list[tuple[int, int]] = []
    is_free = np.ones(len(brightness), bool)
    for row in (low + np.argsort(brightness[low:high], kind="stable")).tolist():
        if brightness[row] > -LEAST_DARKNESS:
            break
        if not is_free[row]:
            continue
        is_bright = brightness > brightness[row] * HALF
        above, below = np.flatnonzero(is_bright[:row]), np.flatnonzero(is_bright[row:])
        top = int(above[-1]) + 1 if len(above) else 0
        bottom = row + int(below[0]) if len(below) else len(brightness)
        if is_free[top:bottom].all():
            runs.append((top, bottom))
        is_free[top:bottom] = False
    return runs


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Returns start and end of each run of True in [n] bool."""
    steps = np.diff(np.concatenate(([0], flags.astype(np.int8), [0])))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))
