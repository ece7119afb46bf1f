"""Scores of found melt layers against a generator's truth; knows nothing of tfpipe's own metrics.

A found layer is right where it overlaps a true layer by depth, each widened by half a millimetre;
one found layer has one true layer, so that as many as can be are right and their middles are
nearest. What is found on a feature that the truth calls uncertain counts neither way.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

SLACK_MM = 0.5
NO_PAIR = 1e6  # cost in mm: any number of pairs is better than one less
LENS, UNCERTAIN = "lens", "uncertain"
# What a false layer lies on, in the words of the table; the first that it overlaps counts.
CAUSES = {
    "lens": "lens",
    "break": "break",
    "chip": "break",
    "open": "crack",
    "refrozen": "crack",
    "glare": "glare",
    "stratification": "stratification",
}
COLUMNS = ("lens", "break", "crack", "glare", "stratification", "other")


@dataclass
class Tally:
    """Counts of one or more photos.

    Attributes:
      right: by kind of true layer, how many were found.
      true: by kind, how many there are.
      false: by what lies there, how many found layers are none.
      false_lenses: how many found lenses are none.
      errors_mm: distances between the middles of found and true layers.
    """

    right: Counter = field(default_factory=Counter)
    true: Counter = field(default_factory=Counter)
    false: Counter = field(default_factory=Counter)
    false_lenses: int = 0
    errors_mm: list[float] = field(default_factory=list)

    def __iadd__(self, other: "Tally") -> "Tally":
        self.right += other.right
        self.true += other.true
        self.false += other.false
        self.false_lenses += other.false_lenses
        self.errors_mm += other.errors_mm
        return self

    def scores(self, kinds: tuple[str, ...]) -> dict[str, float]:
        """Returns F1, precision, recall of each kind, median depth error in mm, false by cause.

        Precision and F1 are those of layers. Lenses, where a model names them, have their own.

        Args:
          kinds: of layers.
        """
        n_right, n_true = (
            sum(counts[kind] for kind in kinds) for counts in (self.right, self.true)
        )
        n_false = sum(self.false.values())
        return {
            "f1": _share(2 * n_right, n_right + n_false + n_true),
            "precision": _share(n_right, n_right + n_false),
            **{kind: _share(self.right[kind], self.true[kind]) for kind in (*kinds, LENS)},
            "lens precision": _share(self.right[LENS], self.right[LENS] + self.false_lenses),
            "error_mm": float(np.median(self.errors_mm)) if self.errors_mm else float("nan"),
            **{f"false {cause}": self.false[cause] for cause in COLUMNS},
        }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def tally(results: pd.DataFrame, truth: pd.DataFrame, *, kinds: tuple[str, ...]) -> Tally:
    """Returns the counts of all photos of the truth.

    Args:
      results: a row for each layer: photo, from_top_mm, thickness_mm; and kind, "layer" or "lens",
        of models that tell them apart.
      truth: a row for each thing: photo, kind, cause, from_mm, to_mm.
      kinds: of the truth that are layers.

    Raises:
      ValueError: a photo was predicted that is not in the truth.
    """
    if strange := sorted(set(results["photo"]) - set(truth["photo"])):
        raise ValueError(f"The truth has no photo {strange[0]}.")
    has_kinds, every = "kind" in results, Tally()
    for photo, things in truth.groupby("photo"):
        rows = results[results["photo"] == photo]
        is_lens = rows["kind"].eq(LENS) if has_kinds else pd.Series(False, rows.index)
        every += _layers(_spans(rows[~is_lens]), things, kinds=kinds)
        if has_kinds:
            every += _lenses(_spans(rows[is_lens]), things)
    return every


def _lenses(spans: np.ndarray, things: pd.DataFrame) -> Tally:
    lenses = things[things["kind"] == LENS]
    pairs = match(spans, lenses[["from_mm", "to_mm"]].to_numpy(float))
    rest = np.delete(spans, [i for i, _ in pairs], axis=0)
    uncertain = things.loc[things["kind"] == UNCERTAIN, ["from_mm", "to_mm"]].to_numpy(float)
    return Tally(
        right=Counter({LENS: len(pairs)}),
        true=Counter({LENS: len(lenses)}),
        false_lenses=int((~_overlaps(rest, uncertain).any(axis=1)).sum()),
    )


def _spans(rows: pd.DataFrame) -> np.ndarray:
    """Returns the edges [rows, 2] float in mm of found layers."""
    from_mm = rows["from_top_mm"].to_numpy(float)
    return np.stack([from_mm, from_mm + rows["thickness_mm"].to_numpy(float)], axis=1)


def _layers(spans: np.ndarray, things: pd.DataFrame, *, kinds: tuple[str, ...]) -> Tally:
    layers = things[things["kind"].isin(kinds)]
    true = layers[["from_mm", "to_mm"]].to_numpy(float)
    pairs = match(spans, true)
    names = layers["kind"].tolist()
    result = Tally(right=Counter(names[j] for _, j in pairs), true=Counter(names))
    result.errors_mm = [float(abs(spans[i].mean() - true[j].mean())) for i, j in pairs]
    for i in sorted(set(range(len(spans))) - {i for i, _ in pairs}):
        under = things[_overlaps(spans[i : i + 1], things[["from_mm", "to_mm"]].to_numpy(float))[0]]
        if under["kind"].eq(UNCERTAIN).any():
            continue
        causes = [CAUSES[cause] for cause in CAUSES if under["cause"].eq(cause).any()]
        result.false[causes[0] if causes else "other"] += 1
    return result


def _overlaps(spans: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Returns whether [found, true] each pair shares depth, widened by SLACK_MM."""
    shared = np.minimum(spans[:, None, 1], true[None, :, 1])
    shared = shared - np.maximum(spans[:, None, 0], true[None, :, 0])
    return shared > -2 * SLACK_MM


def match(spans: np.ndarray, true: np.ndarray) -> list[tuple[int, int]]:
    """Returns the pairs (found, true): as many as overlap one to one, their middles nearest.

    Args:
      spans: [found, 2] float, edges in mm.
      true: [true, 2] float.
    """
    far_mm = np.abs(spans.mean(axis=1)[:, None] - true.mean(axis=1)[None])
    is_pair = _overlaps(spans, true)
    rows, columns = linear_sum_assignment(np.where(is_pair, far_mm, NO_PAIR))
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if is_pair[i, j]]
