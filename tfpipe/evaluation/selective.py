"""Selective classification: confidence thresholds by class, risk-coverage, conformal sets."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from tfpipe.evaluation import group_intervals

ABSTAIN = -1
MIN_PRECISION = 0.9  # the default
BOUND_LEVEL = 0.8  # of the lower bound by which a threshold is chosen


def thresholds(
    labels: np.ndarray,
    probabilities: np.ndarray,
    *,
    predicted: np.ndarray | None = None,
    min_precision: float,
) -> np.ndarray:
    """Returns each class's lowest probability at which its precision is `min_precision` or more.

    The precision of the validation examples at or above it has a lower bound of `min_precision`,
    with 80 % confidence (Clopper & Pearson 1934, one-sided). A choice by the precision itself
    would be optimistic, as a threshold is the best of many: in simulations of five classes (600
    validation examples, accuracy 0.74, `min_precision` 0.9) the true precision was then below 0.9
    for 66 % of the thresholds, and the interval of a test set of the same size was below 0.9 for
    13 %. With the bound at 80 % these are 25 % and 3 %. At 95 % they are 5 % and none, but only
    13 % of the examples are still predicted instead of 20 %, and the precision is higher than
    requested. A precision of 0.9 needs at least 16 examples, all of them correct.

    The bound assumes independent examples. Where runs differ, only more validation runs help.

    Args:
      labels: [n] int, of the validation split.
      probabilities: [n, classes] float, calibrated if later ones are.
      predicted: [n] int, by the decision rule; None for the most probable class.
      min_precision: 0 to 1.

    Returns:
      [classes] float; inf for a class that cannot reach it: the model always abstains from it.
    """
    predicted, classes = _or_most_probable(predicted, probabilities), probabilities.shape[1]
    if min_precision <= 0:
        return np.zeros(classes)
    result = np.full(classes, np.inf)
    for c in range(classes):
        rows = predicted == c
        result[c] = _threshold(probabilities[rows, c], labels[rows] == c, min_precision)
    return result


def _threshold(probs: np.ndarray, is_correct: np.ndarray, min_precision: float) -> float:
    """Returns the lowest of the probabilities [n] that reaches a precision, or inf."""
    order = np.argsort(-probs, kind="stable")
    probs, hits, counts = probs[order], np.cumsum(is_correct[order]), np.arange(1, len(order) + 1)
    ends = np.append(probs[1:] < probs[:-1], True)[: len(probs)]  # equal ones go together
    low = np.where(
        hits, stats.beta.ppf(1 - BOUND_LEVEL, np.maximum(hits, 1), counts - hits + 1), 0.0
    )
    enough = np.flatnonzero(ends & (low >= min_precision))
    return float(probs[enough[-1]]) if len(enough) else math.inf


def predict_labels(
    probabilities: np.ndarray, thresholds: np.ndarray, *, predicted: np.ndarray | None = None
) -> np.ndarray:
    """Returns the predicted class [n] int, or -1 (abstain) where it is below its threshold.

    Args:
      probabilities: [n, classes] float.
      thresholds: [classes] float.
      predicted: [n] int, by the decision rule; None for the most probable class.
    """
    predicted = _or_most_probable(predicted, probabilities)
    is_confident = _confidence(probabilities, predicted) >= thresholds[predicted]
    return np.where(is_confident, predicted, ABSTAIN)


def _or_most_probable(predicted: np.ndarray | None, probabilities: np.ndarray) -> np.ndarray:
    return probabilities.argmax(axis=1) if predicted is None else predicted


def _confidence(probabilities: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return probabilities[np.arange(len(predicted)), predicted]


def to_card(thresholds: np.ndarray, *, classes: Sequence[str]) -> dict[str, float | None]:
    """Returns class -> threshold for a card; None where the model always abstains."""
    values = thresholds.tolist()
    return {n: v if math.isfinite(v) else None for n, v in zip(classes, values, strict=True)}


def from_card(thresholds: dict[str, float | None], *, classes: Sequence[str]) -> np.ndarray:
    """Returns thresholds [classes] float from those of a card."""
    values = [thresholds[name] for name in classes]
    return np.array([math.inf if value is None else value for value in values])


class ClassPrecision(NamedTuple):
    """A class's precision where the model does not abstain.

    Attributes:
      correct: number of correct predictions of the class.
      predicted: number of predictions of the class.
      most_probable: number of examples that the decision rule gives to the class.
      precision: correct / predicted; None where it is never predicted.
      low: lower end of the precision's interval; None likewise, and where one group has all.
      high: upper end; None likewise.
    """

    correct: int
    predicted: int
    most_probable: int
    precision: float | None
    low: float | None
    high: float | None


def class_precision(
    labels: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    predicted: np.ndarray | None = None,
) -> list[ClassPrecision]:
    """Returns each class's precision with a 95 % interval, for new groups.

    Args:
      labels: [n] int, of a split that thresholds were not chosen on.
      probabilities: [n, classes] float.
      thresholds: [classes] float.
      groups: [n], such as runs; None for independent examples.
      predicted: [n] int, by the decision rule; None for the most probable class.
    """
    by_rule = _or_most_probable(predicted, probabilities)
    labels_or_abstain = predict_labels(probabilities, thresholds, predicted=by_rule)
    result = []
    for c in range(len(thresholds)):
        rows = labels_or_abstain == c
        correct, count = int((labels[rows] == c).sum()), int(rows.sum())
        of_group = np.arange(count) if groups is None else groups[rows]
        interval = group_intervals.share_interval(labels[rows] == c, of_group) if count else None
        low, high = interval or (None, None)
        result.append(
            ClassPrecision(
                correct=correct,
                predicted=count,
                most_probable=int((by_rule == c).sum()),
                precision=correct / count if count else None,
                low=low,
                high=high,
            )
        )
    return result


class RiskCoverage(NamedTuple):
    """A model's error rate if it predicts only its most confident examples.

    Attributes:
      coverage: [n] float, share of the examples that is predicted, rising to 1.
      risk: [n] float, share of these with a wrong prediction.
      area: mean risk over all coverages.
      best: the area if the same number of errors had the lowest confidence.
    """

    coverage: np.ndarray
    risk: np.ndarray
    area: float
    best: float


def risk_coverage(
    labels: np.ndarray, probabilities: np.ndarray, *, predicted: np.ndarray | None = None
) -> RiskCoverage:
    """Returns the risk-coverage curve (Geifman & El-Yaniv 2017, arXiv:1705.08500, section 2).

    Examples of equal confidence are predicted together, each with their mean risk.

    Args:
      labels: [n] int.
      probabilities: [n, classes] float.
      predicted: [n] int, by the decision rule; None for the most probable class.
    """
    predicted = _or_most_probable(predicted, probabilities)
    confidence, is_wrong = _confidence(probabilities, predicted), predicted != labels
    _, ranks, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    mean_errors = np.bincount(ranks, weights=is_wrong) / counts
    numbers = np.arange(1, len(confidence) + 1)
    risk = np.cumsum(mean_errors[np.sort(ranks)]) / numbers
    ideal = np.cumsum(np.sort(is_wrong)) / numbers
    return RiskCoverage(numbers / len(confidence), risk, float(risk.mean()), float(ideal.mean()))


def conformal_threshold(labels: np.ndarray, probabilities: np.ndarray, *, alpha: float) -> float:
    """Returns the threshold of probability at which 1 - alpha of the sets hold the true class.

    Split conformal prediction: the rank ceil((n + 1)(1 - alpha)) of the scores 1 - p(true class)
    (Angelopoulos & Bates 2021, arXiv:2107.07511, section 1.1; Sadinle et al. 2019,
    arXiv:1609.00451). It holds on average over new examples of the same kind as these, not for
    each class, and not for runs unlike those of validation.

    Args:
      labels: [n] int, of the validation split.
      probabilities: [n, classes] float.
      alpha: share of sets that may lack the true class, 0 to 1.

    Returns:
      0 where examples are too few, so that every set holds all classes.
    """
    true_probs = np.sort(probabilities[np.arange(len(labels)), labels])
    place = math.floor(alpha * (len(labels) + 1) + 1e-9)  # the same rank, counted from below
    return float(true_probs[place - 1]) if place else 0.0


def sets(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """Returns which classes are in each example's conformal set, [n, classes] bool; maybe none."""
    return probabilities >= threshold
