"""Inspection: what people's labels of a drawn sample say of the predictions of all new images.

The sample is drawn at random within each predicted class, so rare classes are sampled as well as
common ones. Agreement and counts over all images weight each class by how often it was predicted:
the stratified estimator (Olofsson et al. 2014, doi:10.1016/j.rse.2014.02.015, eq. 9; for the
composition of plankton samples Solow et al. 2001, doi:10.3354/meps216309). The variance of its
normal interval is 0 for a class without a disagreement in the sample, however many images it
stands for, so the intervals of the classes (Clopper & Pearson 1934) are combined instead (Zou &
Donner 2008, doi:10.1002/sim.3095). Simulated with 50 images of each of 3 to 6 classes, precisions
of .3 to .99 and classes of 60 to 50,000 images, the 95 % intervals cover 95 to 99 %.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats
from sklearn import metrics

from tfpipe.evaluation import group_intervals

UNIDENTIFIABLE = -1
LEVEL = group_intervals.LEVEL


class Estimate(NamedTuple):
    """A number with its 95 % interval; each is nan where it is not defined.

    Attributes:
      value: the estimate.
      low: lower bound.
      high: upper bound.
    """

    value: float
    low: float
    high: float

    def minus(self, other: "Estimate") -> "Estimate":
        """Returns the difference to an independent estimate (Zou & Donner 2008)."""
        difference = self.value - other.value
        below = np.hypot(self.value - self.low, other.high - other.value)
        above = np.hypot(self.high - self.value, other.value - other.low)
        return Estimate(difference, float(difference - below), float(difference + above))


UNKNOWN = Estimate(np.nan, np.nan, np.nan)


class InspectedSample(NamedTuple):
    """Images that a person has labelled, drawn at random within each predicted class.

    Attributes:
      population: [groups, classes] int, all images by group and predicted class.
      predicted: [n] int, predicted classes of the sample.
      labels: [n] int, the person's; `UNIDENTIFIABLE` where the person could name none.
      groups: [n] int, rows of `population`.
    """

    population: np.ndarray
    predicted: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    @property
    def has_groups(self) -> bool:
        """Whether intervals can be for new groups: enough of them, some with several images."""
        sizes = self.population.sum(axis=1)
        return (sizes > 0).sum() >= group_intervals.MIN_GROUPS and bool((sizes > 1).any())

    @property
    def named(self) -> "InspectedSample":
        """The sample without images that the person could not name."""
        return self.of_rows(self.labels != UNIDENTIFIABLE)

    @property
    def missing(self) -> np.ndarray:
        """Classes that were predicted and of which no image is labelled, [m] int."""
        counts = np.bincount(self.predicted, minlength=self.population.shape[1])
        return np.flatnonzero((self.population.sum(axis=0) > 0) & (counts == 0))

    def of_rows(self, rows: np.ndarray) -> "InspectedSample":
        """Returns a part of the sample, given by row numbers or as [n] bool."""
        return self._replace(
            predicted=self.predicted[rows], labels=self.labels[rows], groups=self.groups[rows]
        )


def precision(sample: InspectedSample, label: int) -> Estimate:
    """Returns how often the person agrees with a predicted class, of images that could be named.

    The interval is for new groups where the class's images are of several, else for these images.
    """
    rows = (sample.predicted == label) & (sample.labels != UNIDENTIFIABLE)
    if not rows.any():
        return UNKNOWN
    hits = sample.labels[rows] == label
    bounds = None
    if sample.has_groups:
        bounds = group_intervals.share_interval(hits, sample.groups[rows])
    if bounds is None:
        drawn = int((sample.predicted == label).sum())
        bounds = _bounds(hits.sum(), len(hits), _correction(sample, label, drawn))
    return Estimate(float(hits.mean()), *bounds)


def agreement(sample: InspectedSample, *, named_only: bool = True) -> Estimate:
    """Returns how often the person agrees with the predictions, over all images.

    Each class counts by how many of the images were predicted so. Classes of which no image is
    labelled are left out, see `InspectedSample.missing`. With five groups or more the interval is
    for new groups, else for these images.

    Args:
      sample: the labelled images.
      named_only: whether images that the person could not name are left out; else they count as
        disagreement.
    """
    estimate = _agreement_of_images(sample, named_only)
    if not sample.has_groups or np.isnan(estimate.value):
        return estimate

    def without_groups(rows: np.ndarray) -> float:
        part = sample.of_rows(np.isin(sample.groups, rows))
        return _agreement(part._replace(population=sample.population[rows]), named_only)

    bounds = group_intervals.score_interval(without_groups, np.arange(len(sample.population)))
    if bounds is None or not np.isfinite(bounds).all():
        return estimate
    # New groups are no better known than these images.
    return Estimate(
        estimate.value, min(estimate.low, float(bounds[0])), max(estimate.high, float(bounds[1]))
    )


def counts(sample: InspectedSample) -> list[Estimate]:
    """Returns how many of the new images are of each class, by the person's labels.

    Returns:
      An estimate for each class, and one more for images that cannot be identified; unknown while
      a predicted class has no labelled image.
    """
    population = sample.population.sum(axis=0)
    classes = np.arange(len(population))
    if len(sample.missing):
        return [UNKNOWN] * (len(classes) + 1)
    present = np.flatnonzero(population).tolist()
    result = []
    for label in (*classes, UNIDENTIFIABLE):
        value, below, above = 0.0, 0.0, 0.0
        least, most = 0, int(population.sum())
        for stratum in present:
            of_stratum = sample.labels[sample.predicted == stratum]
            hits, drawn = int((of_stratum == label).sum()), len(of_stratum)
            low, high = _bounds(hits, drawn, _correction(sample, stratum, drawn))
            size, share = population[stratum], hits / drawn
            value += size * share
            below += (size * (share - low)) ** 2
            above += (size * (high - share)) ** 2
            least, most = least + hits, most - (drawn - hits)
        result.append(
            Estimate(
                float(value),
                float(max(least, value - np.sqrt(below))),
                float(min(most, value + np.sqrt(above))),
            )
        )
    return result


def kappa(first: np.ndarray, second: np.ndarray, groups: np.ndarray) -> Estimate:
    """Returns Cohen's kappa of two people's labels of the same images, with an interval.

    Each group is left out in turn, or each image where there are too few groups.

    Args:
      first: [n] int, of one person, `UNIDENTIFIABLE` among them.
      second: [n] int, of the other.
      groups: [n] int.
    """

    def statistic(rows: np.ndarray) -> float:
        if len({*first[rows], *second[rows]}) < 2:  # chance alone agrees everywhere
            return np.nan
        return float(metrics.cohen_kappa_score(first[rows], second[rows]))

    if not len(first):
        return UNKNOWN
    units = groups
    if len(np.unique(groups)) < group_intervals.MIN_GROUPS:
        units = np.arange(len(first))
    bounds = group_intervals.score_interval(statistic, units, is_share=False)
    low, high = (np.nan, np.nan) if bounds is None else np.clip(bounds, -1, 1)
    return Estimate(statistic(np.arange(len(first))), float(low), float(high))


def accuracy(hits: np.ndarray, groups: np.ndarray) -> Estimate:
    """Returns the share of hits, [n] bool, among test images, with the interval of a report.

    Args:
      hits: whether each image is predicted correctly.
      groups: [n], of each image.
    """
    if not len(hits):
        return UNKNOWN
    share = float(hits.mean())
    bounds = group_intervals.score_interval(lambda rows: float(hits[rows].mean()), groups)
    if bounds is not None and np.isfinite(bounds).all():
        return Estimate(share, float(bounds[0]), float(bounds[1]))
    low, high = group_intervals.share_interval(hits, groups) or (np.nan, np.nan)
    return Estimate(share, low, high)


def _agreement(sample: InspectedSample, named_only: bool) -> float:
    """Returns the agreement alone; nan without any labelled image."""
    population = sample.population.sum(axis=0)
    hits, weights = _shares(sample, named_only)
    total = (population * weights).sum()
    return float((population * weights * hits).sum() / total) if total else np.nan


def _shares(sample: InspectedSample, named_only: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns of each class the share of hits among what counts, and the share that counts."""
    classes = sample.population.shape[1]
    drawn = np.bincount(sample.predicted, minlength=classes)
    is_counted = (sample.labels != UNIDENTIFIABLE) | (not named_only)
    counted = np.bincount(sample.predicted[is_counted], minlength=classes)
    hits = np.bincount(sample.predicted[sample.predicted == sample.labels], minlength=classes)
    return hits / np.maximum(counted, 1), counted / np.maximum(drawn, 1)


