"""Layer metrics: detected layers compared with those of the table, in depth."""

from dataclasses import dataclass

import numpy as np

from tfpipe.tasks.melt_layer.layer_detection import Layer
from tfpipe.tasks.melt_layer.tables import Feature


@dataclass(frozen=True)
class LayerCounts:
    """Counts of detected and tabled layers, of one photo or many.

    Attributes:
      hits: tabled layers that a detected one overlaps in depth.
      misses: tabled layers that no detected one overlaps.
      false: detected layers that overlap no tabled layer and no uncertain feature.
      errors_mm: [hits] distance between the middles of each hit and the nearest detected layer.
      false_positive_kinds: [false] the feature that each false layer lies on, in the table's
        words, or "other".
    """

    hits: int
    misses: int
    false: int
    errors_mm: tuple[float, ...]
    false_positive_kinds: tuple[str, ...]

    def __add__(self, other: "LayerCounts") -> "LayerCounts":
        return LayerCounts(
            self.hits + other.hits,
            self.misses + other.misses,
            self.false + other.false,
            self.errors_mm + other.errors_mm,
            self.false_positive_kinds + other.false_positive_kinds,
        )

    @property
    def precision(self) -> float:
        """Share of the detected layers that are tabled; NaN where none is detected."""
        return self.hits / (self.hits + self.false) if self.hits + self.false else float("nan")

    @property
    def scores(self) -> dict[str, float]:
        """Precision, recall and F1 of layers, and the median depth error in mm."""
        n_detected, n_tabled = self.hits + self.false, self.hits + self.misses
        total = 2 * self.hits + self.false + self.misses
        return {
            "layer_precision": self.precision,
            "layer_recall": self.hits / n_tabled if n_tabled else float("nan"),
            "layer_f1": 2 * self.hits / total if total else float("nan"),
            "layer_depth_error_mm": (
                float(np.median(self.errors_mm)) if self.errors_mm else float("nan")
            ),
            "layers_tabled": n_tabled,
            "layers_found": n_detected,
        }


def count_layers(
    detected: list[Layer], features: list[Feature], rows: np.ndarray, *, px_per_m: float
) -> LayerCounts:
    """Returns the counts of a core's detected layers against the table's aligned features.

    A tabled layer is a hit if a detected one shares a row with it. Several detected layers on one
    tabled layer count once. A detected layer on an uncertain feature counts neither way; one on a
    lens is false.

    Args:
      detected: the layers of a model.
      features: the table's features in this core.
      rows: [features, 2] int, first and one-past-last row of each in the scaled core, shifted.
      px_per_m: rows per metre.
    """
    spans = np.array([(layer.top_px, layer.bottom_px) for layer in detected]).reshape(-1, 2)
    shared = np.minimum(spans[:, None, 1], rows[None, :, 1]) - np.maximum(
        spans[:, None, 0], rows[None, :, 0]
    )
    touches = shared > 0
    is_layer = np.array([feature.is_layer for feature in features], bool)
    is_uncertain = np.array([feature.is_uncertain for feature in features], bool)
    is_hit = touches[:, is_layer].any(axis=0)
    middles, tabled_middles = spans.mean(axis=1), rows[is_layer].mean(axis=1)
    errors_mm = []
    for i in np.flatnonzero(is_hit):
        distances = np.abs(middles - tabled_middles[i])[touches[:, is_layer][:, i]]
        errors_mm.append(1000 / px_per_m * float(distances.min()))
    is_false = ~touches[:, is_layer].any(axis=1) & ~touches[:, is_uncertain].any(axis=1)
    false_positive_kinds = []
    for i in np.flatnonzero(is_false):
        under = np.flatnonzero(touches[i])
        false_positive_kinds.append(features[under[0]].kind if len(under) else "other")
    return LayerCounts(
        int(is_hit.sum()),
        int((~is_hit).sum()),
        int(is_false.sum()),
        tuple(errors_mm),
        tuple(false_positive_kinds),
    )
