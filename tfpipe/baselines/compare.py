"""Models of one task side by side: by columns, pictures or both, pretrained or not, grey or not.

Seed 000 compares boosted trees on the columns with networks on pictures, with and without columns,
each on one random split. Here every model learns from the same groups and is judged on the same
others, as often as there are folds, so that a difference can be held against its spread. Nothing
is chosen on the groups that judge: networks train for a fixed number of epochs, by a rate that
falls to 0.

Where the splits themselves are what is published, as in seed 004's table, a model learns from the
training split once and is judged on validation and on test. The best of many such is flattered by
having been the best; the folds do not look at the test split.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics

import tuning
from tfpipe.base import files, hardware, resumable, tables
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.base.hardware import dtype_policy
from tfpipe.base.progress import Reporter, silent
from tfpipe.base.resumable import ResumableFolder
from tfpipe.baselines import candidates, compare_plot, compare_summary, variants
from tfpipe.baselines.candidates import TREES, Contest
from tfpipe.data import dataset
from tfpipe.data import manifest as data_manifest
from tfpipe.data.dataset import Dataset
from tfpipe.data.sampling import BALANCES
from tfpipe.evaluation import metrics as evaluation_metrics
from tfpipe.evaluation import ordinal
from tfpipe.models import build, calls
from tfpipe.models.spec import Spec
from tfpipe.search import plan as search_plan
from tfpipe.tasks.task import Task
from tfpipe.training import cross_validation, open_records, random_split, schedules
from tfpipe.training.config import SEARCHABLE, TrainingConfig

SPLITS = {"validation": dataset.VALIDATION, "test": dataset.TEST}  # what judges without folds


def compare(
    task: Task,
    records: Path,
    *,
    names: tuple[str, ...],
    count: int | None,
    settings: TrainingConfig,
    models: Path,
    quick: bool = False,
    fixed: dict[str, Any] | None = None,
    tell: Callable[[str, dict[str, Any]], None] = lambda stage, facts: None,
) -> pd.DataFrame:
    """Trains and judges each model on each fold; stopped at any moment, the same call goes on.

    Args:
      task: the question.
      records: its packed records.
      names: contestants, see `candidates.known` and `variants.of`; `TREES` where there are
        columns.
      count: folds, of which none sees the test split; None for five, or as many as there are
        groups; 0 for the splits as they are packed.
      settings: how networks are trained; their rate falls to 0 over the epochs.
      models: saved_models/<task>; results gather in its comparison/.
      quick: whether networks are as small as quick searches have them, else as published.
      fixed: values that hold in every network that has such an argument.
      tell: told ("compare", what is being done).

    Returns:
      A row for each model and fold, or for each of `SPLITS`: model, fold or split, examples,
      accuracy, balanced_accuracy, log_loss, mean_absolute_error where classes are numbers, seconds
      of training, megabytes of weights, machine. A pretrained model whose weights are not to be
      had has one row, with the reason as `failed`.

    Raises:
      UserError: records or folds that do not fit, or no model could be trained.
    """
    data, spec = open_records.opened(task, records, model=task.models[0], is_checked=False)
    task = replace(task, classes=spec.classes)
    if not spec.columns and TREES in names:
        raise UserError(f"{TREES} reads columns, but the records of {task.name} have none.")
    parts = _Parts(data, spec, cross_validation.default_count(data) if count is None else count)
    results = ResumableFolder(
        models / "comparison" / "results",
        None,
        work="comparison",
        busy=f"Another comparison is running in {models}. Wait for it to end.",
    )
    rows: list[dict] = []
    how = {"settings": settings, "quick": quick, "fixed": fixed or {}}
    each = max(parts.count, 1)
    with results:
        for place, name in enumerate(names):
            tell("compare", {"done": each * place, "total": each * len(names)})
            try:
                for done, found in enumerate(_of_model(task, name, parts, results, **how), start=1):
                    rows += found
                    tell("compare", {"done": each * place + done, "total": each * len(names)})
            except UserError as error:
                if variants.of(name).start != variants.PRETRAINED or len(names) == 1:
                    raise
                rows.append({"model": name, "failed": str(error)})
    frame = pd.DataFrame(rows)
    if "accuracy" not in frame:
        raise UserError(frame["failed"].iloc[0])
    tables.write_csv(frame, models / "comparison" / "comparison.csv")
    figure = compare_plot.compared(frame.dropna(subset=["accuracy"]))
    files.replace(models / "comparison" / "comparison.png", figure)
    return frame


def compare_models(
    task: Task,
    records: Path,
    *,
    names: Sequence[str] | None,
    models: Path,
    folds: int | None = None,
    by_splits: bool | None = None,
    epochs: int = 20,
    quick: bool = False,
    with_random_split: bool = False,
    hyperparameters: dict[str, Any] | None = None,
    balance: str = "sampling",
    seed: int = 0,
    report: Reporter = silent,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compares models by name: checks the names and values, trains, and summarizes.

    Args:
      task: the task.
      records: its packed records.
      names: models, see `candidates.known`; None for the task's usual ones.
      models: saved_models/<task>.
      folds: number of grouped folds; None for five, or one a group where there are fewer.
      by_splits: whether to score on the packed validation and test splits; None for the task's way.
      epochs: epochs of each network.
      quick: whether networks are small.
      with_random_split: whether to add "random_split_accuracy".
      hyperparameters: builder's arguments or training values, held fixed.
      balance: against rare classes, one of `sampling.BALANCES`.
      seed: random seed.
      report: receives the progress.

    Returns:
      (a row for each model, a row for each model and fold or split).

    Raises:
      UserError: a name is unknown, or the learning rate would not fall to 0.
    """
    columns = data_manifest.read(records).columns
    names = tuple(names or candidates.usual(task, tuple(columns)))
    for name in names:
        choose(variants.of(name).model, candidates.known(task), noun=f"model for {task.name}")
    values = hyperparameters or {}
    networks = [network for name in names if (network := candidates.network_of(name))]
    arguments = {argument for name in networks for argument in calls.arguments_of(name)}
    for name in values:
        choose(name, [*arguments, *SEARCHABLE], noun="hyperparameter of the models compared")
    training = tuning.training_of(task.name)(search_plan.hyperparameters({}))
    training |= {name: value for name, value in values.items() if name in SEARCHABLE}
    config = TrainingConfig(
        epochs=epochs,
        mining=True,
        balance=choose(balance, BALANCES, noun="balance"),
        augmentation=task.preprocessing.augmentation,
        seed=seed,
        **training,
    )
    if not schedules.ends_at_zero(config.schedule):
        raise UserError(
            "A comparison trains for a fixed number of epochs, so the learning rate must fall to "
            f"0, which {config.schedule} does not. Give --hp schedule=cosine or one-cycle."
        )
    fixed = {name: value for name, value in values.items() if name not in SEARCHABLE}
    by_splits = task.baselines.packed_splits if by_splits is None else by_splits
    frame = compare(
        task,
        records,
        names=names,
        count=folds if folds or not by_splits else 0,
        settings=config,
        models=models,
        quick=quick,
        fixed=fixed,
        tell=report,
    )
    table = compare_summary.summary(frame)
    if with_random_split:
        accuracies = []
        for done, name in enumerate(table["model"]):
            report("random-split", {"done": done, "total": len(table)})
            accuracies.append(
                claimed(task, records, name, settings=config, quick=quick, fixed=fixed)
            )
        table["random_split_accuracy"] = accuracies
    return table, frame


