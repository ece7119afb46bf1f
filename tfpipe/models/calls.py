"""Calls of any model: inputs by name, in batches; outputs as float32 NumPy arrays."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpipe.models import MODELS


def batched(
    call: Callable[[dict[str, tf.Tensor]], Any],
    features: Mapping[str, np.ndarray | None],
    *,
    names: Sequence[str],
    batch_size: int = 128,
) -> Any:
    """Returns a model's outputs [n, ...] for any number of examples, 0 included.

    Args:
      call: features of a batch -> outputs, an array or arrays by name.
      features: "image" and "columns", [n, ...] each.
      names: the model's inputs.
      batch_size: examples in a call.

    Returns:
      Arrays by `to_numpy`.
    """
    inputs = {name: np.asarray(features[name]) for name in names}
    count = len(inputs[names[0]])
    if not count:  # oneDNN's fused convolutions return a wrong shape for an empty batch
        single = {
            name: np.zeros((1, *array.shape[1:]), array.dtype) for name, array in inputs.items()
        }
        outputs = batched(call, single, names=names)
        return keras.tree.map_structure(lambda array: array[:0], outputs)
    batches = [
        call({name: tf.constant(array[i : i + batch_size]) for name, array in inputs.items()})
        for i in range(0, count, batch_size)
    ]
    return keras.tree.map_structure(
        lambda *outputs: np.concatenate([to_numpy(output) for output in outputs]), *batches
    )


def to_numpy(output: Any) -> np.ndarray:
    """Returns an output of a model as a NumPy array; floats are float32 under every dtype policy.

    Keras returns bfloat16 from layers of that dtype, which scikit-learn and pandas refuse.
    """
    array = np.asarray(output)
    return array.astype(np.float32, copy=False) if tf.as_dtype(array.dtype).is_floating else array


def inputs_of(model: keras.Model) -> list[str]:
    """Returns the names of a model's inputs: "image", "columns" or both, in this order."""
    return [name for name in ("image", "columns") if name in model.input]


def with_target(model: keras.Model) -> keras.Model:
    """Returns an autoencoder with the outputs (target, reconstruction).

    Both are [batch, height, width, channels] float32 in 0..1.
    """
    return keras.Model(model.input, [model.get_layer("unit_scale").output, model.output])


def squared_errors(target: tf.Tensor, reconstruction: tf.Tensor) -> tf.Tensor:
    """Returns each image's mean squared error [batch], of pixels [batch, h, w, c] in 0..1."""
    return tf.reduce_mean(tf.square(target - reconstruction), axis=[1, 2, 3])


def arguments_of(model: str) -> list[str]:
    """Returns the names of a builder's keyword arguments."""
    return list(inspect.signature(MODELS[model]).parameters)[1:]


def soften(model: keras.Model, temperature: float, bias: Sequence[float] = ()) -> None:
    """Divides a classifier's logits by a temperature and adds biases, in its last layer's weights.

    Every format that the model is saved in then gives calibrated probabilities at no cost (Guo et
    al. 2017, arXiv:1706.04599, section 4.2).

    Args:
      model: a classifier.
      temperature: what the logits are divided by.
      bias: [classes], added afterwards; () for none.
    """
    names = {layer.name for layer in model.layers}
    last = model.get_layer("positive" if "positive" in names else "probabilities")
    kernel, constant = (weight / temperature for weight in last.get_weights())
    if len(bias):  # two classes share one sigmoid unit
        constant = constant + (np.array([bias[1] - bias[0]]) if len(bias) == 2 else np.array(bias))
    last.set_weights([kernel, constant.astype(kernel.dtype)])


def reconstructs(model: keras.Model) -> bool:
    """Returns whether a model is an autoencoder, by the name of its output."""
    return model.output_names == ["reconstruction"]
