"""Whether new pictures leave those that a version learnt from: by light, columns and answers.

The population stability index of two histograms with shares a and e is the sum of (a - e) ln(a / e)
(Siddiqi 2006, "Credit Risk Scorecards", chapter 9). Pictures of one photo or run are alike, so a
few new ones always differ from the mean of many. How far so many of the training split's own groups
are from the others of them is kept with a version, and only what is farther is told.
"""

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from scipy import stats

from tfpipe import scores

MOVED, FAR = 0.1, 0.25  # Siddiqi's "slight change" and "significant change" begin here
BINS = 10  # of equal shares of the training split; one more on each side, and one for nan
FALSE_ALARMS = 0.05  # of sets like the training split in which anything at all is told
DRAWS, MOST_GROUPS = 200, 512
MIX = "class mix"

Learnt = dict[str, dict[str, Any]]


class Finding(NamedTuple):
    """A quantity in which new pictures have left the training split.

    Attributes:
      name: "brightness", "contrast", "column <name>" or "class mix".
      index: population stability index.
      expected: what it stays below for as many groups of the training split's own kind.
      is_far: whether it is `FAR` or more.
      pictures: how many were looked at.
      sentence: all this in words.
    """

    name: str
    index: float
    expected: float
    is_far: bool
    pictures: int
    sentence: str