def _of_model(
    task: Task,
    name: str,
    parts: "_Parts",
    results: ResumableFolder,
    *,
    settings: TrainingConfig,
    quick: bool,
    fixed: dict[str, Any],
) -> Iterator[list[dict]]:
    """Gives the rows of one model, fold by fold, those that were judged before as they are kept."""
    arguments = candidates.arguments(task, name, quick=quick, fixed=fixed)
    grey = candidates.network_of(name) is not None and variants.of(name).grey
    for number, (data, spec) in enumerate(parts.of(grey=grey), start=1):
        told = {
            **{"model": name, "fold": number, "folds": parts.count, "arguments": arguments},
            **{"data": data.manifest.fingerprint, "settings": asdict(settings)},
        }
        part = resumable.hash_of(told)[:24]
        rows = results.result(part, told)
        if rows is None:
            asked = {"fold": data.validation} if parts.count else SPLITS
            contest = Contest(data, spec, tuple(asked.values()), arguments, settings)
            rows = _judged(task, name, contest)
            for row, which in zip(rows, asked, strict=True):
                row |= {"fold": number} if parts.count else {"split": which}
                row |= {"pretrained": _is_pretrained(name, arguments), "grey": grey}
            results.add_result(part, told, rows)
        yield [{"model": name, **row} for row in rows]


