"""How well an autoencoder gives pictures back, beside answering the same mean picture always."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpipe.data import dataset
from tfpipe.data.dataset import Dataset
from tfpipe.models import calls
from tfpipe.tasks.task import SPLITS

UNLABELLED = "(unlabelled)"
CHUNK = 64  # pictures shown at once


class Errors(NamedTuple):
    """Mean squared errors of pictures, of pixels in 0..1 as layer `unit_scale` makes them.

    Attributes:
      labels: [n] int, -1 where nobody has labelled the picture.
      of_model: [n] float, of what the model gives back.
      of_mean: [n] float, of giving the training split's mean picture whatever is shown.
    """

    labels: np.ndarray
    of_model: np.ndarray
    of_mean: np.ndarray


def errors(model: keras.Model, data: Dataset) -> dict[str, Errors]:
    """Returns split -> errors of its examples, in the records' order."""
    mean = _mean_picture(model, data)
    both = calls.with_target(model)

    @tf.function(reduce_retracing=True)
    def found(features):
        target, given = both(features, training=False)
        return calls.squared_errors(target, given), calls.squared_errors(target, mean)

    told = {}
    for split in SPLITS:
        parts = [
            (label, *found({name: features[name] for name in model.input}))
            for features, label in _batches(data, split)
        ]
        labels, of_model, of_mean = zip(*parts, strict=True)
        told[split] = Errors(
            labels=np.concatenate([label.numpy() for label in labels]),
            of_model=np.concatenate([calls.to_numpy(error) for error in of_model]),
            of_mean=np.concatenate([calls.to_numpy(error) for error in of_mean]),
        )
    return told


def scores(found: Errors) -> dict[str, Any]:
    """Returns the scores of some pictures; the variance explained is None where they are alike."""
    error, variance = float(found.of_model.mean()), float(found.of_mean.mean())
    return {
        "mean_squared_error": error,
        "error_of_mean_picture": variance,
        "variance_explained": 1 - error / variance if variance else None,
        "examples": len(found.labels),
    }


def by_class(found: Errors, *, classes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Returns class -> scores of its pictures; the unlabelled ones are the last class."""
    named = [*enumerate(classes), (-1, UNLABELLED)]
    told = {}
    for label, name in named:
        own = found.labels == label
        if own.any():
            told[name] = scores(Errors(*(values[own] for values in found)))
    return told


def _mean_picture(model: keras.Model, data: Dataset) -> tf.Tensor:
    """Returns the mean of the training split's pictures, [height, width, channels] float32."""
    unit = model.get_layer("unit_scale")
    total, count = 0.0, 0
    for features, label in _batches(data, "train"):
        total = total + unit(features["image"]).numpy().sum(axis=0, dtype=np.float64)
        count += len(label)
    return tf.constant(total / count, tf.float32)


def _batches(data: Dataset, split: str) -> tf.data.Dataset:
    part = dataset.Subset((split,))
    return dataset.batches(data.folder, part, manifest=data.manifest, batch_size=CHUNK)
