"""From window probabilities to layers in metres, and from layers to scores."""

from dataclasses import dataclass

import numpy as np

from tfpipe.tasks.melt_layer import windows
from tfpipe.tasks.melt_layer.tables import Feature

HALF = 0.5  # a layer ends where its darkness has fallen to half of its deepest
LEAST_DARKNESS = 2.0  # of a layer's darkest row, in robust deviations under the rows around it
SHARE = 0.8  # of a zone's highest probability, below which its dark rows are something else


@dataclass(frozen=True)
class Layer:
    """A layer found in a core.

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

    All windows around a thin layer show it, and fewer of those around its neighbours, so the mean
    peaks at the layer though each window only says that there is one somewhere inside.

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


def merge(likely: np.ndarray, *, brightness: np.ndarray, threshold: float) -> list[Layer]:
    """Merges rows above the threshold into layers, each as thick as it is dark.

    Args:
      likely: [height] float, each row's probability (`trace`).
      brightness: [height] float, the core's row profile without trend (`alignment.profile`).
      threshold: a zone of rows at or above it holds one layer or several.

    Returns:
      The layers, from the top. In each zone these are its dark runs of rows, without those whose
      probability says that the windows around them saw the neighbour: a lens beside a layer.
    """
    found = []
    for low, high in _runs(likely >= threshold):
        peak = likely[low:high].max()
        for top, bottom in _dark_runs(brightness, low, high):
            highest = float(likely[top:bottom].max())
            is_new = not found or top >= found[-1].bottom_px
            if is_new and highest >= SHARE * peak:
                found.append(Layer(top, bottom, highest))
    return found


def merge_intervals(
    top_px: np.ndarray,
    probability: np.ndarray,
    ends_px: np.ndarray,
    *,
    height_px: int,
    threshold: float,
) -> list[Layer]:
    """Merges what windows say of where their layer begins and ends.

    A row belongs to a layer if at least half of the windows that hold the row, and show a layer,
    put it inside theirs; the likelier a window, the more it counts.

    Args:
      top_px: [windows] int, first row of each window.
      probability: [windows] float, that the window shows a layer.
      ends_px: [windows, 2] float, rows of the core at which its layer begins and ends.
      height_px: of the core.
      threshold: windows below it show none.

    Returns:
      The layers, from the top, each as probable as the likeliest window that speaks of it.
    """
    shows = probability >= threshold
    weights, top_px = probability[shows], top_px[shows]
    spans = np.rint(ends_px[shows]).astype(int)
    spans[:, 0] = np.clip(spans[:, 0], 0, height_px - 1)
    spans[:, 1] = np.clip(spans[:, 1], spans[:, 0] + 1, height_px)
    inside = _stacked(spans, weights, height_px=height_px)
    whole = np.stack([top_px, top_px + windows.HEIGHT_PX], axis=1)
    held = _stacked(whole, weights, height_px=height_px)
    found = []
    for top, bottom in _runs((inside >= HALF * held) & (inside > 1e-9)):
        speaks = (spans[:, 0] < bottom) & (spans[:, 1] > top)
        found.append(Layer(top, bottom, float(weights[speaks].max())))
    return found


def _dark_runs(brightness: np.ndarray, low: int, high: int) -> list[tuple[int, int]]:
    """Returns the runs of rows at least half as dark as the darkest in [low, high), whole.

    A thick layer's run goes on beyond its zone, whose ends few windows call a layer. Where no row
    is dark over the core's width there is no run: a bright or an oblique crack.
    """
    darkest = low + int(brightness[low:high].argmin())
    if brightness[darkest] > -LEAST_DARKNESS:
        return []
    runs = _runs(brightness <= brightness[darkest] * HALF)
    return [(top, bottom) for top, bottom in runs if top < high and bottom > low]


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Returns start and end of each run of True in [n] bool."""
    steps = np.diff(np.concatenate(([0], flags.astype(np.int8), [0])))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


@dataclass(frozen=True)
class Match:
    """Found layers against tabled ones, of one photo or many.

    Attributes:
      hits: tabled layers that a found one overlaps in depth.
      misses: tabled layers that none overlaps.
      false: found layers that overlap no tabled layer and no doubtful feature.
      errors_mm: distance between the middles of each hit and the nearest found layer, [hits].
      false_kinds: what each false one lies on: the table's word, or "other".
    """

    hits: int
    misses: int
    false: int
    errors_mm: tuple[float, ...]
    false_kinds: tuple[str, ...]

    def __add__(self, other: "Match") -> "Match":
        return Match(
            self.hits + other.hits,
            self.misses + other.misses,
            self.false + other.false,
            self.errors_mm + other.errors_mm,
            self.false_kinds + other.false_kinds,
        )

    @property
    def precision(self) -> float:
        """Share of the found layers that are tabled; NaN where none is found."""
        return self.hits / (self.hits + self.false) if self.hits + self.false else float("nan")

    @property
    def scores(self) -> dict[str, float]:
        """Precision, recall and F1 of layers, and the median depth error in mm."""
        found, tabled = self.hits + self.false, self.hits + self.misses
        recall = self.hits / tabled if tabled else float("nan")
        both = 2 * self.hits + self.false + self.misses
        return {
            "layer_precision": self.precision,
            "layer_recall": recall,
            "layer_f1": 2 * self.hits / both if both else float("nan"),
            "layer_depth_error_mm": float(np.median(self.errors_mm))
            if self.errors_mm
            else float("nan"),
            "layers_tabled": tabled,
            "layers_found": found,
        }


def match(
    found: list[Layer], features: list[Feature], rows: np.ndarray, *, px_per_m: float
) -> Match:
    """Compares the layers found in a core with the table's aligned features.

    A tabled layer is found if a found one shares a row with it. Several found ones on one tabled
    layer count once. One on a doubtful feature counts neither way; one on a lens is false.

    Args:
      found: layers found.
      features: the table's features in this core.
      rows: [features, 2] int, their rows in the scaled core, shifted.
      px_per_m: rows per metre.
    """
    spans = np.array([(layer.top_px, layer.bottom_px) for layer in found]).reshape(-1, 2)
    shared = np.minimum(spans[:, None, 1], rows[None, :, 1]) - np.maximum(
        spans[:, None, 0], rows[None, :, 0]
    )
    touches = shared > 0
    is_layer = np.array([f.is_layer for f in features], bool)
    is_doubtful = np.array([f.is_uncertain for f in features], bool)
    hit = touches[:, is_layer].any(axis=0)
    middles, tabled = spans.mean(axis=1), rows[is_layer].mean(axis=1)
    errors_mm = [
        1000 / px_per_m * float(np.abs(middles - tabled[i])[touches[:, is_layer][:, i]].min())
        for i in np.flatnonzero(hit)
    ]
    false = ~touches[:, is_layer].any(axis=1) & ~touches[:, is_doubtful].any(axis=1)
    kinds = []
    for i in np.flatnonzero(false):
        on = np.flatnonzero(touches[i])
        kinds.append(features[on[0]].kind if len(on) else "other")
    return Match(
        int(hit.sum()), int((~hit).sum()), int(false.sum()), tuple(errors_mm), tuple(kinds)
    )
