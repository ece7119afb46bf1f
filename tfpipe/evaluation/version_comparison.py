"""Version comparison: a new version beside the old one on the same test examples.

Both are evaluated on the same images or files, so the difference itself is tested: each whole
group is left out in turn. A version is worse if its score is lower by more than chance, and chance
refuses `FAMILY` of equal versions, over all scores and sets of groups. Where the task evaluates
whole raw files, their metrics are compared, too.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfpipe.evaluation import group_intervals, metrics

WORSE, BETTER, SAME, UNKNOWN = "worse", "better", "no difference beyond chance", "unknown"
FAMILY = 0.05  # of equal versions that all deciding differences together may refuse
SPREAD = 0.2  # of differences between groups, of a score's range or of an error: seldom more
MIN_GROUPS = 5  # for old or new test groups to be tested by themselves

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
      {"score", "sets", "files", "classes", "is_decided", "is_worse"}; "sets" is as by
      `compare_scores`; "files" is that of each metric of whole files; a class has its F1 "before"
      and "after", "low", "high", "verdict". A version is worse by one of the deciding differences;
      where there is none, nothing is decided.
    """
    scores = [(_example_score(answers, objective), True), *(_file_scores(files) if files else ())]
    by_examples, *by_files = compare_scores(scores, old_groups=old_groups)
    deciding = [
        one
        for score in (by_examples, *by_files)
        for one in score["sets"].values()
        if one["decides"]
    ]
    return {
        "score": objective,
        "sets": by_examples["sets"],
        "files": by_files,
        "classes": _compare_classes(answers, classes),
        "is_decided": bool(deciding),
        "is_worse": any(one["verdict"] == WORSE for one in deciding),
    }


def in_words(comparison: dict[str, Any]) -> list[str]:
    """Returns a sentence for each score and set of groups, and one for classes that changed."""
    sentences = sets_in_words(comparison["score"], comparison["sets"])
    for about in comparison.get("files", ()):  # cards of an earlier release have none
        note = "" if about["decides"] else " (does not decide)"
        sentences += sets_in_words(f"{about['score']}{note}", about["sets"])
    if not comparison.get("is_decided", True):
        sentences.append(
            f"The test groups are too few to decide: at least {group_intervals.MIN_TESTED} are "
            "needed, and none may have a class alone. So the new version was not refused, whatever "
            "its scores. Compare them yourself, and label more groups."
        )
    for verdict, word in ((BETTER, "gained"), (WORSE, "lost")):
        names = [
            name for name, about in comparison["classes"].items() if about["verdict"] == verdict
        ]
        if names:
            sentences.append(f"Classes that {word}: {', '.join(names)}.")
    return sentences


def compare_scores(
    scores: Sequence[tuple[Score, bool]], *, old_groups: set[str]
) -> list[dict[str, Any]]:
    """Returns how scores differ on old groups, new groups and all, and which differences decide.

    Old and new groups are tested by themselves from `MIN_GROUPS` on, else together: each further
    test would make all of them weaker, as each has an equal share of `FAMILY` (Bonferroni).

    Args:
      scores: of both versions, and whether each decides.
      old_groups: the groups of the old version's records.

    Returns:
      {"score", "decides", "sets"} for each score. Its sets "old", "new" and "all" have {"groups",
      "examples", "before", "after", "low" and "high" of the difference (positive for better), "p"
      that it is not below 0, "level" (at most this p is worse), "detectable" (loss that is worse
      every second time), "decides", "verdict", "why" (there is none)}.
    """
    tested = [_test_sets(score, old_groups=old_groups) for score, _ in scores]
    deciding = [
        _deciding(sets) if decides else ()
        for sets, (_, decides) in zip(tested, scores, strict=True)
    ]
    level = FAMILY / max(1, sum(map(len, deciding)))
    return [
        {
            "score": score.name,
            "decides": decides,
            "sets": {
                name: _with_verdict(*one, level=level) | {"decides": name in names}
                for name, one in sets.items()
            },
        }
        for (score, decides), sets, names in zip(scores, tested, deciding, strict=True)
    ]


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
        sentences.append(f"{head}{about['verdict']}, {shown} ({_reason(about)}).")
    return sentences


