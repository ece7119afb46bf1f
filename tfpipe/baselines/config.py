"""Tree search configuration: candidates, folds, balance and seed of a search of boosted trees."""

from typing import NamedTuple

DEFAULT_FOLDS = 5


class TreeSearchConfig(NamedTuple):
    """What is searched.

    Attributes:
      trials: number of candidates.
      folds: number of cross-validation folds, at least 2; 0 for `DEFAULT_FOLDS`, or one a group
        where there are fewer.
      balance: one of `boosted_trees.BALANCES`.
      seed: random seed of candidates, folds and trees.
    """

    trials: int = 20
    folds: int = DEFAULT_FOLDS
    balance: str = "weights"
    seed: int = 0
