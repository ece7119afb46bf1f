"""How far other groups would move a score: whole groups are drawn again, with replacement.

Pictures of one group are alike, so it is groups that are drawn (Efron & Tibshirani 1993, "An
introduction to the bootstrap", chapter 13).
"""

from collections.abc import Callable

import numpy as np

DRAWS = 400
FEWEST = 5  # groups, of which draws tell anything


def interval(
    statistic: Callable[[np.ndarray], np.ndarray | float | None],
    groups: np.ndarray,
    *,
    draws: int | None = None,
    seed: int = 0,
) -> np.ndarray | None:
    """Returns what a statistic lies between in 95 % of draws of as many groups, [2, ...] float.

    Args:
      statistic: row numbers [m] of the pictures drawn -> a value or several, nan or None where they
        are not defined.
      groups: [n], each picture's.
      draws: how many; None for `DRAWS`.
      seed: of the draws.

    Returns:
      Lower and upper bound; None where no draw has a value.
    """
    names, of = np.unique(groups, return_inverse=True)
    rows = np.split(np.argsort(of, kind="stable"), np.cumsum(np.bincount(of))[:-1])
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(np.concatenate([rows[i] for i in rng.integers(0, len(names), len(names))]))
        for _ in range(draws or DRAWS)
    ]
    values = np.array([one for one in drawn if one is not None], float)
    known = np.isfinite(values)
    if not known.any():
        return None
    if values.ndim == 1:
        return np.percentile(values[known], (2.5, 97.5))
    bounds = [
        np.percentile(column[own], (2.5, 97.5)) if own.any() else (np.nan, np.nan)
        for column, own in zip(values.T, known.T, strict=True)
    ]
    return np.array(bounds).T
