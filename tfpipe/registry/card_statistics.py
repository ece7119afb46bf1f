"""Statistics of a version's card: confidence intervals, limitations, leak check, drift, novelty."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfpipe.data import dataset
from tfpipe.data.manifest import RecordManifest
from tfpipe.evaluation import drift, group_intervals, image_novelty, metrics
from tfpipe.registry.card import VersionCard
from tfpipe.tasks.task import SPLITS, Task

FEW_GROUPS, FEW_EXAMPLES, LOW_RECALL = 10, 20, 0.5  # under which a card warns
USE = (
    "It predicts one of its classes for every image, even for an image of something else: it does "
    "not know classes that it was not trained on."
)
RECONSTRUCTS = "It reconstructs images and predicts no classes."


def with_statistics(
    card: VersionCard,
    task: Task,
    records: Path,
    predictions: pd.DataFrame,
    *,
    manifest: RecordManifest,
    inputs: Sequence[str],
) -> VersionCard:
    """Returns a card with intended use, leak check, intervals, limitations, drift and novelty.

    Args:
      card: has classes, thresholds, class_metrics and calibration already.
      task: the task.
      records: folder of the records that the model was trained on.
      predictions: a row for each validation and test example, see `evaluate.Evaluation`.
      manifest: of the records.
      inputs: names of the model's inputs.
    """
    is_classifier = "error" not in predictions
    test = predictions[predictions["split"] == "test"]
    return replace(
        card,
        intended_use={
            "question": task.title,
            "input": task.expects,
            "classes": list(card.classes),
            "note": USE if is_classifier else RECONSTRUCTS,
        },
        leak_check=_leak_check(task, manifest),
        confidence_intervals=_intervals(test, task.scoring.objective, card=card),
        limitations=tuple(_limitations(test, manifest, card=card)),
        drift=_statistics(records, predictions, manifest=manifest, card=card, inputs=inputs),
        novelty=_novelty(task, records, manifest=manifest) if "image" in inputs else None,
    )


def groups(records: Path, *, manifest: RecordManifest) -> pd.DataFrame:
    """Returns a row for each group: its split, its examples, and how many are of each class."""
    classes, frames = manifest.classes, []
    for split in SPLITS:
        named = dataset.groups_of(records, (split,), manifest=manifest)
        labels = dataset.labels_of(records, (split,), manifest=manifest)
        names, of_group = np.unique(named.astype(bytes), return_inverse=True)
        cells = np.bincount(
            of_group * (len(classes) + 1) + labels + 1, minlength=len(names) * (len(classes) + 1)
        ).reshape(len(names), -1)
        frame = pd.DataFrame({"split": split, "group": [name.decode() for name in names]})
        frame["examples"] = cells.sum(axis=1)
        frame[[f"n_{name}" for name in classes]] = cells[:, 1:]
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _leak_check(task: Task, manifest: RecordManifest) -> dict[str, Any]:
    how = (
        "settled by the user or the task"
        if manifest.user_defined_split
        else "by a hash of the group"
    )
    near_duplicates = "none across splits, moved by up to 3 px, turned or mirrored"
    if task.raw_files.skip_duplicate_check:
        near_duplicates = "not looked for: different things look alike here"
    return {"split": how, "near_duplicates": near_duplicates, "groups_in_two_splits": 0}


def _intervals(
    test: pd.DataFrame, objective: str, *, card: VersionCard
) -> dict[str, tuple[float, float] | None]:
    """Returns metric -> its 95 % interval for groups such as these; None where there is none."""
    if "error" in test:
        named, examples = ["mean_squared_error"], test
        errors = examples["error"].to_numpy()
        statistic = lambda rows: np.array([errors[rows].mean()])  # noqa: E731
    else:
        examples = test[test["label"] >= 0]
        classes, labels = card.classes, examples["label"].to_numpy(int)
        probabilities = examples[[f"p_{name}" for name in classes]].to_numpy(float)
        predicted = metrics.predict_labels(probabilities, thresholds=card.thresholds)
        named = [objective, "accuracy", *(f"recall of {name}" for name in classes)]

        def statistic(rows: np.ndarray) -> np.ndarray:
            drawn_labels, right = labels[rows], (predicted == labels)[rows]
            both = len(np.unique(drawn_labels)) > 1
            first = (
                metrics.objective(objective, drawn_labels, probabilities[rows], predicted[rows])
                if both
                else np.nan
            )
            support = np.bincount(drawn_labels, minlength=len(classes)).astype(float)
            support[support == 0] = np.nan
            recall = np.bincount(drawn_labels[right], minlength=len(classes)) / support
            return np.array([first, right.mean(), *recall])

    bounds = group_intervals.score_interval(
        statistic, examples["group"].to_numpy(str), is_share="error" not in test
    )
    if bounds is None:
        return dict.fromkeys(named)
    pairs = zip(named, bounds.T, strict=True)
    return {
        name: (float(low), float(high)) if np.isfinite([low, high]).all() else None
        for name, (low, high) in pairs
    }


def _limitations(test: pd.DataFrame, manifest: RecordManifest, *, card: VersionCard) -> list[str]:
    """Returns what a reader must know before trusting the scores, one sentence each."""
    is_scored = test["label"] >= 0 if "label" in test else np.ones(len(test), bool)
    sentences, count = [], test.loc[is_scored, "group"].nunique()
    if count < FEW_GROUPS:
        sentences.append(f"Test scores rest on {count} groups.")
    for name, class_metrics in card.class_metrics.get("test", {}).items():
        support, recall = class_metrics.get("support"), class_metrics.get("recall")
        if support is not None and support < FEW_EXAMPLES:
            sentences.append(f"Of {name} there are {support} test images.")
        elif recall is not None and recall < LOW_RECALL:
            sentences.append(f"Of {name} {recall:.0%} are detected.")
    unlabelled = sum(split.get("(unlabelled)", 0) for split in manifest.counts.values())
    if unlabelled:
        sentences.append(f"{unlabelled:,} images have no label and are in no score.")
    if manifest.unreadable:
        sentences.append(
            f"{manifest.unreadable_files} raw files could not be read and are left out."
        )
    note = card.calibration.get("note")
    notes = [note] if note else []
    return [*sentences, *notes, *manifest.left_out, *manifest.notes]


def _statistics(
    records: Path,
    predictions: pd.DataFrame,
    *,
    manifest: RecordManifest,
    card: VersionCard,
    inputs: Sequence[str],
) -> drift.Histograms:
    """Returns histograms of the training split, and of the classes named on validation."""
    columns = tuple(manifest.columns) if "columns" in inputs else ()
    if "image" in inputs:
        parts = [
            drift.measure(features["image"], features.get("columns"), columns)
            for features, _ in dataset.batches(
                records, dataset.TRAIN, manifest=manifest
            ).as_numpy_iterator()
        ]
        values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    else:
        columns_read = dataset.columns_of(records, ("train",), manifest=manifest)
        values = drift.measure(None, columns_read, columns)
    groups = dataset.groups_of(records, ("train",), manifest=manifest).astype(bytes)
    if "error" in predictions:
        return drift.histograms(values, groups)
    frame = predictions[predictions["split"] == "validation"]
    probabilities = frame[[f"p_{name}" for name in card.classes]].to_numpy(float)
    return drift.histograms(
        values,
        groups,
        predictions=metrics.predict_labels(probabilities, thresholds=card.thresholds),
        prediction_groups=frame["group"].to_numpy(str),
        classes=card.classes,
    )


def _novelty(
    task: Task, records: Path, *, manifest: RecordManifest
) -> image_novelty.NoveltyStatistics | None:
    """Returns the statistics of the images of training and validation."""

    def images(subset: dataset.Subset) -> Iterator[np.ndarray]:
        batches = dataset.batches(records, subset, manifest=manifest)
        return (features["image"] for features, _ in batches.as_numpy_iterator())

    return image_novelty.fit(
        images(dataset.TRAIN),
        images(dataset.VALIDATION),
        ignores_exposure=task.preprocessing.per_image_standardization,
    )
