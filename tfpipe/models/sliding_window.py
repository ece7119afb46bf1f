"""Sliding window: a window network along long images, window by window or with shared work.

Windows of 50 rows that lie 8 apart share five sixths of their rows. A scan applies the layers of
the network up to its dense ones (the backbone) to strips of the whole image, and cuts each window's
rows out of the resulting map for the head. A pool of p rows begins at the window's first row, so
strips are pooled once for each offset, modulo p, at which windows begin (Sermanet et al. 2014,
"OverFeat", arXiv:1312.6229, section 3.3). A network whose convolutions do not pad gives the same
as window by window.

A scan may differ in two cases. Where convolutions pad, a window has zeros above and below, and a
strip the neighbouring rows. Where each image is standardized by itself, the rows of a strip are
standardized by the window around them. The outputs are then close, not equal. A scan therefore
computes windows that may be positive one by one, too.
"""

from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfpipe.models import calls
from tfpipe.models.fused import inference
from tfpipe.models.interval_head import locates
from tfpipe.models.outputs import with_all_outputs
from tfpipe.models.row_head import labels_rows
from tfpipe.tasks.task import Classify

# Windows with at least this probability in a scan are computed one by one, too.
POSITIVE_FROM = 0.001
WINDOWS = 64  # of a strip; four flips of it take 350 MB in the widest network, enhanced-cnn
# Windows computed in one call of `along`'s network, 4 strips. A caller that splits a long image at
# multiples of it, to report progress, gets the same batches and so the same outputs.
WINDOWS_AT_ONCE = 4 * WINDOWS
COLLAPSES = (layers.Flatten, layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D)
ROW_BY_ROW = (
    layers.Rescaling,
    layers.Normalization,
    layers.BatchNormalization,
    layers.ReLU,
    layers.Activation,
)
POOLS = (layers.MaxPooling2D, layers.AveragePooling2D)


class InferenceMode(NamedTuple):
    """How a model is applied to the windows of a long image.

    Attributes:
      scans: whether overlapping windows share their work.
      intervals: whether start and stop within each window are predicted, too.
      rows: whether the class of each row of a window is predicted, too.
    """

    scans: bool
    intervals: bool
    rows: bool = False


# In order of preference: of equally good modes the first is taken.
INFERENCE_MODES = {
    "scan": InferenceMode(scans=True, intervals=False),
    "scan-intervals": InferenceMode(scans=True, intervals=True),
    "windows": InferenceMode(scans=False, intervals=False),
    "intervals": InferenceMode(scans=False, intervals=True),
    "rows": InferenceMode(scans=False, intervals=False, rows=True),
}
DEFAULT_MODE = "windows"


def by_inference_mode(model: keras.Model, classify: Classify | None = None) -> dict[str, Classify]:
    """Returns inference mode -> the model in that mode, for all modes that the model supports.

    Args:
      model: the window network.
      classify: computes the model's probabilities of windows that are cut out, such as in one batch
        with those of others; None for the model itself. Intervals and rows are the model's always.
    """
    windows = _WindowModel(model)
    network = split_network(model, with_all_outputs(model).output)
    probabilities_only = _WindowModel(model, classify) if classify else windows
    return {
        name: SlidingWindowModel(
            windows if mode.intervals or mode.rows else probabilities_only, network, mode
        )
        for name, mode in INFERENCE_MODES.items()
        if (network or not mode.scans)
        and (locates(model) or not mode.intervals)
        and labels_rows(model) == mode.rows
    }


