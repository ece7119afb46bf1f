"""How many of each class there are among unlabelled examples, mistakes of the classifier included.

Counting what a classifier says is biased wherever classes are not as common as in its test split:
a hundredth of the dust taken for pollen outnumbers all true pollen, if almost everything is dust.
The confusion matrix says how often each class is called what. Which shares of the true classes
explain the counts of what was said, is solved for (Lipton et al. 2018, arXiv:1802.03916, eq. 3;
Saerens et al. 2002, doi:10.1162/089976602753284446). All of it takes for granted that a class looks
the same in the new runs as in the test split: only its share may differ.
"""

from typing import NamedTuple

import numpy as np

DRAWS = 500
LEVEL = 0.95
UNSEEN = 1.0  # examples in each row of the confusion matrix that may be called anything
STEPS = 500  # of the solution


class Counts(NamedTuple):
    """Examples of each class, [classes] float each.

    Attributes:
      adjusted: the likeliest number.
      low: of the 95 % interval.
      high: likewise.
    """

    adjusted: np.ndarray
    low: np.ndarray
    high: np.ndarray


def confusions(
    labels: np.ndarray, said: np.ndarray, groups: np.ndarray, *, classes: int
) -> np.ndarray:
    """Returns a confusion matrix of each group, [groups, classes, classes + 1] int.

    Args:
      labels: [n] int, of evaluated examples that the model never saw.
      said: [n] int, -1 for unsure, which is the last column.
      groups: [n], such as runs.
      classes: how many there are.
    """
    names, of = np.unique(groups, return_inverse=True)
    found = np.zeros((len(names), classes, classes + 1), int)
    np.add.at(found, (of, labels, np.where(said < 0, classes, said)), 1)
    return found


def told(said: np.ndarray, *, classes: int) -> np.ndarray:
    """Returns how often each class was said, [classes + 1] int, unsure (-1) last; these add up."""
    return np.bincount(np.where(said < 0, classes, said), minlength=classes + 1)


def estimate(counts: np.ndarray, confusions: np.ndarray, *, seed: int = 0) -> Counts:
    """Returns how many examples there are of each class among those that were only predicted.

    The interval draws what is not known for sure. Of the confusion matrix: each group weighs
    Gamma(1) (the Bayesian bootstrap, Rubin 1981, doi:10.1214/aos/1176345338), so groups that
    differ make it wide, and each cell gets a small Gamma weight besides, so that a mistake which
    was never seen is not taken to be impossible; where each example is a group of its own, a row
    is exactly a Dirichlet posterior. Of the counts: a multinomial of as many examples.

    Args:
      counts: [classes + 1] int, see `told`.
      confusions: [groups, classes, classes + 1] int, see `confusions`. A class that does not occur
        there may be called anything, and its interval says so.
      seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    total, pseudo = int(counts.sum()), UNSEEN / confusions.shape[2]
    rates = confusions.sum(axis=0) + pseudo
    likeliest = _shares(counts[None], rates[None])[0]
    weights = rng.gamma(1.0, size=(DRAWS, len(confusions)))
    drawn = np.einsum("dg,gts->dts", weights, confusions) + rng.gamma(
        pseudo, size=(DRAWS, *rates.shape)
    )
    again = rng.multinomial(total, counts / max(total, 1), size=DRAWS)
    shares = _shares(again, drawn)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(shares, (tail, 100 - tail), axis=0)
    return Counts(total * likeliest, total * low, total * high)


def _shares(counts: np.ndarray, confusions: np.ndarray) -> np.ndarray:
    """Returns the likeliest shares [draws, classes] of true classes, each row adding up to 1.

    By expectation and maximisation (Saerens et al. 2002), which never leaves the simplex.

    Args:
      counts: [draws, classes + 1], how often each class was said.
      confusions: [draws, classes, classes + 1], how often each true class was said to be which.
    """
    rates = confusions / np.maximum(confusions.sum(axis=2, keepdims=True), 1e-300)
    wanted = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares = np.full(rates.shape[:2], 1 / rates.shape[1])
    for _ in range(STEPS):
        expected = np.maximum(np.einsum("dt,dts->ds", shares, rates), 1e-300)
        shares = shares * np.einsum("ds,dts->dt", wanted / expected, rates)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
    return shares
