"""Models of one task side by side, on the same grouped folds: by columns, by pictures, by both.

Seed 000 compares boosted trees on the columns with networks on pictures, with and without columns,
each on one random split. Here every model learns from the same groups and is judged on the same
others, as often as there are folds, so that a difference can be held against its spread. Nothing
is chosen on the groups that judge: networks train for a fixed number of epochs, by a rate that
falls to 0.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from sklearn import metrics

from tfpipe import (
    comparison_plot,
    contestants,
    files,
    folds,
    jobs,
    naive,
    quantities,
    scores,
    tables,
)
from tfpipe.contestants import TREES
from tfpipe.errors import UserError
from tfpipe.models import build
from tfpipe.models.parts import Spec
from tfpipe.precision import compute_policy
from tfpipe.settings import Data, Settings
from tfpipe.task import Task

LOG = logging.getLogger("tfpipe")
METRICS = ("accuracy", "balanced_accuracy", "log_loss")
ERROR = "mean_absolute_error"  # where classes are numbers


def compare(
    task: Task,
    records: Path,
    *,
    names: tuple[str, ...],
    count: int | None,
    settings: Settings,
    models: Path,
    quick: bool = False,
    fixed: dict[str, Any] | None = None,
    tell: Callable[[str, dict[str, Any]], None] = lambda stage, facts: None,
) -> pd.DataFrame:
    """Trains and judges each model on each fold; stopped at any moment, the same call goes on.

    Args:
      task: the question.
      records: its packed records; the test split stays unseen.
      names: contestants, see `contestants.known`; `TREES` where there are columns.
      count: folds; None for five, or as many as there are groups.
      settings: how networks are trained; their rate falls to 0 over the epochs.
      models: saved_models/<task>; results gather in its comparison/.
      quick: whether networks are as small as quick searches have them, else as published.
      fixed: values that hold in every network that has such an argument.
      tell: told ("compare", what is being done).

    Returns:
      A row for each model and fold: model, fold, examples, accuracy, balanced_accuracy, log_loss,
      mean_absolute_error where classes are numbers, seconds of training, megabytes of weights.
    """
    data, spec = jobs.opened(task, records, model=task.models[0], is_checked=False)
    task = replace(task, classes=spec.classes)
    if not spec.columns and TREES in names:
        raise UserError(f"{TREES} reads columns, but the records of {task.name} have none.")
    count = count or folds.usual(data)
    parts = folds.of(data, spec, count)
    kept = _Kept(models / "comparison" / "results.jsonl")
    rows = []
    for name in names:
        arguments = contestants.arguments(task, name, quick=quick, fixed=fixed or {})
        for number, (own, known) in enumerate(parts, start=1):
            told = {
                **{"model": name, "fold": number, "folds": count, "arguments": arguments},
                **{"data": data.manifest["fingerprint"], "settings": asdict(settings)},
            }
            row = kept.find(told)
            if row is None:
                tell("compare", {"done": len(rows), "total": count * len(names)})
                row = _judged(task, name, (own, known), arguments=arguments, settings=settings)
                kept.add(told, row)
            rows.append({"model": name, "fold": number, **row})
    frame = pd.DataFrame(rows)
    tables.write_csv(frame, models / "comparison" / "comparison.csv")
    files.replace(models / "comparison" / "comparison.png", comparison_plot.compared(frame))
    return frame


def claimed(
    task: Task, records: Path, name: str, *, settings: Settings, quick: bool, fixed: dict[str, Any]
) -> float | None:
    """Returns the accuracy that a network gets when pictures are split at random, copies and all.

    Args:
      task: the question.
      records: its packed records.
      name: of the network.
      settings: as the honest ones are trained.
      quick: as in `compare`.
      fixed: likewise.

    Returns:
      The accuracy, see `naive`; None for what is no network, or where pictures are too few.
    """
    if contestants.network_of(name) != name:
        return None
    data, spec = jobs.opened(task, records, model=name, is_checked=True)
    arguments = contestants.arguments(task, name, quick=quick, fixed=fixed)
    keras.config.set_dtype_policy(compute_policy("auto"))
    made = naive.random_split_scores(lambda: build(name, spec, arguments), data, settings=settings)
    return made and made["accuracy"]


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns a row for each model: each metric's mean and deviation over folds, time and size."""
    rows = []
    for name, own in frame.groupby("model", sort=False):
        row: dict[str, Any] = {"model": name, "folds": len(own)}
        for metric in metrics_of(own):
            row |= {metric: own[metric].mean(), f"{metric}_sd": own[metric].std(ddof=1)}
        row |= {"seconds": own["seconds"].mean(), "megabytes": own["megabytes"].mean()}
        rows.append(row)
    return pd.DataFrame(rows)


def metrics_of(frame: pd.DataFrame) -> tuple[str, ...]:
    """Returns the scores that a comparison has."""
    return (*METRICS, *((ERROR,) if ERROR in frame else ()))


def _judged(
    task: Task, name: str, fold: tuple[Data, Spec], *, arguments: dict, settings: Settings
) -> dict:
    """Trains one model on a fold's groups and judges it on the others."""
    began = time.perf_counter()
    labels, likely, megabytes = contestants.judge(
        name, *fold, arguments=arguments, settings=settings
    )
    seconds = time.perf_counter() - began
    known = labels >= 0
    labels, likely = labels[known], likely[known].astype(float)
    likely /= likely.sum(axis=1, keepdims=True)
    return {
        "examples": len(labels),
        "accuracy": float((likely.argmax(axis=1) == labels).mean()),
        "balanced_accuracy": scores.balanced_accuracy(labels, likely),
        "log_loss": float(metrics.log_loss(labels, likely, labels=np.arange(likely.shape[1]))),
        **{
            key: value
            for key, value in quantities.told(task, labels, likely).items()
            if key == ERROR
        },
        "seconds": seconds,
        "megabytes": megabytes,
    }


class _Kept:
    """What has been judged before, a JSON object a line; a line cut short by a kill is dropped."""

    def __init__(self, path: Path):
        self.path, self.rows = path, []
        if path.is_file():
            for line in path.read_text().splitlines():
                try:
                    self.rows.append(json.loads(line))
                except ValueError:
                    LOG.warning("%s ended in half a line, which is judged again.", path)

    def find(self, told: dict) -> dict | None:
        """Returns the row of a model and fold judged under the same conditions, or None."""
        same = json.loads(json.dumps(told))
        return next((one["row"] for one in self.rows if one["told"] == same), None)

    def add(self, told: dict, row: dict) -> None:
        self.rows.append({"told": told, "row": row})
        lines = "".join(json.dumps(one) + "\n" for one in self.rows)
        files.replace(self.path, lines.encode())
