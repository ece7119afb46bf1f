"""Mistakes of a depth table, as hands make them: few, and each is written down in the truth."""

import numpy as np

MISTAKEN_SHARE = 0.15  # of the photos, where their rows allow one
SHIFT_MM = (8.0, 25.0)
CERTAIN = ("meltLayer", "meltLens")


def make(rng: np.random.Generator, truth: list[dict]) -> None:
    """Makes one mistake, or none, in the rows of one photo.

    A layer is missing where at least one other is left. One row is shifted, or two have each
    other's depth, where at least two are right, so that a reader can see which is wrong.

    Args:
      rng: of it.
      truth: rows of truth.csv of a photo. Those of the mistake are changed in place: "mistake" is
        its name, "tabled" 0 for a missing layer, and "row_off_mm" how far a row is from where the
        photo's shift puts it.
    """
    is_made, kind = rng.random() < MISTAKEN_SHARE, int(rng.integers(3))
    certain = [row for row in truth if row["feature"] in CERTAIN]
    layers = [row for row in certain if row["feature"] == "meltLayer"]
    if not is_made or len(certain) < (4 if kind == 2 else 3) or len(layers) < 2:
        return
    if kind == 0:
        layers[rng.integers(len(layers))] |= {"mistake": "missing layer", "tabled": 0}
    elif kind == 1:
        off_mm = rng.choice([-1, 1]) * rng.uniform(*SHIFT_MM)
        row = certain[rng.integers(len(certain))]
        row |= {"mistake": "shifted row", "row_off_mm": f"{off_mm:.1f}"}
    else:
        first, second = (certain[i] for i in rng.choice(len(certain), 2, replace=False))
        for row, other in ((first, second), (second, first)):
            off_mm = 1000 * (float(other["depth_from_m"]) - float(row["depth_from_m"]))
            row |= {"mistake": "swapped depth", "row_off_mm": f"{off_mm:.1f}"}
