"""Grad-CAM heat maps of classifiers (Selvaraju et al. 2017, arXiv:1610.02391)."""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import keras
import numpy as np
import tensorflow as tf
from keras import layers

CONVOLUTIONS = (layers.Conv2D, layers.SeparableConv2D, layers.DepthwiseConv2D)


def heat(
    model: keras.Model, features: dict[str, np.ndarray], labels: np.ndarray
) -> np.ndarray | None:
    """Returns heat maps of a class [n, height, width] float32, each with a maximum of 1 or 0.

    Equations 1 and 2: the last feature map before pooling, its channels weighted by the mean
    gradient of the class's score before the softmax; negative values become 0. A map is 0
    everywhere if no place supports the class.

    Args:
      model: a classifier by `models.build`; its body may be a model itself.
      features: its inputs, with "image" [n, height, width, channels].
      labels: [n] int, the class of each image's map.

    Returns:
      The maps at the images' size; None for a model without a convolution.
    """
    last = last_map(model)
    if last is None:
        return None
    head = model.get_layer(_head(model))
    embedder = keras.Model(model.input, head.input)
    inputs = {name: tf.constant(features[name]) for name in model.input}
    # Gradients of the weights are not needed. oneDNN would end the process on those of small maps.
    with tf.GradientTape(watch_accessed_variables=False) as tape, _recorded(last, tape) as recorded:
        embedding = embedder(inputs, training=False)
        scores = tf.matmul(tf.cast(embedding, tf.float32), head.kernel) + head.bias
        if scores.shape[-1] == 1:  # two classes share one unit
            scores = tf.concat([-scores, scores], axis=1)
        class_scores = tf.gather(scores, labels, axis=1, batch_dims=1)
    maps = recorded[-1]
    slopes = tape.gradient(class_scores, maps)
    weights = tf.reduce_mean(slopes, axis=[1, 2], keepdims=True)
    heatmaps = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1)).numpy().astype(np.float32)
    height, width = features["image"].shape[1:3]
    sized = [
        cv2.resize(heatmap, (width, height), interpolation=cv2.INTER_LINEAR) for heatmap in heatmaps
    ]
    return np.stack([heatmap / max(float(heatmap.max()), 1e-12) for heatmap in sized])


def last_map(model: keras.Model) -> layers.Layer | None:
    """Returns the layer of the last feature map before pooling, also inside a nested model.

    It is the last layer, such as a rectifier or a sum, whose map has the size of the last
    convolution's; None for a model without a convolution.
    """
    every = list(_layers(model))
    places = [i for i, layer in enumerate(every) if isinstance(layer, CONVOLUTIONS)]
    if not places:
        return None
    size = every[places[-1]].output.shape[1:3]
    as_large = [layer for layer in every[places[-1] :] if _map_size(layer) == size]
    return as_large[-1]


def _layers(model: keras.Model) -> Iterator[layers.Layer]:
    """Yields a model's layers in order, those of a nested model in its place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


def _map_size(layer: layers.Layer) -> tuple[int, int] | None:
    """Returns height and width of a layer's output; None where it is no map."""
    shape = tuple(getattr(layer.output, "shape", ()))
    return (shape[1], shape[2]) if len(shape) == 4 else None


def _head(model: keras.Model) -> str:
    """Returns the name of the layer of the scores, see `layers.head`."""
    names = {layer.name for layer in model.layers}
    return "positive" if "positive" in names else "probabilities"


@contextmanager
def _recorded(layer: layers.Layer, tape: tf.GradientTape) -> Iterator[list[tf.Tensor]]:
    """Yields a list to which a layer's outputs are appended, watched by a tape."""
    outputs, call = [], layer.call

    def recording_call(*args, **kwargs):
        output = call(*args, **kwargs)
        tape.watch(output)
        outputs.append(output)
        return output

    object.__setattr__(layer, "call", recording_call)  # past Keras, which tracks what is set
    try:
        yield outputs
    finally:
        object.__delattr__(layer, "call")
