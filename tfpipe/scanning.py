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

WINDOWS = 128  # of a strip: bounds memory, and fits the caches of a processor
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
    x = tf.constant(np.stack(strips))
    # Where each window begins: in which map of the batch, at which of its rows.
    place, row = np.repeat(np.arange(count), windows), (top_px - first[:, None]).ravel()
    rows = network.height_px
    for layer in network.body:
        if isinstance(layer, POOLS):
            rows = layer.compute_output_shape((1, rows, *x.shape[2:]))[1]
            x, place, row = _pooled(layer, x, place, row)
        elif _is_exposure(layer):
            x = _exposed(layer, x, rows)
        else:
            rows = layer.compute_output_shape((1, rows, *x.shape[2:]))[1]
            x = layer(x, training=False)
    parts = [
        network.head(_cut(x, place[i : i + WINDOWS], row[i : i + WINDOWS], rows), training=False)
        for i in range(0, len(row), WINDOWS)
    ]
    said = {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}
    return {name: array.reshape(count, windows, *array.shape[1:]) for name, array in said.items()}


def _cut(x, place: np.ndarray, row: np.ndarray, rows: int):
    """Returns what the body made of some windows, [windows, rows, columns, channels]."""
    lines = row[:, None] + np.arange(rows)
    return tf.gather_nd(x, np.stack([np.broadcast_to(place[:, None], lines.shape), lines], axis=-1))


def _pooled(layer, x, place: np.ndarray, row: np.ndarray):
    """Returns maps pooled from each place modulo p where windows begin, and the windows' places."""
    size = layer.pool_size[0]
    begins, which = np.unique(row % size, return_inverse=True)
    parts = [tf.pad(x[:, one:], [[0, 0], [0, int(one)], [0, 0], [0, 0]]) for one in begins]
    maps = tf.concat([layer(part) for part in parts], axis=0)
    return maps, place + which * x.shape[0], (row - begins[which]) // size


def _exposed(layer, x, rows: int):
    """Returns each row scaled by mean and variance of the `rows` rows around it, as a window is."""
    exact, pixels = tf.cast(x, tf.float64), rows * x.shape[2] * x.shape[3]
    sums = np.stack([tf.reduce_sum(one, axis=[2, 3]).numpy() for one in (exact, exact**2)])
    before = np.cumsum(np.pad(sums, [[0, 0], [0, 0], [1, 0]]), axis=2)
    mean, square = (before[..., rows:] - before[..., :-rows]) / pixels
    near = np.clip(np.arange(x.shape[1]) - rows // 2, 0, mean.shape[1] - 1)
    scale = 1 / np.sqrt(square - mean**2 + layer.epsilon)
    by_row = [tf.constant(one[:, near, None, None], tf.float32) for one in (mean, scale)]
    return (x - by_row[0]) * by_row[1]