class SlidingWindowModel:
    """A window network in one inference mode; see `WholeFile.sliding_window`.

    Attributes:
      mode: the inference mode.
      recomputed_share: share of the windows of scans so far that were computed one by one, too.
    """

    def __init__(
        self, windows: "_WindowModel", network: "SplitNetwork | None", mode: InferenceMode
    ):
        self.mode = mode
        self._windows, self._network = windows, network
        self._n_scanned, self._n_recomputed = 0, 0

    @property
    def recomputed_share(self) -> float:
        return self._n_recomputed / max(self._n_scanned, 1)

    def __call__(self, images: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        return self._windows(images)["probabilities"]

    def along(self, images: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
        """Returns "probabilities", perhaps "interval" and "rows", [images, windows, ...] each.

        The images are flips of one image. In a scan, a window that may be positive in any of them
        is computed by itself in all of them. The scan's output is enough for the other windows,
        which are far below every threshold.

        Args:
          images: [images, height, width, channels].
          top_px: [images, windows] int, first row of each window.
        """
        parts = [
            self._predict(images, top_px[:, begin : begin + WINDOWS_AT_ONCE])
            for begin in range(0, max(top_px.shape[1], 1), WINDOWS_AT_ONCE)
        ]
        return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}

    def _predict(self, images: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
        if self._network is None or not self.mode.scans:
            return self._outputs(self._predict_separately(images, top_px))
        outputs = scan(self._network, images, top_px)
        positive = (outputs["probabilities"][..., 1:].max(axis=-1) >= POSITIVE_FROM).any(axis=0)
        self._n_scanned += len(positive)
        self._n_recomputed += int(positive.sum())
        for name, exact in self._predict_separately(images, top_px[:, positive]).items():
            outputs[name][:, positive] = exact
        return self._outputs(outputs)

    def _predict_separately(self, images: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the outputs for windows that are cut out, [images, windows, ...]."""
        rows = np.arange(self._windows.height_px)
        outputs = [
            self._windows(image[tops[:, None] + rows])
            for image, tops in zip(images, top_px, strict=True)
        ]
        return {name: np.stack([output[name] for output in outputs]) for name in outputs[0]}

    def _outputs(self, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = ["probabilities", *(["interval"] if self.mode.intervals else [])]
        return {name: outputs[name] for name in [*names, *(["rows"] if self.mode.rows else [])]}


class _WindowModel:
    """A Keras model called with any number of windows."""

    def __init__(self, model: keras.Model, classify: Classify | None = None):
        self._call, self._classify = inference(with_all_outputs(model)), classify
        self.height_px = model.input["image"].shape[1]

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        if self._classify:
            return {"probabilities": self._classify(images)}
        return calls.batched(self._call, {"image": images}, names=["image"])


class SplitNetwork(NamedTuple):
    """A window network split into backbone and head.

    Attributes:
      backbone: its layers on maps, in order, without those that act in training only.
      head: the other layers, from the last map [n, rows, columns, channels] to the outputs.
      height_px: of a window.
    """

    backbone: tuple[layers.Layer, ...]
    head: keras.Model
    height_px: int


def split_network(model: keras.Model, outputs: Mapping[str, object]) -> SplitNetwork | None:
    """Returns a model's backbone and head, or None where windows cannot share work.

    That is where the layers before the first dense one are no chain, have strides other than those
    of pools, or combine the whole window.

    Args:
      model: the window network.
      outputs: name -> tensor of the model, the outputs of the head.
    """
    if list(model.input) != ["image"]:
        return None
    backbone: list[layers.Layer] = []
    tensor = model.input["image"]
    while True:
        readers = [layer for layer in model.layers if _reads(layer, tensor)]
        if len(readers) != 1:
            return None
        layer = readers[0]
        if isinstance(layer, COLLAPSES):
            break
        if not _can_share(layer):
            return None
        if not isinstance(layer, layers.Dropout):
            backbone.append(layer)
        tensor = layer.output
    head = keras.Model(tensor, dict(outputs))
    return SplitNetwork(tuple(backbone), head, model.input["image"].shape[1])


def _reads(layer: layers.Layer, tensor) -> bool:
    inputs = keras.tree.flatten(layer.input) if not isinstance(layer, layers.InputLayer) else []
    return any(value is tensor for value in inputs)


def _can_share(layer: layers.Layer) -> bool:
    if isinstance(layer, layers.Conv2D):
        return layer.strides == (1, 1) and layer.dilation_rate == (1, 1)
    if isinstance(layer, POOLS):
        return layer.strides == layer.pool_size
    return _standardizes_images(layer) or isinstance(layer, (*ROW_BY_ROW, layers.Dropout))


def _standardizes_images(layer: layers.Layer) -> bool:
    return isinstance(layer, layers.LayerNormalization) and list(layer.axis) == [1, 2, 3]


def scan(network: SplitNetwork, images: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the outputs for the windows of long images, name -> [images, windows, ...].

    Args:
      network: by `split_network`.
      images: [images, height, width, channels], such as the four flips of a core.
      top_px: [images, windows] int, first row of each window, rising or falling.
    """
    parts = [
        _strip(network, images, top_px[:, i : i + WINDOWS])
        for i in range(0, top_px.shape[1], WINDOWS)
    ]
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def _strip(network: SplitNetwork, images: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the outputs for windows close to each other, [images, windows, ...]."""
    count, windows = top_px.shape
    first = top_px.min(axis=1)
    length = int((top_px.max(axis=1) - first).max()) + network.height_px
    strips = [image[top : top + length] for image, top in zip(images, first, strict=True)]
    place, row, offsets = _places(network.backbone, top_px - first[:, None])
    maps = _maps(network.backbone, offsets, tf.constant(np.stack(strips)))
    parts = [
        _head_outputs(network.head, maps, tf.constant(place[i : i + WINDOWS]), row[i : i + WINDOWS])
        for i in range(0, len(row), WINDOWS)
    ]
    outputs = {
        name: np.concatenate([calls.to_numpy(part[name]) for part in parts]) for name in parts[0]
    }
    return {
        name: array.reshape(count, windows, *array.shape[1:]) for name, array in outputs.items()
    }


def _places(
    backbone: tuple[layers.Layer, ...], row: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[tuple[int, ...], ...]]:
    """Returns where windows begin in the maps that the backbone makes of strips.

    Args:
      backbone: the layers.
      row: [strips, windows] int, first row of each window.

    Returns:
      Number of each window's map [strips * windows] and its first row there; and for each pool the
      row offsets at which it is applied. Each pool makes one map an offset and input map.
    """
    count, windows = row.shape
    place, row = np.repeat(np.arange(count), windows), row.ravel()
    offsets: list[tuple[int, ...]] = []
    for pool in [layer for layer in backbone if isinstance(layer, POOLS)]:
        size = pool.pool_size[0]
        starts, which = np.unique(row % size, return_inverse=True)
        place, row = place + which * count, (row - starts[which]) // size
        count *= len(starts)
        offsets.append(tuple(starts.tolist()))
    return place, row, tuple(offsets)


@tf.function(reduce_retracing=True, jit_compile=False)
def _maps(backbone: tuple[layers.Layer, ...], offsets: tuple[tuple[int, ...], ...], x):
    """Returns the backbone's maps of strips [strips, rows, columns, channels], see `_places`."""
    of_pools = iter(offsets)
    for layer in backbone:
        if isinstance(layer, POOLS):
            starts = next(of_pools)
            padded = [tf.pad(x[:, row:], [[0, 0], [0, row], [0, 0], [0, 0]]) for row in starts]
            x = tf.concat([layer(rows) for rows in padded], axis=0)
        elif _standardizes_images(layer):
            x = standardize_rows(layer, x)
        else:
            x = layer(x, training=False)
    return x


@tf.function(reduce_retracing=True, jit_compile=False)
def _head_outputs(head: keras.Model, maps, place, row) -> dict[str, tf.Tensor]:
    """Returns the head's outputs for the windows whose rows begin at `row` of the map `place`."""
    lines = row[:, None] + tf.range(head.input.shape[1], dtype=row.dtype)
    places = tf.broadcast_to(place[:, None], tf.shape(lines))
    return head(tf.gather_nd(maps, tf.stack([places, lines], axis=-1)), training=False)


def standardize_rows(layer: layers.LayerNormalization, x):
    """Returns rows, each scaled by mean and variance of the rows around it, a window's number."""
    rows = layer.input.shape[1]
    exact = tf.cast(x, tf.float64)
    sums = tf.stack([tf.reduce_mean(power, axis=[2, 3]) for power in (exact, exact**2)])
    before = tf.cumsum(tf.pad(sums, [[0, 0], [0, 0], [1, 0]]), axis=2)
    mean, square = tf.unstack((before[..., rows:] - before[..., :-rows]) / rows)
    near = tf.clip_by_value(tf.range(tf.shape(x)[1]) - rows // 2, 0, tf.shape(mean)[1] - 1)
    scale = tf.math.rsqrt(square - mean**2 + layer.epsilon)
    mean, scale = (tf.cast(tf.gather(value, near, axis=1), tf.float32) for value in (mean, scale))
    return (x - mean[..., None, None]) * scale[..., None, None]
