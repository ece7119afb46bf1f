"""Faster operations of a network on a processor: norms, dropout, and gradients of convolutions.

Keras computes a batch normalization as a dozen float32 operations, each a pass over the map, which
under mixed bfloat16 take half as long as the convolutions. TensorFlow has one operation for it. The
gradient of a bfloat16 convolution's weights is a slow kernel of oneDNN where channels are many and
maps small; a matrix product for each place of the kernel is twice as fast. Dropout draws a random
word for each element, where a byte is enough. Pixels are scaled by statistics of three channels,
which TensorFlow repeats for each pixel; for whole rows it is three times as fast.
docs/performance.md has the profiles. Layers, their weights and saved models stay those of Keras.
"""

import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpipe.base import resources

BYTE_VALUES = 256  # dropout rates are rounded to 1 / 256
MANY_CHANNELS = 256  # from which products were faster for each map measured, 2 x 7 to 14 x 14 px


@contextmanager
def fused_operations(model: keras.Model) -> Iterator[None]:
    """Computes a network by fused operations, in functions that are traced within the block.

    Outputs differ from those of Keras by rounding, and dropout by its draws. Afterwards the layers
    compute as before, but a function that was traced stays as it is.

    Args:
      model: the network, nested ones included.
    """
    replaced: list[tuple[keras.Layer, str]] = []

    def replace(layer: keras.Layer, name: str, function: Callable) -> None:
        if name not in vars(layer):  # an outer block has replaced it
            setattr(layer, name, types.MethodType(function, layer))
            replaced.append((layer, name))

    try:
        for layer in model._flatten_layers():
            if _is_plain_norm(layer):
                replace(layer, "call", _normalized)
            elif _has_constant_scale(layer):
                replace(layer, "call", _scaled)
            elif _has_slow_gradient(layer):
                replace(layer, "convolution_op", _convolved)
            elif _is_plain_dropout(layer):
                replace(layer, "call", _dropped_out)
        yield
    finally:
        for layer, name in replaced:
            delattr(layer, name)


def inference(model: keras.Model) -> Callable[[Mapping[str, Any]], Any]:
    """Returns a function from inputs by name to a network's outputs, traced with fused operations.

    Weights that are set later are used.
    """

    @tf.function(reduce_retracing=True, jit_compile=False)
    def outputs(features):
        with fused_operations(model):
            return model({name: features[name] for name in model.input}, training=False)

    return outputs


def _is_plain_norm(layer: keras.Layer) -> bool:
    """Returns whether TensorFlow's operation computes what this layer does."""
    return (
        type(layer) is keras.layers.BatchNormalization
        and layer.built
        and layer.scale
        and layer.center
        and not layer.renorm
        and not layer.synchronized
        and layer.gamma.dtype == "float32"
        and getattr(layer.input_spec, "ndim", None) == 4
        and layer.axis in (-1, 3)
    )


def _normalized(layer, inputs, training=None, mask=None):
    """Returns batch-normalized maps [batch, height, width, channels] in the layer's dtype."""
    if mask is not None:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    uses_batch = bool(training) and layer.trainable
    nothing = tf.zeros([0])
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=tf.cast(inputs, layer.compute_dtype),
        scale=layer.gamma.value,
        offset=layer.beta.value,
        mean=nothing if uses_batch else layer.moving_mean.value,
        variance=nothing if uses_batch else layer.moving_variance.value,
        epsilon=layer.epsilon,
        is_training=uses_batch,
    )
    if uses_batch:
        # The operation estimates the variance of all images (n - 1), Keras that of the batch (n).
        count = tf.cast(tf.size(inputs) / inputs.shape[-1], tf.float32)
        for moving, new in (
            (layer.moving_mean, mean),
            (layer.moving_variance, variance * (1 - 1 / count)),
        ):
            moving.assign(moving * layer.momentum + new * (1 - layer.momentum))
    return outputs


def _has_constant_scale(layer: keras.Layer) -> bool:
    """Returns whether a layer scales its last axis by statistics that are no weights."""
    return (
        type(layer) is keras.layers.Normalization
        and layer.built
        and not layer.invert
        and layer.input_mean is not None
        and layer.axis in ((-1,), (3,))
    )


