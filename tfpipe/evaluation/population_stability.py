"""How far a histogram is from that of the training split, and how far it is without any drift.

The population stability index of two histograms with shares a and e is the sum of (a - e) ln(a / e)
(Siddiqi 2006, "Credit Risk Scorecards", chapter 9). Pictures of one photo or run are alike, so a
few new ones always differ from the mean of many. How far so many of the training split's own groups
are from the others of them is kept with a version, and only what is farther counts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

BINS = 10  # of equal shares of the training split; one more on each side, and one for nan
FALSE_ALARMS = 0.05  # of sets like the training split in which anything at all is told
DRAWS, MOST_GROUPS = 100, 512

Histogram = dict[str, Any]


def continuous(values: np.ndarray, groups: np.ndarray, *, alarms: float) -> Histogram:
    """Returns the histogram of numbers, as a card keeps it.

    Args:
      values: [n] float, nan where there is none.
      groups: [n], theirs.
      alarms: how often a set like this one may be told to differ.
    """
    known, edges = values[np.isfinite(values)], values[:0]
    if len(known):
        edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)))
        edges[-1] = np.nextafter(edges[-1], np.inf)  # the highest is inside
    mean = float(known.mean()) if len(known) else None
    return _told(values, groups, edges=edges, alarms=alarms) | {"mean": mean}


def of_classes(
    said: np.ndarray, groups: np.ndarray, *, classes: Sequence[str], alarms: float
) -> Histogram:
    """Returns the histogram of classes named, [n] int, likewise."""
    edges = np.arange(1, len(classes)) - 0.5
    return _told(said, groups, edges=edges, alarms=alarms) | {"classes": [*classes]}


def index(counts: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Returns the population stability index [...] of histograms [..., bins].

    Half a picture is added to each bin (Jeffreys' prior), so that an empty one is no infinity.
    """
    shares = [(h + 0.5) / (h + 0.5).sum(axis=-1, keepdims=True) for h in (counts, reference)]
    return ((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum(axis=-1)


def counts(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """Returns how many values fall below, between and above edges, and how many are no number."""
    return np.bincount(_bins(values, edges), minlength=len(edges) + 2).astype(float)


def limit(known: dict[str, Any], *, pictures: int, groups: int) -> float:
    """Returns the index that so many pictures of so many groups stay below, without any drift.

    Of groups with fewer pictures than the training's own, chance adds what it adds to a chi-square
    with as many degrees of freedom as bins less one (Yurdakul 2018, "Statistical properties of
    population stability index"). One training group tells nothing of others: then it is infinite.
    """
    if not known["limits"]:
        return np.inf
    numbers, limits = np.array(known["limits"]).T
    found = float(np.interp(np.log(groups), np.log(numbers), limits))
    if groups > numbers[-1]:  # the variance of a mean of so many, and of the training's own
        most = min(known["groups"], MOST_GROUPS)
        least = 1 / numbers[-1] + 1 / (most - numbers[-1])
        found *= (1 / groups + 1 / known["groups"]) / least
    usual = groups * sum(known["counts"]) / known["groups"]
    freedom = sum(count > 0 for count in known["counts"]) - 1
    if pictures < usual and freedom:
        found += stats.chi2.ppf(1 - FALSE_ALARMS, freedom) * (1 / pictures - 1 / usual)
    return found


def _bins(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    bins = np.searchsorted(np.asarray(edges, float), values, side="right")
    return np.where(np.isfinite(values), bins, len(edges) + 1)


def _told(values: np.ndarray, groups: np.ndarray, *, edges: np.ndarray, alarms: float) -> Histogram:
    names, of = np.unique(groups, return_inverse=True)
    bins = len(edges) + 2
    cells = np.bincount(of * bins + _bins(values, edges), minlength=len(names) * bins)
    histograms = cells.reshape(len(names), bins)
    return {
        "edges": edges.tolist(),
        "counts": histograms.sum(axis=0).tolist(),
        "groups": len(names),
        "limits": _limits(histograms, alarms=alarms),
    }


def _limits(histograms: np.ndarray, *, alarms: float) -> list[list[float]]:
    """Returns [groups, index] rows: below it stay so many groups against the others, mostly.

    Groups are drawn without replacement. The logarithm of the index is near a normal distribution,
    so the limit is that of a further draw from it (Student's t, as its spread is of few groups).

    Args:
      histograms: [groups, bins] int.
      alarms: how often a draw may be above.
    """
    rng = np.random.default_rng(0)
    if len(histograms) > MOST_GROUPS:
        histograms = histograms[rng.choice(len(histograms), MOST_GROUPS, replace=False)]
    count, total = len(histograms), histograms.sum(axis=0)
    orders = rng.random((DRAWS, count)).argsort(axis=1)
    found, drawn = [], 1
    while drawn <= count // 2:
        own = histograms[orders[:, :drawn] if drawn > 1 else np.arange(count)[:, None]].sum(axis=1)
        logs = np.log(index(own, total - own) + 1e-6)
        quantile = stats.t.ppf(1 - alarms, count - 1) * np.sqrt(1 + 1 / count)
        found.append([drawn, float(np.exp(logs.mean() + quantile * logs.std(ddof=1)))])
        drawn *= 2
    return found
