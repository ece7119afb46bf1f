"""A new version beside the one before it, on the same test pictures: better, worse, or by chance.

Both answer the same pictures, so what is drawn again is the difference (a paired bootstrap over
whole groups).
"""

from typing import Any, NamedTuple

import numpy as np

from tfpipe import resampling, scores

WORSE, BETTER, SAME, UNKNOWN = "worse", "better", "no difference beyond chance", "cannot be told"


class Answers(NamedTuple):
    """What two versions said of the labelled test pictures, in the same order.

    Attributes:
      labels: [n] int.
      groups: [n] str.
      before: [n, classes] probabilities of the old version; [n] errors of an autoencoder.
      after: those of the new one.
      said_before: [n] int, the class that the old version names; None for an autoencoder.
      said_after: likewise.
    """

    labels: np.ndarray
    groups: np.ndarray
    before: np.ndarray
    after: np.ndarray
    said_before: np.ndarray | None = None
    said_after: np.ndarray | None = None

    def only(self, rows: np.ndarray) -> "Answers":
        """Returns those of some rows."""
        return Answers(*(field if field is None else field[rows] for field in self))


def compare(
    answers: Answers, *, known: set[str], classes: tuple[str, ...], objective: str
) -> dict[str, Any]:
    """Returns how a new version differs from the old one, on old groups, new groups and all.

    Args:
      answers: to the test split.
      known: the test groups that there were when the old version was made.
      classes: names in label order.
      objective: one of `scores.OBJECTIVES`, or "loss": an autoencoder's mean squared error.

    Returns:
      {"score", "sets": {"old", "new", "all"}, "classes", "is_worse"}; a set has "groups",
      "pictures", "before", "after", "low" and "high" of the difference (positive for better), "of"
      (what was drawn) and "verdict"; a class its F1 "before" and "after", "low", "high", "verdict".
    """
    is_old = np.isin(answers.groups, sorted(known))
    rows = {"old": is_old, "new": ~is_old, "all": np.ones(len(is_old), bool)}
    sets = {name: _of_set(answers.only(own), objective) for name, own in rows.items()}
    return {
        "score": objective,
        "sets": sets,
        "classes": _of_classes(answers, classes) if answers.said_after is not None else {},
        "is_worse": any(sets[name]["verdict"] == WORSE for name in ("old", "new")),
    }


def in_words(told: dict[str, Any]) -> list[str]:
    """Returns a sentence for each set of groups, and one for the classes that changed."""
    found = []
    for name, one in told["sets"].items():
        kind = f"{name} test groups" if name != "all" else "test groups together"
        if one["verdict"] == UNKNOWN:
            found.append(f"{one['groups']} {kind}: {one['why']}.")
            continue
        drawn = f"{one['low']:+.4f} to {one['high']:+.4f}, 95 % of draws of {one['of']}s"
        shown = f"{told['score']} {one['before']:.4f} -> {one['after']:.4f}"
        found.append(f"{one['groups']} {kind}: {one['verdict']}, {shown} ({drawn}).")
    for verdict, word in ((BETTER, "gained"), (WORSE, "lost")):
        names = [name for name, one in told["classes"].items() if one["verdict"] == verdict]
        if names:
            found.append(f"Classes that {word}: {', '.join(names)}.")
    return found


def _of_set(answers: Answers, objective: str) -> dict[str, Any]:
    count, groups = len(answers.labels), len(np.unique(answers.groups))
    told = {"groups": groups, "pictures": count, "before": None, "after": None, "low": None}
    told |= {"high": None, "of": None, "verdict": UNKNOWN, "why": "there are none"}
    if not count:
        return told
    scored = [_score(answers.labels, said, objective) for said in (answers.before, answers.after)]
    if None in scored:
        return told | {"why": "they lack a class, so the score is not defined"}

    def difference(rows: np.ndarray) -> float | None:
        own = answers.only(rows)
        one, other = (_score(own.labels, said, objective) for said in (own.before, own.after))
        return None if one is None else _sign(objective) * (other - one)

    few = groups < resampling.FEWEST
    units = np.arange(count) if few else answers.groups
    bounds = resampling.interval(difference, units)
    if bounds is None:
        return told | {"why": "no draw of them has every class"}
    low, high = map(float, bounds)
    verdict = WORSE if high < 0 else BETTER if low > 0 else SAME
    told |= {"before": scored[0], "after": scored[1], "low": low, "high": high, "why": ""}
    return told | {"of": "picture" if few else "group", "verdict": verdict}


def _score(labels: np.ndarray, said: np.ndarray, objective: str) -> float | None:
    """Returns the main score, None where it is not defined."""
    if objective == "loss":
        return float(said.mean())
    if len(np.unique(labels)) < 2:
        return None
    return scores.OBJECTIVES[objective](labels, said)


def _sign(objective: str) -> int:
    return -1 if objective == "loss" else 1


def _of_classes(answers: Answers, classes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Returns each class's F1 before and after, and whether it gained or lost beyond chance."""
    count = len(classes)

    def f1(rows: np.ndarray, said: np.ndarray) -> np.ndarray:
        labels, said = answers.labels[rows], said[rows]
        both = np.bincount(labels, minlength=count) + np.bincount(said, minlength=count)
        right = np.bincount(labels[labels == said], minlength=count)
        return np.divide(2 * right, both, out=np.full(count, np.nan), where=both > 0)

    def difference(rows: np.ndarray) -> np.ndarray:
        return f1(rows, answers.said_after) - f1(rows, answers.said_before)

    every = np.arange(len(answers.labels))
    few = len(np.unique(answers.groups)) < resampling.FEWEST
    bounds = resampling.interval(difference, every if few else answers.groups)
    before, after = f1(every, answers.said_before), f1(every, answers.said_after)
    if bounds is None:
        return {}
    found = {}
    for name, one, other, low, high in zip(classes, before, after, *bounds, strict=True):
        verdict = WORSE if high < 0 else BETTER if low > 0 else SAME
        values = {"before": one, "after": other, "low": low, "high": high}
        told = {key: float(v) if np.isfinite(v) else None for key, v in values.items()}
        found[name] = told | {"verdict": verdict if np.isfinite(low) else UNKNOWN}
    return found
