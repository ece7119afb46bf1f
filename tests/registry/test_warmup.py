"""Warm-up requests come back as they were written, and none takes more memory than an example."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tfpipe.base.errors import UserError
from tfpipe.registry import warmup


@pytest.fixture
def version(tmp_path):
    folder = tmp_path / "task" / "model" / "1"
    (folder / "assets.extra").mkdir(parents=True)
    return folder


def test_requests_are_read_as_they_were_written(version):
    image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    warmup.write(version, {"predict_tensor": {"image": image}})
    ((signature, features),) = warmup.requests(version)
    assert signature == "predict_tensor"
    np.testing.assert_array_equal(features["image"], image)


@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 20, 1 << 20, 1 << 20), (-1,)])
def test_one_value_does_not_stand_for_a_terabyte(version, shape):
    log = prediction_log_pb2.PredictionLog()
    tensor = log.predict_log.request.inputs["image"]
    tensor.CopyFrom(tf.make_tensor_proto(np.float32(1)))
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    with tf.io.TFRecordWriter(str(version / warmup.NAME)) as file:
        file.write(log.SerializeToString())
    with pytest.raises(UserError, match="input 'image' claims .* values, expected at most"):
        list(warmup.requests(version))
