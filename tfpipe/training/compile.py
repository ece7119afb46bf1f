"""Compilation of a model for training: optimizer, loss, targets of a batch, steps of an epoch."""

import math
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.data import dataset, sampling
from tfpipe.data.dataset import Dataset
from tfpipe.models import pretrained
from tfpipe.models.calls import reconstructs
from tfpipe.models.interval_head import locates
from tfpipe.models.row_head import labels_rows
from tfpipe.training import schedules
from tfpipe.training.config import TrainingConfig

OPTIMIZERS = {
    "sgd": lambda rate, **rest: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **rest),
    "adam": lambda rate, **rest: keras.optimizers.Adam(rate, **rest),
    "nadam": lambda rate, **rest: keras.optimizers.Nadam(rate, **rest),
}
LOSSES = ("auto", "binary_crossentropy", "mean_squared_error")
MOST_EPOCHS = 200  # where a training has a number of steps
OPENED_RATE = 0.1  # factor of the learning rate for each open stage of a pretrained network


def prepare(
    model: keras.Model, data: Dataset, *, settings: TrainingConfig, initial_epoch: int = 0
) -> None:
    """Compiles a model. XLA is not used on a CPU, where it is 20 to 40 times slower.

    Args:
      model: the model.
      data: the records to train on.
      settings: the training configuration; a falling learning rate ends at `epochs`.
      initial_epoch: number of epochs that are done already.
    """
    choose(settings.optimizer, OPTIMIZERS, noun="optimizer")
    choose(settings.schedule, schedules.SCHEDULES, noun="schedule")
    choose(settings.loss, LOSSES, noun="loss")
    if locates(model) and not data.manifest.interval:
        raise UserError(
            "This model learns where in an image a layer begins and ends, but these records have "
            "no such labels. Use another model, or pack again if an older tfpipe packed them."
        )
    steps = steps_per_epoch(model, data, settings)
    n_open = stages_open(model, settings, initial_epoch)
    pretrained.open_stages(model, n_open)
    rate = schedules.Schedule(
        settings.schedule,
        settings.learning_rate * OPENED_RATE**n_open,
        steps=settings.epochs * steps,
        initial_step=initial_epoch * steps,
        decay_steps=settings.decay_steps,
        decay_rate=settings.decay_rate,
    )
    loss = "sparse_categorical_crossentropy"
    if reconstructs(model):
        loss = "binary_crossentropy" if settings.loss == "auto" else settings.loss
    model.compile(
        optimizer=OPTIMIZERS[settings.optimizer](
            rate,
            weight_decay=settings.weight_decay or None,
            clipvalue=settings.clip or None,
        ),
        loss=loss,
        jit_compile="auto" if tf.config.list_physical_devices("GPU") else False,
    )
    model.optimizer.build(model.trainable_variables)


def stages_open(model: keras.Model, settings: TrainingConfig, epoch: int) -> int:
    """Returns how many stages of a pretrained network are open in an epoch: none at first."""
    due = (settings.unfreeze + 1) * epoch // settings.epochs
    return min(due, settings.unfreeze, len(pretrained.stages(model)))


def sampling_config(model: keras.Model, settings: TrainingConfig) -> sampling.Drawing:
    """Returns how training examples are drawn for a model."""
    return replace(drawing_of(settings), unlabelled=reconstructs(model))


def drawing_of(settings: TrainingConfig) -> sampling.Drawing:
    """Returns how training examples are drawn for a classifier."""
    return sampling.Drawing(
        seed=settings.seed,
        batch_size=settings.batch_size,
        balance=settings.balance,
        augmentation=settings.augmentation,
    )


def steps_per_epoch(model: keras.Model, data: Dataset, settings: TrainingConfig) -> int:
    """Returns the number of batches in an epoch."""
    counts = dataset.class_counts(data.folder, data.train, manifest=data.manifest)
    if reconstructs(model):
        counts = np.array([dataset.size(data.train, manifest=data.manifest)])
    return sampling.steps_per_epoch(counts, sampling_config(model, settings))


def epochs_of(steps: int, data: Dataset, settings: TrainingConfig) -> int:
    """Returns how many epochs of a classifier have so many steps, `MOST_EPOCHS` at most."""
    if not steps:
        return 0
    counts = dataset.class_counts(data.folder, data.train, manifest=data.manifest)
    each = sampling.steps_per_epoch(counts, drawing_of(settings))
    return min(math.ceil(steps / each), MOST_EPOCHS)


def batch_targets(model: keras.Model, data: Dataset, settings: TrainingConfig):
    """Returns a function from a batch to what the model's training step takes."""
    names = list(model.input)
    if reconstructs(model):
        unit = model.get_layer("unit_scale")
        return lambda x, label: ({name: x[name] for name in names}, unit(x["image"]))
    weights = None
    if settings.balance == "weights":
        counts = dataset.class_counts(data.folder, data.train, manifest=data.manifest)
        weights = tf.constant(sampling.class_weights(counts))

    more = ["interval"] if locates(model) else ["row_labels"] if labels_rows(model) else []

    def target(x, label):
        features = {name: x[name] for name in names}
        label = {"label": label, **{name: x[name] for name in more}} if more else label
        if weights is None:
            return features, label
        return features, label, tf.gather(weights, label["label"] if more else label)

    return target


def strategy() -> tf.distribute.Strategy:
    """Returns the distribution strategy: mirrored on all GPUs if this machine has several.

    Each GPU gets an equal part of every batch.
    """
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()
