"""Model store: the served versions by name, and the check of their folders for new versions."""

import gc
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfpipe.base.errors import UserError
from tfpipe.registry import store, stored_versions
from tfpipe.registry.checked_files import checked_copy
from tfpipe.serving.drift_monitor import DriftMonitor
from tfpipe.serving.errors import RequestError
from tfpipe.serving.explain import Explainer
from tfpipe.serving.limits import Limits
from tfpipe.serving.model import preflight
from tfpipe.serving.model.loaded import SERVED_KINDS, Servable
from tfpipe.serving.model.predictor import BatchedPredictor
from tfpipe.serving.runtimes.available import SAVEDMODEL

LOG = logging.getLogger(__name__)
LATEST = "latest"  # the only label
WATCHED_FILES = ("saved_model.pb", "variables/*", "assets.extra/card.json")


class ModelSelector(NamedTuple):
    """What a user wants served: TASK, TASK/MODEL or TASK/MODEL/N, or the folder of a version.

    Attributes:
      task: name.
      model: name; "" for the model that was written last.
      version: number; 0 for the newest.
      folder: of a version outside saved_models/; None for one in it.
    """

    task: str
    model: str = ""
    version: int = 0
    folder: Path | None = None

    @property
    def name(self) -> str:
        """Name of the model in URLs."""
        return f"{self.task}_{self.model}" if self.model else self.task


class ServedVersion(NamedTuple):
    """A loaded version with its explainer, drift monitor, and predictor of raw files."""

    servable: Servable
    explainer: Explainer
    drift_monitor: DriftMonitor
    predictor: BatchedPredictor

    def predict(
        self, features: dict[str, np.ndarray], *, signature: str, check: Callable[[], None]
    ) -> dict[str, np.ndarray]:
        """Returns what `Servable.predict` returns, and records it for the drift monitor."""
        outputs = self.servable.predict(features, signature=signature, check=check)
        self.drift_monitor.record(features, outputs)
        return outputs


class ServedStatus(NamedTuple):
    """Status of a version.

    Attributes:
      version: its number.
      error: why it is not served; "" if it is.
    """

    version: int
    error: str


