"""Drift monitor: compares the requests of a version with its training split, beside the answers."""

import logging
import threading
import time
from collections import deque
from typing import NamedTuple

import numpy as np

from tfpipe.evaluation import drift
from tfpipe.serving.errors import RequestError
from tfpipe.serving.model.loaded import ENCODED_IMAGE, Servable

LOG = logging.getLogger(__name__)
MAX_PENDING = 256  # images that wait to be processed; further ones are not recorded
MAX_PENDING_BYTES = 16_000_000
MIN_BATCH = 32  # images decoded together, if so many are pending
BUDGET_S = 0.1  # of one call of `process`
FIRST_TEST = 32  # images before the first test; then twice as many, and so on up to a window each
WINDOW = 1000  # images; a test covers the last one or two windows


class RecordedRequest(NamedTuple):
    """A request: features [n, ...], and the probabilities [n, classes] of its answer, if any."""

    features: dict[str, np.ndarray]
    probabilities: np.ndarray | None


class DriftMonitor:
    """Drift of the last one or two thousand images that a version was asked about.

    Attributes:
      indices: quantity -> population stability index at the last test.
      drifted: quantities that have left the training split and not come back, see `drift.Finding`.
      n_pending: images that are recorded and not yet processed.
      n_processed: images that were processed.
    """

    def __init__(self, servable: Servable):
        self._card, self._decoder = servable.card, servable.decoder
        self._name = "/".join(servable.folder.parts[-3:])
        self._has_statistics = bool(self._card.drift)
        self._lock = threading.Lock()
        self._pending: deque[RecordedRequest] = deque()
        self.n_pending, self._pending_bytes = 0, 0
        self._previous, self._current = drift.Watch(self._card), drift.Watch(self._card)
        self.n_processed, self._n_in_window, self._n_requests = 0, 0, 0
        self._next_test = FIRST_TEST
        self._findings: set[str] = set()  # of the last test
        self.indices: dict[str, float] = {}
        self.drifted: tuple[str, ...] = ()

    def record(self, features: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
        """Records a request and its answer for `process`, unless too many are pending.

        Args:
          features: of a signature, [n, ...].
          outputs: of the signature, [n, ...].
        """
        if not self._has_statistics:
            return
        with self._lock:
            room = MAX_PENDING - self.n_pending
            if room <= 0 or self._pending_bytes >= MAX_PENDING_BYTES:
                return
            recorded = {name: array[:room] for name, array in features.items()}
            probabilities = outputs.get("probabilities")
            if probabilities is not None:
                probabilities = probabilities[:room]
            self._pending.append(RecordedRequest(recorded, probabilities))
            self.n_pending += _n_images(recorded)
            self._pending_bytes += _n_bytes(recorded)

    def process(self) -> None:
        """Processes pending requests for `BUDGET_S` at most, and tests for drift when it is due."""
        end = time.monotonic() + BUDGET_S
        while self._pending and time.monotonic() < end:
            requests = [one for r in self._take_pending() if (one := self._decoded(r))]
            for inputs in {_inputs(request) for request in requests}:
                self._update([request for request in requests if _inputs(request) == inputs])
        if self.n_processed >= self._next_test:
            self.test()
            self._next_test = min(2 * self.n_processed, self.n_processed + WINDOW)

    def test(self) -> None:
        """Tests for drift, and logs the quantities that have left the training split or are back.

        A quantity has drifted when two tests in a row find it: among many tests a single one finds
        something by chance.
        """
        watch = drift.Watch(self._card)
        watch.add(self._previous.state())
        watch.add(self._current.state())
        self.indices = watch.indices()
        sentences = {finding.name: finding.sentence for finding in watch.findings()}
        drifting = (sentences.keys() & self._findings) - set(self.drifted)
        self._findings = set(sentences)
        for name in sorted(drifting):
            LOG.warning(
                "%s gets other images than it was trained on: %s", self._name, sentences[name]
            )
        # It is back below the limit of a slight change; at the limit of the test, which is higher,
        # it would leave and come back by turns.
        remaining = {name for name in self.drifted if self.indices.get(name, 0.0) >= drift.MOVED}
        for name in sorted(set(self.drifted) - remaining):
            LOG.warning("%s: %s is back within the training split.", self._name, name)
        self.drifted = tuple(sorted(remaining | drifting))

    def _take_pending(self) -> list[RecordedRequest]:
        """Returns the next requests; together they cost less than one by one."""
        requests: list[RecordedRequest] = []
        with self._lock:
            while self._pending and sum(_n_images(r.features) for r in requests) < MIN_BATCH:
                requests.append(self._pending.popleft())
                self.n_pending -= _n_images(requests[-1].features)
                self._pending_bytes -= _n_bytes(requests[-1].features)
        return requests

    def _decoded(self, request: RecordedRequest) -> RecordedRequest | None:
        """Returns a request with its images decoded; None if requests wait for the decoder."""
        features = dict(request.features)
        if ENCODED_IMAGE in features:
            encoded = self._decoder.check(features.pop(ENCODED_IMAGE))
            try:
                features["image"] = self._decoder.decode(encoded, check=lambda: None)
            except RequestError:
                return None
        return request._replace(features=features)

    def _update(self, requests: list[RecordedRequest]) -> None:
        """Adds requests that have the same inputs to the statistics of the window."""
        features = {
            name: np.concatenate([request.features[name] for request in requests])
            for name in requests[0].features
        }
        answers = [r.probabilities for r in requests if r.probabilities is not None]
        # Images of one request are mostly of one photo or run, and similar.
        numbers = np.arange(self._n_requests, self._n_requests + len(requests))
        groups = numbers.repeat([_n_images(request.features) for request in requests]).astype(str)
        self._current.update(
            features.get("image"),
            columns=features.get("columns"),
            probabilities=np.concatenate(answers) if answers else None,
            groups=groups.tolist(),
        )
        self._n_requests += len(requests)
        self.n_processed += len(groups)
        self._n_in_window += len(groups)
        if self._n_in_window >= WINDOW:
            self._previous, self._current = self._current, drift.Watch(self._card)
            self._n_in_window = 0


def _inputs(request: RecordedRequest) -> tuple[object, ...]:
    """Returns what requests that are processed together have in common."""
    return (*request.features, request.probabilities is None)


def _n_images(features: dict[str, np.ndarray]) -> int:
    return len(next(iter(features.values())))


def _n_bytes(features: dict[str, np.ndarray]) -> int:
    """Returns the bytes of features; of encoded images those of their encoding."""
    return sum(
        sum(map(len, array)) if array.dtype == object else array.nbytes
        for array in features.values()
    )
