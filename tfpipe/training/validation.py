"""Validation: predictions for a subset, scores after an epoch, and the hardest examples."""

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from tfpipe.base.errors import UserError
from tfpipe.data import dataset
from tfpipe.data.dataset import Dataset, Subset
from tfpipe.evaluation import metrics
from tfpipe.models import calls
from tfpipe.models.calls import reconstructs
from tfpipe.models.fused import fused_operations

BATCH_SIZE = 64  # the maps of more images would take more memory than a training step


def predict(model: keras.Model, data: Dataset, subset: Subset) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels [n] int and answers [n, ...] float32 of a part's examples, in order."""
    step = _inference_step(model)
    labels, outputs = [], []
    for features, label in dataset.batches(
        data.folder, subset, manifest=data.manifest, batch_size=BATCH_SIZE
    ):
        outputs.append(calls.to_numpy(step(features)[0]))
        labels.append(label.numpy())
    return np.concatenate(labels), np.concatenate(outputs)


def hardest_examples(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns which examples [n] bool are among the tenth of their class with the highest loss.

    Of thousands of images without a layer a handful show a crack or a break, and models mistake
    these for layers (seed document 002, "False Positives"). Random draws contain each too rarely,
    so the loop draws such examples more often (bootstrapping: Sung & Poggio 1998,
    doi:10.1109/34.655648).
    """
    true_probs = probabilities[np.arange(len(labels)), labels]
    is_hard = np.zeros(len(labels), bool)
    for label in np.unique(labels[labels >= 0]):
        rows = np.flatnonzero(labels == label)
        order = np.argsort(true_probs[rows], kind="stable")
        is_hard[rows[order[: max(1, len(rows) // 10)]]] = True
    return is_hard


def validation_batches(model: keras.Model, data: Dataset) -> tf.data.Dataset:
    """Returns the batches that a model is scored on after each epoch."""
    batches = dataset.batches(
        data.folder,
        data.validation,
        manifest=data.manifest,
        batch_size=BATCH_SIZE,
        labelled=not reconstructs(model),
    )
    fits = dataset.fits_memory(data.validation, manifest=data.manifest)
    return batches.cache() if fits else batches


def scorer(
    model: keras.Model, data: Dataset, batches: Iterable
) -> Callable[[int], dict[str, float]]:
    """Returns a function that scores a model after an epoch.

    Args:
      model: a whole model or a head.
      data: the records.
      batches: of its inputs and labels.
    """
    step = _inference_step(model)
    loss = keras.losses.get(model.loss)

    def score(epoch: int) -> dict[str, float]:
        labels, outputs, losses = [], [], []
        for features, label in batches:
            probabilities, added = step(features)
            if reconstructs(model):
                unit = model.get_layer("unit_scale")(features["image"])
                value = tf.reduce_mean(loss(unit, probabilities)) + added
                losses.append((float(value), len(label)))
            else:
                outputs.append(calls.to_numpy(probabilities))
                labels.append(label.numpy())
        if reconstructs(model):
            values, counts = np.array(losses).T
            scores = {"val_loss": float(np.average(values, weights=counts))}
        else:
            scores = _class_scores(np.concatenate(labels), np.concatenate(outputs), data.objective)
        if not np.isfinite(scores["val_loss"]):
            raise UserError(
                f"Training diverged in epoch {epoch}: the model's outputs are not finite. "
                "Lower the learning rate by --hp learning_rate=..."
            )
        return scores

    return score


def _class_scores(
    labels: np.ndarray, probabilities: np.ndarray, objective: str
) -> dict[str, float]:
    true_probs = np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1)
    scores = {"val_loss": float(-np.log(true_probs).mean())}
    if np.isfinite(scores["val_loss"]) and objective != "loss":
        scores[f"val_{objective}"] = metrics.objective(
            objective, labels, probabilities, probabilities.argmax(axis=1)
        )
    return scores


def _inference_step(model: keras.Model):
    """Returns a function from features to (outputs, sum of the losses that layers add)."""
    inputs = {name: tf.TensorSpec(one.shape, one.dtype) for name, one in model.input.items()}

    @tf.function(input_signature=[inputs], jit_compile=False, autograph=False)
    def outputs_and_loss(features):
        with fused_operations(model):
            outputs = model(features, training=False)
        return outputs, tf.add_n(model.losses) if model.losses else tf.constant(0.0)

    return lambda features: outputs_and_loss({name: features[name] for name in inputs})
