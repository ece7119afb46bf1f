"""Cache of what a frozen body makes of the images, so that an epoch costs the head only.

A training image has a few views, each with another random change. The first epochs fill the cache:
each computes a view of all images and trains on it, as without a cache. Later ones draw one of
the views for each image. All is a function of records, seed and frozen weights, so that a training
that is resumed computes the same cache again.
"""

import math
from dataclasses import replace

import keras
import tensorflow as tf

from tfpipe.base import resources
from tfpipe.base.progress import Reporter
from tfpipe.data import dataset
from tfpipe.data.dataset import Dataset
from tfpipe.data.sampling import Drawing
from tfpipe.models import frozen_body
from tfpipe.models.calls import reconstructs
from tfpipe.models.frozen_body import SplitModel
from tfpipe.models.fused import inference
from tfpipe.training import validation
from tfpipe.training.compile import sampling_config, stages_open, steps_per_epoch
from tfpipe.training.config import TrainingConfig

# Views of a training image, where images are augmented: one for every second epoch, and between
# these numbers. Four are too few for 20 epochs: docs/performance.md has the scores.
EPOCHS_A_VIEW, FEWEST_VIEWS, MOST_VIEWS = 2, 4, 8
MEMORY_SHARE = 1 / 4  # of this machine's, for the caches of as many workers as it has cores
BATCH_SIZE = 64  # images that the body is called with
IMAGE_INPUTS = ("image", "columns")  # of a whole model; what else is in a batch is a target

Arrays = dict[str, tf.Tensor]  # inputs of the head, and targets besides the label, [n, ...] each


class EmbeddingCache:
    """The head of a model, and the batches that it is trained and scored on.

    Args:
      model: compiled.
      parts: its body and head.
      data: the records.
      settings: the training configuration.
      n_views: views of each training image.

    Attributes:
      head: compiled with the model's optimizer and running loss.
    """

    def __init__(
        self,
        model: keras.Model,
        parts: SplitModel,
        data: Dataset,
        settings: TrainingConfig,
        *,
        n_views: int,
    ):
        self.head, self.data, self.n_views = parts.head, data, n_views
        self.head.compile(optimizer=model.optimizer, loss=model.loss, jit_compile=model.jit_compile)
        self.head._loss_tracker = model._loss_tracker
        self._body = inference(parts.body)
        self._drawing = replace(sampling_config(model, settings), batch_size=BATCH_SIZE)
        labels = dataset.labels_of(data.folder, data.train.splits, manifest=data.manifest)
        self._labels = labels if data.train.chosen is None else labels[data.train.chosen]
        self._views: dict[int, Arrays] = {}

    def begins_stream(self, epoch: int) -> bool:
        """Returns whether an epoch has another stream of batches than the one before."""
        return epoch <= self.n_views

    def training_batches(self, drawing: Drawing, *, epoch: int, skip: int) -> tf.data.Dataset:
        """Returns endless batches of the head, drawn as `dataset.training_batches` draws them.

        Args:
          drawing: how they are drawn.
          epoch: index of the first batch's epoch.
          skip: batches left out at the beginning.
        """
        numbers = [epoch] if epoch < self.n_views else range(self.n_views)
        views = [self._view(number) for number in numbers]
        is_labelled = self._labels >= 0
        labels = self._labels[is_labelled]
        hard = None if drawing.hard is None else drawing.hard[is_labelled]
        rows = dataset.training_rows(labels, replace(drawing, hard=hard), skip=skip)

        def gather(number, rows):
            key = tf.stack([drawing.seed, tf.cast(number, tf.int32)])
            drawn = tf.random.stateless_uniform(tf.shape(rows), key, 0, len(views), tf.int32)
            features = {
                name: tf.gather(
                    tf.stack([tf.gather(view[name], rows) for view in views], axis=1),
                    drawn,
                    axis=1,
                    batch_dims=1,
                )
                for name in views[0]
            }
            return features, tf.gather(labels, rows)

        return rows.enumerate(skip).map(gather, tf.data.AUTOTUNE)

    def validation_batches(self) -> list[tuple[Arrays, tf.Tensor]]:
        """Returns the batches that the head is scored on, in order."""
        batches = validation.validation_batches(self.head, self.data)
        return [(self._outputs(features), label) for features, label in batches]

    def _outputs(self, features: Arrays) -> Arrays:
        """Returns the body's outputs for a batch, in the memory of the machine, not of a device."""
        outputs = self._body(features)
        with tf.device("CPU"):
            return {name: tf.identity(array) for name, array in outputs.items()}

    def _view(self, number: int) -> Arrays:
        """Returns a view of all labelled training images, computed at the first call."""
        if number not in self._views:
            data = self.data
            batches = dataset.augmented_view(
                data.folder, self._drawing, manifest=data.manifest, subset=data.train, view=number
            )
            parts = [
                self._outputs(features)
                | {name: a for name, a in features.items() if name not in IMAGE_INPUTS}
                for features, _ in batches
            ]
            with tf.device("CPU"):
                self._views[number] = {
                    name: tf.concat([part[name] for part in parts], axis=0) for name in parts[0]
                }
        return self._views[number]


def cache_of(
    model: keras.Model, data: Dataset, settings: TrainingConfig, *, report: Reporter
) -> EmbeddingCache | None:
    """Returns the cache for the body of a compiled model, if it is frozen now and that is cheaper.

    Args:
      model: compiled.
      data: the records.
      settings: the training configuration.
      report: receives a note where the memory is too small.
    """
    counts = dataset.class_counts(data.folder, data.train, manifest=data.manifest)
    n_epochs = sum(not stages_open(model, settings, e) for e in range(settings.epochs))
    n_drawn = n_epochs * steps_per_epoch(model, data, settings) * settings.batch_size
    n_views = _n_views(settings, n_drawn // int(counts.sum()))
    if reconstructs(model) or not n_views:
        return None
    with model.distribute_strategy.scope():
        parts = frozen_body.split(model)
        if parts is None:
            return None
        n_outputs = n_views * int(counts.sum()) + dataset.size(
            data.validation, manifest=data.manifest
        )
        n_bytes = n_outputs * _bytes_each(parts.body)
        most = resources.memory_bytes() * MEMORY_SHARE / max(resources.cores(), 2)
        if n_bytes > most:
            report("train", {"note": _too_large(n_bytes, most)})
            return None
        return EmbeddingCache(model, parts, data, settings, n_views=n_views)


def _n_views(settings: TrainingConfig, n_passes: int) -> int:
    """Returns how many views a training image has; 0 where computing them would save nothing.

    Args:
      settings: the training configuration.
      n_passes: how often an image is drawn while the body is frozen, on average.
    """
    if settings.augmentation == "none":
        return min(n_passes, 1)
    if n_passes < FEWEST_VIEWS:
        return 0
    return min(max(n_passes // EPOCHS_A_VIEW, FEWEST_VIEWS), MOST_VIEWS)


def _bytes_each(body: keras.Model) -> float:
    """Returns the bytes of a body's outputs for one image; infinity if they have no fixed size."""
    shapes = [(tensor.shape[1:], tf.as_dtype(tensor.dtype).size) for tensor in body.outputs]
    if any(side is None for shape, _ in shapes for side in shape):
        return math.inf
    return sum(math.prod(shape) * size for shape, size in shapes)


def _too_large(n_bytes: float, most: float) -> str:
    return (
        f"The frozen body's outputs would take {n_bytes / 1e9:.1f} GB of memory, more than the "
        f"{most / 1e9:.1f} GB that are used for them here, so each epoch computes them again."
    )
