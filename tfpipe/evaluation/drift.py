"""Whether new pictures leave those that a version learnt from: by light, columns and answers."""

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

from tfpipe.evaluation import metrics, population_stability

MOVED, FAR = 0.1, 0.25  # Siddiqi's "slight change" and "significant change" begin here
MIX = "class mix"

Learnt = dict[str, population_stability.Histogram]


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
    alarms = population_stability.FALSE_ALARMS / (len(values) + (said is not None))
    found = {
        name: population_stability.continuous(own, groups, alarms=alarms)
        for name, own in values.items()
    }
    if said is not None:
        told = {"classes": classes, "alarms": alarms}
        found[MIX] = population_stability.of_classes(said, said_groups, **told)
    return found


class DriftCard(Protocol):
    """What a version's card holds for `Watch`."""

    @property
    def drift(self) -> Learnt:
        """Histograms by `learnt`; {} for none."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in the model's order."""

    @property
    def thresholds(self) -> dict[str, float]:
        """Decision thresholds of a classifier."""


class Watch:
    """Adds up what is seen, in memory that does not grow, and says what has left the training."""

    def __init__(self, card: DriftCard):
        """Begins with nothing seen.

        Args:
          card: a version's; one without statistics finds nothing.
        """
        self.card, self.learnt = card, card.drift
        self._names = card.columns
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
            found[MIX] = metrics.said(probabilities, thresholds=self.card.thresholds)
        found = {name: values for name, values in found.items() if name in self.learnt}
        with self._lock:
            for name, values in found.items():
                self._counts[name] += population_stability.counts(
                    values, self.learnt[name]["edges"]
                )
                self._sums[name] += float(np.nansum(values))
            if groups is None:
                self._groups += max(map(len, found.values()), default=0)
            elif len(groups):
                names = np.asarray(groups, str)
                self._groups += int((names[1:] != names[:-1]).sum() + (names[0] != self._last))
                self._last = str(names[-1])

    def told(self) -> dict[str, Any]:
        """Returns what was added up, for `add` and for JSON."""
        with self._lock:
            counts = {name: own.tolist() for name, own in self._counts.items()}
            return {"counts": counts, "sums": dict(self._sums), "groups": self._groups}

    def add(self, told: dict[str, Any]) -> None:
        """Adds what another has added up, of other groups."""
        with self._lock:
            for name, counts in told["counts"].items():
                self._counts[name] += counts
                self._sums[name] += told["sums"][name]
            self._groups, self._last = self._groups + told["groups"], None

    def indices(self) -> dict[str, float]:
        """Returns the population stability index of each quantity that was seen."""
        with self._lock:
            return {name: self._index(name) for name in self.learnt if self._counts[name].any()}

    def findings(self) -> list[Finding]:
        """Returns what has left the training split, the farthest first."""
        with self._lock:
            found = [self._finding(name) for name in self.learnt if self._counts[name].any()]
        return sorted((one for one in found if one), key=lambda one: -one.index)

    def _finding(self, name: str) -> Finding | None:
        known, counts = self.learnt[name], self._counts[name]
        value = self._index(name)
        pictures = int(counts.sum())
        limit = population_stability.limit(known, pictures=pictures, groups=self._groups)
        if value < MOVED or value <= limit:
            return None
        how = f"{'far ' if value >= FAR else ''}outside what the model learnt from"
        told = f"population stability index {value:.2g}, expected below {max(limit, MOVED):.2g}"
        sentence = f"{name} is {how}: {self._where(name, counts)} ({told}; {pictures:,} pictures)."
        return Finding(name, value, limit, value >= FAR, pictures, sentence)

    def _index(self, name: str) -> float:
        return float(
            population_stability.index(self._counts[name], np.array(self.learnt[name]["counts"]))
        )

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
