"""Prevalence: number of examples of each class, corrected for the classifier's errors.

Counts of predictions are biased where classes are not as frequent as in the test split: if almost
everything is dust, one hundredth of it mistaken for pollen outnumbers all true pollen. The
confusion matrix has the rate of each error. The estimate is the shares of true classes that
explain the counts of predictions (Lipton et al. 2018, arXiv:1802.03916, eq. 3; Saerens et al.
2002, doi:10.1162/089976602753284446). It assumes that a class looks the same in new runs as in the
test split: only its share may differ. How far runs differ in their rates is the intra-class
correlation of predictions in a run (Weir & Cockerham 1984, doi:10.1111/j.1558-5646.1984.tb05657.x).
"""

from typing import NamedTuple

import numpy as np

DRAWS = 500
LEVEL = 0.95
PSEUDO_COUNT = 1.0  # examples added to each row of the confusion matrix
MIN_GROUPS = 2  # with examples of a class, to see how far groups differ
MAX_CORRELATION = 0.95  # of predictions in a group
STEPS = 500  # of expectation and maximisation, at most
STEPS_OF_DRAWS = 50  # the same, where draws begin
CONVERGED = 1e-7  # a step's largest change of a share
PRIOR = 0.5  # examples of each class that are added to shares (Jeffreys)
ROUNDS = 10  # of drawing true classes and their shares in turn


class Counts(NamedTuple):
    """Examples of each class, [classes] float each.

    Attributes:
      adjusted: the most probable number; nan without any test example.
      low: lower end of its 95 % interval; nan where `missing_interval` has a reason.
      high: upper end; nan likewise.
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


def missing_interval(confusions: np.ndarray) -> str | None:
    """Returns why numbers of examples have no interval, a sentence, or None where they have one.

    Args:
      confusions: [groups, classes, classes + 1] int, see `confusions`.
    """
    groups = int((confusions.sum(axis=(1, 2)) > 0).sum())
    if not groups:
        return (
            "The number of images of each class is not adjusted for the model's errors: its test "
            "split has no labelled image. Label some of another group, and train again."
        )
    if (confusions.sum(axis=2) > 0).sum(axis=0).max() < MIN_GROUPS:
        count = "1 group" if groups == 1 else f"no class in {MIN_GROUPS} groups"
        return (
            f"The adjusted numbers of images have no interval: the model's test split has {count}, "
            "which cannot show how far groups differ. Label images of more groups, and train again."
        )
    return None


def estimate(
    counts: np.ndarray, confusions: np.ndarray, *, new_groups: int, seed: int = 0
) -> Counts:
    """Returns the number of examples of each class among unlabelled ones, with an interval.

    The interval is for new groups, such as one new run, whose rates of errors differ as those of
    the test groups do. Each draw has an intra-class correlation of each class (by an F
    distribution, so few groups leave it open), the usual rates, and the rates of as many new groups
    (both by a Dirichlet distribution). With these rates, the true class of each counted example and
    the shares of true classes are drawn in turn (Gibbs sampling).

    Args:
      counts: [classes + 1] int, see `count_predictions`.
      confusions: [groups, classes, classes + 1] int, see `confusions`, of groups that neither the
        model nor its thresholds have seen. A class without examples there may be predicted as any
        other, which makes its interval wide.
      new_groups: number of groups, such as runs, that the counted examples come from.
      seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    total, classes = int(counts.sum()), confusions.shape[1]
    pseudo = PSEUDO_COUNT / confusions.shape[2]
    unknown = np.full(classes, np.nan)
    if not total:
        return Counts(*np.zeros((3, classes)))
    if not confusions.sum():
        return Counts(unknown, unknown, unknown)
    rates = confusions.sum(axis=0) + pseudo
    point_estimate = adjusted_counts(counts, confusions)
    if missing_interval(confusions):
        return Counts(point_estimate, unknown, unknown)
    correlation = _correlations(confusions, rng)
    # Alike examples count less: as so many independent ones.
    sizes = confusions.sum(axis=2)
    independent = sizes / (1 + np.maximum(sizes - 1, 0) * correlation[:, None])
    usual = rates / rates.sum(axis=1, keepdims=True)
    usual = _dirichlet(independent.sum(axis=1)[..., None] * usual + pseudo, rng)
    concentration = np.maximum(max(new_groups, 1) / np.maximum(correlation, 1e-6) - 1, 0.05)
    new_rates = _dirichlet(concentration[..., None] * usual, rng)
    true_counts = _true_counts(counts, new_rates, rng)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(true_counts, (tail, 100 - tail), axis=0)
    return Counts(point_estimate, low, high)