class _Parts:
    """What is learnt from and judged by, in colours or grey; each is made once, when asked for."""

    def __init__(self, data: Dataset, spec: Spec, count: int):
        self.data, self.spec, self.count = data, spec, count
        self.made: dict[bool, list[tuple[Dataset, Spec]]] = {}

    def of(self, *, grey: bool) -> list[tuple[Dataset, Spec]]:
        if grey not in self.made:
            data, spec = self.data, self.spec
            if grey:
                data = replace(data, manifest=dataset.without_colours(data.manifest))
                spec = replace(spec, image_shape=tuple(data.manifest.image_shape))
                spec = cross_validation.spec_of_training_subset(data, spec)
            self.made[grey] = (
                cross_validation.folds_of(data, spec, self.count) if self.count else [(data, spec)]
            )
        return self.made[grey]


def claimed(
    task: Task,
    records: Path,
    name: str,
    *,
    settings: TrainingConfig,
    quick: bool,
    fixed: dict[str, Any],
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
    variant = variants.of(name)
    if candidates.network_of(name) != variant.model:
        return None
    data, spec = open_records.opened(task, records, model=variant.model, is_checked=True)
    data, spec = _Parts(data, spec, 0).of(grey=variant.grey)[0]
    arguments = candidates.arguments(task, name, quick=quick, fixed=fixed)
    with dtype_policy("auto"):
        made = random_split.random_split_scores(
            lambda: build(variant.model, spec, arguments), data, settings=settings
        )
    return made and made["accuracy"]


def _is_pretrained(name: str, arguments: dict[str, Any]) -> bool:
    network = candidates.network_of(name)
    if network is None or "weights" not in calls.arguments_of(network):
        return False
    return arguments.get("weights", variants.IMAGENET) != variants.NONE


def _judged(task: Task, name: str, contest: Contest) -> list[dict]:
    """Trains one model and judges it: a row for each part that it was asked of."""
    began = time.perf_counter()
    said, megabytes = candidates.judge(name, contest)
    seconds = time.perf_counter() - began
    told = {"seconds": seconds, "megabytes": megabytes, "machine": hardware.machine()}
    return [_scores(task, *one) | told for one in said]


def _scores(task: Task, labels: np.ndarray, likely: np.ndarray) -> dict[str, Any]:
    known = labels >= 0
    labels, likely = labels[known], likely[known].astype(float)
    likely /= likely.sum(axis=1, keepdims=True)
    numbers = ordinal.told(task, labels, likely)
    return {
        "examples": len(labels),
        "accuracy": float((likely.argmax(axis=1) == labels).mean()),
        "balanced_accuracy": evaluation_metrics.balanced_accuracy(labels, likely),
        "log_loss": float(metrics.log_loss(labels, likely, labels=np.arange(likely.shape[1]))),
        **{key: value for key, value in numbers.items() if key == compare_summary.ERROR},
    }
