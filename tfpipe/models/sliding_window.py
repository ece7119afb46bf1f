"""Windows along a long picture, with the work that they have in common done once.

Windows of 50 rows that lie 8 apart share five sixths of their rows. Here the layers of a window
network up to its dense ones see strips of the whole picture, and each window's rows are cut out of
what they make of it. A pool of p rows begins at the window's first row, so strips are pooled once
for each place, modulo p, that windows begin at (Sermanet et al. 2014, "OverFeat", arXiv:1312.6229,
section 3.3). A network whose convolutions do not pad gives the same as window by window.

Two things may differ from windows seen one by one. Where convolutions pad, a window sees zeros
above and below, and a strip the ice that is there. And where each picture is scaled by its own
exposure, a strip's rows are scaled by that of the window around them. Then the answers are close,
not equal: `ways` sees windows one by one that may show something, and scores what comes of it.
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers

WINDOWS = 64  # of a strip; four flips of it take 350 MB in the widest network, enhanced-cnn
COLLAPSES = (layers.Flatten, layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D)
ROW_BY_ROW = (
    *(layers.Rescaling, layers.Normalization, layers.BatchNormalization),
    *(layers.ReLU, layers.Activation),
)
POOLS = (layers.MaxPooling2D, layers.AveragePooling2D)


class Network(NamedTuple):
    """A window network taken apart.

    Attributes:
      body: its layers on maps, in order, without those that only train.
      head: what comes after, from the last map [n, rows, columns, channels] to its answers.
      height_px: of a window.
    """

    body: tuple[layers.Layer, ...]
    head: keras.Model
    height_px: int


def taken_apart(model: keras.Model, outputs: dict[str, object]) -> Network | None:
    """Returns a model's body and head, or None where windows cannot share what it does.

    That is where the layers before the first dense one are no chain, stride otherwise than by
    pooling, or are of a kind that sees the whole window.

    Args:
      model: the window network.
      outputs: name -> tensor of the model, what the head is to answer.
    """
    if list(model.input) != ["image"]:
        return None
    body, layer, tensor = [], None, model.input["image"]
    while not isinstance(layer, COLLAPSES):
        after = [one for one in model.layers if _reads(one, tensor)]
        if len(after) != 1:
            return None
        layer = after[0]
        if isinstance(layer, COLLAPSES):
            break
        if not _shares(layer):
            return None
        if not isinstance(layer, layers.Dropout):
            body.append(layer)
        tensor = layer.output
    return Network(tuple(body), keras.Model(tensor, outputs), model.input["image"].shape[1])


def _reads(layer: layers.Layer, tensor) -> bool:
    given = keras.tree.flatten(layer.input) if not isinstance(layer, layers.InputLayer) else []
    return any(one is tensor for one in given)


def _shares(layer: layers.Layer) -> bool:
    if isinstance(layer, layers.Conv2D):
        return layer.strides == (1, 1) and layer.dilation_rate == (1, 1)
    if isinstance(layer, POOLS):
        return layer.strides == layer.pool_size
    return _is_exposure(layer) or isinstance(layer, (*ROW_BY_ROW, layers.Dropout))


def _is_exposure(layer: layers.Layer) -> bool:
    return isinstance(layer, layers.LayerNormalization) and list(layer.axis) == [1, 2, 3]


def scan(network: Network, pictures: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the answers to the windows of long pictures, name -> [pictures, windows, ...].

    Args:
      network: by `taken_apart`.
      pictures: [pictures, height, width, channels], such as the four flips of a core.
      top_px: [pictures, windows] int, first row of each window, rising or falling.
    """
    parts = [
        _strip(network, pictures, top_px[:, i : i + WINDOWS])
        for i in range(0, top_px.shape[1], WINDOWS)
    ]
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def _strip(network: Network, pictures: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the answers to windows that lie close together, [pictures, windows, ...]."""
    count, windows = top_px.shape
    first = top_px.min(axis=1)
    length = int((top_px.max(axis=1) - first).max()) + network.height_px
    strips = [one[top : top + length] for one, top in zip(pictures, first, strict=True)]
    place, row, begins = _places(network.body, top_px - first[:, None])
    maps = _maps(network.body, begins, tf.constant(np.stack(strips)))
    parts = [
        _said(network.head, maps, tf.constant(place[i : i + WINDOWS]), row[i : i + WINDOWS])
        for i in range(0, len(row), WINDOWS)
    ]
    said = {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}
    return {name: array.reshape(count, windows, *array.shape[1:]) for name, array in said.items()}


def _places(body: tuple[layers.Layer, ...], row: np.ndarray):
    """Returns where windows begin in what the body makes of strips.

    Args:
      body: the layers.
      row: [strips, windows] int, first row of each window.

    Returns:
      Number of each window's map [strips * windows] and its first row there; and of each pool the
      rows that it is to begin at, which make as many maps of each.
    """
    count, windows = row.shape
    place, row, begins = np.repeat(np.arange(count), windows), row.ravel(), []
    for pool in [layer for layer in body if isinstance(layer, POOLS)]:
        size = pool.pool_size[0]
        starts, which = np.unique(row % size, return_inverse=True)
        place, row = place + which * count, (row - starts[which]) // size
        count *= len(starts)
        begins.append(tuple(starts.tolist()))
    return place, row, tuple(begins)


@tf.function(reduce_retracing=True, jit_compile=False)
def _maps(body: tuple[layers.Layer, ...], begins: tuple[tuple[int, ...], ...], x):
    """Returns what the body makes of strips [strips, rows, columns, channels], see `_places`."""
    begins = iter(begins)
    for layer in body:
        if isinstance(layer, POOLS):
            starts = next(begins)
            padded = [tf.pad(x[:, one:], [[0, 0], [0, one], [0, 0], [0, 0]]) for one in starts]
            x = tf.concat([layer(one) for one in padded], axis=0)
        elif _is_exposure(layer):
            x = _exposed(layer, x)
        else:
            x = layer(x, training=False)
    return x


@tf.function(reduce_retracing=True, jit_compile=False)
def _said(head: keras.Model, maps, place, row) -> dict[str, tf.Tensor]:
    """Returns the head's answers to the windows whose rows begin at `row` of the map `place`."""
    lines = row[:, None] + tf.range(head.input.shape[1], dtype=row.dtype)
    places = tf.broadcast_to(place[:, None], tf.shape(lines))
    return head(tf.gather_nd(maps, tf.stack([places, lines], axis=-1)), training=False)


def _exposed(layer: layers.LayerNormalization, x):
    """Returns each row scaled by mean and variance of the rows around it, as many as a window's."""
    rows = layer.input.shape[1]
    exact = tf.cast(x, tf.float64)
    sums = tf.stack([tf.reduce_mean(one, axis=[2, 3]) for one in (exact, exact**2)])
    before = tf.cumsum(tf.pad(sums, [[0, 0], [0, 0], [1, 0]]), axis=2)
    mean, square = tf.unstack((before[..., rows:] - before[..., :-rows]) / rows)
    near = tf.clip_by_value(tf.range(tf.shape(x)[1]) - rows // 2, 0, tf.shape(mean)[1] - 1)
    scale = tf.math.rsqrt(square - mean**2 + layer.epsilon)
    mean, scale = (tf.cast(tf.gather(one, near, axis=1), tf.float32) for one in (mean, scale))
    return (x - mean[..., None, None]) * scale[..., None, None]
