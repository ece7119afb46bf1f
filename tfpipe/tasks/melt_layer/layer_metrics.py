"""Layer metrics: detected layers compared with those of the table, in depth."""

from dataclasses import dataclass, field

import numpy as np

from tfpipe.tasks.melt_layer.layer_detection import Layer
from tfpipe.tasks.melt_layer.tables import Feature


@dataclass(frozen=True)
class LayerCounts:
    """Counts of detected and tabled layers, of one photo or many.

    Attributes:
      hits: tabled layers matched with a detected one, one to one.
      misses: tabled layers without a match.
      false: detected layers without a match that lie on no uncertain feature.
      errors_mm: [hits] distance between the middles of the two layers of each match.
      false_positive_kinds: [false] the feature that each false layer lies on, in the table's
        words, or "other".
      detected: detected layers in the rows that the table speaks of, those on uncertain features
        among them.
      kinds: the same counts of what else a model names, such as {"lens": counts}.
    """

    hits: int
    misses: int
    false: int
    errors_mm: tuple[float, ...]
    false_positive_kinds: tuple[str, ...]
    detected: int
    kinds: dict[str, "LayerCounts"] = field(default_factory=dict)

    def __add__(self, other: "LayerCounts") -> "LayerCounts":
        return LayerCounts(
            self.hits + other.hits,
            self.misses + other.misses,
            self.false + other.false,
            self.errors_mm + other.errors_mm,
            self.false_positive_kinds + other.false_positive_kinds,
            self.detected + other.detected,
            {name: counts + other.kinds[name] for name, counts in self.kinds.items()},
        )

    @property
    def precision(self) -> float:
        """Share of the detected layers that are tabled; NaN where none is detected."""
        return self.hits / (self.hits + self.false) if self.hits + self.false else float("nan")

    @property
    def precision_bound(self) -> float:
        """Lower bound of the precision with 80 % confidence (Clopper & Pearson 1934)."""
        if not self.hits:
            return 0.0
        from scipy.special import betaincinv  # as `linear_sum_assignment` below

        return float(betaincinv(self.hits, self.false + 1, 0.2))

    @property
    def recall(self) -> float:
        """Share of the tabled layers that are detected; NaN where none is tabled."""
        return self.hits / self.tabled if self.tabled else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN where none is tabled or detected."""
        total = 2 * self.hits + self.false + self.misses
        return 2 * self.hits / total if total else float("nan")

    @property
    def tabled(self) -> int:
        return self.hits + self.misses

    @property
    def scores(self) -> dict[str, float]:
        """Precision, recall, F1 of layers and of each kind; the layers' median error in mm."""
        scores = {
            "layer_precision": self.precision,
            "layer_recall": self.recall,
            "layer_f1": self.f1,
            "layer_depth_error_mm": (
                float(np.median(self.errors_mm)) if self.errors_mm else float("nan")
            ),
            "layers_tabled": self.tabled,
            "layers_found": self.detected,
        }
        for name, counts in self.kinds.items():
            scores |= {
                f"{name}_precision": counts.precision,
                f"{name}_recall": counts.recall,
                f"{name}_f1": counts.f1,
                f"{name}_tabled": counts.tabled,
                f"{name}_found": counts.detected,
            }
        return scores


def count_layers(
    detected: list[Layer],
    features: list[Feature],
    rows: np.ndarray,
    *,
    px_per_m: float,
    scored_rows: tuple[int, int] | None = None,
    is_lens: bool = False,
) -> LayerCounts:
    """Returns the counts of a core's detected layers against the table's aligned features.

    Detected and tabled layers are matched one to one, so that they share the most rows in all.
    Surplus pieces of a tabled layer are false, and so is one on a lens. A detected layer on an
    uncertain feature counts neither way. Where labels are moved, the table speaks of fewer rows
    than the photo has: layers outside count neither way.

    Args:
      detected: the layers of a model.
      features: the table's features in this core.
      rows: [features, 2] int, first and one-past-last row of each in the scaled core, shifted.
      px_per_m: rows per metre.
      scored_rows: first and one-past-last row that the table speaks of; None for all rows. A tabled
        layer counts if its middle lies there; a detected one also if it is matched.
      is_lens: whether lenses are counted, not layers. Then one on a layer is false.
    """
    from scipy.optimize import (
        linear_sum_assignment,
    )  # a third of a second

    spans = np.array([(layer.top_px, layer.bottom_px) for layer in detected]).reshape(-1, 2)
    first, end = scored_rows or (-np.inf, np.inf)
    middles, tabled_middles = spans.mean(axis=1), rows.mean(axis=1)
    is_inside, is_scored = (
        (first <= values) & (values < end) for values in (middles, tabled_middles)
    )
    shared = np.maximum(
        np.minimum(spans[:, None, 1], rows[None, :, 1])
        - np.maximum(spans[:, None, 0], rows[None, :, 0]),
        0,
    )
    is_layer = np.array([one.is_lens if is_lens else one.is_layer for one in features], bool)
    is_uncertain = np.array([feature.is_uncertain for feature in features], bool)
    counted = np.flatnonzero(is_layer & is_scored)
    found, tabled = linear_sum_assignment(shared[:, counted], maximize=True)
    is_match = shared[found, counted[tabled]] > 0
    found, tabled = found[is_match], counted[tabled[is_match]]
    errors_mm = 1000 / px_per_m * np.abs(middles[found] - tabled_middles[tabled])
    is_neutral = (shared[:, is_uncertain | (is_layer & ~is_scored)] > 0).any(axis=1)
    is_false = is_inside & ~is_neutral
    is_false[found] = False
    is_counted = is_inside.copy()
    is_counted[found] = True
    false_positive_kinds = []
    for i in np.flatnonzero(is_false):
        under = np.flatnonzero(shared[i])
        false_positive_kinds.append(features[under[0]].kind if len(under) else "other")
    return LayerCounts(
        len(found),
        len(counted) - len(found),
        int(is_false.sum()),
        tuple(errors_mm.tolist()),
        tuple(false_positive_kinds),
        int(is_counted.sum()),
    )
