"""Drift: how far new examples are from the training split, in pixels, columns and classes.

The population stability index of two histograms with shares a and e is the sum of (a - e) ln(a / e)
(Siddiqi 2006, "Credit Risk Scorecards", chapter 9). Images of one photo or run are alike, so a few
new ones always differ from the mean of many. A version's card therefore holds how far so many
groups of the training split are from its other groups, and only a larger index is a finding.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from scipy import stats

from tfpipe.evaluation import metrics

MOVED, FAR = 0.1, 0.25  # Siddiqi's "slight change" and "significant change" begin here
MIX = "class mix"
BINS = 10  # of equal shares of the training split; one more on each side, and one for nan
FALSE_ALARMS = 0.05  # of sets like the training split that have a finding at all
DRAWS, MAX_GROUPS = 100, 512

Histogram = dict[str, Any]
Histograms = dict[str, Histogram]


@dataclass(frozen=True)
class Finding:
    """A quantity in which new examples have left the training split.

    Attributes:
      name: "brightness", "contrast", "column <name>" or "class mix".
      index: population stability index.
      expected: upper limit of the index for as many groups like those of the training split.
      is_far: whether the index is `FAR` or more.
      examples: number of new examples.
      sentence: the finding as a sentence.
    """

    name: str
    index: float
    expected: float
    is_far: bool
    examples: int
    sentence: str


def measure(
    images: np.ndarray | None, columns: np.ndarray | None, names: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Returns quantity -> its value in each example, [n] float64.

    Args:
      images: [n, height, width, channels]; None for a model without images.
      columns: [n, columns], likewise.
      names: of the columns.
    """
    values: dict[str, np.ndarray] = {}
    if images is not None:
        # One by one: all images as floats would take eight times their memory.
        moments = [cv2.meanStdDev(np.ascontiguousarray(image).reshape(-1, 1)) for image in images]
        values["brightness"], values["contrast"] = np.array(moments, np.float64).reshape(-1, 2).T
    if columns is not None:
        for i, name in enumerate(names):
            values[f"column {name}"] = columns[:, i].astype(np.float64)
    return values


def histograms(
    values: dict[str, np.ndarray],
    groups: np.ndarray,
    *,
    predictions: np.ndarray | None = None,
    prediction_groups: np.ndarray | None = None,
    classes: Sequence[str] = (),
) -> Histograms:
    """Returns quantity -> histogram of the training split, with limits by number of groups.

    Args:
      values: quantity -> [n] float of the training split, by `measure`.
      groups: [n], theirs.
      predictions: [m] int, classes predicted on the validation split; None for an autoencoder.
      prediction_groups: [m], theirs.
      classes: names in label order.
    """
    alarms = FALSE_ALARMS / (len(values) + (predictions is not None))
    by_name = {name: continuous(column, groups, alarms=alarms) for name, column in values.items()}
    if predictions is not None and prediction_groups is not None:
        by_name[MIX] = of_classes(predictions, prediction_groups, classes=classes, alarms=alarms)
    return by_name


class DriftCard(Protocol):
    """What a version's card holds for `Watch`."""

    @property
    def drift(self) -> Histograms:
        """Histograms by `histograms`; {} for none."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in the model's order."""

    @property
    def thresholds(self) -> dict[str, float]:
        """Decision thresholds of a classifier."""


