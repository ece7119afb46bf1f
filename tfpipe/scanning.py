"""Windows along a long picture, with the work that they have in common done once.

Windows of 50 rows that lie 8 apart share five sixths of their rows. Here the layers of a window
network up to its dense ones see strips of the whole picture, and each window's rows are cut out of
what they make of it. A pool of p rows begins at the window's first row, so strips are pooled once
for each place that windows begin at, modulo p (the "shift and stitch" of OverFeat, Sermanet et al.
2014, arXiv:1312.6229, section 3.3.2).

Two things differ from windows seen one by one: at its upper and lower edge a window then sees zeros,
and here what lies beyond; and a picture's own exposure is here that of the 50 rows around each row.
A network without padding and exposure gives the same, so whether the answers are as good is a
question of its scores, see `ways`.
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers

WINDOWS = 128  # of a strip: bounds memory, and fits the caches of a processor
COLLAPSES = (layers.Flatten, layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D)
ROW_BY_ROW = (layers.Normalization, layers.BatchNormalization, layers.ReLU, layers.Activation)
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
      model: takes "image" alone.
      outputs: name -> tensor of the model, what the head is to answer.
    """
    body, layer = [], None
    tensor = model.input["image"]
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
    x = np.stack([one[top : top + length] for one, top in zip(pictures, first, strict=True)])
    x = tf.constant(x)
    # Where each window begins: in which map of the batch, at which of its rows.
    place, row = np.repeat(np.arange(count), windows), (top_px - first[:, None]).ravel()
    rows = network.height_px
    for layer in network.body:
        if isinstance(layer, POOLS):
            x, place, row = _pooled(layer, x, place, row)
            rows = layer.compute_output_shape((1, rows, *x.shape[2:]))[1]
        elif _is_exposure(layer):
            x = _exposed(layer, x, rows)
        else:
            x = layer(x, training=False)
            rows = layer.compute_output_shape((1, rows, *x.shape[2:]))[1]
    said = {}
    for i in range(0, len(row), WINDOWS):
        lines = row[i : i + WINDOWS, None] + np.arange(rows)
        cut = tf.gather_nd(
            x, np.stack([np.broadcast_to(place[i : i + WINDOWS, None], lines.shape), lines], -1)
        )
        for name, value in network.head(cut, training=False).items():
            said.setdefault(name, []).append(value.numpy())
    return {n: np.concatenate(v).reshape(count, windows, *v[0].shape[1:]) for n, v in said.items()}


def _pooled(layer, x, place: np.ndarray, row: np.ndarray):
    """Returns maps pooled from each place modulo p where windows begin, and the windows' places."""
    size = layer.pool_size[0]
    begins, which = np.unique(row % size, return_inverse=True)
    longest = int(x.shape[1] - begins[0])
    parts = [
        tf.pad(x[:, b:], [[0, 0], [0, longest - int(x.shape[1] - b)], [0, 0], [0, 0]])
        for b in begins
    ]
    maps = tf.concat([layer(part) for part in parts], axis=0)
    return maps, place + which * x.shape[0], (row - begins[which]) // size


def _exposed(layer, x, rows: int):
    sums = np.cumsum(
        np.pad(tf.reduce_sum(tf.cast(x, tf.float64), axis=[2, 3]).numpy(), [[0, 0], [1, 0]]), axis=1
    )
    squares = np.cumsum(
        np.pad(
            tf.reduce_sum(tf.square(tf.cast(x, tf.float64)), axis=[2, 3]).numpy(), [[0, 0], [1, 0]]
        ),
        axis=1,
    )
    pixels = rows * x.shape[2] * x.shape[3]
    mean = (sums[:, rows:] - sums[:, :-rows]) / pixels
    variance = (squares[:, rows:] - squares[:, :-rows]) / pixels - mean**2
    near = np.clip(np.arange(x.shape[1]) - rows // 2, 0, mean.shape[1] - 1)
    scale = 1 / np.sqrt(variance + layer.epsilon)
    to = lambda a: tf.constant(a[:, near, None, None], tf.float32)
    return (x - to(mean)) * to(scale)
