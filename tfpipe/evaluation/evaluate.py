"""Thresholds from the validation split, scores from the test split, each looked at once."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tfpipe.base.errors import UserError
from tfpipe.data import dataset, metadata
from tfpipe.data.dataset import Dataset
from tfpipe.evaluation import calibration as evaluation_calibration
from tfpipe.evaluation import metrics, ordinal, reconstruction, selective, whole_files
from tfpipe.models import calls, sliding_window
from tfpipe.models.calls import reconstructs, soften
from tfpipe.tasks.task import SPLITS, Classify, Task

LOG = logging.getLogger("tfpipe")


@dataclass(frozen=True)
class Evaluation:
    """What is known of a trained model.

    Attributes:
      thresholds: of two classes "decision" and "confident", chosen on the validation split.
      scores: split -> metric -> value.
      by_class: split -> class -> metric -> value.
      predictions: a row for each example of these splits: split, key, group, metadata, label, and
        p_<class>, or an autoencoder's error and error_of_mean_picture.
      false_kinds: what the false findings on the test files lie on, and how many.
      calibration: a classifier's, split -> error.
      inference_mode: the best for whole files, see `sliding_window`; "" where no whole files are
        evaluated.
      inference_modes: mode -> its thresholds, and its metrics of whole files by split.
      files: test file -> its group and counts in the best inference mode.
      abstention: of a classifier, the least precision asked for, what each class needs for it
        (chosen on the validation split), and what that gave on the test split.
    """

    thresholds: dict[str, float]
    scores: dict[str, dict[str, Any]]
    by_class: dict[str, dict[str, dict[str, Any]]]
    predictions: pd.DataFrame
    false_kinds: dict[str, int]
    calibration: dict[str, float] | None = None
    abstention: dict[str, Any] | None = None
    inference_mode: str = ""
    inference_modes: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, whole_files.InFile] = field(default_factory=dict)


def calibrate(data: Dataset, model: keras.Model) -> evaluation_calibration.Fit:
    """Makes a classifier's probabilities right as often as they say, by the validation split."""
    labels, likely = _said(data, "validation", _classifier(model))
    known = labels >= 0
    fitted = evaluation_calibration.fit(labels[known], likely[known])
    soften(model, fitted.temperature)
    return fitted


