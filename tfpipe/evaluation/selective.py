"""Saying nothing where a model is not sure enough: thresholds by class, risk, conformal sets."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

UNSURE = -1
MIN_PRECISION = 0.9  # asked for where nobody says otherwise
SURE = 0.8  # of the lower bound that a threshold is chosen by
LEVEL = 0.95  # of intervals that are shown


def thresholds(
    labels: np.ndarray, probabilities: np.ndarray, *, min_precision: float
) -> np.ndarray:
    """Returns for each class the lowest probability from which on it is right often enough.

    Of the validation examples that are called a class with at least this probability, so many are
    right that their true share is `min_precision` or more with 80 % confidence (Clopper & Pearson
    1934, one-sided). Chosen by the plain share instead, a threshold profits from luck, as it is
    the best of many: in simulations of five classes (600 validation examples, accuracy 0.74,
    asked 0.9) the true precision was then below 0.9 for 66 % of the thresholds, and the interval
    of a test set as large lay below 0.9 for 13 %. By the bound at 80 % that is 25 % and 3 %; at
    95 % it is 5 % and none, but only 13 % of the examples are still named instead of 20 %, and
    precision overshoots. At least 16 examples, all of them right, are needed for 0.9.

    The bound takes examples for independent. Where runs differ from each other, more validation
    runs help, and nothing else.

    Args:
      labels: [n] int, of the validation split.
      probabilities: [n, classes] float, calibrated if they are to be later.
      min_precision: 0 to 1.

    Returns:
      [classes] float; inf for a class that cannot reach it, which then is always unsure.
    """
    called, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    if min_precision <= 0:
        return np.zeros(classes)
    found = np.full(classes, np.inf)
    for c in range(classes):
        own = called == c
        found[c] = _threshold(probabilities[own, c], labels[own] == c, min_precision)
    return found


def _threshold(sure: np.ndarray, right: np.ndarray, min_precision: float) -> float:
    """Returns the lowest of the probabilities [n] from which on enough are right, or inf."""
    order = np.argsort(-sure, kind="stable")
    sure, hits, counts = sure[order], np.cumsum(right[order]), np.arange(1, len(order) + 1)
    ends = np.append(sure[1:] < sure[:-1], True)[: len(sure)]  # those equally sure go together
    low = np.where(hits, stats.beta.ppf(1 - SURE, np.maximum(hits, 1), counts - hits + 1), 0.0)
    enough = np.flatnonzero(ends & (low >= min_precision))
    return float(sure[enough[-1]]) if len(enough) else math.inf


def said(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns the likeliest class [n] int, or -1 (unsure) below its threshold, [classes] float."""
    called = probabilities.argmax(axis=1)
    return np.where(probabilities.max(axis=1) >= thresholds[called], called, UNSURE)


def as_card(thresholds: np.ndarray, *, classes: Sequence[str]) -> dict[str, float | None]:
    """Returns class -> threshold as a card keeps them; None for a class that is always unsure."""
    values = thresholds.tolist()
    return {n: v if math.isfinite(v) else None for n, v in zip(classes, values, strict=True)}


def of_card(told: dict[str, float | None], *, classes: Sequence[str]) -> np.ndarray:
    """Returns thresholds [classes] float from what a card keeps."""
    return np.array([math.inf if told[name] is None else told[name] for name in classes])


class Realised(NamedTuple):
    """How often a class was right where it was said.

    Attributes:
      right: examples of the class among those.
      times: how often it was said.
      called: how often it would have been without a threshold.
      precision: right / times, or None where it never was.
      low: of the interval of the precision; None likewise.
      high: likewise.
    """

    right: int
    times: int
    called: int
    precision: float | None
    low: float | None
    high: float | None


def realised(
    labels: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray
) -> list[Realised]:
    """Returns for each class how often it was right, with a 95 % interval (Wilson 1927).

    Args:
      labels: [n] int, of a split that thresholds were not chosen on.
      probabilities: [n, classes] float.
      thresholds: [classes] float.
    """
    answers, called = said(probabilities, thresholds), probabilities.argmax(axis=1)
    found = []
    for c in range(len(thresholds)):
        own = answers == c
        right, times, before = (
            int((labels[own] == c).sum()),
            int(own.sum()),
            int((called == c).sum()),
        )
        low, high = wilson(right, times) if times else (None, None)
        found.append(Realised(right, times, before, right / times if times else None, low, high))
    return found


def wilson(right: int, times: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Returns the interval of a share, `right` of `times`, at least one."""
    interval = stats.binomtest(right, times).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


class RiskCoverage(NamedTuple):
    """How often a model errs if it names only its surest examples.

    Attributes:
      coverage: [n] float, share of the examples that is named, rising to 1.
      risk: [n] float, share of these that is named wrongly.
      area: mean risk over all coverages.
      best: the area that the same number of mistakes would have, all of them least sure.
    """

    coverage: np.ndarray
    risk: np.ndarray
    area: float
    best: float


def risk_coverage(labels: np.ndarray, probabilities: np.ndarray) -> RiskCoverage:
    """Returns the risk-coverage curve (Geifman & El-Yaniv 2017, arXiv:1705.08500, section 2).

    Examples that are equally sure are named together, each with their mean risk.
    """
    sure, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != labels
    _, of, counts = np.unique(-sure, return_inverse=True, return_counts=True)
    shared = np.sort(of), (np.bincount(of, weights=wrong) / counts)
    numbers = np.arange(1, len(sure) + 1)
    risk = np.cumsum(shared[1][shared[0]]) / numbers
    ideal = np.cumsum(np.sort(wrong)) / numbers
    return RiskCoverage(numbers / len(sure), risk, float(risk.mean()), float(ideal.mean()))


def conformal_threshold(labels: np.ndarray, probabilities: np.ndarray, *, alpha: float) -> float:
    """Returns the probability that a set's classes must reach so that 1 - alpha of sets are right.

    Split conformal prediction: the rank ceil((n + 1)(1 - alpha)) of the scores 1 - p(true class)
    (Angelopoulos & Bates 2021, arXiv:2107.07511, section 1.1; Sadinle et al. 2019,
    arXiv:1609.00451). It holds on average over new examples of the same kind as these, not for
    each class, and not for runs unlike those seen.

    Args:
      labels: [n] int, of the validation split.
      probabilities: [n, classes] float.
      alpha: share of sets that may lack the true class, 0 to 1.

    Returns:
      0 where examples are too few, so that every set holds all classes.
    """
    likely = np.sort(probabilities[np.arange(len(labels)), labels])
    place = math.floor(alpha * (len(labels) + 1) + 1e-9)  # the same rank, counted from below
    return float(likely[place - 1]) if place else 0.0


def sets(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """Returns which classes are in each example's conformal set, [n, classes] bool; maybe none."""
    return probabilities >= threshold