def _reason(about: ScoreDifference) -> str:
    """Returns why a difference has its verdict."""
    if about["why"]:
        return about["why"]
    interval = f"{about['low'] or 0:+.4f} to {about['high'] or 0:+.4f} with other groups, 95 %"
    if about.get("level") is None:  # cards of an earlier release
        return interval
    if about["verdict"] == SAME:
        detectable = f"a loss of {about['detectable']:.2g} would be seen every second time"
        return (
            f"p {about['p']:.2g}, worse if at most {about['level']:.2g}; {interval}; {detectable}"
        )
    p, word = (about["p"], WORSE) if about["verdict"] == WORSE else (about["p_better"], BETTER)
    return f"p {p:.2g}, {word} if at most {about['level']:.2g}; {interval}"


_Tested = tuple[ScoreDifference, group_intervals.DifferenceTest | None]


def _test_sets(score: Score, *, old_groups: set[str]) -> dict[str, _Tested]:
    """Returns "old", "new" and "all" -> the difference without verdict, and its test."""
    is_old = np.isin(score.groups, sorted(old_groups))
    rows = {"old": is_old, "new": ~is_old, "all": np.ones(len(is_old), bool)}
    return {
        name: _test_rows(
            score,
            np.flatnonzero(chosen),
            min_groups=group_intervals.MIN_TESTED if name == "all" else MIN_GROUPS,
        )
        for name, chosen in rows.items()
    }


def _test_rows(score: Score, rows: np.ndarray, *, min_groups: int) -> _Tested:
    groups = score.groups[rows]
    count = len(np.unique(groups))
    result: ScoreDifference = {
        "groups": count,
        "examples": len(rows),
        "before": None,
        "after": None,
        "low": None,
        "high": None,
        "p": None,
        "p_better": None,
        "why": "there are none",
    }
    if not len(rows):
        return result, None
    before, after = (float(score.of(rows, is_new)) for is_new in (False, True))
    if not np.isfinite([before, after]).all():
        return result | {"why": "they lack a class or have no object"}, None
    result |= {"before": before, "after": after}
    if count < min_groups:
        return result | {"why": f"fewer than {min_groups} groups are too few for a test"}, None
    sign = -1 if score.is_error else 1

    def difference(drawn: np.ndarray) -> float:
        resampled = rows[drawn]
        return sign * (score.of(resampled, True) - score.of(resampled, False))

    spread = SPREAD * (before if score.is_error else 1)
    test = group_intervals.difference_test(difference, groups, spread=spread)
    if test is None or not np.isfinite(test.error):
        return result | {"why": "one group alone has a class or all objects"}, None
    result |= {"low": float(test.low), "high": float(test.high), "why": ""}
    return result | {"p": float(test.p_below), "p_better": float(test.p_above)}, test


def _deciding(sets: dict[str, _Tested]) -> tuple[str, ...]:
    """Returns the names of the sets by which a version is accepted."""
    alone = tuple(name for name in ("old", "new") if sets[name][1] is not None)
    is_whole = any(sets[name][0]["groups"] == sets["all"][0]["groups"] for name in alone)
    if len(alone) == 2 or is_whole or sets["all"][1] is None:
        return alone
    return (*alone, "all")


def _with_verdict(
    result: ScoreDifference, test: group_intervals.DifferenceTest | None, *, level: float
) -> ScoreDifference:
    if test is None:
        return result | {"level": None, "detectable": None, "verdict": UNKNOWN}
    return result | {
        "level": level,
        "detectable": float(test.detectable(level)),
        "verdict": _verdict(float(test.p_below), float(test.p_above), level=level),
    }


def _verdict(p_worse: float, p_better: float, *, level: float) -> str:
    return WORSE if p_worse <= level else BETTER if p_better <= level else SAME


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
    """Returns each class's F1 before and after, and whether it changed beyond chance.

    All classes together have one `FAMILY`; they do not decide.
    """
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
    test = None
    if len(np.unique(answers.groups)) >= MIN_GROUPS:
        test = group_intervals.difference_test(difference, answers.groups, spread=SPREAD)
    by_class = {}
    for c, name in enumerate(classes):
        low, high = (np.nan, np.nan) if test is None else (test.low[c], test.high[c])
        values = {"before": before[c], "after": after[c], "low": low, "high": high}
        finite = {key: float(v) if np.isfinite(v) else None for key, v in values.items()}
        verdict = UNKNOWN
        if test is not None and np.isfinite(low):
            verdict = _verdict(test.p_below[c], test.p_above[c], level=FAMILY / count)
        by_class[name] = finite | {"verdict": verdict}
    return by_class
