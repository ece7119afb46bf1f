"""Prevalence: number of examples of each class, corrected for the classifier's errors.

Counts of predictions are biased where classes are not as frequent as in the test split: if almost
everything is dust, one hundredth of it mistaken for pollen outnumbers all true pollen. The
confusion matrix has the rate of each error. The estimate is the shares of true classes that
explain the counts of predictions (Lipton et al. 2018, arXiv:1802.03916, eq. 3; Saerens et al.
2002, doi:10.1162/089976602753284446). It assumes that a class looks the same in new runs as in the
test split: only its share may differ.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

DRAWS = 500
LEVEL = 0.95
PSEUDO_COUNT = 1.0  # examples added to each row of the confusion matrix
SHRINKAGE = 5.0  # examples with the rates of all groups that are added to each group's
STEPS = 500  # of expectation and maximisation


class Counts(NamedTuple):
    """Examples of each class, [classes] float each.

    Attributes:
      adjusted: the most probable number.
      low: lower end of its 95 % interval.
      high: upper end.
    """

    adjusted: np.ndarray
    low: np.ndarray
    high: np.ndarray


def confusions(
    labels: np.ndarray, predicted: np.ndarray, groups: np.ndarray, *, classes: int
) -> np.ndarray:
    """Returns the confusion matrix of each group, [groups, classes, classes + 1] int.

    Args:
      labels: [n] int, of examples that the model was not trained on.
      predicted: [n] int, -1 where the model abstains, which is the last column.
      groups: [n], such as runs.
      classes: number of classes.
    """
    names, rows = np.unique(groups, return_inverse=True)
    matrices = np.zeros((len(names), classes, classes + 1), int)
    np.add.at(matrices, (rows, labels, np.where(predicted < 0, classes, predicted)), 1)
    return matrices


def count_predictions(predicted: np.ndarray, *, classes: int) -> np.ndarray:
    """Returns the number of predictions of each class, [classes + 1] int, abstentions (-1) last."""
    return np.bincount(np.where(predicted < 0, classes, predicted), minlength=classes + 1)


def estimate(
    counts: np.ndarray, confusions: np.ndarray, *, new_groups: int, seed: int = 0
) -> Counts:
    """Returns the number of examples of each class among unlabelled ones, with an interval.

    The interval is for new groups, such as one new run: its errors are not those of the test groups
    together, but as those of groups drawn from them. In each draw the test groups have weights of a
    Bayesian bootstrap (Rubin 1981, doi:10.1214/aos/1176345338), as many of them are drawn as the
    new data has, and the counts come from a multinomial of as many examples. A class of which a
    drawn group has few examples has the rates of all groups.

    Args:
      counts: [classes + 1] int, see `count_predictions`.
      confusions: [groups, classes, classes + 1] int, see `confusions`, of groups that neither the
        model nor its thresholds have seen. A class without examples there may be predicted as any
        other, which makes its interval wide.
      new_groups: number of groups, such as runs, that the counted examples come from.
      seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    total, pseudo = int(counts.sum()), PSEUDO_COUNT / confusions.shape[2]
    rates = confusions.sum(axis=0) + pseudo
    point_estimate = _shares(counts[None], rates[None])[0]
    known = len(confusions)
    weights = rng.dirichlet(np.ones(known), size=DRAWS)
    drawn = np.stack([rng.multinomial(max(new_groups, 1), one) for one in weights])
    # Each group counts alike, however many examples it has: what it tells is its rates.
    usual = rates / rates.sum(axis=1, keepdims=True)
    of_group = confusions + SHRINKAGE * usual
    of_group /= of_group.sum(axis=2, keepdims=True)
    if known > 1:
        # Few groups show less than they differ: Student's t instead of the normal distribution.
        wider = stats.t.ppf((1 + LEVEL) / 2, known - 1) / stats.norm.ppf((1 + LEVEL) / 2)
        of_group = np.maximum(usual + wider * (of_group - usual), 0)
    matrices = np.einsum("dg,gts->dts", drawn / drawn.sum(axis=1, keepdims=True), of_group)
    # What the rates of a class rest on: its examples in all groups.
    evidence = confusions.sum(axis=(0, 2))[None, :, None] + PSEUDO_COUNT
    matrices = rng.gamma(np.maximum(matrices * evidence, 1e-6))
    count_draws = rng.multinomial(total, counts / max(total, 1), size=DRAWS)
    shares = _shares(count_draws, matrices)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(shares, (tail, 100 - tail), axis=0)
    return Counts(total * point_estimate, total * low, total * high)


def _shares(counts: np.ndarray, confusions: np.ndarray) -> np.ndarray:
    """Returns the most probable shares [draws, classes] of true classes; each row adds up to 1.

    By expectation and maximisation (Saerens et al. 2002), which never leaves the simplex.

    Args:
      counts: [draws, classes + 1], predictions of each class.
      confusions: [draws, classes, classes + 1], predictions by true class.
    """
    rates = confusions / np.maximum(confusions.sum(axis=2, keepdims=True), 1e-300)
    observed = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares = np.full(rates.shape[:2], 1 / rates.shape[1])
    for _ in range(STEPS):
        expected = np.maximum(np.einsum("dt,dts->ds", shares, rates), 1e-300)
        shares = shares * np.einsum("ds,dts->dt", observed / expected, rates)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
    return shares
