"""A new version beside the one before it, on the same test pictures: better, worse, or by chance.

Where the task judges whole raw files, what both find in these is compared, too.
"""

from typing import Any, NamedTuple

import numpy as np

from tfpipe.evaluation import bootstrap, metrics, paired_differences
from tfpipe.evaluation.paired_differences import BETTER, SAME, UNKNOWN, WORSE, Score


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


class Files(NamedTuple):
    """What two versions found in the test files whose truth is known, in the same order.

    Attributes:
      groups: [n] str.
      before: [n] counts by `WholeFile.evaluate`, of the old version.
      after: those of the new one.
      by: the score of theirs that decides, see `WholeFile.metric`.
      beside: an error of theirs that is told besides, see `WholeFile.tie_metric`; "" for none.
    """

    groups: np.ndarray
    before: list[Any]
    after: list[Any]
    by: str
    beside: str = ""


def compare(
    answers: Answers,
    *,
    known: set[str],
    classes: tuple[str, ...],
    objective: str,
    files: Files | None = None,
) -> dict[str, Any]:
    """Returns how a new version differs from the old one, on old groups, new groups and all.

    Args:
      answers: to the test split.
      known: the test groups that there were when the old version was made.
      classes: names in label order.
      objective: one of `metrics.OBJECTIVES`, or "loss": an autoencoder's mean squared error.
      files: what they found in whole files; None where the task judges none.

    Returns:
      {"score", "sets" by `paired_differences.of_sets`, "files", "classes", "is_worse"}; "files" has
      {"score", "sets", "decides"} for each score of whole files; a class has its F1 "before" and
      "after", "low", "high", "verdict".
    """
    sets = paired_differences.of_sets(_of_pictures(answers, objective), known=known)
    found = []
    for score, decides in _of_files(files) if files else ():
        own = paired_differences.of_sets(score, known=known)
        found.append({"score": score.name, "sets": own, "decides": decides})
    judged = [sets, *(one["sets"] for one in found if one["decides"])]
    return {
        "score": objective,
        "sets": sets,
        "files": found,
        "classes": _of_classes(answers, classes) if answers.said_after is not None else {},
        "is_worse": any(map(paired_differences.is_worse, judged)),
    }


def in_words(told: dict[str, Any]) -> list[str]:
    """Returns a sentence for each score and set of groups, and one for classes that changed."""
    found = paired_differences.in_words(told["score"], told["sets"])
    for one in told.get("files", ()):  # cards of an earlier release have none
        note = "" if one["decides"] else " (does not decide)"
        found += paired_differences.in_words(f"{one['score']}{note}", one["sets"])
    for verdict, word in ((BETTER, "gained"), (WORSE, "lost")):
        names = [name for name, one in told["classes"].items() if one["verdict"] == verdict]
        if names:
            found.append(f"Classes that {word}: {', '.join(names)}.")
    return found


def _of_pictures(answers: Answers, objective: str) -> Score:
    def of(rows: np.ndarray, is_new: bool) -> float:
        labels, said = answers.labels[rows], (answers.after if is_new else answers.before)[rows]
        if objective == "loss":
            return float(said.mean())
        lacks = len(np.unique(labels)) < 2
        return np.nan if lacks else metrics.OBJECTIVES[objective](labels, said)

    return Score(objective, answers.groups, of, objective == "loss")


def _of_files(files: Files) -> list[tuple[Score, bool]]:
    """Returns the scores of whole files, and whether each decides."""

    def by(name: str):
        def of(rows: np.ndarray, is_new: bool) -> float:
            counts = files.after if is_new else files.before
            return _sum([counts[i] for i in rows]).scores[name]

        return of

    found = [(Score(files.by, files.groups, by(files.by)), True)]
    if files.beside:
        found.append((Score(files.beside, files.groups, by(files.beside), True), False))
    return found


def _sum(counts: list[Any]) -> Any:
    """Returns the sum of counts, added in pairs: those of many files have long lists."""
    middle = len(counts) // 2
    return _sum(counts[:middle]) + _sum(counts[middle:]) if middle else counts[0]


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
    before, after = f1(every, answers.said_before), f1(every, answers.said_after)
    bounds = None
    if len(np.unique(answers.groups)) >= bootstrap.FEWEST:
        bounds = bootstrap.student_interval(difference, answers.groups)
    if bounds is None:
        bounds = np.full((2, count), np.nan)
    found = {}
    for name, one, other, low, high in zip(classes, before, after, *bounds, strict=True):
        verdict = WORSE if high < 0 else BETTER if low > 0 else SAME
        values = {"before": one, "after": other, "low": low, "high": high}
        told = {key: float(v) if np.isfinite(v) else None for key, v in values.items()}
        found[name] = told | {"verdict": verdict if np.isfinite(low) else UNKNOWN}
    return found