def _scaled(layer, inputs):
    """Returns scaled images [batch, height, width, channels] in the layer's dtype."""
    shape = tuple(inputs.shape[1:])
    if len(shape) != 3 or None in shape or shape[2] == 1:
        return type(layer).call(layer, inputs)
    height, width, channels = shape
    deviation = np.sqrt(np.float32(layer.input_variance))
    deviation = np.maximum(deviation, np.float32(keras.config.epsilon()))
    mean, deviation = (
        tf.constant(np.tile(np.broadcast_to(one, channels), width), layer.compute_dtype)
        for one in (np.float32(layer.input_mean), deviation)
    )
    rows = tf.reshape(tf.cast(inputs, layer.compute_dtype), [-1, height, width * channels])
    return tf.reshape((rows - mean) / deviation, [-1, height, width, channels])


def _has_slow_gradient(layer: keras.Layer) -> bool:
    """Returns whether products are faster than oneDNN's kernel, where both were measured."""
    return (
        type(layer) is keras.layers.Conv2D
        and layer.built
        and layer.compute_dtype == "bfloat16"
        and layer.kernel.shape[2] >= MANY_CHANNELS
        and layer.groups == 1
        and tuple(layer.strides) == (1, 1)
        and tuple(layer.dilation_rate) == (1, 1)
        and layer.data_format == "channels_last"
        and "avx512_bf16" in resources.processors()
        and "amx_bf16" not in resources.processors()
        and not tf.config.list_physical_devices("GPU")
    )


def _convolved(layer, inputs, kernel):
    """Returns the convolution [batch, height, width, filters] of maps, with a faster gradient."""
    rows, columns = layer.kernel_size
    padding = layer.padding.upper()

    @tf.custom_gradient
    def convolution(maps, weights):
        def gradient(upstream):
            above, left = ((rows - 1) // 2, (columns - 1) // 2) if padding == "SAME" else (0, 0)
            below, right = (rows - 1 - above, columns - 1 - left) if padding == "SAME" else (0, 0)
            padded = tf.pad(maps, [[0, 0], [above, below], [left, right], [0, 0]])
            height, width, filters = tf.unstack(tf.shape(upstream)[1:])
            flat = tf.reshape(upstream, [-1, filters])
            products = [
                tf.linalg.matmul(
                    tf.reshape(
                        padded[:, row : row + height, column : column + width],
                        [-1, maps.shape[-1]],
                    ),
                    flat,
                    transpose_a=True,
                )
                for row in range(rows)
                for column in range(columns)
            ]
            of_maps = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(maps),
                filter=weights,
                out_backprop=upstream,
                strides=[1, 1, 1, 1],
                padding=padding,
            )
            return of_maps, tf.reshape(tf.stack(products), tf.shape(weights))

        return tf.nn.conv2d(maps, weights, 1, padding), gradient

    return convolution(tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel))


def _is_plain_dropout(layer: keras.Layer) -> bool:
    """Returns whether bytes resolve the rate of a layer that drops each element by itself."""
    return (
        type(layer) is keras.layers.Dropout
        and layer.noise_shape is None
        and 0 < _bytes_dropped(layer) < BYTE_VALUES
        and not tf.config.list_physical_devices("GPU")
    )


def _bytes_dropped(layer: keras.layers.Dropout) -> int:
    """Returns at how many of the values of a byte an element is dropped."""
    return round(layer.rate * BYTE_VALUES)


def _dropped_out(layer, inputs, training=False):
    """Returns inputs of any shape, in training with elements dropped and the others scaled up."""
    if not training:
        return inputs
    n_dropped, size = _bytes_dropped(layer), tf.size(inputs)
    words = tf.random.stateless_uniform(
        [-(-size // tf.uint64.size)],
        tf.cast(layer.seed_generator.next(), tf.int32),
        minval=None,
        maxval=None,
        dtype=tf.uint64,
    )
    draws = tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:size]
    is_left = tf.reshape(draws >= tf.constant(n_dropped, tf.uint8), tf.shape(inputs))
    return inputs * (tf.cast(is_left, inputs.dtype) * (BYTE_VALUES / (BYTE_VALUES - n_dropped)))
