"""Errors of counts and shares in each group: what a survey of runs, sites or days reads off.

Errors of single images cancel in counts, or add up: accuracy does not say which. The error is
Bray-Curtis, with counts that are too high and too low apart, and the threshold is chosen by it on
validation groups, not by scores of single images (arXiv:2605.15835).
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial import distance

from tfpipe.evaluation import group_intervals, metrics, prevalence

MIN_IMAGES = 10  # of a group with counts of its own; smaller groups are counted together
GRID = np.round(np.arange(0, 1, 0.01), 2)  # thresholds to choose from
POOLED = "groups of fewer than 10"


class CountErrors(NamedTuple):
    """Errors of estimated counts in each unit, a group or small groups together; [units] float.

    Attributes:
      counts: Bray-Curtis dissimilarity of true and estimated counts, 0 to 1.
      shares: likewise of shares; 1 where nothing is counted.
      over: how many are counted too much, summed over classes, as a share of the images.
      under: how many are counted too little, likewise.
    """

    counts: np.ndarray
    shares: np.ndarray
    over: np.ndarray
    under: np.ndarray


def units(groups: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Returns the unit of each image, [n] int, and the units' names.

    A unit is a group of `MIN_IMAGES` or more; all smaller groups are one unit together.
    """
    names, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    is_large = sizes >= MIN_IMAGES
    number_of = np.where(is_large, np.cumsum(is_large) - 1, is_large.sum())
    pooled = [] if is_large.all() else [POOLED]
    return number_of[numbers], [*names[is_large].tolist(), *pooled]


def count(labels: np.ndarray, unit: np.ndarray, *, classes: int) -> np.ndarray:
    """Returns the number of images by unit and class, [units, classes] int; -1 is not counted."""
    return _count(labels, unit, shape=(int(unit.max()) + 1, classes))


def errors(true: np.ndarray, estimated: np.ndarray) -> CountErrors:
    """Returns the errors of estimated counts.

    Args:
      true: [units, classes] counts, some in each unit.
      estimated: [units, classes] counts.
    """
    totals = true.sum(axis=1)
    shares = estimated / np.maximum(estimated.sum(axis=1, keepdims=True), 1e-12)
    difference = estimated - true
    return CountErrors(
        _bray_curtis(true, estimated),
        np.where(estimated.sum(axis=1) > 0, _bray_curtis(true / totals[:, None], shares), 1.0),
        np.maximum(difference, 0).sum(axis=1) / totals,
        np.maximum(-difference, 0).sum(axis=1) / totals,
    )


def adjusted(
    labels: np.ndarray, predicted: np.ndarray, unit: np.ndarray, *, classes: int
) -> np.ndarray:
    """Returns counts adjusted as `predict` adjusts them, [units, classes] float.

    The errors that a unit's counts are adjusted by are those of the other units.

    Args:
      labels: [n] int.
      predicted: [n] int, -1 where the model abstains.
      unit: [n] int, of each image.
      classes: number of classes.

    Returns:
      nan where there is one unit only.
    """
    by_unit = prevalence.confusions(labels, predicted, unit, classes=classes)
    result = np.full((len(by_unit), classes), np.nan)
    for i in range(len(by_unit) if len(by_unit) > 1 else 0):
        others = np.delete(by_unit, i, axis=0)
        result[i] = prevalence.adjusted_counts(by_unit[i].sum(axis=0), others)
    return result


def named(
    probabilities: np.ndarray, *, thresholds: dict[str, float], threshold: float
) -> np.ndarray:
    """Returns the classes [n] int that are counted at a threshold; -1 is not counted.

    Args:
      probabilities: [n, classes] float.
      thresholds: of the version's decision rule.
      threshold: of two classes, from which the second is named. Of more, of the probability of the
        most probable class, below which an image is not counted.
    """
    return _Rule.of(probabilities, thresholds).named(threshold)


def best_threshold(
    labels: np.ndarray,
    probabilities: np.ndarray,
    unit: np.ndarray,
    *,
    thresholds: dict[str, float],
) -> float:
    """Returns the threshold, see `named`, whose shares are nearest to the true ones.

    Args:
      labels: [n] int, of the validation split.
      probabilities: [n, classes] float.
      unit: [n] int, of each image.
      thresholds: of the version's decision rule.

    Returns:
      One of `GRID`: the lowest mean Bray-Curtis dissimilarity of shares over units. Of equal ones
      the nearest to the version's own rule.
    """
    is_binary = probabilities.shape[1] == 2
    true = count(labels, unit, classes=probabilities.shape[1])
    rule = _Rule.of(probabilities, thresholds)
    means = np.array(
        [errors(true, count_in(true, rule.named(one), unit)).shares.mean() for one in GRID]
    )
    best = np.flatnonzero(means <= means.min() + 1e-12)
    own = thresholds.get("decision", 0.5) if is_binary else 0.0
    return float(GRID[best[np.abs(GRID[best] - own).argmin()]])


def count_in(true: np.ndarray, predicted: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Returns counts of predictions, [n] int, in the units and classes of true counts."""
    return _count(predicted, unit, shape=true.shape)


def difference(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Returns the mean difference of errors in the same units, [units], and its 95 % interval.

    The interval is nan for fewer than three units.
    """
    gain = second - first
    test = group_intervals.difference_test(lambda rows: gain[rows].mean(), np.arange(len(gain)))
    if test is None:
        return float(gain.mean()), np.nan, np.nan
    return float(gain.mean()), float(test.low), float(test.high)


class _Rule(NamedTuple):
    """What images are counted as, at or above a threshold of their score and below it; [n] each."""

    score: np.ndarray
    above: np.ndarray
    below: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray, thresholds: dict[str, float]) -> "_Rule":
        probs = np.asarray(probabilities, np.float32)  # as `metrics.predict_labels` compares them
        count = len(probs)
        if probs.shape[1] == 2:
            return cls(probs[:, 1], np.ones(count, int), np.zeros(count, int))
        predicted = metrics.predict_labels(probs, thresholds=thresholds)
        return cls(probs.max(axis=1), predicted, np.full(count, -1))

    def named(self, threshold: float) -> np.ndarray:
        return np.where(self.score >= np.float32(threshold), self.above, self.below)


def _count(labels: np.ndarray, unit: np.ndarray, *, shape: tuple[int, ...]) -> np.ndarray:
    inside = labels >= 0
    places = unit[inside] * shape[1] + labels[inside]
    return np.bincount(places, minlength=shape[0] * shape[1]).reshape(shape)


def _bray_curtis(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.array([distance.braycurtis(*rows) for rows in zip(first, second, strict=True)])
