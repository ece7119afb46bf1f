"""Warm-up requests: what a version predicts before it is served, where TensorFlow Serving looks.

TensorFlow plans much at the first request, so a server lets a version answer these first.
Then no user waits for it.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tfpipe.base import files
from tfpipe.base.errors import UserError

MAX_VALUES = 1 << 26  # of an input of a request: one value may stand for all that a shape claims
NAME = "assets.extra/tf_serving_warmup_requests"  # TensorFlow Serving looks for this one


def write(version: Path, requests: dict[str, dict[str, np.ndarray]]) -> None:
    """Writes requests, a record of a PredictionLog each.

    Args:
      version: folder of the version.
      requests: signature -> input -> [n, ...].
    """
    with tf.io.TFRecordWriter(str(version / NAME)) as file:
        for signature, features in requests.items():
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name = version.parent.name
            request.model_spec.signature_name = signature
            for name, array in features.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
            file.write(log.SerializeToString())


def requests(version: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Gives (signature, input -> [n, ...]) of each request; none where there is no such file.

    A file that the card vouches for is whole, but may be made to look like one.

    Raises:
      UserError: a request claims more values than an example has.
    """
    path = version / NAME
    if not path.is_file():
        return
    for record in tf.data.TFRecordDataset(files.shown(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        for name, tensor in request.inputs.items():
            n_values = math.prod(dimension.size for dimension in tensor.tensor_shape.dim)
            if not 0 <= n_values <= MAX_VALUES:
                raise UserError(
                    f"{path.name}: input {name[:40]!r} claims {n_values:,} values, expected at "
                    f"most {MAX_VALUES:,}. Export the version again."
                )
        yield (
            request.model_spec.signature_name,
            {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()},
        )
