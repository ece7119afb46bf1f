"""The versions that are served, and the watch over their folders."""

import gc
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfpipe.base.errors import UserError
from tfpipe.registry import store
from tfpipe.serving.drift_monitor import Drift
from tfpipe.serving.errors import Refused
from tfpipe.serving.explain import Explainer
from tfpipe.serving.limits import Limits
from tfpipe.serving.model.graph_scan import KINDS
from tfpipe.serving.model.loaded import Servable
from tfpipe.serving.runtimes.available import SAVEDMODEL

LOG = logging.getLogger("tfpipe")
LATEST = "latest"  # the one label there is
WATCHED = ("saved_model.pb", "variables/*", "assets.extra/card.json")


class Place(NamedTuple):
    """What a user wants served: TASK, TASK/MODEL or TASK/MODEL/N.

    Attributes:
      task: name.
      model: name, or "" for the one written last.
      version: number, or 0 for the newest.
    """

    task: str
    model: str = ""
    version: int = 0

    @property
    def name(self) -> str:
        """What the model is called in a URL."""
        return f"{self.task}_{self.model}" if self.model else self.task


class Served(NamedTuple):
    """A version, what its answers mean, and what it is asked."""

    servable: Servable
    explainer: Explainer
    drift: Drift

    def ask(self, features: dict[str, np.ndarray], *, signature: str) -> dict[str, np.ndarray]:
        """Returns what `Servable.ask` answers; it is looked at later."""
        outputs = self.servable.ask(features, signature=signature)
        self.drift.offer(features, outputs)
        return outputs


class Status(NamedTuple):
    """How it is with a version.

    Attributes:
      version: its number.
      error: why it is not served; "" where it is.
    """

    version: int
    error: str


class Shelf:
    """The versions that are served, by name."""

    def __init__(
        self, models: Path, places: list[Place], *, limits: Limits, runtime: str = SAVEDMODEL
    ):
        self._models, self._limits, self._runtime = models, limits, runtime
        self._places: dict[str, list[Place]] = {}
        for place in places:
            self._places.setdefault(place.name, []).append(place)
        self._served: dict[str, dict[Path, Served]] = {name: {} for name in self._places}
        self._refused: dict[Path, str] = {}
        self._seen: dict[Path, tuple] = {}  # what a version's files looked like when it was tried

    @property
    def names(self) -> list[str]:
        """What models are called in URLs."""
        return list(self._places)

    @property
    def is_ready(self) -> bool:
        """Whether every name has a version."""
        return all(self._served.values())

    def get(self, name: str, *, version: str = "", label: str = "") -> Served:
        """Returns a version that is served: the newest unless its number is given.

        Raises:
          Refused: there is none, naming those there are.
        """
        there = self._at(name)
        if label and label != LATEST:
            raise Refused(404, f"There is no label {label[:50]!r}, only {LATEST}.")
        for path in sorted(there, key=lambda path: -int(path.name)):
            if not version or path.name == version:
                return there[path]
        numbers = ", ".join(path.name for path in there) or "none"
        raise Refused(404, f"{name} has no version {version[:20]} served, only {numbers}.")

    def statuses(self, name: str) -> list[Status]:
        """Returns how it is with each version of a name, the newest first.

        Raises:
          Refused: there is no such name.
        """
        found = [Status(int(path.name), "") for path in self._at(name)]
        wanted = {path for place in self._places[name] for path in self._candidates(place)}
        found += [Status(int(p.name), why) for p, why in self._refused.items() if p in wanted]
        return sorted(found, reverse=True)

    def look(self) -> None:
        """Looks at the folders once: loads what is new beside what is served, then swaps."""
        # Two names may mean one version: it is loaded once.
        loaded = {path: one for there in self._served.values() for path, one in there.items()}
        has_changed = False
        for name, places in self._places.items():
            before = self._served[name]
            wanted = [found for place in places if (found := self._wanted(place, loaded))]
            after = dict(wanted) or before
            if after.keys() != before.keys() or any(after[p] is not before[p] for p in after):
                self._served[name] = after  # at once: whoever asked before keeps what they got
                LOG.info("%s: serving %s", name, ", ".join(path.name for path in after))
                has_changed = True
        if has_changed:
            del loaded, before, wanted, after
            gc.collect()  # what TensorFlow keeps of a version goes in circles

    def watch(self, *, every_s: float, stop: threading.Event, then: Callable[[], None]) -> None:
        """Looks every so often until told to stop, and does something else after each look."""
        while not stop.wait(every_s):
            try:
                self.look()
            except OSError as error:
                LOG.warning("The versions could not be looked at: %s", error)
            then()

    def drifts(self) -> dict[tuple[str, int], Drift]:
        """Returns what each version, by name and number, is asked."""
        return {
            (name, one.servable.version): one.drift
            for name, there in self._served.items()
            for one in there.values()
        }

    def reasons(self) -> str:
        """Returns why versions are not served, or that there are none."""
        empty = [name for name, there in self._served.items() if not there]
        told = " ".join(dict.fromkeys(self._refused.values()))
        return f"{', '.join(empty)} has no version to serve in {self._models}. {told}".strip()

    def _at(self, name: str) -> dict[Path, Served]:
        if name not in self._served:
            there = ", ".join(self._served)
            raise Refused(
                404, f"Could not find any versions of model {name[:80]}; there is {there}."
            )
        return self._served[name]

    def _wanted(self, place: Place, loaded: dict[Path, Served]) -> tuple[Path, Served] | None:
        """Returns the version of a place that can be served, put to the loaded if it is not yet."""
        for path in self._candidates(place):
            looks = _looks(path)
            if looks == self._seen.get(path):
                if path in loaded:
                    return path, loaded[path]
                if path in self._refused:
                    continue
            self._seen[path] = looks
            self._refused.pop(path, None)
            try:
                servable = Servable(path, limits=self._limits, runtime=self._runtime)
                loaded[path] = Served(servable, Explainer(servable), Drift(servable))
                return path, loaded[path]
            except (UserError, Refused) as error:
                self._refused[path] = str(error)
            except (KeyError, TypeError, ValueError, tf.errors.OpError) as error:
                self._refused[path] = f"{path} is damaged: {str(error)[:200]!r}."
            if path in self._refused:
                LOG.warning("%s is not served: %s", path, self._refused[path])
        return None

    def _candidates(self, place: Place) -> list[Path]:
        """Returns the versions that a place may mean, the first one first."""
        task = self._models / place.task
        models = [task / place.model] if place.model else _by_age(task)
        paths = [model / str(n) for model in models for n in reversed(store.versions(model))]
        return [path for path in paths if place.version in (0, int(path.name))]


def _by_age(task: Path) -> list[Path]:
    """Returns a task's models, classifiers first, then the one written last; none of trees."""
    found = {}
    for model in task.glob("*"):
        numbers = store.versions(model)
        if numbers:
            newest = model / str(numbers[-1])
            try:
                kind = store.read_card(newest)["kind"]
            except UserError:
                kind = KINDS[0]  # perhaps half copied; it is looked at all the same
            if kind in KINDS:
                found[model] = (-KINDS.index(kind), newest.stat().st_mtime)
    return sorted(found, key=found.__getitem__, reverse=True)


def _looks(version: Path) -> tuple:
    """Returns what changes whenever a version's files do."""
    paths = sorted(path for glob in WATCHED for path in version.glob(glob))
    return tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths)
