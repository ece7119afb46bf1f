"""Thresholds from the validation split, scores from the test split, each looked at once."""

import operator
from collections import Counter
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from tfpipe import inputs, scores, training
from tfpipe.errors import UserError
from tfpipe.task import Classify, Task

SURE = 0.95  # findings at or above the "confident" threshold are right this often


class Evaluation(NamedTuple):
    """What is known of a trained model.

    Attributes:
      thresholds: "decision" and "confident", chosen on validation files.
      scores: split -> metric -> value.
      predictions: a row for each validation and test example: split, key, group, metadata, label,
        p_<class>.
      false_kinds: what the false findings on the test files lie on, and how many.
    """

    thresholds: dict[str, float]
    scores: dict[str, dict[str, float]]
    predictions: pd.DataFrame
    false_kinds: dict[str, int]


def evaluate(
    task: Task,
    raw: Path,
    data: training.Data,
    classify: Classify,
    *,
    options: Any,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Evaluates a two-class model on examples, and on whole raw files as a user would predict them.

    Args:
      task: the question.
      raw: the raw folder that was packed.
      data: its records.
      classify: images -> probabilities [n, classes].
      options: the task's.
      progress: told (files done, files in all).

    Returns:
      Thresholds, scores and predictions.
    """
    seen = _seen(task, raw, data, classify, options=options, progress=progress)
    thresholds = _thresholds(task, seen["validation"])
    frames, told = [], {}
    for split in ("validation", "test"):
        labels, said = _said(data, split, classify)
        found = _judged(task, seen[split], thresholds)
        told[split] = scores.of_two_classes(labels, said, threshold=thresholds["decision"])
        told[split] |= found.scores
        frame = _described(data, split)
        frame.insert(0, "split", split)
        frame["label"] = labels
        frame[[f"p_{name}" for name in task.classes]] = said
        frames.append(frame)
    kinds = dict(Counter(found.false_kinds))
    return Evaluation(thresholds, told, pd.concat(frames, ignore_index=True), kinds)


def _seen(task, raw: Path, data, classify, *, options, progress) -> dict[str, list]:
    """Returns (source, its row of the task's table, what was seen) of every file, by split."""
    sources = {source.name: source for source in task.survey(raw, options).sources}
    table = pd.read_csv(data.folder / f"{task.table}.csv", keep_default_na=False)
    rows = {row[table.columns[0]]: row for row in table.to_dict("records")}
    names = [(s, name) for s in ("validation", "test") for name in data.manifest["sources"][s]]
    seen: dict[str, list] = {"validation": [], "test": []}
    for i, (split, name) in enumerate(names):
        progress(i, len(names))
        if name not in data.manifest["bad"]:
            looked = task.look(sources[name], classify, options)
            seen[split].append((sources[name], rows[name], looked))
    progress(len(names), len(names))
    return seen


def _judged(task: Task, seen: list, thresholds: dict[str, float]):
    """Returns the sum of what is found and missed in some files."""
    counts = [
        task.judge(source, row, task.answer(looked, thresholds)) for source, row, looked in seen
    ]
    return reduce(operator.add, [count for count in counts if count is not None])


def _thresholds(task: Task, seen: list) -> dict[str, float]:
    """Returns the decision threshold that serves users best, and the one of sure findings.

    What counts is what is found in whole files, so that is what the decision is chosen by; of
    equally good thresholds the middle one. Findings at or above "confident" were right at least 95
    times of 100 on the validation files, and more likely than not; it is 1 where too few were.
    """
    grid = np.round(np.linspace(0.05, 0.95, 19), 3)
    found = [_judged(task, seen, {"decision": t, "confident": 1.0}) for t in grid]
    values = np.nan_to_num([one.scores[task.judged_by] for one in found], nan=-1.0)
    best = np.flatnonzero(values >= values.max() - 1e-9)
    decision = float(grid[best[len(best) // 2]])
    right = np.array([one.precision for one in found])
    sure = [
        t for t, share in zip(grid, right, strict=True) if share >= SURE and t >= max(decision, 0.5)
    ]
    return {"decision": decision, "confident": float(sure[0]) if sure else 1.0}


def _said(data: training.Data, split: str, classify: Classify) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels [n] and probabilities [n, classes] of a split's labelled examples."""
    labels, said = [], []
    for features, label in inputs.batches(
        data.folder, split, manifest=data.manifest, batch_size=256
    ):
        labels.append(label.numpy())
        said.append(classify(features["image"].numpy()))
    if not labels:
        raise UserError(f"The {split} split is empty. Add data, or pack with another --split.")
    return np.concatenate(labels), np.concatenate(said)


def _described(data: training.Data, split: str) -> pd.DataFrame:
    """Returns key, group and metadata of a split's examples, in order."""
    kinds = data.manifest["metadata"]
    text = {name for name, kind in kinds.items() if kind != "int64"} | {"key", "group"}
    wanted = {
        name: tf.io.FixedLenFeature((), tf.string if name in text else tf.int64)
        for name in ("key", "group", *kinds)
    }
    paths = [str(data.folder / s["name"]) for s in data.manifest["shards"] if s["split"] == split]
    columns: dict[str, list] = {name: [] for name in wanted}
    for records in tf.data.TFRecordDataset(paths).batch(1024):
        fields = tf.io.parse_example(records, wanted)
        for name, values in fields.items():
            if kinds.get(name) == "float64":
                values = tf.io.decode_raw(values, tf.float64)[:, 0]
            columns[name].append(values.numpy())
    frame = pd.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})
    for name in text & set(frame):
        if kinds.get(name) != "float64":
            frame[name] = [value.decode() for value in frame[name]]
    return frame
