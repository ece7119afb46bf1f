"""Signatures whose waiting requests are answered together, by TensorFlow's own runtime.

While batches are computed, requests gather for the next; nobody waits for a batch to fill.
"""

import uuid
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfpipe.serving.errors import Refused

MOST = 64  # examples of a batch; larger ones are not faster on processors
QUEUE = 256  # batches
AT_ONCE = 2  # batches: while one is convolved, on all cores, the next is decoded, on one
# Names of queues that nobody uses any more. TensorFlow keeps each as long as the process lives, and
# its threads, so the next signature takes an old one: it is empty, as whoever asked has an answer.
_FREE: list[str] = []


class Signature:
    """What a version can be asked.

    Attributes:
      inputs: name -> TensorSpec, of what it takes.
      outputs: name -> TensorSpec, of what it answers.
    """

    def __init__(self, function: Any):
        self.inputs = dict(function.structured_input_signature[1])
        self.outputs = dict(function.structured_outputs)
        self._alone = function
        queue = _queue()
        self._together = _together(function, list(self.inputs), sorted(self.outputs), queue=queue)
        weakref.finalize(self, _FREE.append, queue)

    def __call__(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the answers [n, ...] to features [n, ...], at least one.

        Raises:
          Refused: the version cannot compute this, or too much waits already.
        """
        return in_parts(features, self._part)

    def alone(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the answers [n, ...] to features [n, ...] at once, in no batch with others'.

        Raises:
          Refused: the version cannot compute this.
        """
        try:
            answers = self._alone(**self._tensors(features))
            return {name: answers[name].numpy() for name in self.outputs}
        except tf.errors.InvalidArgumentError as error:
            raise Refused(400, f"The model cannot take this: {_sentence(error)}") from error

    def _tensors(self, features: dict[str, np.ndarray]) -> dict[str, tf.Tensor]:
        return {name: tf.constant(features[name], self.inputs[name].dtype) for name in features}

    def _part(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = self._tensors(features)
        try:
            answers = self._together(*(tensors[name] for name in self.inputs))
            given = dict(zip(sorted(self.outputs), answers, strict=True))
            return {name: given[name].numpy() for name in self.outputs}
        except tf.errors.UnavailableError as error:
            raise Refused(503, "Too much waits already. Try again.", retry_after_s=1) from error
        except tf.errors.InvalidArgumentError:
            return self.alone(features)  # somebody's in the batch was bad, perhaps not this


def in_parts(features: dict[str, np.ndarray], answer: Callable) -> dict[str, np.ndarray]:
    """Returns the answers to features [n, ...], at least one, asked MOST at a time."""
    count = len(next(iter(features.values())))
    parts = [
        answer({name: array[i : i + MOST] for name, array in features.items()})
        for i in range(0, count, MOST)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _queue() -> str:
    """Returns the name of a queue that nobody uses."""
    try:
        return _FREE.pop()
    except IndexError:
        return f"queue_{uuid.uuid4().hex}"


def _together(function: Any, names: list[str], answers: list[str], *, queue: str):
    """Returns a function of tensors in order, to answers in order, that batches its callers."""

    def ask(*tensors):
        # The batch's queue is found by this scope's name: two versions must not share one.
        with tf.name_scope(queue):
            return batched(*tensors)

    @tf.nondifferentiable_batch_function(AT_ONCE, MOST, 0, max_enqueued_batches=QUEUE)
    def batched(*tensors):
        given = function(**dict(zip(names, tensors, strict=True)))
        return [given[answer] for answer in answers]

    inputs = function.structured_input_signature[1]
    return tf.function(ask, input_signature=[inputs[one] for one in names])


def _sentence(error: tf.errors.OpError) -> str:
    """Returns what went wrong, without where in the graph."""
    lines = [line.strip() for line in str(error.message).splitlines()]
    told = [line for line in lines if line and "node" not in line and "File" not in line]
    return next((one for one in told if "Error" not in one), "its input is not valid")[:200]
