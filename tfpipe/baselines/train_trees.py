"""Boosted trees on a task's columns: searched, trained, calibrated, judged and published."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xgboost

from tfpipe.base.resumable import ResumableFolder
from tfpipe.baselines import tree_search
from tfpipe.baselines.tree_search import Plan
from tfpipe.data import columns as data_columns
from tfpipe.data import dataset
from tfpipe.data import manifest as data_manifest
from tfpipe.data.columns import Measured
from tfpipe.data.manifest import RecordManifest
from tfpipe.evaluation import calibration, metrics, ordinal, selective
from tfpipe.models import boosted_trees
from tfpipe.registry import card_statistics, model_card, previous_version, store
from tfpipe.registry.card import VersionCard
from tfpipe.registry.trees import MODEL, TreesExport
from tfpipe.report import write
from tfpipe.tasks.task import SPLITS, Task

Judge = Callable[[pd.DataFrame, dict[str, float]], dict[str, Any]]
LOG = logging.getLogger("tfpipe")
EXPLAINED = 1000  # test examples at most: deep trees take a tenth of a second each


class Judgement(NamedTuple):
    """What is known of trained trees.

    Attributes:
      told: what a card holds of it: scores, by_class, thresholds, calibration, abstention.
      predictions: a row for each validation and test example: split, key, group, label and
        p_<class>, calibrated.
    """

    told: dict[str, Any]
    predictions: pd.DataFrame


def train(
    task: Task,
    records: Path,
    folder: Path,
    *,
    plan: Plan,
    min_precision: float = selective.MIN_PRECISION,
    found: dict[str, Any] | None = None,
    judge: Judge = lambda predictions, thresholds: {},
    extra_files: Callable[[Path, dict[str, Any]], None] = lambda draft, search: None,
    tell: Callable[[str, dict[str, Any]], None] = lambda stage, facts: None,
) -> dict[str, Any]:
    """Searches, trains the winner on the training split, and publishes it as the next version.

    Args:
      task: the question.
      records: its packed records.
      folder: saved_models/<task>/xgboost.
      plan: what is searched.
      min_precision: of what is said in spite of being unsure.
      found: by a search before, which is then not made again.
      judge: (predictions, thresholds) -> the card's comparison; called before anything is
        published, it may raise a UserError.
      extra_files: called with the version's folder and the search's result before the version has
        a number; it may add files to assets.extra.
      tell: told (stage, facts) as it goes.

    Returns:
      {"version", "path", "metrics"}.

    Raises:
      UserError: the records have no columns, or too few examples have labels.
    """
    manifest = data_manifest.trusted(records)
    parts = {split: data_columns.read(records, (split,), manifest=manifest) for split in SPLITS}
    names = tuple(manifest.classes)
    data_columns.check(parts, classes=names)
    if not plan.folds:
        groups = len(np.unique(parts["train"].labelled.groups))
        plan = plan._replace(folds=min(tree_search.FOLDS, max(2, groups)))
    learnt = parts["train"].labelled
    best = found or tree_search.search(
        learnt,
        folder / "search",
        classes=len(names),
        plan=plan,
        fingerprint=manifest.fingerprint,
        tell=lambda done, loss: tell("trees", {"done": done, "total": plan.trials, "loss": loss}),
    )
    told = {"classes": len(names), "arguments": best["arguments"]}
    trees = boosted_trees.fit(learnt, **told, balanced=plan.balance, seed=plan.seed)
    unseen = learnt.labels, tree_search.crossed(learnt, **told, plan=plan)
    known = judged(trees, parts, unseen, classes=names, min_precision=min_precision)
    known = _in_numbers(replace(task, classes=names), known, records, manifest=manifest)
    comparison = judge(known.predictions, known.told["thresholds"])
    tell("export", {})
    card = VersionCard(
        task=task.name,
        model=MODEL,
        hyperparameters=best["arguments"],
        training={"balance": plan.balance, "seed": plan.seed},
        classes=names,
        columns=manifest.columns,
        parameters=boosted_trees.leaves(trees),
        ordinal_target=task.scoring.ordinal_target,
        ambiguous=task.scoring.ambiguous,
        options=manifest.options,
        data=manifest.summary,
        search=best,
        comparison=comparison,
        **known.told,
    )
    card = card_statistics.with_statistics(
        card, task, records, known.predictions, manifest=manifest, inputs=["columns"]
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
                names,
                _some(parts["test"].labelled.columns, seed=plan.seed),
                parts["validation"].columns,
            ),
            folder,
            card=card,
            tables={
                "predictions": known.predictions,
                "groups": card_statistics.groups(records, manifest=manifest),
                "sources": previous_version.sources(manifest),
            },
            extra_files=write_extra_files,
        )
    return {"version": int(path.name), "path": str(path), "metrics": known.told["metrics"]}


def judged(
    trees: xgboost.Booster,
    parts: dict[str, Measured],
    unseen: tuple[np.ndarray, np.ndarray],
    *,
    classes: tuple[str, ...],
    min_precision: float = selective.MIN_PRECISION,
) -> Judgement:
    """Returns what is known of trees that saw the training split only.

    Temperature and thresholds are chosen on the validation split, and on what cross-validation
    said of the training split: a few validation groups alone may be easier or harder than others.
    The test split is looked at once. Examples without a label are predicted and not scored.

    Args:
      trees: as trained.
      parts: "validation" and "test" -> its examples.
      unseen: labels [n] int and probabilities [n, classes] of training examples, by other trees
        that saw none of their groups.
      classes: names in label order.
      min_precision: see `selective.thresholds`.
    """
    known = parts["validation"].labelled
    labels = np.concatenate([unseen[0], known.labels])
    raw = np.concatenate([unseen[1], boosted_trees.classify(trees, known.columns)])
    fitted = calibration.fit(labels, raw)
    if fitted.note:
        LOG.warning("%s", fitted.note)
    likely = calibration.apply(raw, fitted.temperature).astype(np.float32)
    decision = metrics.thresholds(labels, likely)
    sure = selective.thresholds(labels, likely, min_precision=min_precision)
    told, by_class, frames = {}, {}, []
    errors = {"error_before": {}, "error": {}}
    for split in ("validation", "test"):
        own = parts[split].labels >= 0
        raw, labels = boosted_trees.classify(trees, parts[split].columns), parts[split].labels[own]
        likely = calibration.apply(raw, fitted.temperature).astype(np.float32)
        said = metrics.predict_labels(likely[own], thresholds=decision)
        told[split] = metrics.classification_metrics(labels, likely[own], thresholds=decision)
        by_class[split] = metrics.class_metrics(labels, said, classes=classes)
        errors["error_before"][split] = calibration.calibration_error(labels, raw[own])
        errors["error"][split] = calibration.calibration_error(labels, likely[own])
        frames.append(_frame(split, parts[split], likely, classes))
    realised = selective.realised(labels, likely[own], sure)
    card = {
        "metrics": told,
        "class_metrics": by_class,
        "thresholds": decision,
        "calibration": fitted._asdict() | errors,
        "abstention": {
            "min_precision": min_precision,
            "thresholds": selective.as_card(sure, classes=classes),
            "test": {n: one._asdict() for n, one in zip(classes, realised, strict=True)},
        },
    }
    return Judgement(card, pd.concat(frames, ignore_index=True))


def _in_numbers(
    task: Task, known: Judgement, records: Path, *, manifest: RecordManifest
) -> Judgement:
    """Returns a judgement with what a task's `quantity` and `apart` ask for besides."""
    frames = []
    for split, frame in known.predictions.groupby("split", sort=False):
        likely = frame[[f"p_{name}" for name in task.classes]].to_numpy()
        labels = frame["label"].to_numpy()
        own, apart = labels >= 0, None
        if task.scoring.ambiguous:
            apart = dataset.marks_of(records, (split,), task.scoring.ambiguous, manifest=manifest)[
                own
            ]
        told = ordinal.told(task, labels[own], likely[own], apart=apart)
        known.told["metrics"][split] |= told
        frames.append(ordinal.with_expected(frame, task, likely))
    return known._replace(predictions=pd.concat(frames, ignore_index=True))


def _frame(split: str, examples: Measured, likely: np.ndarray, classes) -> pd.DataFrame:
    frame = pd.DataFrame({"split": split, "key": [key.decode() for key in examples.keys]})
    frame["group"] = [group.decode() for group in examples.groups]
    frame["label"] = examples.labels
    frame[[f"p_{name}" for name in classes]] = likely
    return frame


def _some(columns: np.ndarray, *, seed: int) -> np.ndarray:
    """Returns as many rows as are explained, drawn where there are more."""
    if len(columns) <= EXPLAINED:
        return columns
    rows = np.random.default_rng(seed).choice(len(columns), EXPLAINED, replace=False)
    return columns[np.sort(rows)]