def adjusted_counts(counts: np.ndarray, confusions: np.ndarray) -> np.ndarray:
    """Returns the most probable number of examples of each class, [classes] float.

    Arguments are those of `estimate`; the confusions hold at least one example.
    """
    rates = confusions.sum(axis=0) + PSEUDO_COUNT / confusions.shape[2]
    return counts.sum() * _shares(counts[None], rates[None])[0]


def _correlations(confusions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns draws of the intra-class correlation of each class's predictions, [draws, classes].

    The ratio of mean squares between and within groups is divided by draws of the F distribution
    that it has without correlation. A class that fewer than `MIN_GROUPS` groups have gets the mean
    of the others.
    """
    draws = np.full((DRAWS, confusions.shape[1]), np.nan)
    for c, by_group in enumerate(np.swapaxes(confusions, 0, 1)):
        rows = by_group[by_group.sum(axis=1) > 0]
        sizes, total = rows.sum(axis=1), rows.sum()
        groups = len(rows)
        if groups < MIN_GROUPS:
            continue
        usual, of_group = rows.sum(axis=0) / total, rows / sizes[:, None]
        # A multinomial varies in several directions, of which few may count (Satterthwaite 1946).
        covariance = np.diag(usual) - np.outer(usual, usual)
        if np.trace(covariance) < 1e-12 or total == groups:
            draws[:, c] = 0
            continue
        directions = np.trace(covariance) ** 2 / (covariance**2).sum()
        between = (sizes[:, None] * (of_group - usual) ** 2).sum() / (groups - 1)
        within = (sizes[:, None] * of_group * (1 - of_group)).sum() / (total - groups)
        chance = rng.f((groups - 1) * directions, (total - groups) * directions, size=DRAWS)
        ratio = between / max(within, 1e-12) / chance
        size = (total - (sizes**2).sum() / total) / (groups - 1)
        draws[:, c] = np.clip((ratio - 1) / (ratio + size - 1), 0, MAX_CORRELATION)
    return np.where(np.isnan(draws), np.nanmean(draws, axis=1, keepdims=True), draws)


def _true_counts(counts: np.ndarray, rates: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns draws of the number of examples of each true class, [draws, classes].

    Args:
      counts: [classes + 1] int, predictions of each class.
      rates: [draws, classes, classes + 1], whose rows add up to 1.
      rng: random numbers.
    """
    total = int(counts.sum())
    count_draws = rng.multinomial(total, counts / total, size=len(rates))
    shares = _shares(count_draws, rates, steps=STEPS_OF_DRAWS)
    for _ in range(ROUNDS):
        of_prediction = np.swapaxes(shares[..., None] * rates, 1, 2) + 1e-300
        of_prediction /= of_prediction.sum(axis=2, keepdims=True)
        true_counts = rng.multinomial(counts, of_prediction).sum(axis=1)
        shares = _dirichlet(true_counts + PRIOR, rng)
    return true_counts


def shifted_prior(probabilities: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Returns the shares of the classes [classes] among images of which none has a label.

    By expectation and maximisation (Saerens et al. 2002, eq. 2.9): probabilities are weighted by
    the ratio of the new shares to the old ones, and their mean is the next estimate. It assumes
    that a class looks as before, and calibrated probabilities.

    Args:
      probabilities: [n, classes], of the new images.
      prior: [classes], shares of the classes that these probabilities assume, all above 0.
    """
    shares = prior
    for _ in range(STEPS):
        weighted = probabilities * (shares / prior)
        weighted /= np.maximum(weighted.sum(axis=1, keepdims=True), 1e-300)
        before, shares = shares, weighted.mean(axis=0)
        if np.abs(shares - before).max() < CONVERGED:
            break
    return shares


def _dirichlet(concentrations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a Dirichlet draw for each row, [..., categories]."""
    draws = rng.gamma(np.maximum(concentrations, 1e-3)) + 1e-12
    return draws / draws.sum(axis=-1, keepdims=True)


def _shares(counts: np.ndarray, confusions: np.ndarray, *, steps: int = STEPS) -> np.ndarray:
    """Returns the most probable shares [draws, classes] of true classes; each row adds up to 1.

    By expectation and maximisation (Saerens et al. 2002), which never leaves the simplex.

    Args:
      counts: [draws, classes + 1], predictions of each class.
      confusions: [draws, classes, classes + 1], predictions by true class.
      steps: at most.
    """
    rates = confusions / np.maximum(confusions.sum(axis=2, keepdims=True), 1e-300)
    observed = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares = np.full((*rates.shape[:2], 1), 1 / rates.shape[1])
    by_prediction = np.ascontiguousarray(np.swapaxes(rates, 1, 2))
    for _ in range(steps):
        expected = np.maximum(by_prediction @ shares, 1e-300)
        before, shares = shares, shares * (rates @ (observed[..., None] / expected))
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
        if np.abs(shares - before).max() < CONVERGED:
            break
    return shares[..., 0]
