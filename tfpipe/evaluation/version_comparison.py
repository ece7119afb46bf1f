"""Version comparison: a new version beside the old one on the same test examples.

Both are evaluated on the same images or files, so the difference itself is resampled (a paired
bootstrap over whole groups). A version is worse if its metric is worse by more than other groups
would change it. Where the task evaluates whole raw files, their metrics are compared, too.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tfpipe.evaluation import bootstrap, group_intervals, metrics

WORSE, BETTER, SAME, UNKNOWN = "worse", "better", "no difference beyond chance", "unknown"
LARGE = 0.1  # of a score's range, or of an error: with few groups only such a loss is reported
FAMILY = 0.02  # of equal versions that all differences together may refuse

ScoreDifference = dict[str, Any]


class Answers(NamedTuple):
    """Predictions of two versions for the labelled test examples, in the same order.

    Attributes:
      labels: [n] int.
      groups: [n] str.
      before: [n, classes] probabilities of the old version; [n] errors of an autoencoder.
      after: those of the new one.
      predicted_before: [n] int, labels predicted by the old version; None for an autoencoder.
      predicted_after: likewise.
    """

    labels: np.ndarray
    groups: np.ndarray
    before: np.ndarray
    after: np.ndarray
    predicted_before: np.ndarray | None = None
    predicted_after: np.ndarray | None = None

    def only(self, rows: np.ndarray) -> "Answers":
        """Returns those of some rows."""

        def of(field: np.ndarray | None) -> np.ndarray | None:
            return None if field is None else field[rows]

        return Answers(
            self.labels[rows],
            self.groups[rows],
            self.before[rows],
            self.after[rows],
            of(self.predicted_before),
            of(self.predicted_after),
        )


class Files(NamedTuple):
    """Counts of two versions in the labelled test files, in the same order.

    Attributes:
      groups: [n] str.
      before: [n] counts by `WholeFile.evaluate`, of the old version.
      after: those of the new one.
      by: the metric that decides, see `WholeFile.metric`.
      beside: an error that is shown but does not decide, see `WholeFile.tie_metric`; "" for none.
    """

    groups: np.ndarray
    before: list[Any]
    after: list[Any]
    by: str
    beside: str = ""


class Score(NamedTuple):
    """A score of two versions.

    Attributes:
      name: such as "average_precision".
      groups: [n] str, of each image or file.
      of: (row numbers [m], whether of the new version) -> value; nan where it is not defined.
      is_error: whether lower is better.
    """

    name: str
    groups: np.ndarray
    of: Callable[[np.ndarray, bool], float]
    is_error: bool = False


def compare(
    answers: Answers,
    *,
    old_groups: set[str],
    classes: tuple[str, ...],
    objective: str,
    files: Files | None = None,
) -> dict[str, Any]:
    """Returns how a new version differs from the old one, on old groups, new groups and all.

    Args:
      answers: for the test split.
      old_groups: the test groups of the old version's records.
      classes: names in label order.
      objective: one of `metrics.OBJECTIVES`, or "loss": an autoencoder's mean squared error.
      files: counts in whole files; None where the task evaluates none.

    Returns:
      {"score", "sets" by `compare_sets`, "files", "classes", "is_worse"}; "files" has
      {"score", "sets", "decides"} for each metric of whole files; a class has its F1 "before" and
      "after", "low", "high", "verdict".
    """
    sets = compare_sets(_example_score(answers, objective), old_groups=old_groups)
    of_files: list[dict[str, Any]] = [
        {
            "score": score.name,
            "sets": compare_sets(score, old_groups=old_groups),
            "decides": decides,
        }
        for score, decides in (_file_scores(files) if files else ())
    ]
    of_deciding = [sets, *(about["sets"] for about in of_files if about["decides"])]
    deciding = [one for one_score in of_deciding for one in deciding_sets(one_score)]
    return {
        "score": objective,
        "sets": sets,
        "files": of_files,
        "classes": _compare_classes(answers, classes),
        "is_worse": is_worse(deciding),
    }


def in_words(comparison: dict[str, Any]) -> list[str]:
    """Returns a sentence for each score and set of groups, and one for classes that changed."""
    sentences = sets_in_words(comparison["score"], comparison["sets"])
    for about in comparison.get("files", ()):  # cards of an earlier release have none
        note = "" if about["decides"] else " (does not decide)"
        sentences += sets_in_words(f"{about['score']}{note}", about["sets"])
    for verdict, word in ((BETTER, "gained"), (WORSE, "lost")):
        names = [
            name for name, about in comparison["classes"].items() if about["verdict"] == verdict
        ]
        if names:
            sentences.append(f"Classes that {word}: {', '.join(names)}.")
    return sentences


def compare_sets(score: Score, *, old_groups: set[str]) -> dict[str, ScoreDifference]:
    """Returns how a score differs on old groups, new groups and all.

    Args:
      score: of both versions.
      old_groups: the groups of the old version's records.

    Returns:
      "old", "new" and "all" -> {"groups", "examples", "before", "after", "low" and "high" of the
      difference (positive for better), "of" (what was resampled), "verdict", "why"}.
    """
    is_old = np.isin(score.groups, sorted(old_groups))
    rows = {"old": is_old, "new": ~is_old, "all": np.ones(len(is_old), bool)}
    return {name: _compare_rows(score, np.flatnonzero(chosen)) for name, chosen in rows.items()}


def deciding_sets(sets: dict[str, ScoreDifference]) -> list[ScoreDifference]:
    """Returns the differences by which a version is accepted: on old groups, and on new ones.

    Where one of the two has few groups, all groups together decide, too; where both have, only
    these: each further test would refuse some good versions by chance.
    """
    few = sum(sets[name]["groups"] < group_intervals.MIN_GROUPS for name in ("old", "new"))
    return [sets[name] for name in (("old", "new"), ("old", "new", "all"), ("all",))[few]]


def is_worse(deciding: list[ScoreDifference]) -> bool:
    """Returns whether a version is worse by one of several differences.

    Together they refuse at most 5 % of equal versions: each is tested at its share of `FAMILY`
    (Bonferroni), by a t that allows for skewed differences. `FAMILY` is less
    than half of that, as strong skew doubles it. A great loss
    decides by itself.
    """
    p_values = [one["p"] for one in deciding if one["p"] is not None]
    if any(one["verdict"] == WORSE and one["p"] is None for one in deciding):
        return True
    return any(p <= FAMILY / len(p_values) for p in p_values)


def sets_in_words(name: str, sets: dict[str, ScoreDifference]) -> list[str]:
    """Returns a sentence for each set of groups."""
    sentences = []
    for which, about in sets.items():
        kind = f"{which} test groups" if which != "all" else "test groups together"
        head = f"{about['groups']} {kind}: "
        if about["before"] is None:
            sentences.append(f"{head}{name} {UNKNOWN}, {about['why']}.")
            continue
        shown = f"{name} {about['before']:.4f} -> {about['after']:.4f}"
        bounds = f"{about['low'] or 0:+.4f} to {about['high'] or 0:+.4f}"
        why = about["why"] or f"{bounds} with other {about['of']}s, 95 %"
        sentences.append(f"{head}{about['verdict']}, {shown} ({why}).")
    return sentences


def _compare_rows(score: Score, rows: np.ndarray) -> ScoreDifference:
    groups = np.unique(score.groups[rows])
    result: ScoreDifference = {
        "groups": len(groups),
        "examples": len(rows),
        "before": None,
        "after": None,
        "low": None,
        "high": None,
        "of": None,
        "p": None,
        "verdict": UNKNOWN,
        "why": "there are none",
    }
    if not len(rows):
        return result
    before, after = (float(score.of(rows, is_new)) for is_new in (False, True))
    if not np.isfinite([before, after]).all():
        return result | {"why": "they lack a class or have no object"}
    result |= {"before": before, "after": after}
    sign = -1 if score.is_error else 1

    def difference(drawn: np.ndarray) -> float:
        resampled = rows[drawn]
        return sign * (score.of(resampled, True) - score.of(resampled, False))

    few = len(groups) < group_intervals.MIN_GROUPS
    units = np.arange(len(rows)) if few else score.groups[rows]
    bounds = bootstrap.student_interval(difference, units)
    if bounds is None:
        return result | {"why": "nothing to resample, or no resample has every class"}
    low, high = float(bounds[0]), float(bounds[1])
    result |= {"low": low, "high": high, "of": "example" if few else "group"}
    loss, most = -sign * (after - before), LARGE * (before if score.is_error else 1)
    is_great = loss > most and high < 0
    if not few:
        verdict = WORSE if high < 0 else BETTER if low > 0 else SAME
        p_worse = 0.0 if is_great else group_intervals.p_below_zero(difference, score.groups[rows])
        return result | {"verdict": verdict, "p": p_worse, "why": ""}
    if is_great:
        why = f"by more than {LARGE:g}; fewer than {group_intervals.MIN_GROUPS} groups show no more"
        return result | {"verdict": WORSE, "why": why}
    return result | {
        "why": f"fewer than {group_intervals.MIN_GROUPS} groups show only a great loss"
    }


def _example_score(answers: Answers, objective: str) -> Score:
    def of(rows: np.ndarray, is_new: bool) -> float:
        labels, outputs = answers.labels[rows], (answers.after if is_new else answers.before)[rows]
        if objective == "loss":
            return float(outputs.mean())
        if len(np.unique(labels)) < 2:
            return np.nan
        predicted = answers.predicted_after if is_new else answers.predicted_before
        assert predicted is not None, "classifiers have predictions"
        return metrics.objective(objective, labels, outputs, predicted[rows])

    return Score(objective, answers.groups, of, objective == "loss")


def _file_scores(files: Files) -> list[tuple[Score, bool]]:
    """Returns the scores of whole files, and whether each decides."""

    def by(name: str) -> Callable[[np.ndarray, bool], float]:
        def of(rows: np.ndarray, is_new: bool) -> float:
            counts = files.after if is_new else files.before
            return _sum([counts[i] for i in rows]).scores[name]

        return of

    scores = [(Score(files.by, files.groups, by(files.by)), True)]
    if files.beside:
        scores.append((Score(files.beside, files.groups, by(files.beside), True), False))
    return scores


def _sum(counts: list[Any]) -> Any:
    """Returns the sum of counts, added in pairs: those of many files have long lists."""
    middle = len(counts) // 2
    return _sum(counts[:middle]) + _sum(counts[middle:]) if middle else counts[0]


def _compare_classes(answers: Answers, classes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Returns each class's F1 before and after, and whether it changed beyond chance."""
    predicted_before, predicted_after = answers.predicted_before, answers.predicted_after
    if predicted_before is None or predicted_after is None:
        return {}
    count = len(classes)

    def f1(rows: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        labels, predictions = answers.labels[rows], predictions[rows]
        both = np.bincount(labels, minlength=count) + np.bincount(predictions, minlength=count)
        correct = np.bincount(labels[labels == predictions], minlength=count)
        return np.divide(2 * correct, both, out=np.full(count, np.nan), where=both > 0)

    def difference(rows: np.ndarray) -> np.ndarray:
        return f1(rows, predicted_after) - f1(rows, predicted_before)

    every = np.arange(len(answers.labels))
    before, after = f1(every, predicted_before), f1(every, predicted_after)
    bounds = None
    if len(np.unique(answers.groups)) >= group_intervals.MIN_GROUPS:
        bounds = bootstrap.student_interval(difference, answers.groups)
    if bounds is None:
        bounds = np.full((2, count), np.nan)
    by_class = {}
    for name, old, new, low, high in zip(classes, before, after, *bounds, strict=True):
        verdict = WORSE if high < 0 else BETTER if low > 0 else SAME
        values = {"before": old, "after": new, "low": low, "high": high}
        finite = {key: float(v) if np.isfinite(v) else None for key, v in values.items()}
        by_class[name] = finite | {"verdict": verdict if np.isfinite(low) else UNKNOWN}
    return by_class
