"""tf.Examples to the arrays that a signature takes, as gRPC's Classify sends them."""

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import input_pb2

from tfpipe.serving.errors import Refused
from tfpipe.serving.http import payloads


def features(given: input_pb2.Input, inputs: payloads.Inputs, *, most: int) -> dict:
    """Returns what examples give a signature, [n, ...] each.

    Args:
      given: examples whose features are called as the inputs of the signature: a picture's bytes,
        or all numbers of one row in order. Those of a "context" belong to every example.
      inputs: of the signature.
      most: examples.

    Raises:
      Refused: what came is not what the signature takes.
    """
    kind = given.WhichOneof("kind")
    if kind is None or not (examples := getattr(given, kind).examples):
        raise Refused(400, "The input holds no example.")
    payloads.check_count(len(examples), most=most)
    context = {}
    if kind == "example_list_with_context":
        context = dict(given.example_list_with_context.context.features.feature)
    columns: dict[str, list] = {name: [] for name in inputs}
    for i, example in enumerate(examples):
        row = dict(example.features.feature)
        if context.keys() & row.keys():
            raise Refused(400, f"Example {i} has a feature that the context has, too.")
        row |= context
        payloads.check_names(row, inputs, where=f"Example {i}")
        for name, spec in inputs.items():
            columns[name].append(_value(row[name], spec, name=f"{name} of example {i}"))
    return {name: payloads.array(columns[name], inputs[name], name=name) for name in inputs}


def _value(feature: tf.train.Feature, spec: tf.TensorSpec, *, name: str) -> bytes | np.ndarray:
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value if kind else ()
    count = int(np.prod(spec.shape[1:]))
    is_text = spec.dtype == tf.string
    if len(values) != count or (kind == "bytes_list") != is_text:
        expected = f"{count} {'bytes' if is_text else 'numbers'}"
        raise Refused(400, f"{name} is {len(values)} of {kind}, expected {expected}.")
    return values[0] if is_text else np.reshape(values, spec.shape[1:])
