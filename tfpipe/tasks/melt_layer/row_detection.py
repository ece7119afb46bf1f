"""Row detection: from the probabilities of rows to whole layers and lenses."""

from dataclasses import dataclass

import numpy as np

from tfpipe.tasks.melt_layer import strips
from tfpipe.tasks.melt_layer.layer_detection import Layer

LEAST = 0.1  # rows below this probability belong to no layer
HALF = 0.5  # a layer reaches as far as its rows have half of its highest probability
GAP_MM = 2.0  # between two layers there is more ice than this
AROUND_MM = (3.0, 25.0)  # the surrounding ice, from a layer's edges


@dataclass(frozen=True)
class Melt(Layer):
    """A layer or lens detected in rows of a core.

    Attributes:
      kind: "layer" or "lens".
      darkness: its brightness, as a share of that of the ice around; NaN where there is none.
    """

    kind: str = "layer"
    darkness: float = float("nan")


def taper(height_px: int) -> np.ndarray:
    """Returns the weight [height_px] float of each row of a strip: its ends see less context."""
    return np.minimum(np.arange(1, height_px + 1), np.arange(height_px, 0, -1)) / height_px


def stitched(rows: np.ndarray, top_px: np.ndarray, *, n_rows: int) -> np.ndarray:
    """Returns the probabilities [n_rows, classes] of a core's rows, of strips that overlap.

    Args:
      rows: [strips, height, classes] float, of the rows of each strip.
      top_px: [strips] int, first row of each.
      n_rows: of the core.
    """
    height = rows.shape[1]
    weight = taper(height)
    total = np.zeros((max(n_rows, height), rows.shape[2]))
    weights = np.zeros((len(total), 1))
    for strip, top in zip(rows, top_px.tolist(), strict=True):
        total[top : top + height] += weight[:, None] * strip
        weights[top : top + height] += weight[:, None]
    return (total / weights)[:n_rows]


def detect(rows: np.ndarray, core: np.ndarray) -> list[Melt]:
    """Returns all that may be a layer or a lens, from the top, with its probability.

    A candidate is a run of rows in which melt has at least half of its highest probability. Its
    probability is the mean over the run: that of the whole layer, not of its best row.

    Args:
      rows: [n_rows, 3] float, probabilities of `strips.ROW_CLASSES`.
      core: [n_rows, 64, 1] uint8, of `strips.resampled`.
    """
    melt = 1 - rows[:, strips.NONE]
    brightness = core[:, core.shape[1] // 10 : -(core.shape[1] // 10)].mean(axis=(1, 2))
    gap_px = GAP_MM * strips.PX_PER_MM
    spans: list[tuple[int, int]] = []
    for low, high in _joined(runs(melt >= LEAST), gap_px):
        highest = melt[low:high].max()
        inside = [(low + first, low + end) for first, end in runs(melt[low:high] >= HALF * highest)]
        spans += _joined(inside, gap_px)
    found = []
    for first, end in spans:
        of_kind = rows[first:end].mean(axis=0)
        is_lens = of_kind[strips.LENS] > of_kind[strips.LAYER]
        found.append(
            Melt(
                first,
                end,
                float(1 - of_kind[strips.NONE]),
                kind=strips.ROW_CLASSES[strips.LENS if is_lens else strips.LAYER],
                darkness=_darkness(brightness, melt, first, end),
            )
        )
    return found


def _darkness(brightness: np.ndarray, melt: np.ndarray, first: int, end: int) -> float:
    """Returns a layer's brightness as a share of that of the ice around that is no melt."""
    near, far = (round(mm * strips.PX_PER_MM) for mm in AROUND_MM)
    place = np.arange(len(brightness))
    distance = np.maximum(first - place, place - (end - 1))
    around = (distance > near) & (distance <= far) & (melt < LEAST)
    if not around.any():
        return float("nan")
    return float(brightness[first:end].mean() / max(np.median(brightness[around]), 1e-6))


def _joined(spans: list[tuple[int, int]], gap_px: float) -> list[tuple[int, int]]:
    """Returns spans from the top, those joined that are at most so far from each other."""
    joined: list[tuple[int, int]] = []
    for first, end in spans:
        if joined and first - joined[-1][1] <= gap_px:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((first, end))
    return joined


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Returns start and end of each run of True in [n] bool."""
    steps = np.diff(np.concatenate(([0], flags.astype(np.int8), [0])))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))
