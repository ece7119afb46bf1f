"""Requests that arrive while a batch is computed are answered by the next one.

No request waits for a batch to fill. TensorFlow's own batch function does the same for a SavedModel
only, calls the graph from Python once for each request, which takes longer than all the rest of a
request, and never ends the queue and the threads of a version that is served no more.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tfpipe.serving.errors import RequestError

MAX_BATCH = 64  # examples; larger batches are not faster on processors
# Batches of a SavedModel at the same time: while one begins or ends, on one core, the other is
# convolved, on all.
BATCH_THREADS = 2
Arrays = dict[str, np.ndarray]


class Signature(Protocol):
    """A signature of a served version, whatever computes it.

    Attributes:
      inputs: name -> TensorSpec.
      outputs: name -> TensorSpec.
    """

    inputs: dict[str, tf.TensorSpec]
    outputs: dict[str, tf.TensorSpec]

    def __call__(self, features: Arrays) -> Arrays:
        """Returns the outputs [n, ...] for features [n, ...], n >= 1."""


class WaitingRequest:
    """A request whose thread waits until it is answered, or computes a batch itself.

    Attributes:
      features: [n, ...] each.
      outputs: its answer, or why there is none, once it has ended.
      has_ended: whether it is answered or has failed.
      batch: requests that its thread is to compute, itself the first; none if another does.
    """

    def __init__(self, features: Arrays):
        self.features = features
        self.outputs: Arrays | Exception = {}
        self.has_ended = False
        self.batch: list[WaitingRequest] = []
        self._wake = threading.Lock()
        self._wake.acquire()

    def wait(self) -> None:
        """Returns when it has ended or is to compute a batch."""
        self._wake.acquire()

    def lead(self, batch: list["WaitingRequest"]) -> None:
        """Wakes its thread to compute a batch."""
        self.batch = batch
        self._wake.release()

    def end(self, outputs: Arrays | Exception) -> None:
        """Answers it, or lets it fail."""
        self.outputs, self.has_ended = outputs, True
        self._wake.release()


class BatchedFunction:
    """A function of arrays that computes the requests that wait in one batch.

    The thread of its first request computes a batch, so that no other need be woken for it.
    """

    def __init__(self, function: Callable[[Arrays], Arrays], *, threads: int):
        """Wraps a function.

        Args:
          function: from features [n, ...] to outputs [n, ...].
          threads: batches that it may compute at the same time.
        """
        self._function, self._lock = function, threading.Lock()
        self._waiting: deque[WaitingRequest] = deque()
        self._n_threads, self._n_active = threads, 0

    @property
    def n_waiting(self) -> int:
        """Number of requests that wait for the next batch."""
        return len(self._waiting)

    def __call__(self, features: Arrays) -> Arrays:
        """Returns the outputs [n, ...] for features [n, ...], 1 <= n <= MAX_BATCH."""
        request = WaitingRequest(features)
        with self._lock:
            waits = self._n_active >= self._n_threads
            if waits:
                self._waiting.append(request)
            else:
                self._n_active += 1
                request.batch = [request]
        if waits:
            request.wait()
        # A request that held itself, or its error, would hold its arrays until a collection.
        batch, request.batch = request.batch, []
        if batch:
            self._lead(batch)
        outputs, request.outputs = request.outputs, {}
        try:
            if isinstance(outputs, Exception):
                raise outputs
            return outputs
        finally:
            del outputs, batch

    def _lead(self, batch: list[WaitingRequest]) -> None:
        """Computes a batch, and hands the place on, whatever happens."""
        try:
            self._compute_batch(batch)
        finally:
            for request in batch:
                if not request.has_ended:
                    request.end(RuntimeError("The thread that computed the batch has ended."))
            self._hand_on()

    def _compute_batch(self, batch: list[WaitingRequest]) -> None:
        """Answers the requests of a batch."""
        if len(batch) == 1:
            try:
                batch[0].end(self._function(batch[0].features))
            except Exception as error:
                batch[0].end(error)
            return
        try:
            outputs = self._function(
                {
                    name: np.concatenate([request.features[name] for request in batch])
                    for name in batch[0].features
                }
            )
            ends = np.cumsum([_n_examples(request.features) for request in batch])[:-1]
            parts = {name: np.split(array, ends) for name, array in outputs.items()}
        except Exception:
            for request in batch:  # one of them is bad, maybe not the others
                self._compute_batch([request])
            return
        for i, request in enumerate(batch):
            request.end({name: part[i] for name, part in parts.items()})

    def _hand_on(self) -> None:
        """Has the request that has waited longest compute the next batch, if there is one."""
        batch: list[WaitingRequest] = []
        n_examples = 0
        with self._lock:
            while (
                self._waiting and n_examples + _n_examples(self._waiting[0].features) <= MAX_BATCH
            ):
                batch.append(self._waiting.popleft())
                n_examples += _n_examples(batch[-1].features)
            self._n_active -= not batch
        if batch:
            batch[0].lead(batch)


class BatchedSignature:
    """A signature of a SavedModel that answers requests in batches.

    Attributes:
      inputs: name -> TensorSpec.
      outputs: name -> TensorSpec.
    """

    def __init__(self, function: Any):
        """Wraps a concrete function, which a loaded SavedModel has as a signature."""
        self.inputs: dict[str, tf.TensorSpec] = dict(function.structured_input_signature[1])
        self.outputs: dict[str, tf.TensorSpec] = dict(function.structured_outputs)
        compute = _array_function(function, self.inputs, list(self.outputs))
        self._batched = BatchedFunction(compute, threads=BATCH_THREADS)

    def __call__(self, features: Arrays) -> Arrays:
        """Returns the outputs [n, ...] for features [n, ...], n >= 1.

        Raises:
          RequestError: the model cannot compute this.
        """
        return in_parts(features, self._batched)


def _array_function(
    function: Any, inputs: dict[str, tf.TensorSpec], outputs: list[str]
) -> Callable[[Arrays], Arrays]:
    """Returns a concrete function as one of arrays, which raises a RequestError for bad input."""

    def compute(features: Arrays) -> Arrays:
        tensors = {name: tf.constant(array, inputs[name].dtype) for name, array in features.items()}
        try:
            values = function(**tensors)
        except tf.errors.InvalidArgumentError as error:
            raise RequestError(400, f"The model cannot use this input: {_reason(error)}") from error
        return {name: values[name].numpy() for name in outputs}

    return compute


def in_parts(features: Arrays, call: Callable[[Arrays], Arrays]) -> Arrays:
    """Returns the outputs for features [n, ...], n >= 1, computed MAX_BATCH at a time."""
    n_examples = _n_examples(features)
    if n_examples <= MAX_BATCH:
        return call(features)
    parts = [
        call({name: array[start : start + MAX_BATCH] for name, array in features.items()})
        for start in range(0, n_examples, MAX_BATCH)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _n_examples(features: Arrays) -> int:
    return len(next(iter(features.values())))


def _reason(error: tf.errors.OpError) -> str:
    """Returns what is wrong with the input, without the place in the graph."""
    lines = [line.strip() for line in str(error.message).splitlines()]
    lines = [line for line in lines if line and "node" not in line and "File" not in line]
    return next((line for line in lines if "Error" not in line), "its input is not valid")[:200]
