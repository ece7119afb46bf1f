"""Whether one version's score is worse than another's by more than other groups would change it.

Both are asked about the same pictures or files, so what is drawn again is the difference (a paired
bootstrap over whole groups).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tfpipe.evaluation import bootstrap

WORSE, BETTER, SAME, UNKNOWN = "worse", "better", "no difference beyond chance", "cannot be told"
LARGE = 0.1  # of a score's range, or of an error: of few groups only such a loss is told


class Score(NamedTuple):
    """A score of two versions.

    Attributes:
      name: such as "average_precision".
      groups: [n] str, of each picture or file.
      of: (row numbers [m], whether of the new version) -> value; nan where it is not defined.
      is_error: whether less of it is better.
    """

    name: str
    groups: np.ndarray
    of: Callable[[np.ndarray, bool], float]
    is_error: bool = False


def of_sets(score: Score, *, known: set[str]) -> dict[str, dict[str, Any]]:
    """Returns how a score differs on old groups, new groups and all.

    Args:
      score: of both versions.
      known: the groups that there were when the old version was made.

    Returns:
      "old", "new" and "all" -> {"groups", "examples", "before", "after", "low" and "high" of the
      difference (positive for better), "of" (what was drawn), "verdict", "why"}.
    """
    is_old = np.isin(score.groups, sorted(known))
    rows = {"old": is_old, "new": ~is_old, "all": np.ones(len(is_old), bool)}
    return {name: _of_set(score, np.flatnonzero(own)) for name, own in rows.items()}


def is_worse(sets: dict[str, dict[str, Any]]) -> bool:
    """Returns whether a version is worse on the old groups, or on the new ones.

    Where one of the two are few, all together are judged besides; where both are, only these: each
    further look would refuse some good versions by chance.
    """
    few = sum(sets[name]["groups"] < bootstrap.FEWEST for name in ("old", "new"))
    judged = (("old", "new"), ("old", "new", "all"), ("all",))[few]
    return any(sets[name]["verdict"] == WORSE for name in judged)


def in_words(name: str, sets: dict[str, dict[str, Any]]) -> list[str]:
    """Returns a sentence for each set of groups."""
    found = []
    for which, one in sets.items():
        kind = f"{which} test groups" if which != "all" else "test groups together"
        head = f"{one['groups']} {kind}: "
        if one["before"] is None:
            found.append(f"{head}{name} {UNKNOWN}, {one['why']}.")
            continue
        shown = f"{name} {one['before']:.4f} -> {one['after']:.4f}"
        why = one["why"] or f"{one['low']:+.4f} to {one['high']:+.4f} with other {one['of']}s, 95 %"
        found.append(f"{head}{one['verdict']}, {shown} ({why}).")
    return found


def _of_set(score: Score, rows: np.ndarray) -> dict[str, Any]:
    groups = np.unique(score.groups[rows])
    told = {"groups": len(groups), "examples": len(rows), "before": None, "after": None}
    told |= {"low": None, "high": None, "of": None, "verdict": UNKNOWN, "why": "there are none"}
    if not len(rows):
        return told
    before, after = (float(score.of(rows, is_new)) for is_new in (False, True))
    if not np.isfinite([before, after]).all():
        return told | {"why": "they lack a class or have nothing to find"}
    told |= {"before": before, "after": after}
    sign = -1 if score.is_error else 1

    def difference(drawn: np.ndarray) -> float:
        own = rows[drawn]
        return sign * (score.of(own, True) - score.of(own, False))

    few = len(groups) < bootstrap.FEWEST
    units = np.arange(len(rows)) if few else score.groups[rows]
    bounds = bootstrap.student_interval(difference, units)
    if bounds is None:
        return told | {"why": "nothing to draw from, or no draw has every class"}
    told |= {"low": float(bounds[0]), "high": float(bounds[1])}
    told |= {"of": "example" if few else "group"}
    if not few:
        verdict = WORSE if told["high"] < 0 else BETTER if told["low"] > 0 else SAME
        return told | {"verdict": verdict, "why": ""}
    lost, most = -sign * (after - before), LARGE * (before if score.is_error else 1)
    if lost > most and told["high"] < 0:
        why = f"by more than {LARGE:g}; fewer than {bootstrap.FEWEST} groups tell no more"
        return told | {"verdict": WORSE, "why": why}
    return told | {"why": f"fewer than {bootstrap.FEWEST} groups tell only a great loss"}