def measured(
    images: np.ndarray | None, columns: np.ndarray | None, names: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Returns name -> value of each picture [n] float64.

    Args:
      images: [n, height, width, channels]; None for a model that sees none.
      columns: [n, columns], likewise.
      names: of the columns.
    """
    found = {}
    if images is not None:
        # One by one, without a copy of them all as floats.
        light = [cv2.meanStdDev(np.ascontiguousarray(image).reshape(-1, 1)) for image in images]
        light = np.array(light, np.float64).reshape(-1, 2)
        found["brightness"], found["contrast"] = light.T
    for i, name in enumerate(names if columns is not None else ()):
        found[f"column {name}"] = columns[:, i].astype(np.float64)
    return found


def learnt(
    values: dict[str, np.ndarray],
    groups: np.ndarray,
    *,
    said: np.ndarray | None = None,
    said_groups: np.ndarray | None = None,
    classes: Sequence[str] = (),
) -> Learnt:
    """Returns what a version's card keeps: histograms, and how far groups are from each other.

    Args:
      values: name -> [n] float of the training split, by `measured`.
      groups: [n], theirs.
      said: [m] int, the classes that the model names on the validation split; None for an
        autoencoder.
      said_groups: [m], theirs.
      classes: names in label order.
    """
    count = len(values) + (said is not None)
    found = {}
    for name, own in values.items():
        known = own[np.isfinite(own)]
        edges = own[:0]
        if len(known):
            edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)))
            edges[-1] = np.nextafter(edges[-1], np.inf)  # the highest is inside
        mean = float(known.mean()) if len(known) else None
        found[name] = _told(own, groups, edges=edges, count=count) | {"mean": mean}
    if said is not None:
        edges = np.arange(1, len(classes)) - 0.5
        found[MIX] = _told(said, said_groups, edges=edges, count=count) | {"classes": [*classes]}
    return found


def index(counts: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Returns the population stability index [...] of histograms [..., bins].

    Half a picture is added to each bin (Jeffreys' prior), so that an empty one is no infinity.
    """
    shares = [(h + 0.5) / (h + 0.5).sum(axis=-1, keepdims=True) for h in (counts, reference)]
    return ((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum(axis=-1)


class Watch:
    """Adds up what is seen, in memory that does not grow, and says what has left the training."""

    def __init__(self, card: dict[str, Any]):
        """Begins with nothing seen.

        Args:
          card: a version's; one without statistics finds nothing.
        """
        self.card, self.learnt = card, card.get("drift") or {}
        self._names = card.get("columns") or card.get("spec", {}).get("columns", ())
        self._sees = "brightness" in self.learnt
        self._reads = any(name.startswith("column ") for name in self.learnt)
        self._counts = {name: np.zeros(len(h["counts"])) for name, h in self.learnt.items()}
        self._sums = dict.fromkeys(self.learnt, 0.0)
        self._groups, self._last = 0, None
        self._lock = threading.Lock()

    def update(
        self,
        images: np.ndarray | None,
        *,
        columns: np.ndarray | None = None,
        probabilities: np.ndarray | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        """Adds some pictures and what was answered; safe to call from several threads.

        Args:
          images: [n, height, width, channels], raw pixels as the model takes them.
          columns: [n, columns], in the model's order.
          probabilities: [n, classes].
          groups: the photo or run of each picture, those of one after each other; None where each
            picture is of its own.
        """
        images, columns = images if self._sees else None, columns if self._reads else None
        found = measured(images, columns, self._names)
        if probabilities is not None and MIX in self.learnt:
            found[MIX] = scores.said(probabilities, thresholds=self.card["thresholds"])
        found = {name: values for name, values in found.items() if name in self.learnt}
        with self._lock:
            for name, values in found.items():
                self._counts[name] += _counts(values, self.learnt[name]["edges"])
                self._sums[name] += float(np.nansum(values))
            if groups is None:
                self._groups += max(map(len, found.values()), default=0)
            elif len(groups):
                names = np.asarray(groups, str)
                self._groups += int((names[1:] != names[:-1]).sum() + (names[0] != self._last))
                self._last = str(names[-1])

    def findings(self) -> list[Finding]:
        """Returns what has left the training split, the farthest first."""
        with self._lock:
            found = [self._finding(name) for name in self.learnt if self._counts[name].any()]
        return sorted((one for one in found if one), key=lambda one: -one.index)

    def _finding(self, name: str) -> Finding | None:
        known, counts = self.learnt[name], self._counts[name]
        value, pictures = float(index(counts, np.array(known["counts"]))), int(counts.sum())
        limit = _limit(known, pictures=pictures, groups=self._groups)
        if value < MOVED or value <= limit:
            return None
        how = f"{'far ' if value >= FAR else ''}outside what the model learnt from"
        told = f"population stability index {value:.2g}, expected below {max(limit, MOVED):.2g}"
        sentence = f"{name} is {how}: {self._where(name, counts)} ({told}; {pictures:,} pictures)."
        return Finding(name, value, limit, value >= FAR, pictures, sentence)

    def _where(self, name: str, counts: np.ndarray) -> str:
        """Returns in words what is otherwise than it was."""
        known = self.learnt[name]
        if name == MIX:
            now, before = counts / counts.sum(), np.array(known["counts"]) / sum(known["counts"])
            most = int(np.abs(now - before)[:-1].argmax())
            return f"{known['classes'][most]} is {now[most]:.1%} of them, was {before[most]:.1%}"
        there = counts[:-1].sum()
        if not there or known["mean"] is None:
            return f"{1 - there / counts.sum():.0%} of them have no value"
        return f"{self._sums[name] / there:.4g} on average, was {known['mean']:.4g}"


def _counts(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """Returns how many values fall below, between and above edges, and how many are no number."""
    return np.bincount(_bins(values, edges), minlength=len(edges) + 2).astype(float)


def _bins(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    bins = np.searchsorted(np.asarray(edges, float), values, side="right")
    return np.where(np.isfinite(values), bins, len(edges) + 1)


def _told(values: np.ndarray, groups: np.ndarray, *, edges: np.ndarray, count: int) -> dict:
    names, of = np.unique(groups, return_inverse=True)
    bins = len(edges) + 2
    cells = np.bincount(of * bins + _bins(values, edges), minlength=len(names) * bins)
    histograms = cells.reshape(len(names), bins)
    return {
        "edges": edges.tolist(),
        "counts": histograms.sum(axis=0).tolist(),
        "groups": len(names),
        "limits": _limits(histograms, alarms=FALSE_ALARMS / count),
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


def _limit(known: dict[str, Any], *, pictures: int, groups: int) -> float:
    """Returns the index that so many pictures of so many groups stay below, without any drift.

    Of groups with fewer pictures than the training's own, chance adds what it adds to a chi-square
    with as many degrees of freedom as bins less one (Yurdakul 2018, "Statistical properties of
    population stability index"). One training group tells nothing of others: then it is infinite.
    """
    if not known["limits"]:
        return np.inf
    numbers, limits = np.array(known["limits"]).T
    limit = float(np.interp(np.log(groups), np.log(numbers), limits))
    if groups > numbers[-1]:  # the variance of a mean of so many, and of the training's own
        most = min(known["groups"], MOST_GROUPS)
        least = 1 / numbers[-1] + 1 / (most - numbers[-1])
        limit *= (1 / groups + 1 / known["groups"]) / least
    usual = groups * sum(known["counts"]) / known["groups"]
    freedom = sum(count > 0 for count in known["counts"]) - 1
    if pictures < usual and freedom:
        limit += stats.chi2.ppf(1 - FALSE_ALARMS, freedom) * (1 / pictures - 1 / usual)
    return limit
