"""What a model in training says of whole splits, and the score that decides."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfpipe.base.errors import UserError
from tfpipe.data import dataset
from tfpipe.data.dataset import Dataset, Subset
from tfpipe.evaluation import metrics
from tfpipe.models import calls
from tfpipe.models.calls import reconstructs

CHUNK = 256  # pictures scored at once


def predicted(model: keras.Model, data: Dataset, part: Subset) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels [n] int and answers [n, ...] float32 of a part's examples, in order."""
    step = _answering(model)
    labels, said = [], []
    for features, label in dataset.batches(
        data.folder, part, manifest=data.manifest, batch_size=CHUNK
    ):
        said.append(calls.to_numpy(step(features)[0]))
        labels.append(label.numpy())
    return np.concatenate(labels), np.concatenate(said)


def hardest(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns which examples [n] bool are among the tenth of their class with the highest loss.

    Of thousands of pictures without a layer a handful show a crack or a break, and these are what
    a model mistakes (seed 002, "False Positives"): drawn at random, each is seen too seldom. Such
    examples are drawn besides (bootstrapping: Sung & Poggio 1998, doi:10.1109/34.655648).
    """
    likely = probabilities[np.arange(len(labels)), labels]
    found = np.zeros(len(labels), bool)
    for label in np.unique(labels[labels >= 0]):
        own = np.flatnonzero(labels == label)
        found[own[np.argsort(likely[own], kind="stable")[: max(1, len(own) // 10)]]] = True
    return found


def scorer(model: keras.Model, data: Dataset) -> Callable[[int], dict[str, float]]:
    """Returns a function that scores the validation examples after an epoch."""
    batches = dataset.batches(
        data.folder,
        data.validation,
        manifest=data.manifest,
        batch_size=CHUNK,
        labelled=not reconstructs(model),
    ).cache()
    answered = _answering(model)
    loss = keras.losses.get(model.loss)

    def scored(epoch: int) -> dict[str, float]:
        labels, said, losses = [], [], []
        for features, label in batches:
            probabilities, added = answered(features)
            if reconstructs(model):
                unit = model.get_layer("unit_scale")(features["image"])
                value = tf.reduce_mean(loss(unit, probabilities)) + added
                losses.append((float(value), len(label)))
            else:
                said.append(calls.to_numpy(probabilities))
                labels.append(label.numpy())
        if reconstructs(model):
            values, counts = np.array(losses).T
            told = {"val_loss": float(np.average(values, weights=counts))}
        else:
            told = _class_scores(np.concatenate(labels), np.concatenate(said), data.objective)
        if not np.isfinite(told["val_loss"]):
            raise UserError(
                f"Training diverged in epoch {epoch}: the model's answers are not numbers. "
                "Lower the learning rate by --hp learning_rate=..."
            )
        return told

    return scored


def _class_scores(labels: np.ndarray, said: np.ndarray, objective: str) -> dict[str, float]:
    likely = np.clip(said[np.arange(len(labels)), labels], 1e-7, 1)
    told = {"val_loss": float(-np.log(likely).mean())}
    if np.isfinite(told["val_loss"]) and objective != "loss":
        told[f"val_{objective}"] = metrics.OBJECTIVES[objective](labels, said)
    return told


def _answering(model: keras.Model):
    """Returns a function from features to (answers, the losses that layers add)."""

    @tf.function(jit_compile=False, reduce_retracing=True)
    def answered(features):
        said = model({name: features[name] for name in model.input}, training=False)
        return said, tf.add_n(model.losses) if model.losses else tf.constant(0.0)

    return answered
