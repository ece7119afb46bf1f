"""Importance of hyperparameters in a search: permutation importance in a random forest, out of bag.

A random forest predicts the rank of a trial's score from its hyperparameters. The importance of a
hyperparameter is the rise of the out-of-bag error when its values are permuted among trials
(Breiman 2001, doi:10.1023/A:1010933404324, section 10). It replaces the functional ANOVA of Hutter
et al. (2014, "An efficient approach for assessing hyperparameter importance"), and needs only
scikit-learn.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

MIN_CONFIGURATIONS = 5  # with fewer, no importance is computed
N_TREES = 200
MIN_EXPLAINED = 0.2  # of the ranks' variance; with less, the note advises against reliance


class Importance(NamedTuple):
    """Importance of the hyperparameters of a search.

    Attributes:
      shares: hyperparameter -> its share of the ranks' variance, largest first. They add up to
        `explained`, or to 0 if that is negative, so that noise has short bars.
      explained: out-of-bag R2 of the ranks: 1 - squared error / variance. It is 0 or less if the
        forest predicts nothing, and None without a forest.
      note: a sentence on how reliable it is.
    """

    shares: dict[str, float]
    explained: float | None
    note: str


def importance(trials: Sequence[dict[str, Any]], *, names: Sequence[str]) -> Importance:
    """Returns the importance of hyperparameters among completed trials.

    Bootstrap samples are of configurations and not of trials. A trial that Hyperband promotes has
    the values of an earlier trial, and would leak its score. Ranks are used and not scores, as a
    loss that diverged has no bound.

    Args:
      trials: rows of completed trials: "score" and the values of `names`; a value is absent where
        the trial's space has no such hyperparameter.
      names: the hyperparameters, and "epochs" if it differs between trials.
    """
    names = [name for name in names if len({repr(trial.get(name)) for trial in trials}) > 1]
    values = [name for name in names if name != "epochs"]
    configurations = [repr([trial.get(name) for name in values]) for trial in trials]
    count = len(set(configurations))
    if count < MIN_CONFIGURATIONS:
        note = (
            f"Importance needs at least {MIN_CONFIGURATIONS} completed trials of different values, "
            f"not {count}."
        )
        return Importance({}, None, note)
    configuration = np.unique(configurations, return_inverse=True)[1]
    ranks = _ranks(np.array([trial["score"] for trial in trials], float))
    if not ranks.std():
        return Importance(dict.fromkeys(names, 0.0), 0.0, "All completed trials scored the same.")
    table = np.stack([_numbers([trial.get(name) for trial in trials]) for name in names], axis=1)
    increases, explained = _out_of_bag(table, ranks, configuration)
    increases = np.maximum(increases, 0)
    shares = increases / (increases.sum() or 1) * max(explained, 0)
    order = np.argsort(-shares, kind="stable")
    return Importance(
        {names[i]: float(shares[i]) for i in order}, explained, _note(explained, count)
    )


def _out_of_bag(
    table: np.ndarray, ranks: np.ndarray, configuration: np.ndarray
) -> tuple[np.ndarray, float]:
    """Returns the rise of the error when a column is permuted [columns], and R2 without.

    Args:
      table: [trials, columns] float, nan for absent values.
      ranks: [trials] float.
      configuration: [trials] int, equal for trials of equal values.
    """
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(0)
    count, columns = configuration.max() + 1, table.shape[1]
    increases = np.zeros(columns)
    sums, counts = np.zeros(len(ranks)), np.zeros(len(ranks))
    for seed in range(N_TREES):
        weights = np.bincount(rng.integers(0, count, count), minlength=count)[configuration]
        out_of_bag = np.flatnonzero(weights == 0)
        if not len(out_of_bag):
            continue
        tree = DecisionTreeRegressor(min_samples_leaf=2, random_state=seed)
        tree.fit(table, ranks, sample_weight=weights)
        inputs = np.tile(table[out_of_bag], (1 + columns, 1, 1))
        for column in range(columns):
            inputs[1 + column, :, column] = rng.permutation(inputs[0, :, column])
        predictions = tree.predict(inputs.reshape(-1, columns)).reshape(1 + columns, -1)
        errors = ((predictions - ranks[out_of_bag]) ** 2).mean(axis=1)
        increases += errors[1:] - errors[0]
        sums[out_of_bag] += predictions[0]
        counts[out_of_bag] += 1
    has_prediction = counts > 0
    means = sums[has_prediction] / counts[has_prediction]
    variance = ranks[has_prediction].var()
    mean_error = ((means - ranks[has_prediction]) ** 2).mean()
    return increases / N_TREES, float(1 - mean_error / variance)


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Returns the rank of each score, from 0; equal scores share their mean rank."""
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]


def _numbers(values: Sequence[Any]) -> np.ndarray:
    """Returns values as numbers [trials]: numbers unchanged, others by their alphabetical order."""
    if all(isinstance(value, int | float | None) for value in values):
        return np.array([np.nan if value is None else value for value in values], float)
    categories = sorted({str(value) for value in values})
    return np.array([categories.index(str(value)) for value in values], float)


def _note(explained: float, count: int) -> str:
    share = f"{max(explained, 0):.0%} of the variance of the ranks of other trials"
    sentence = f"Given {count} configurations, a random forest explains {share}."
    if explained < MIN_EXPLAINED:
        return f"{sentence} This is not to be relied on; more trials may help."
    return sentence
