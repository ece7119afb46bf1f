"""Whether what a version is asked leaves what it learnt from; looked at beside the answering."""

import logging
import threading
import time
from collections import deque
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfpipe.evaluation import drift
from tfpipe.registry import export
from tfpipe.serving.model.loaded import ENCODED, Servable

LOG = logging.getLogger("tfpipe")
WAITING = 256  # pictures at most that wait to be looked at; of those that come faster some are not
WAITING_BYTES = 16_000_000
TOGETHER = 32  # pictures, at least if there are, that are decoded at once
LOOK_S = 0.1  # for one look
FIRST, WINDOW = 32, 1000  # pictures: judged when so many are seen, twice as many ..., each thousand


class Request(NamedTuple):
    """What was asked: features [n, ...], and the probabilities [n, classes] answered, if any."""

    features: dict[str, np.ndarray]
    likely: np.ndarray | None


class Drift:
    """The last one or two thousand pictures that a version was asked, by light, columns, answers.

    Attributes:
      indices: quantity -> population stability index when it was last judged.
      left: quantities that have left the training split and not come back, see `drift.Finding`.
    """

    def __init__(self, servable: Servable):
        self._card, self._spec = servable.card, servable.spec
        self._name = "/".join(servable.folder.parts[-3:])
        self._is_watched = bool(self._card.get("drift"))
        self._waiting: deque[Request] = deque()
        self._pictures, self._bytes, self._lock = 0, 0, threading.Lock()
        self._before, self._now = drift.Watch(self._card), drift.Watch(self._card)
        self._seen, self._in_window, self._next, self._requests = 0, 0, FIRST, 0
        self._decode, self._found = None, set()
        self.indices: dict[str, float] = {}
        self.left: tuple[str, ...] = ()

    def offer(self, features: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
        """Keeps a request and its answer until they are looked at; if too many wait, it does not.

        Args:
          features: of a signature, [n, ...].
          outputs: its answers, [n, ...].
        """
        if not self._is_watched:
            return
        with self._lock:
            room = WAITING - self._pictures
            if room <= 0 or self._bytes >= WAITING_BYTES:
                return
            given = {name: array[:room] for name, array in features.items()}
            likely = outputs.get("probabilities")
            likely = likely if likely is None else likely[:room]
            self._waiting.append(Request(given, likely))
            self._pictures += _count(given)
            self._bytes += _size(given)

    def look(self) -> None:
        """Looks at requests that wait, for a while, and says what has left the training split."""
        until = time.monotonic() + LOOK_S
        while self._waiting and time.monotonic() < until:
            taken = self._taken()
            for kind in {_kind(one) for one in taken}:
                self._add([one for one in taken if _kind(one) == kind])
        if self._seen >= self._next:
            self._judge()
            self._next = min(2 * self._seen, self._seen + WINDOW)

    def _taken(self) -> list[Request]:
        """Returns the next requests, of which each comes cheaper together with others."""
        taken: list[Request] = []
        with self._lock:
            while self._waiting and sum(_count(one.features) for one in taken) < TOGETHER:
                taken.append(self._waiting.popleft())
                self._pictures -= _count(taken[-1].features)
                self._bytes -= _size(taken[-1].features)
        return taken

    def _add(self, requests: list[Request]) -> None:
        """Adds what was asked and answered, all of one kind."""
        names = requests[0].features
        features = {
            name: np.concatenate([one.features[name] for one in requests]) for name in names
        }
        images, likely = features.get("image"), None
        if ENCODED in features:
            images = self._decoded(features[ENCODED])
        if requests[0].likely is not None:
            likely = np.concatenate([one.likely for one in requests])
        # Pictures of one request are mostly of one photo or run, and alike.
        numbers = np.arange(self._requests, self._requests + len(requests))
        groups = numbers.repeat([_count(one.features) for one in requests]).astype(str)
        told = {"columns": features.get("columns"), "probabilities": likely, "groups": groups}
        self._now.update(images, **told)
        self._requests += len(requests)
        self._seen, self._in_window = self._seen + len(groups), self._in_window + len(groups)
        if self._in_window >= WINDOW:
            self._before, self._now = self._now, drift.Watch(self._card)
            self._in_window = 0

    def _decoded(self, encoded: np.ndarray) -> np.ndarray:
        if self._decode is None:
            takes = [tf.TensorSpec((None,), tf.string)]
            self._decode = tf.function(
                lambda pictures: export.decoded(pictures, self._spec), input_signature=takes
            )
        return self._decode(tf.constant(encoded, tf.string)).numpy()

    def _judge(self) -> None:
        watch = drift.Watch(self._card)
        watch.add(self._before.told())
        watch.add(self._now.told())
        self.indices = watch.indices()
        found = {one.name: one.sentence for one in watch.findings()}
        # Judged again and again, one time something is found by chance; twice in a row it is not.
        leave = (found.keys() & self._found) - {*self.left}
        self._found = {*found}
        for name in sorted(leave):
            LOG.warning("%s is asked what it did not learn: %s", self._name, found[name])
        # It is back when it is as near as any; at its limit it would leave and come by turns.
        stays = {name for name in self.left if self.indices.get(name, 0.0) >= drift.MOVED}
        for name in sorted({*self.left} - stays):
            LOG.warning("%s: %s is back within what it learnt from.", self._name, name)
        self.left = tuple(sorted(stays | leave))


def _kind(request: Request) -> tuple:
    """Returns what requests that are added together have in common."""
    return (*request.features, request.likely is None)


def _count(features: dict[str, np.ndarray]) -> int:
    return len(next(iter(features.values())))


def _size(features: dict[str, np.ndarray]) -> int:
    """Returns bytes, of encoded pictures those of their encoding."""
    return sum(
        sum(map(len, array)) if array.dtype == object else array.nbytes
        for array in features.values()
    )
