"""Signatures that answer waiting requests in one batch, by TensorFlow's own batch function.

While a batch is computed, requests gather for the next; no request waits for a batch to fill.
"""

import uuid
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tfpipe.serving.errors import RequestError

MAX_BATCH = 64  # examples; larger batches are not faster on processors
MAX_QUEUED_BATCHES = 256
# Batches at the same time: while one is convolved, on all cores, the next is decoded, on one.
BATCH_THREADS = 2
# Names of queues without a user. TensorFlow keeps a queue and its threads as long as the process
# lives, so the next signature takes an old one. It is empty, as every request has its answer.
_FREE_QUEUES: list[str] = []


class Signature(Protocol):
    """A signature of a served version, whatever computes it.

    Attributes:
      inputs: name -> TensorSpec.
      outputs: name -> TensorSpec.
    """

    inputs: dict[str, tf.TensorSpec]
    outputs: dict[str, tf.TensorSpec]

    def __call__(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs [n, ...] for features [n, ...], n >= 1."""


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
        self._function, queue = function, _take_queue()
        self._batched = _batched(function, list(self.inputs), sorted(self.outputs), queue=queue)
        weakref.finalize(self, _FREE_QUEUES.append, queue)

    def __call__(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs [n, ...] for features [n, ...], n >= 1.

        Raises:
          RequestError: the model cannot compute this, or too many requests wait already.
        """
        return in_parts(features, self._call_batched)

    def call_unbatched(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs [n, ...] for features [n, ...], in no batch with other requests.

        Raises:
          RequestError: the model cannot compute this.
        """
        try:
            outputs = self._function(**self._tensors(features))
            return {name: outputs[name].numpy() for name in self.outputs}
        except tf.errors.InvalidArgumentError as error:
            raise RequestError(400, f"The model cannot use this input: {_reason(error)}") from error

    def _tensors(self, features: dict[str, np.ndarray]) -> dict[str, tf.Tensor]:
        return {name: tf.constant(features[name], self.inputs[name].dtype) for name in features}

    def _call_batched(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = self._tensors(features)
        try:
            values = self._batched(*(tensors[name] for name in self.inputs))
            outputs = dict(zip(sorted(self.outputs), values, strict=True))
            return {name: outputs[name].numpy() for name in self.outputs}
        except tf.errors.UnavailableError as error:
            raise RequestError(
                503, "Too many requests wait already. Try again.", retry_after_s=1
            ) from error
        except tf.errors.InvalidArgumentError:
            return self.call_unbatched(features)  # a request of the batch is bad, maybe not this


def in_parts(
    features: dict[str, np.ndarray],
    call: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Returns the outputs for features [n, ...], n >= 1, computed MAX_BATCH at a time."""
    n_examples = len(next(iter(features.values())))
    parts = [
        call({name: array[start : start + MAX_BATCH] for name, array in features.items()})
        for start in range(0, n_examples, MAX_BATCH)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _take_queue() -> str:
    """Returns the name of a queue without a user."""
    try:
        return _FREE_QUEUES.pop()
    except IndexError:
        return f"queue_{uuid.uuid4().hex}"


def _batched(function: Any, inputs: list[str], outputs: list[str], *, queue: str) -> Callable:
    """Returns a function from input tensors to output tensors, in order, that batches its calls."""

    def call(*tensors):
        # TensorFlow finds the queue by the name of this scope: two versions must not share one.
        with tf.name_scope(queue):
            return batched(*tensors)

    @tf.nondifferentiable_batch_function(
        BATCH_THREADS, MAX_BATCH, 0, max_enqueued_batches=MAX_QUEUED_BATCHES
    )
    def batched(*tensors):
        values = function(**dict(zip(inputs, tensors, strict=True)))
        return [values[name] for name in outputs]

    specs = function.structured_input_signature[1]
    return tf.function(call, input_signature=[specs[name] for name in inputs])


def _reason(error: tf.errors.OpError) -> str:
    """Returns what is wrong with the input, without the place in the graph."""
    lines = [line.strip() for line in str(error.message).splitlines()]
    lines = [line for line in lines if line and "node" not in line and "File" not in line]
    return next((line for line in lines if "Error" not in line), "its input is not valid")[:200]