class Watch:
    """Histograms of new examples, in constant memory, compared with those of a version's card."""

    def __init__(self, card: DriftCard):
        """Begins with no examples.

        Args:
          card: a version's; without statistics there are no findings.
        """
        self.card, self.reference = card, card.drift
        self._names = card.columns
        self._uses_images = "brightness" in self.reference
        self._uses_columns = any(name.startswith("column ") for name in self.reference)
        self._counts = {name: np.zeros(len(h["counts"])) for name, h in self.reference.items()}
        self._sums = dict.fromkeys(self.reference, 0.0)
        self._groups = 0
        self._last_group: str | None = None
        self._lock = threading.Lock()

    def update(
        self,
        images: np.ndarray | None,
        *,
        columns: np.ndarray | None = None,
        probabilities: np.ndarray | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        """Adds some examples and their predictions; safe to call from several threads.

        Args:
          images: [n, height, width, channels], raw pixels as the model takes them.
          columns: [n, columns], in the model's order.
          probabilities: [n, classes].
          groups: photo or run of each example, those of one group in a row; None where each
            example is a group of its own.
        """
        values = measure(
            images if self._uses_images else None,
            columns if self._uses_columns else None,
            self._names,
        )
        if probabilities is not None and MIX in self.reference:
            values[MIX] = metrics.predict_labels(probabilities, thresholds=self.card.thresholds)
        values = {name: column for name, column in values.items() if name in self.reference}
        with self._lock:
            for name, column in values.items():
                self._counts[name] += counts(column, self.reference[name]["edges"])
                self._sums[name] += float(np.nansum(column))
            if groups is None:
                self._groups += max(map(len, values.values()), default=0)
            elif len(groups):
                names = np.asarray(groups, str)
                changes = (names[1:] != names[:-1]).sum() + (names[0] != self._last_group)
                self._groups += int(changes)
                self._last_group = str(names[-1])

    def state(self) -> dict[str, Any]:
        """Returns the sums, for `add` and for JSON."""
        with self._lock:
            by_name = {name: count.tolist() for name, count in self._counts.items()}
            return {"counts": by_name, "sums": dict(self._sums), "groups": self._groups}

    def add(self, state: dict[str, Any]) -> None:
        """Adds the state of another watch, with other groups."""
        with self._lock:
            for name, count in state["counts"].items():
                self._counts[name] += count
                self._sums[name] += state["sums"][name]
            self._groups, self._last_group = self._groups + state["groups"], None

    def indices(self) -> dict[str, float]:
        """Returns the population stability index of each quantity that has examples."""
        with self._lock:
            return {name: self._index(name) for name in self.reference if self._counts[name].any()}

    def findings(self) -> list[Finding]:
        """Returns the quantities that have left the training split, the farthest first."""
        with self._lock:
            every = [self._finding(name) for name in self.reference if self._counts[name].any()]
        return sorted((finding for finding in every if finding), key=lambda finding: -finding.index)

    def _finding(self, name: str) -> Finding | None:
        value = self._index(name)
        examples = int(self._counts[name].sum())
        upper = limit(self.reference[name], examples=examples, groups=self._groups)
        if value < MOVED or value <= upper:
            return None
        how = f"{'far ' if value >= FAR else ''}outside the training split"
        why = f"population stability index {value:.2g}, expected below {max(upper, MOVED):.2g}"
        sentence = f"{name} is {how}: {self._change(name)} ({why}; {examples:,} images)."
        return Finding(name, value, upper, value >= FAR, examples, sentence)

    def _index(self, name: str) -> float:
        return float(index(self._counts[name], np.array(self.reference[name]["counts"])))

    def _change(self, name: str) -> str:
        """Returns what has changed, in words."""
        reference, count = self.reference[name], self._counts[name]
        if name == MIX:
            now, before = (
                count / count.sum(),
                np.array(reference["counts"]) / sum(reference["counts"]),
            )
            most = int(np.abs(now - before)[:-1].argmax())
            return (
                f"{reference['classes'][most]} is {now[most]:.1%} of them, was {before[most]:.1%}"
            )
        finite = count[:-1].sum()
        if not finite or reference["mean"] is None:
            return f"{1 - finite / count.sum():.0%} of them have no value"
        return f"{self._sums[name] / finite:.4g} on average, was {reference['mean']:.4g}"


def continuous(values: np.ndarray, groups: np.ndarray, *, alarms: float) -> Histogram:
    """Returns the histogram of numbers, as a card holds it.

    Args:
      values: [n] float, nan for none.
      groups: [n], theirs.
      alarms: share of sets like this one that may exceed the limits.
    """
    finite, edges = values[np.isfinite(values)], values[:0]
    if len(finite):
        edges = np.unique(np.quantile(finite, np.linspace(0, 1, BINS + 1)))
        edges[-1] = np.nextafter(edges[-1], np.inf)  # the highest value is inside
    mean = float(finite.mean()) if len(finite) else None
    return _histogram(values, groups, edges=edges, alarms=alarms) | {"mean": mean}


def of_classes(
    predictions: np.ndarray, groups: np.ndarray, *, classes: Sequence[str], alarms: float
) -> Histogram:
    """Returns the histogram of predicted classes, [n] int, likewise."""
    edges = np.arange(1, len(classes)) - 0.5
    return _histogram(predictions, groups, edges=edges, alarms=alarms) | {"classes": [*classes]}


def index(counts: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Returns the population stability index [...] of histograms [..., bins].

    Half an example is added to each bin (Jeffreys' prior), so that an empty bin is not infinite.
    """
    shares = [(h + 0.5) / (h + 0.5).sum(axis=-1, keepdims=True) for h in (counts, reference)]
    return ((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum(axis=-1)


def counts(values: np.ndarray, edges: Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns how many values are below, between and above edges, and how many are no number."""
    return np.bincount(_bins(values, edges), minlength=len(edges) + 2).astype(float)


def limit(reference: Histogram, *, examples: int, groups: int) -> float:
    """Returns the upper limit of the index for so many examples of so many groups without drift.

    For groups with fewer examples than those of the training split, chance adds what it adds to a
    chi-square with bins - 1 degrees of freedom (Yurdakul 2018, "Statistical properties of
    population stability index"). A single training group is no measure of others: the limit is
    then infinite.
    """
    if not reference["limits"]:
        return np.inf
    numbers, limits = np.array(reference["limits"]).T
    upper = float(np.interp(np.log(groups), np.log(numbers), limits))
    if groups > numbers[-1]:  # the variance of a mean of so many, and of the training's own
        most = min(reference["groups"], MAX_GROUPS)
        least = 1 / numbers[-1] + 1 / (most - numbers[-1])
        upper *= (1 / groups + 1 / reference["groups"]) / least
    usual = groups * sum(reference["counts"]) / reference["groups"]
    freedom = sum(count > 0 for count in reference["counts"]) - 1
    if examples < usual and freedom:
        upper += stats.chi2.ppf(1 - FALSE_ALARMS, freedom) * (1 / examples - 1 / usual)
    return upper


def group_limits(histograms: np.ndarray, *, alarms: float) -> list[list[float]]:
    """Returns rows of [groups, index], the upper limit for so many groups against the others.

    Groups are drawn without replacement. The logarithm of the index is close to a normal
    distribution, so the limit is that of a further draw from it (Student's t, as its deviation is
    estimated from few groups).

    Args:
      histograms: [groups, bins] int.
      alarms: share of draws that may be above.
    """
    rng = np.random.default_rng(0)
    if len(histograms) > MAX_GROUPS:
        histograms = histograms[rng.choice(len(histograms), MAX_GROUPS, replace=False)]
    count, total = len(histograms), histograms.sum(axis=0)
    orders = rng.random((DRAWS, count)).argsort(axis=1)
    limits, drawn = [], 1
    while drawn <= count // 2:
        rows = orders[:, :drawn] if drawn > 1 else np.arange(count)[:, None]
        sums = histograms[rows].sum(axis=1)
        logs = np.log(index(sums, total - sums) + 1e-6)
        quantile = stats.t.ppf(1 - alarms, count - 1) * np.sqrt(1 + 1 / count)
        limits.append([drawn, float(np.exp(logs.mean() + quantile * logs.std(ddof=1)))])
        drawn *= 2
    return limits


def _bins(values: np.ndarray, edges: Sequence[float] | np.ndarray) -> np.ndarray:
    bins = np.searchsorted(np.asarray(edges, float), values, side="right")
    return np.where(np.isfinite(values), bins, len(edges) + 1)


def _histogram(
    values: np.ndarray, groups: np.ndarray, *, edges: np.ndarray, alarms: float
) -> Histogram:
    names, numbers = np.unique(groups, return_inverse=True)
    bins = len(edges) + 2
    cells = np.bincount(numbers * bins + _bins(values, edges), minlength=len(names) * bins)
    by_group = cells.reshape(len(names), bins)
    return {
        "edges": edges.tolist(),
        "counts": by_group.sum(axis=0).tolist(),
        "groups": len(names),
        "limits": group_limits(by_group, alarms=alarms),
    }
