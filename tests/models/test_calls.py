"""Tests of calls of any model: what leaves a model for NumPy is float32 under every policy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfpipe.base import hardware
from tfpipe.models import calls


@pytest.fixture
def bfloat16_model():
    """A model whose embedding is bfloat16."""
    with hardware.dtype_policy("mixed_bfloat16"):
        columns = keras.Input((3,), name="columns")
        return keras.Model({"columns": columns}, layers.Dense(2, name="embedding")(columns))


@pytest.mark.parametrize("count", [0, 5])
def test_outputs_are_float32_under_every_policy(bfloat16_model, count):
    features = {"columns": np.ones((count, 3), np.float32), "image": None}
    assert bfloat16_model.output.dtype == "bfloat16"
    outputs = calls.batched(bfloat16_model, features, names=["columns"], batch_size=2)
    assert outputs.dtype == np.float32 and outputs.shape == (count, 2)


@pytest.mark.parametrize("value", [tf.constant([1, 2]), tf.constant([True]), tf.constant(["a"])])
def test_outputs_that_are_no_floats_stay_what_they_are(value):
    np.testing.assert_array_equal(calls.to_numpy(value), value.numpy())
    assert calls.to_numpy(value).dtype == value.numpy().dtype
