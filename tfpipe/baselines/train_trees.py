"""Boosted trees on a task's columns: search, training, calibration, evaluation, publication."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost

from tfpipe.base.progress import Reporter, silent
from tfpipe.base.resumable import ResumableFolder
from tfpipe.baselines import tree_search
from tfpipe.baselines.config import DEFAULT_FOLDS, TreeSearchConfig
from tfpipe.data import columns as data_columns
from tfpipe.data import dataset, sampling
from tfpipe.data import manifest as data_manifest
from tfpipe.data.columns import ColumnExamples
from tfpipe.data.manifest import RecordManifest
from tfpipe.evaluation import calibration, metrics, ordinal, selective
from tfpipe.models import boosted_trees
from tfpipe.registry import card_statistics, model_card, previous_version, store
from tfpipe.registry.card import VersionCard
from tfpipe.registry.trees import MODEL, TreesExport
from tfpipe.report import write
from tfpipe.tasks.task import SPLITS, Task

Accept = Callable[[pd.DataFrame, dict[str, float]], dict[str, Any]]
LOG = logging.getLogger(__name__)
MAX_EXPLAINED = 1000  # test examples: deep trees take a tenth of a second each


@dataclass(frozen=True)
class TreeEvaluation:
    """Evaluation of trained trees.

    Attributes:
      card: fields of the version's card: metrics, class_metrics, thresholds, calibration,
        abstention.
      predictions: a row for each validation and test example: split, key, group, label and
        p_<class>, calibrated.
    """

    card: dict[str, Any]
    predictions: pd.DataFrame


def train(
    task: Task,
    records: Path,
    folder: Path,
    *,
    config: TreeSearchConfig,
    min_precision: float = selective.MIN_PRECISION,
    best: dict[str, Any] | None = None,
    accept: Accept = lambda predictions, thresholds: {},
    extra_files: Callable[[Path, dict[str, Any]], None] = lambda draft, search: None,
    report: Reporter = silent,
) -> dict[str, Any]:
    """Searches, trains the best candidate on the training split, and publishes the next version.

    Args:
      task: the task.
      records: its packed records.
      folder: saved_models/<task>/xgboost.
      config: what is searched.
      min_precision: precision that predictions must have that are not abstained from.
      best: result of an earlier search, which is then not repeated.
      accept: from (predictions, thresholds) to the card's comparison; called before anything is
        published, it may raise a UserError.
      extra_files: called with the version's folder and the search's result before the version has
        a number; it may add files to assets.extra.
      report: receives the progress.

    Returns:
      {"version", "path", "metrics"}.

    Raises:
      UserError: the records have no columns, or too few examples have labels.
    """
    manifest = data_manifest.trusted(records)
    splits = {split: data_columns.read(records, (split,), manifest=manifest) for split in SPLITS}
    classes = tuple(manifest.classes)
    data_columns.check(splits, classes=classes)
    examples = splits["train"].labelled
    if not config.folds:
        n_groups = len(np.unique(examples.groups))
        config = config._replace(folds=min(DEFAULT_FOLDS, max(2, n_groups)))
    best = best or tree_search.search(
        examples,
        folder / "search",
        classes=len(classes),
        config=config,
        fingerprint=manifest.fingerprint,
        report=report,
    )
    trees = boosted_trees.fit(
        examples,
        classes=len(classes),
        arguments=best["arguments"],
        balanced=config.balance,
        seed=config.seed,
    )
    out_of_fold = tree_search.out_of_fold(
        examples, classes=len(classes), arguments=best["arguments"], config=config
    )
    evaluation = evaluate(
        trees,
        splits,
        (examples.labels, out_of_fold, examples.groups),
        classes=classes,
        balance=config.balance,
        min_precision=min_precision,
    )
    evaluation = _with_ordinal_scores(
        replace(task, classes=classes), evaluation, records, manifest=manifest
    )
    comparison = accept(evaluation.predictions, evaluation.card["thresholds"])
    report("export", {})
    card = VersionCard(
        task=task.name,
        model=MODEL,
        hyperparameters=best["arguments"],
        training={"balance": config.balance, "seed": config.seed},
        classes=classes,
        columns=manifest.columns,
        parameters=boosted_trees.leaves(trees),
        ordinal_target=task.scoring.ordinal_target,
        ambiguous=task.scoring.ambiguous,
        options=manifest.options,
        data=manifest.summary,
        search=best,
        comparison=comparison,
        **evaluation.card,
    )
    card = card_statistics.with_statistics(
        card, task, records, evaluation.predictions, manifest=manifest, inputs=["columns"]
    )

    def write_extra_files(draft: Path) -> None:
        write.write(draft, records)
        model_card.write(draft)
        extra_files(draft, best)

    busy = f"Another training is running in {folder}. Wait for it to end."
    with ResumableFolder(folder / "training", None, work="training", busy=busy):
        path = store.publish(
            TreesExport(
                trees,
                manifest.columns,
                classes,
                _sample(splits["test"].labelled.columns, seed=config.seed),
                splits["validation"].columns,
            ),
            folder,
            card=card,
            tables={
                "predictions": evaluation.predictions,
                "groups": card_statistics.groups(records, manifest=manifest),
                "sources": previous_version.sources(manifest),
            },
            extra_files=write_extra_files,
        )
    return {"version": int(path.name), "path": str(path), "metrics": evaluation.card["metrics"]}


def evaluate(
    trees: xgboost.Booster,
    splits: dict[str, ColumnExamples],
    out_of_fold: tuple[np.ndarray, np.ndarray, np.ndarray],
    *,
    classes: tuple[str, ...],
    balance: str,
    min_precision: float = selective.MIN_PRECISION,
) -> TreeEvaluation:
    """Returns the evaluation of trees that were fitted on the training split only.

    Temperature and thresholds are chosen on the validation split and on the out-of-fold predictions
    of the training split: a few validation groups alone may be easier or harder than others. The
    test split is used once. Examples without a label are predicted and not scored.

    Args:
      trees: the fitted trees.
      splits: from "validation" and "test" to their examples.
      out_of_fold: labels [n] int, probabilities [n, classes] and groups [n] of training examples,
        by trees that were fitted without their groups.
      classes: names in label order.
      balance: how classes were balanced in training, of `boosted_trees.BALANCES`.
      min_precision: see `selective.thresholds`.
    """
    validation = splits["validation"].labelled
    labels = np.concatenate([out_of_fold[0], validation.labels])
    raw = np.concatenate([out_of_fold[1], boosted_trees.classify(trees, validation.columns)])
    counts = np.bincount(out_of_fold[0], minlength=len(classes))
    fitted = calibration.fit_by_groups(
        labels,
        raw,
        np.concatenate([out_of_fold[2], validation.groups]),
        prior_shift=sampling.prior_shift(counts, balance=balance),
    )
    if fitted.note:
        LOG.warning("%s", fitted.note)
    probs = calibration.apply(raw, fitted.temperature, fitted.bias).astype(np.float32)
    thresholds = metrics.thresholds(labels, probs)
    confidence_thresholds = selective.thresholds(
        labels,
        probs,
        predicted=metrics.predict_labels(probs, thresholds=thresholds),
        min_precision=min_precision,
    )
    scores: dict[str, dict[str, Any]] = {}
    class_scores: dict[str, Any] = {}
    errors_before: dict[str, float] = {}
    errors: dict[str, float] = {}
    class_errors: dict[str, float] = {}
    frames = []
    for split in ("validation", "test"):
        is_labelled = splits[split].labels >= 0
        labels = splits[split].labels[is_labelled]
        raw = boosted_trees.classify(trees, splits[split].columns)
        every_probs = calibration.apply(raw, fitted.temperature, fitted.bias).astype(np.float32)
        probs = every_probs[is_labelled]
        predicted = metrics.predict_labels(probs, thresholds=thresholds)
        scores[split] = metrics.classification_metrics(labels, probs, thresholds=thresholds)
        class_scores[split] = metrics.class_metrics(labels, predicted, classes=classes)
        errors_before[split] = calibration.calibration_error(labels, raw[is_labelled])
        errors[split] = calibration.calibration_error(labels, probs, predicted=predicted)
        class_errors[split] = calibration.class_calibration_error(labels, probs)
        frames.append(_frame(split, splits[split], every_probs, classes))
    test_precision = selective.class_precision(
        labels,
        probs,
        confidence_thresholds,
        groups=splits["test"].groups[is_labelled],
        predicted=predicted,
    )
    card = {
        "metrics": scores,
        "class_metrics": class_scores,
        "thresholds": thresholds,
        "calibration": fitted._asdict()
        | {"error_before": errors_before, "error": errors, "class_error": class_errors},
        "abstention": {
            "min_precision": min_precision,
            "thresholds": selective.to_card(confidence_thresholds, classes=classes),
            "test": {
                name: precision._asdict()
                for name, precision in zip(classes, test_precision, strict=True)
            },
        },
    }
    return TreeEvaluation(card, pd.concat(frames, ignore_index=True))


def _with_ordinal_scores(
    task: Task, evaluation: TreeEvaluation, records: Path, *, manifest: RecordManifest
) -> TreeEvaluation:
    """Adds the scores and columns of a task's ordinal target and ambiguous examples."""
    frames = []
    card = evaluation.card | {"metrics": dict(evaluation.card["metrics"])}
    for split, frame in evaluation.predictions.groupby("split", sort=False):
        probs = frame[[f"p_{name}" for name in task.classes]].to_numpy()
        labels = frame["label"].to_numpy()
        is_labelled, is_ambiguous = labels >= 0, None
        if task.scoring.ambiguous:
            marks = dataset.marks_of(records, (split,), task.scoring.ambiguous, manifest=manifest)
            is_ambiguous = marks[is_labelled]
        scores = ordinal.metrics(
            task,
            labels[is_labelled],
            probs[is_labelled],
            predicted=metrics.predict_labels(
                probs[is_labelled], thresholds=evaluation.card["thresholds"]
            ),
            is_ambiguous=is_ambiguous,
        )
        card["metrics"][split] = card["metrics"][split] | scores
        frames.append(ordinal.with_expected(frame, task, probs))
    return TreeEvaluation(card, pd.concat(frames, ignore_index=True))


def _frame(
    split: str, examples: ColumnExamples, probabilities: np.ndarray, classes: tuple[str, ...]
) -> pd.DataFrame:
    frame = pd.DataFrame({"split": split, "key": [key.decode() for key in examples.keys]})
    frame["group"] = [group.decode() for group in examples.groups]
    frame["label"] = examples.labels
    frame[[f"p_{name}" for name in classes]] = probabilities
    return frame


def _sample(columns: np.ndarray, *, seed: int) -> np.ndarray:
    """Returns at most `MAX_EXPLAINED` rows, drawn at random where there are more."""
    if len(columns) <= MAX_EXPLAINED:
        return columns
    rows = np.random.default_rng(seed).choice(len(columns), MAX_EXPLAINED, replace=False)
    return columns[np.sort(rows)]
