"""Which hyperparameters mattered in a search: permutation importance in a forest, out of bag.

A random forest learns the rank of a trial's score from its hyperparameters; how much worse it ranks
trials that a tree has not seen, once a hyperparameter's values are shuffled among them, is how
much that one mattered (Breiman 2001, doi:10.1023/A:1010933404324, section 10). It stands for the
functional ANOVA of Hutter et al. (2014, "An efficient approach for assessing hyperparameter
importance"), and needs no more than scikit-learn's trees.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

LEAST = 5  # configurations, below which a forest has nothing to be wrong about
TREES = 200
FAIR = 0.2  # share of the ranks' variance that must be foretold for the rest to be believed


class Importance(NamedTuple):
    """What mattered.

    Attributes:
      shares: hyperparameter -> its share of how trials rank, largest first; they add up to
        `explained`, or to 0 where that is less, so that noise has short bars.
      explained: how well trials are foretold that a tree has not seen: 1 - squared error over
        variance of the ranks, 0 or less where the forest knows nothing; None without a forest.
      note: how far to believe it, a sentence.
    """

    shares: dict[str, float]
    explained: float | None
    note: str


def importance(trials: Sequence[dict[str, Any]], *, names: Sequence[str]) -> Importance:
    """Returns what mattered among completed trials.

    The trees are grown on drawn configurations, not on drawn trials: a trial that Hyperband
    promotes has the values of the one it goes on from, and one would give the other away. Ranks,
    and not scores, since a loss that diverged has no bounds.

    Args:
      trials: rows of the completed ones: "score" and the values of `names`, absent where a space
        did not ask for one.
      names: the hyperparameters, "epochs" among them where trials had different ones.
    """
    names = [name for name in names if len({repr(trial.get(name)) for trial in trials}) > 1]
    values = [name for name in names if name != "epochs"]
    of_each = [repr([trial.get(name) for name in values]) for trial in trials]
    configuration = np.unique(of_each, return_inverse=True)[1] if trials else np.zeros(0, int)
    count = len(set(of_each))
    if count < LEAST:
        note = f"Importance needs at least {LEAST} completed trials of different values, not"
        return Importance({}, None, f"{note} {count}.")
    ranks = _ranks(np.array([trial["score"] for trial in trials], float))
    if not ranks.std():
        return Importance(dict.fromkeys(names, 0.0), 0.0, "All completed trials scored the same.")
    table = np.stack([_numbers([trial.get(name) for trial in trials]) for name in names], axis=1)
    worse, explained = _out_of_bag(table, ranks, configuration)
    worse = np.maximum(worse, 0)
    shares = worse / (worse.sum() or 1) * max(explained, 0)
    order = np.argsort(-shares, kind="stable")
    return Importance(
        {names[i]: float(shares[i]) for i in order}, explained, _note(explained, count)
    )


def _out_of_bag(table: np.ndarray, ranks: np.ndarray, configuration: np.ndarray):
    """Returns how much worse each column's shuffling makes it [columns], and R2 without shuffling.

    Args:
      table: [trials, columns] float, nan where a trial has no such value.
      ranks: [trials] float.
      configuration: [trials] int, the same for trials of the same values.
    """
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(0)
    count, columns = configuration.max() + 1, table.shape[1]
    worse, summed, told = np.zeros(columns), np.zeros(len(ranks)), np.zeros(len(ranks))
    for seed in range(TREES):
        drawn = np.bincount(rng.integers(0, count, count), minlength=count)[configuration]
        unseen = np.flatnonzero(drawn == 0)
        if not len(unseen):
            continue
        tree = DecisionTreeRegressor(min_samples_leaf=2, random_state=seed)
        tree.fit(table, ranks, sample_weight=drawn)
        asked = np.tile(table[unseen], (1 + columns, 1, 1))
        for column in range(columns):
            asked[1 + column, :, column] = rng.permutation(asked[0, :, column])
        said = tree.predict(asked.reshape(-1, columns)).reshape(1 + columns, -1)
        error = ((said - ranks[unseen]) ** 2).mean(axis=1)
        worse += error[1:] - error[0]
        summed[unseen] += said[0]
        told[unseen] += 1
    seen = told > 0
    error = (summed[seen] / told[seen] - ranks[seen]) ** 2
    return worse / TREES, float(1 - error.mean() / ranks[seen].var())


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Returns the rank of each score, from 0; equal scores share their mean rank."""
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]


def _numbers(values: Sequence[Any]) -> np.ndarray:
    """Returns values as a tree takes them: numbers as they are, words and truths by their order."""
    if all(isinstance(value, int | float | None) for value in values):
        return np.array([np.nan if value is None else value for value in values], float)
    words = sorted({str(value) for value in values})
    return np.array([words.index(str(value)) for value in values], float)


def _note(explained: float, count: int) -> str:
    share = f"{max(explained, 0):.0%} of how trials rank that it has not seen"
    told = f"Given {count} configurations, a random forest foretells {share}"
    if explained < FAIR:
        return f"Not to be relied on: {told[0].lower()}{told[1:]}. More trials may tell."
    return f"{told}."