class ModelStore:
    """The served versions by the name of their model in URLs."""

    def __init__(
        self,
        models: Path,
        selectors: list[ModelSelector],
        *,
        limits: Limits,
        runtime: str = SAVEDMODEL,
    ):
        """Loads nothing yet; `refresh` does.

        Args:
          models: folder saved_models/.
          selectors: what is served.
          limits: of requests.
          runtime: that computes the networks.
        """
        self._models, self._limits, self._runtime = models, limits, runtime
        self._selectors: dict[str, list[ModelSelector]] = {}
        for selector in selectors:
            self._selectors.setdefault(selector.name, []).append(selector)
        self._served: dict[str, dict[Path, ServedVersion]] = {name: {} for name in self._selectors}
        # Replaced as a whole, never changed: other threads read it.
        self._refused: dict[Path, str] = {}
        self._checked_at = 0.0
        self._snapshots: dict[Path, tuple] = {}  # the files of each version when it was tried

    @property
    def names(self) -> list[str]:
        """Names of the models in URLs."""
        return list(self._selectors)

    @property
    def is_ready(self) -> bool:
        """Whether every name has a served version."""
        return all(self._served.values())

    @property
    def seconds_since_check(self) -> float:
        """Seconds since the folders were last checked to the end."""
        return time.monotonic() - self._checked_at

    @property
    def refused(self) -> list[str]:
        """Names of the versions that are not served because of an error, as TASK/MODEL/N."""
        return sorted("/".join(path.parts[-3:]) for path in self._refused)

    def get(self, name: str, *, version: str = "", label: str = "") -> ServedVersion:
        """Returns a served version: the newest, or that of a number.

        Raises:
          RequestError: there is none; it names those that are served.
        """
        versions = self._versions(name)
        if label and label != LATEST:
            raise RequestError(400, f"Unrecognized servable version label: {label[:50]!r}.")
        for path in sorted(versions, key=lambda path: -int(path.name)):
            if not version or path.name == version:
                return versions[path]
        numbers = ", ".join(path.name for path in versions) or "none"
        raise RequestError(
            404, f"Version {version[:20]} of {name} is not served; served versions: {numbers}."
        )

    def statuses(self, name: str) -> list[ServedStatus]:
        """Returns the status of each version of a name, the newest first.

        Raises:
          RequestError: there is no such name.
        """
        statuses = [ServedStatus(int(path.name), "") for path in self._versions(name)]
        candidates = {
            path for selector in self._selectors[name] for path in self._candidates(selector)
        }
        for path, error in self._refused.items():
            if path in candidates:
                # A client has no use for the server's folders.
                error = error.replace(f"{path}/", "").replace(f"{self._models}/", "")
                statuses.append(ServedStatus(int(path.name), error))
        return sorted(statuses, reverse=True)

    def refresh(self) -> None:
        """Checks the folders once: tries and loads new versions, then swaps.

        A version that cannot be loaded, whatever the reason, is refused alone.
        """
        # Two names may select one version: it is loaded once.
        loaded = {
            path: version for served in self._served.values() for path, version in served.items()
        }
        has_changed = False
        candidates: set[Path] = set()
        self._fetch()
        for name, selectors in self._selectors.items():
            before = self._served[name]
            try:
                of_selectors = [self._candidates(selector) for selector in selectors]
            except OSError as error:
                LOG.warning("The folders of %s cannot be read: %s", name, error)
                continue
            candidates.update(*of_selectors)
            selected = [pair for paths in of_selectors if (pair := self._select(paths, loaded))]
            after = dict(selected) or before
            if after.keys() != before.keys() or any(after[p] is not before[p] for p in after):
                self._served[name] = after  # atomic: running requests keep the version they have
                numbers, ended = (
                    ", ".join(path.name for path in paths)
                    for paths in (after, before.keys() - after.keys())
                )
                was = f", in place of {ended}" if ended else ""
                LOG.info("%s: version %s is served%s.", name, numbers, was)
                has_changed = True
        self._refused = {path: why for path, why in self._refused.items() if path in candidates}
        self._checked_at = time.monotonic()
        if has_changed:
            loaded.clear()
            del before, selected, after
            gc.collect()  # what TensorFlow keeps of a version has reference cycles

    def poll(
        self, *, every_s: float, stop: threading.Event, after_refresh: Callable[[], None]
    ) -> None:
        """Refreshes every so many seconds until it is stopped; no error ends it.

        Args:
          every_s: seconds between two refreshes.
          stop: ends it.
          after_refresh: called after each refresh.
        """
        while not stop.wait(every_s):
            try:
                self.refresh()
                after_refresh()
            except Exception:
                LOG.exception("The check for new versions failed; the next one is made as usual.")

    def drift_monitors(self) -> dict[tuple[str, int], DriftMonitor]:
        """Returns the drift monitor of each served version, by name and number."""
        return {
            (name, version.servable.version): version.drift_monitor
            for name, served in self._served.items()
            for version in served.values()
        }

    def unavailable_reason(self) -> str:
        """Returns which names have no served version, and why."""
        empty = [name for name, served in self._served.items() if not served]
        reasons = " ".join(dict.fromkeys(self._refused.values()))
        return f"{', '.join(empty)} has no version to serve in {self._models}. {reasons}".strip()

    def _versions(self, name: str) -> dict[Path, ServedVersion]:
        if name not in self._served:
            names = ", ".join(self._served)
            raise RequestError(
                404,
                f"Could not find any versions of model {name[:80]}; the server has {names}.",
            )
        return self._served[name]

    def _select(
        self, paths: list[Path], loaded: dict[Path, ServedVersion]
    ) -> tuple[Path, ServedVersion] | None:
        """Returns the first version that can be served, and adds it to `loaded` if it is new."""
        for path in paths:
            try:
                stored_versions.complete(path)
                snapshot = _snapshot(path)
                if snapshot == self._snapshots.get(path):
                    if path in loaded:
                        return path, loaded[path]
                    if path in self._refused:
                        continue
                self._snapshots[path] = snapshot
                servable = self._load(path)
                monitor = DriftMonitor(servable)
                loaded[path] = ServedVersion(
                    servable, Explainer(servable), monitor, BatchedPredictor(servable, monitor)
                )
            except Exception as error:  # files may be made to look like a version: anything happens
                self._refuse(path, preflight.reason(error, path))
            else:
                self._refused = {p: why for p, why in self._refused.items() if p != path}
                return path, loaded[path]
        return None

    def _load(self, path: Path) -> Servable:
        """Loads a version here, once a process of its own has loaded the same files."""
        with checked_copy(path) as copy:
            preflight.check(copy, limits=self._limits, runtime=self._runtime)
            return Servable(copy, folder=path, limits=self._limits, runtime=self._runtime)

    def _fetch(self) -> None:
        """Fetches new versions from storage; what is here is served where that fails."""
        selectors = [one for listed in self._selectors.values() for one in listed]
        for task in sorted({one.task for one in selectors if not one.folder}):
            try:
                stored_versions.fetch(self._models, task)
            except UserError as error:
                LOG.warning("New versions of %s cannot be fetched. %s", task, error)

    def _refuse(self, path: Path, reason: str) -> None:
        self._refused = {**self._refused, path: reason}
        LOG.warning("%s is not served: %s", path, reason)

    def _candidates(self, selector: ModelSelector) -> list[Path]:
        """Returns the versions that a selector may mean, the best first."""
        if selector.folder:
            return [selector.folder]
        task = self._models / selector.task
        models = [task / selector.model] if selector.model else _networks(task)
        paths = [model / str(n) for model in models for n in reversed(store.versions(model))]
        return [path for path in paths if selector.version in (0, int(path.name))]


def _networks(task: Path) -> list[Path]:
    """Returns a task's networks: classifiers first, then the one that was written last."""
    ranks = {}
    for model in task.glob("*"):
        numbers = store.versions(model)
        if numbers:
            newest = model / str(numbers[-1])
            try:
                kind = store.read_card(newest).kind
            except UserError:
                kind = SERVED_KINDS[0]  # it may be half copied; loading it decides
            if kind in SERVED_KINDS:
                ranks[model] = (-SERVED_KINDS.index(kind), newest.stat().st_mtime)
    return sorted(ranks, key=ranks.__getitem__, reverse=True)


def _snapshot(version: Path) -> tuple[tuple[str, int, int], ...]:
    """Returns (path, size, time of change) of a version's files, which change when they do."""
    paths = sorted(path for pattern in WATCHED_FILES for path in version.glob(pattern))
    stats = [(str(path), path.lstat()) for path in paths]
    return tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats)
