"""Batches of waiting requests for a network of another runtime, as TensorFlow's has them."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from tfpipe.serving.model.batching import MAX_BATCH
from tfpipe.serving.runtimes.backends import Arrays, Network


class BatchedNetwork:
    """A network that answers the requests that arrived while it computed in its next batch.

    It computes in one thread: a batch takes all cores, and not every runtime may be called by two
    threads at the same time.
    """

    def __init__(self, network: Network):
        self._network: Network = network
        self._waiting: deque[tuple[Arrays, Future[Arrays]]] = deque()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="network")

    @property
    def n_waiting(self) -> int:
        """Number of requests that wait for the next batch."""
        return len(self._waiting)

    def __call__(self, features: Arrays) -> Arrays:
        """Returns the outputs [n, ...] for features [n, ...], 1 <= n <= MAX_BATCH."""
        future: Future[Arrays] = Future()
        self._waiting.append((features, future))
        self._executor.submit(self._compute_batch)
        return future.result()

    def _compute_batch(self) -> None:
        """Answers the requests that have waited longest; none if an earlier batch has done it."""
        batch = self._take_batch()
        if not batch:
            return
        try:
            requests = [features for features, _ in batch]
            outputs = self._network(
                {name: np.concatenate([r[name] for r in requests]) for name in requests[0]}
            )
            ends = np.cumsum([_n_examples(features) for features in requests])[:-1]
            parts = {name: np.split(array, ends) for name, array in outputs.items()}
            for i, (_, future) in enumerate(batch):
                future.set_result({name: part[i] for name, part in parts.items()})
        except Exception as error:
            for _, future in batch:
                future.set_exception(error)

    def _take_batch(self) -> list[tuple[Arrays, Future[Arrays]]]:
        batch: list[tuple[Arrays, Future[Arrays]]] = []
        n_examples = 0
        while self._waiting and n_examples + _n_examples(self._waiting[0][0]) <= MAX_BATCH:
            batch.append(self._waiting.popleft())
            n_examples += _n_examples(batch[-1][0])
        return batch


def _n_examples(features: Arrays) -> int:
    return len(next(iter(features.values())))
