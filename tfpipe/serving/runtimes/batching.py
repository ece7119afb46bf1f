"""Requests that wait for a network are answered together, as `batching` has it for TensorFlow."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from tfpipe.serving.model.batching import MOST
from tfpipe.serving.runtimes.backends import Arrays, Network


class Gathered:
    """A network that whoever has asked while it computed is answered by in its next turn.

    It computes in one thread: a batch takes all cores, and not every runtime can be asked twice at
    once.
    """

    def __init__(self, network: Network):
        self._network: Network = network
        self._waiting: deque[tuple[Arrays, Future]] = deque()
        self._turns = ThreadPoolExecutor(1, thread_name_prefix="network")

    def __call__(self, features: Arrays) -> Arrays:
        """Returns the answers [n, ...] to features [n, ...], n at least 1 and at most MOST."""
        answer = Future()
        self._waiting.append((features, answer))
        self._turns.submit(self._turn)
        return answer.result()

    def _turn(self) -> None:
        """Answers those who have waited longest; nobody, where an earlier turn has done it."""
        together = self._taken()
        if not together:
            return
        try:
            asked = [features for features, _ in together]
            said = self._network({n: np.concatenate([one[n] for one in asked]) for n in asked[0]})
            ends = np.cumsum([_count(features) for features in asked])[:-1]
            parts = {name: np.split(array, ends) for name, array in said.items()}
            for i, (_, answer) in enumerate(together):
                answer.set_result({name: part[i] for name, part in parts.items()})
        except Exception as error:
            for _, answer in together:
                answer.set_exception(error)

    def _taken(self) -> list[tuple[Arrays, Future]]:
        taken, count = [], 0
        while self._waiting and count + _count(self._waiting[0][0]) <= MOST:
            taken.append(self._waiting.popleft())
            count += _count(taken[-1][0])
        return taken


def _count(features: Arrays) -> int:
    return len(next(iter(features.values())))