def evaluate(
    task: Task,
    raw: Path,
    data: Dataset,
    model: keras.Model,
    *,
    options: Any,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Evaluates a model on examples; a classifier on whole raw files, too, if its task judges them.

    Args:
      task: the question.
      raw: the raw folder that was packed.
      data: its records.
      model: a classifier or an autoencoder.
      options: the task's.
      progress: told (files done, files in all).

    Returns:
      Thresholds, scores and predictions; examples without a label are predicted and not scored by
      class.
    """
    if reconstructs(model):
        return _of_autoencoder(data, model)
    classify = _classifier(model)
    judged = whole_files.judged(
        task, raw, data, _inference_modes(task, model, classify), options=options, progress=progress
    )
    mode, best = whole_files.best(task, judged)
    thresholds, told, by_class, errors, abstained = {}, {}, {}, {}, {}
    frames: list[pd.DataFrame] = []
    found: Any = None
    needed = np.zeros(0)  # chosen on the validation split, which comes first
    for split in ("validation", "test"):
        labels, likely = _said(data, split, classify)
        known = labels >= 0
        if split == "validation":
            thresholds = _thresholds(task, best, labels[known], likely[known])
            least = selective.MIN_PRECISION
            needed = selective.thresholds(labels[known], likely[known], min_precision=least)
            needed_told = selective.as_card(needed, classes=task.classes)
            abstained = {"min_precision": least, "thresholds": needed_told}
        errors[split] = evaluation_calibration.calibration_error(labels[known], likely[known])
        said = metrics.predict_labels(likely, thresholds=thresholds)
        told[split] = metrics.classification_metrics(
            labels[known], likely[known], thresholds=thresholds
        )
        by_class[split] = metrics.class_metrics(labels[known], said[known], classes=task.classes)
        found = best.found[split] if best else None
        told[split] |= found.scores if found else {}
        frame = metadata.read_metadata(data, split, labels)
        apart = (
            frame[task.scoring.ambiguous].to_numpy()[known] == 1 if task.scoring.ambiguous else None
        )
        told[split] |= ordinal.told(task, labels[known], likely[known], apart=apart)
        frame[[f"p_{name}" for name in task.classes]] = likely
        frame = ordinal.with_expected(frame, task, likely)
        frames.append(frame)
    realised = selective.realised(labels[known], likely[known], needed)
    abstained["test"] = {
        name: one._asdict() for name, one in zip(task.classes, realised, strict=True)
    }
    kinds = dict(Counter(found.false_kinds)) if found else {}
    every = pd.concat(frames, ignore_index=True)
    about = {name: one.told() for name, one in judged.items()} if best else {}
    return Evaluation(
        thresholds=thresholds,
        scores=told,
        by_class=by_class,
        predictions=every,
        false_kinds=kinds,
        calibration=errors,
        abstention=abstained,
        inference_mode=mode,
        inference_modes=about,
        files=best.files if best else {},
    )


def _of_autoencoder(data: Dataset, model: keras.Model) -> Evaluation:
    classes = tuple(data.manifest.classes)
    found = reconstruction.errors(model, data)
    frames = []
    for split in SPLITS:
        frame = metadata.read_metadata(data, split, found[split].labels)
        frame["error"] = found[split].of_model
        frame["error_of_mean_picture"] = found[split].of_mean
        frames.append(frame)
    return Evaluation(
        thresholds={},
        scores={s: reconstruction.scores(found[s]) for s in SPLITS},
        by_class={s: reconstruction.by_class(found[s], classes=classes) for s in SPLITS},
        predictions=pd.concat(frames, ignore_index=True),
        false_kinds={},
    )


def _classifier(model: keras.Model) -> Classify:
    """Returns the function from images, and columns where there are some, to probabilities."""

    def classify(images: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        features = {"image": images, "columns": columns}
        return calls.batched(model.predict_on_batch, features, names=calls.inputs_of(model))

    return classify


def _inference_modes(task: Task, model: keras.Model, classify: Classify) -> dict[str, Classify]:
    is_sliding = task.whole_file is not None and task.whole_file.sliding_window
    return (
        sliding_window.by_inference_mode(model)
        if is_sliding
        else {sliding_window.DEFAULT_MODE: classify}
    )


def _thresholds(task: Task, best, labels: np.ndarray, likely: np.ndarray) -> dict[str, float]:
    """Returns two classes' thresholds: those that serve best in whole files, where these are known.

    Where no file can be judged, the decision is by the F1 of labelled examples.

    Args:
      task: the question.
      best: what was judged in the best way; None where no file has a known truth.
      labels: [n] int, of the validation split's labelled examples.
      likely: [n, classes] float, their probabilities.
    """
    if best or len(task.classes) != 2:
        return best.thresholds if best else {}
    if task.whole_file and task.whole_file.evaluate:
        LOG.warning(
            "No validation file has a known truth, so single examples choose the threshold."
        )
    return metrics.thresholds(labels, likely) | {"confident": 1.0}


def _said(data: Dataset, split: str, classify: Classify) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels [n] and probabilities [n, classes] of a split's examples, in order."""
    labels, said = [], []
    part = dataset.Subset((split,))
    for features, label in dataset.batches(
        data.folder, part, manifest=data.manifest, batch_size=256
    ):
        labels.append(label.numpy())
        said.append(classify(*(features[name].numpy() for name in features)))
    if not labels:
        raise UserError(f"The {split} split is empty. Add data, or pack with another --split.")
    return np.concatenate(labels), np.concatenate(said)
