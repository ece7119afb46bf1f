"""Intervals of scores over groups such as runs or photos: what new groups may give.

Images of one group are alike, so whole groups are left out in turn (the jackknife; Efron &
Tibshirani 1993, "An introduction to the bootstrap", chapter 11; Cameron & Miller 2015, "A
practitioner's guide to cluster-robust inference", section III). Percentiles of a bootstrap of 5 to
20 groups are too narrow: simulated, 95 % intervals of F1 cover .84 to .90, these .92 to .96.
"""

from collections.abc import Callable

import numpy as np
from scipy import stats

MIN_GROUPS = 5  # for an interval
MOST_PARTS = 200  # that are left out in turn
LEVEL = 0.95
END = 0.005  # a share of 0 or 1 counts as at most this far from it

Statistic = Callable[[np.ndarray], np.ndarray | float | None]


def score_interval(
    statistic: Statistic, groups: np.ndarray, *, is_share: bool = True
) -> np.ndarray | None:
    """Returns the 95 % interval of a score for groups such as these, [2, ...] float.

    Args:
      statistic: row numbers [m] -> a score or several; nan or None where they are not defined.
      groups: [n], of each image.
      is_share: whether the scores lie between 0 and 1; then the interval is made of their
        logarithmic odds and never leaves that range.

    Returns:
      Lower and upper bound by Student's t, around the score; nan where a score is not defined
      without one of the groups, or all groups are equal. None for fewer than `MIN_GROUPS` groups.
    """
    values = _left_out(statistic, groups)
    if values is None or len(values) - 1 < MIN_GROUPS:
        return None
    score, without = values[0], values[1:]
    count = len(without)
    end = min(1 / (2 * len(groups)), END)
    if is_share:
        score, without = (_log_odds(part, end=end) for part in (score, without))
    pseudo = count * score - (count - 1) * without
    deviation = pseudo.std(axis=0, ddof=1) / np.sqrt(count)
    margin = stats.t.ppf((1 + LEVEL) / 2, count - 1) * deviation
    margin = np.where(deviation > 1e-12, margin, np.nan)
    bounds = np.stack([score - margin, score + margin])
    return 1 / (1 + np.exp(-bounds)) if is_share else bounds


def p_below_zero(statistic: Statistic, groups: np.ndarray) -> float | None:
    """Returns the one-sided p-value of a difference that is not below 0 in new groups.

    It is that of Student's t after Hall's monotone cubic transformation (1992,
    doi:10.1111/j.2517-6161.1992.tb01872.x), which allows for skewed differences: a version that is
    a little worse in most groups and much better in a few. Student's t itself calls 10 to 18 % of
    equal versions worse then, at a nominal 2.5 %; this one 3 to 9 %.

    Args:
      statistic: row numbers [m] -> the difference; nan or None where it is not defined.
      groups: [n], of each image.

    Returns:
      None for fewer than `MIN_GROUPS` groups, or where the difference is not defined without one.
    """
    values = _left_out(statistic, groups)
    if values is None or len(values) - 1 < MIN_GROUPS or not np.isfinite(values).all():
        return None
    count = len(values) - 1
    pseudo = count * values[0] - (count - 1) * values[1:]
    mean, deviation = float(values[0]), float(pseudo.std(ddof=1))
    if deviation < 1e-12:
        return 1.0 if mean >= 0 else 0.0
    t = mean * np.sqrt(count) / deviation
    skew = float(stats.skew(pseudo, bias=False)) / np.sqrt(count)
    transformed = t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6
    return float(stats.t.cdf(transformed, count - 1))


def _left_out(statistic: Statistic, groups: np.ndarray) -> np.ndarray | None:
    """Returns the statistic of all rows, then without each group, [1 + groups, ...].

    Of many groups, `MOST_PARTS` parts of whole groups are left out instead, drawn at random.
    """
    names, numbers = np.unique(groups, return_inverse=True)
    count = len(names)
    if count < 2:
        return None
    if count > MOST_PARTS:
        parts = np.random.default_rng(0).permutation(np.arange(count) % MOST_PARTS)
        numbers, count = parts[numbers], MOST_PARTS
    rows = np.arange(len(groups))
    values = [statistic(rows), *(statistic(rows[numbers != i]) for i in range(count))]
    shape = next((np.shape(value) for value in values if value is not None), None)
    if shape is None:
        return None
    missing = np.full(shape, np.nan)
    return np.array([missing if value is None else value for value in values], float)


def _log_odds(share: np.ndarray, *, end: float) -> np.ndarray:
    share = np.clip(share, end, 1 - end)
    return np.log(share / (1 - share))