def _agreement_of_images(sample: InspectedSample, named_only: bool) -> Estimate:
    """Returns the agreement with its interval for these images."""
    value = _agreement(sample, named_only)
    if np.isnan(value):
        return UNKNOWN
    population = sample.population.sum(axis=0)
    hits, weights = _shares(sample, named_only)
    total = (population * weights).sum()
    below = above = 0.0
    for label in np.flatnonzero(population * weights).tolist():
        drawn = int((sample.predicted == label).sum())
        counted = round(drawn * weights[label])
        correction = _correction(sample, label, drawn)
        low, high = _bounds(round(hits[label] * counted), counted, correction)
        scale = population[label] * weights[label] / total
        below += (scale * (hits[label] - low)) ** 2
        above += (scale * (high - hits[label])) ** 2
        # More images of this class that can be named pull the agreement towards its own.
        low, high = _bounds(counted, drawn, correction)
        pull = population[label] * (hits[label] - value) / total
        moves = sorted((pull * (low - weights[label]), pull * (high - weights[label])))
        below, above = below + moves[0] ** 2, above + moves[1] ** 2
    return Estimate(
        value,
        float(max(0, value - np.sqrt(below))),
        float(min(1, value + np.sqrt(above))),
    )


def _correction(sample: InspectedSample, label: int, drawn: int) -> float:
    """Returns by how much a sample of finitely many images varies less: 0 if all are drawn."""
    size = int(sample.population[:, label].sum())
    return (size - drawn) / (size - 1) if size > 1 else 0.0


def _bounds(hits: float, count: int, correction: float) -> tuple[float, float]:
    """Returns the 95 % interval of a share (Clopper & Pearson 1934), for finitely many images.

    Args:
      hits: number of hits.
      count: number of images, at least one.
      correction: by which the variance is smaller than that of endlessly many images; 0 if all are
        drawn.
    """
    if correction <= 0:
        return hits / count, hits / count
    hits, misses = hits / correction, (count - hits) / correction
    tail = (1 - LEVEL) / 2
    low = stats.beta.ppf(tail, hits, misses + 1) if hits else 0.0
    high = stats.beta.isf(tail, hits + 1, misses) if misses else 1.0
    return float(low), float(high)
