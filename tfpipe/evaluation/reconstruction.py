"""Reconstruction errors of an autoencoder, and of the mean image as a baseline."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpipe.data import dataset
from tfpipe.data.dataset import Dataset
from tfpipe.models import calls
from tfpipe.models.fused import inference
from tfpipe.tasks.task import SPLITS

UNLABELLED = "(unlabelled)"
BATCH_SIZE = 64


class Errors(NamedTuple):
    """Mean squared errors of images with pixels in 0..1, as layer `unit_scale` returns them.

    Attributes:
      labels: [n] int, -1 for unlabelled.
      of_model: [n] float, of the model's reconstruction.
      of_mean: [n] float, of the training split's mean image in its place.
    """

    labels: np.ndarray
    of_model: np.ndarray
    of_mean: np.ndarray


def errors(model: keras.Model, data: Dataset) -> dict[str, Errors]:
    """Returns split -> errors of its examples, in the records' order."""
    mean = _mean_image(model, data)
    both = inference(calls.with_target(model))

    @tf.function(reduce_retracing=True)
    def squared_errors(features):
        target, outputs = both(features)
        return calls.squared_errors(target, outputs), calls.squared_errors(target, mean)

    result = {}
    for split in SPLITS:
        batch_errors = [
            (label, *squared_errors({name: features[name] for name in model.input}))
            for features, label in _batches(data, split)
        ]
        labels, of_model, of_mean = zip(*batch_errors, strict=True)
        result[split] = Errors(
            labels=np.concatenate([label.numpy() for label in labels]),
            of_model=np.concatenate([calls.to_numpy(error) for error in of_model]),
            of_mean=np.concatenate([calls.to_numpy(error) for error in of_mean]),
        )
    return result


def metrics(errors: Errors) -> dict[str, Any]:
    """Returns the metrics of some images; the explained variance is None where all are equal."""
    error, variance = float(errors.of_model.mean()), float(errors.of_mean.mean())
    return {
        "mean_squared_error": error,
        "error_of_mean_image": variance,
        "variance_explained": 1 - error / variance if variance else None,
        "examples": len(errors.labels),
    }


def class_metrics(errors: Errors, *, classes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Returns class -> metrics of its images; unlabelled ones are the last class."""
    result = {}
    for label, name in [*enumerate(classes), (-1, UNLABELLED)]:
        rows = errors.labels == label
        if rows.any():
            result[name] = metrics(Errors(*(values[rows] for values in errors)))
    return result


def _mean_image(model: keras.Model, data: Dataset) -> tf.Tensor:
    """Returns the mean of the training split's images, [height, width, channels] float32."""
    unit = model.get_layer("unit_scale")
    total, count = 0.0, 0
    for features, label in _batches(data, "train"):
        total = total + unit(features["image"]).numpy().sum(axis=0, dtype=np.float64)
        count += len(label)
    return tf.constant(total / count, tf.float32)


def _batches(data: Dataset, split: str) -> tf.data.Dataset:
    subset = dataset.Subset((split,))
    return dataset.batches(data.folder, subset, manifest=data.manifest, batch_size=BATCH_SIZE)
