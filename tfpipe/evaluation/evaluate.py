"""Evaluation of a trained model: thresholds from the validation split, metrics of both splits."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.data import dataset, metadata, sampling
from tfpipe.data.dataset import Dataset
from tfpipe.evaluation import calibration as evaluation_calibration
from tfpipe.evaluation import metrics, ordinal, reconstruction, selective, whole_files
from tfpipe.evaluation.whole_files import FileResult, ModeResult
from tfpipe.models import calls, sliding_window
from tfpipe.models.calls import reconstructs, soften
from tfpipe.models.fused import inference
from tfpipe.tasks.task import SPLITS, Classify, Task

LOG = logging.getLogger(__name__)
BATCH_SIZE = 256


@dataclass(frozen=True)
class Evaluation:
    """Predictions and metrics of a trained model.

    Attributes:
      thresholds: of two classes "decision" and "confident", chosen on the validation split unless
        given.
      metrics: split -> metric -> value.
      class_metrics: split -> class -> metric -> value.
      predictions: a row for each example of these splits: split, key, group, metadata, label, and
        p_<class>, or an autoencoder's error and error_of_mean_image.
      false_positive_kinds: what lies below false detections in test files -> how many.
      calibration: of a classifier, split -> calibration error of the predicted class.
      class_calibration: of a classifier, split -> class-wise calibration error.
      inference_mode: the best for whole files, see `sliding_window`; "" where no whole files are
        evaluated.
      inference_modes: mode -> its thresholds, and its metrics of whole files by split.
      files: test file -> its group and counts in the best inference mode.
      abstention: of a classifier, the minimum precision, each class's threshold for it
        (chosen on the validation split), and its precision on the test split.
    """

    thresholds: dict[str, float]
    metrics: dict[str, dict[str, Any]]
    class_metrics: dict[str, dict[str, dict[str, Any]]]
    predictions: pd.DataFrame
    false_positive_kinds: dict[str, int]
    calibration: dict[str, float] | None = None
    class_calibration: dict[str, float] | None = None
    abstention: dict[str, Any] | None = None
    inference_mode: str = ""
    inference_modes: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, FileResult] = field(default_factory=dict)


def calibrate(data: Dataset, model: keras.Model, *, balance: str) -> evaluation_calibration.Fit:
    """Fits a calibration on the validation split, and applies it to a classifier's outputs.

    Args:
      data: the records.
      model: a classifier; its last layer is changed.
      balance: how classes were balanced in training, of `sampling.BALANCES`.
    """
    labels, probabilities = _predict(data, "validation", _classifier(model))
    is_labelled = labels >= 0
    counts = dataset.class_counts(data.folder, data.train, manifest=data.manifest)
    groups = metadata.read_metadata(data, "validation", labels)["group"].to_numpy(str)
    fitted = evaluation_calibration.fit_by_groups(
        labels[is_labelled],
        probabilities[is_labelled],
        groups[is_labelled],
        prior_shift=sampling.prior_shift(counts, balance=balance),
    )
    soften(model, fitted.temperature, fitted.bias)
    return fitted


def evaluate(
    task: Task,
    raw: Path,
    data: Dataset,
    model: keras.Model,
    *,
    options: Any,
    thresholds: dict[str, float] | None = None,
    report: Reporter = silent,
) -> Evaluation:
    """Evaluates a model on examples, and a classifier on whole raw files if its task evaluates any.

    Args:
      task: the task.
      raw: the raw folder that was packed.
      data: its records.
      model: a classifier or an autoencoder.
      options: the task's options.
      thresholds: of two classes, "decision" and "confident"; None for those that the validation
        split chooses.
      report: receives the stage "evaluate" with the files done.

    Returns:
      Thresholds, metrics and predictions. Unlabelled examples are predicted, but have no part in
      the metrics.
    """
    if reconstructs(model):
        return _evaluate_autoencoder(data, model)
    classify = _classifier(model)
    modes = _inference_modes(task, model, classify)
    mode_results = whole_files.evaluate_modes(
        task, raw, data, modes, options=options, report=report
    )
    mode, best = whole_files.best_mode(task, mode_results)
    labels, probabilities = _predict(data, "validation", classify)
    is_labelled = labels >= 0
    if thresholds is None:
        thresholds = _thresholds(task, best, labels[is_labelled], probabilities[is_labelled])
    class_thresholds = selective.thresholds(
        labels[is_labelled],
        probabilities[is_labelled],
        predicted=metrics.predict_labels(probabilities[is_labelled], thresholds=thresholds),
        min_precision=selective.MIN_PRECISION,
    )
    validation = _evaluate_split(
        task,
        data,
        "validation",
        labels=labels,
        probabilities=probabilities,
        thresholds=thresholds,
        mode_result=best,
    )
    labels, probabilities = _predict(data, "test", classify)
    is_labelled = labels >= 0
    test = _evaluate_split(
        task,
        data,
        "test",
        labels=labels,
        probabilities=probabilities,
        thresholds=thresholds,
        mode_result=best,
    )
    class_precision = selective.class_precision(
        labels[is_labelled],
        probabilities[is_labelled],
        class_thresholds,
        groups=test.predictions["group"].to_numpy(str)[is_labelled],
        predicted=metrics.predict_labels(probabilities[is_labelled], thresholds=thresholds),
    )
    splits = {"validation": validation, "test": test}
    file_counts = best.counts["test"] if best else None
    return Evaluation(
        thresholds=thresholds,
        metrics={split: result.metrics for split, result in splits.items()},
        class_metrics={split: result.class_metrics for split, result in splits.items()},
        predictions=pd.concat([validation.predictions, test.predictions], ignore_index=True),
        false_positive_kinds=dict(Counter(file_counts.false_positive_kinds)) if file_counts else {},
        calibration={split: result.calibration_error for split, result in splits.items()},
        class_calibration={
            split: result.class_calibration_error for split, result in splits.items()
        },
        abstention={
            "min_precision": selective.MIN_PRECISION,
            "thresholds": selective.to_card(class_thresholds, classes=task.classes),
            "test": {
                name: precision._asdict()
                for name, precision in zip(task.classes, class_precision, strict=True)
            },
        },
        inference_mode=mode,
        inference_modes=(
            {name: result.summary() for name, result in mode_results.items()} if best else {}
        ),
        files=best.files if best else {},
    )


@dataclass(frozen=True)
class _SplitResult:
    """Metrics and predictions of one split, as in `Evaluation`."""

    metrics: dict[str, Any]
    class_metrics: dict[str, dict[str, Any]]
    calibration_error: float
    class_calibration_error: float
    predictions: pd.DataFrame


def _evaluate_split(
    task: Task,
    data: Dataset,
    split: str,
    *,
    labels: np.ndarray,
    probabilities: np.ndarray,
    thresholds: dict[str, float],
    mode_result: ModeResult | None,
) -> _SplitResult:
    """Returns the metrics and the table of predictions of a split.

    Args:
      task: the task.
      data: the records.
      split: "validation" or "test".
      labels: [n] int, -1 for unlabelled.
      probabilities: [n, classes] float.
      thresholds: chosen on the validation split.
      mode_result: of the best inference mode; None where no whole files are evaluated.
    """
    frame = metadata.read_metadata(data, split, labels)
    is_labelled = labels >= 0
    true, probs = labels[is_labelled], probabilities[is_labelled]
    predicted = metrics.predict_labels(probs, thresholds=thresholds)
    is_ambiguous = None
    if task.scoring.ambiguous:
        is_ambiguous = frame[task.scoring.ambiguous].to_numpy()[is_labelled] == 1
    values = metrics.classification_metrics(true, probs, thresholds=thresholds)
    file_counts = mode_result.counts[split] if mode_result else None
    if file_counts:
        values |= file_counts.scores
    values |= ordinal.metrics(task, true, probs, predicted=predicted, is_ambiguous=is_ambiguous)
    frame[[f"p_{name}" for name in task.classes]] = probabilities
    return _SplitResult(
        metrics=values,
        class_metrics=metrics.class_metrics(true, predicted, classes=task.classes),
        calibration_error=evaluation_calibration.calibration_error(
            true, probs, predicted=predicted
        ),
        class_calibration_error=evaluation_calibration.class_calibration_error(true, probs),
        predictions=ordinal.with_expected(frame, task, probabilities),
    )


def _evaluate_autoencoder(data: Dataset, model: keras.Model) -> Evaluation:
    classes = tuple(data.manifest.classes)
    errors = reconstruction.errors(model, data)
    frames = []
    for split in SPLITS:
        frame = metadata.read_metadata(data, split, errors[split].labels)
        frame["error"] = errors[split].of_model
        frame["error_of_mean_image"] = errors[split].of_mean
        frames.append(frame)
    return Evaluation(
        thresholds={},
        metrics={split: reconstruction.metrics(errors[split]) for split in SPLITS},
        class_metrics={
            split: reconstruction.class_metrics(errors[split], classes=classes) for split in SPLITS
        },
        predictions=pd.concat(frames, ignore_index=True),
        false_positive_kinds={},
    )


def _classifier(model: keras.Model) -> Classify:
    """Returns a function from images, and columns if the model reads any, to probabilities."""
    call = inference(model)

    def classify(images: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        features = {"image": images, "columns": columns}
        return calls.batched(call, features, names=calls.inputs_of(model))

    return classify


def _inference_modes(task: Task, model: keras.Model, classify: Classify) -> dict[str, Classify]:
    is_sliding = task.whole_file is not None and task.whole_file.sliding_window
    return (
        sliding_window.by_inference_mode(model)
        if is_sliding
        else {sliding_window.DEFAULT_MODE: classify}
    )


def _thresholds(
    task: Task, best: ModeResult | None, labels: np.ndarray, probabilities: np.ndarray
) -> dict[str, float]:
    """Returns two classes' thresholds: the best for whole files, else the best F1 of examples.

    Args:
      task: the task.
      best: result of the best inference mode; None where no validation file has a label.
      labels: [n] int, of the validation split's labelled examples.
      probabilities: [n, classes] float.
    """
    if best or len(task.classes) != 2:
        return best.thresholds if best else {}
    if task.whole_file and task.whole_file.evaluate:
        LOG.warning(
            "No validation file has a known truth, so single examples choose the threshold."
        )
    return metrics.thresholds(labels, probabilities) | {"confident": 1.0}


def _predict(data: Dataset, split: str, classify: Classify) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels [n] and probabilities [n, classes] of a split, in the records' order."""
    labels, probabilities = [], []
    for features, label in dataset.batches(
        data.folder, dataset.Subset((split,)), manifest=data.manifest, batch_size=BATCH_SIZE
    ):
        labels.append(label.numpy())
        probabilities.append(classify(*(features[name].numpy() for name in features)))
    if not labels:
        raise UserError(f"The {split} split is empty. Add data, or pack with another --split.")
    return np.concatenate(labels), np.concatenate(probabilities)
