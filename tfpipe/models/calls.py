"""How any model is called: its inputs by name, in batches, classifier or autoencoder alike."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpipe.models import MODELS


def batched(
    answer: Callable[[dict[str, tf.Tensor]], Any],
    features: dict[str, np.ndarray | None],
    *,
    names: Sequence[str],
    batch_size: int = 128,
) -> Any:
    """Returns a model's answers [n, ...] to any number of examples, none included.

    Args:
      answer: some examples' features -> their answers, an array or arrays by name.
      features: "image" and "columns", [n, ...] each.
      names: those the model takes.
      batch_size: examples shown at once.
    """
    taken = {name: features[name] for name in names}
    count = len(taken[names[0]])
    if not count:  # of no example at all, oneDNN's fused convolutions mistake the shape
        one = {name: np.zeros((1, *array.shape[1:]), array.dtype) for name, array in taken.items()}
        none = batched(answer, one, names=names)
        return keras.tree.map_structure(lambda array: array[:0], none)
    parts = [
        answer({name: tf.constant(array[i : i + batch_size]) for name, array in taken.items()})
        for i in range(0, count, batch_size)
    ]
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def inputs_of(model: keras.Model) -> list[str]:
    """Returns the names of a model's inputs: "image", "columns" or both, in this order."""
    return [name for name in ("image", "columns") if name in model.input]


def with_target(model: keras.Model) -> keras.Model:
    """Returns an autoencoder that answers (what it was to give back, what it gives back).

    Both are [batch, height, width, channels] float32 in 0..1.
    """
    return keras.Model(model.input, [model.get_layer("unit_scale").output, model.output])


def squared_errors(target: tf.Tensor, given: tf.Tensor) -> tf.Tensor:
    """Returns each picture's mean squared error [batch], of pixels [batch, h, w, c] in 0..1."""
    return tf.reduce_mean(tf.square(target - given), axis=[1, 2, 3])


def arguments_of(model: str) -> list[str]:
    """Returns the names of a builder's keyword arguments."""
    return list(inspect.signature(MODELS[model]).parameters)[1:]


def soften(model: keras.Model, temperature: float) -> None:
    """Divides what a classifier's softmax or sigmoid is of by a temperature, in its weights.

    So that whatever the model is saved as gives calibrated probabilities, at no cost (Guo et al.
    2017, arXiv:1706.04599, section 4.2). Which class is likeliest stays as it is.
    """
    names = {layer.name for layer in model.layers}
    last = model.get_layer("positive" if "positive" in names else "probabilities")
    last.set_weights([weight / temperature for weight in last.get_weights()])


def reconstructs(model: keras.Model) -> bool:
    """Returns whether a model is an autoencoder, by the name of its output."""
    return model.output_names == ["reconstruction"]
