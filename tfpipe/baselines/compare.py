"""Comparison of models on one task: on columns, images or both, pretrained or not, grey or not.

Seed document 000 compares boosted trees on the columns with networks on images, with and without
columns, each on one random split. Here every model is fitted on the same groups and evaluated on
the same other groups, once a fold, so that a difference can be compared with its spread. Nothing is
chosen on the evaluated groups: networks train for a fixed number of epochs, by a learning rate that
falls to 0.

Models that take other images of the same raw files, such as strips of a core where others take
windows, cannot be compared image by image. They are compared by what they find in whole files, on
the packed splits: inference mode and threshold are chosen on the validation files.

Where the splits themselves are published, as in the table of seed document 004, a model is fitted
on the training split once and evaluated on validation and on test. The best of many such scores is
optimistic, because it was chosen as the best. The folds never use the test split.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
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
from tfpipe.baselines import candidates, compare_intervals
from tfpipe.baselines.candidates import IMAGENET, NONE, PRETRAINED, TREES, CandidateRun
from tfpipe.data import dataset
from tfpipe.data import manifest as data_manifest
from tfpipe.data.dataset import Dataset, Subset
from tfpipe.data.manifest import RecordManifest
from tfpipe.data.sampling import BALANCES
from tfpipe.evaluation import metrics as evaluation_metrics
from tfpipe.evaluation import ordinal, whole_files
from tfpipe.models import build, calls, sliding_window
from tfpipe.models.spec import Spec
from tfpipe.search import plan as search_plan
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.task import Task
from tfpipe.training import cross_validation, open_records, random_split, schedules, symmetries
from tfpipe.training.config import SEARCHABLE, TrainingConfig

SPLITS = {"validation": dataset.VALIDATION, "test": dataset.TEST}  # evaluated where no folds are
METRICS = ("accuracy", "balanced_accuracy", "log_loss")
ERROR = "mean_absolute_error"  # where classes are numbers
# Columns of a comparison that are no metrics.
COLUMNS = (
    "model", "fold", "split", "examples", "seconds", "megabytes", "machine", "pretrained", "grey",
    "failed",
)  # fmt: skip
GROUP_TEXT = ("model", "group", "split")  # columns of groups.csv; the others are numbers


def compare_models(
    task: Task,
    records: Mapping[str, Path],
    *,
    raw: Path,
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
      records: view of the task -> its packed records, for each of `views`.
      raw: folder of the raw files.
      names: models, see `candidates.names_of`; None for the task's default ones.
      models: saved_models/<task>.
      folds: number of grouped folds; None for five, or one a group where there are fewer.
      by_splits: whether to score on the packed validation and test splits; None for the task's
        default.
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
    columns = data_manifest.read(records[""]).columns
    names = tuple(names or candidates.default_names(task, tuple(columns)))
    for name in names:
        model = candidates.parse_name(name).model
        choose(model, candidates.names_of(task), noun=f"model for {task.name}")
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
    if len({view_of(task, name).view for name in names}) > 1:
        if folds or by_splits is False:
            raise UserError(
                "Models that take other images are compared in whole files, on the packed splits. "
                "Leave out --folds."
            )
        by_splits = True
    by_splits = task.baselines.packed_splits if by_splits is None else by_splits
    frame = compare(
        task,
        records,
        raw=raw,
        names=names,
        n_folds=folds if folds or not by_splits else 0,
        config=config,
        models=models,
        quick=quick,
        fixed=values,
        report=report,
    )
    groups = tables.read_csv(models / "comparison" / "groups.csv", text=GROUP_TEXT)
    table = summarize(frame).merge(compare_intervals.summarize(groups), how="left", on="model")
    if with_random_split:
        accuracies = []
        for done, name in enumerate(table["model"]):
            report("random-split", {"done": done, "total": len(table)})
            view = view_of(task, name)
            accuracies.append(
                random_split_accuracy(
                    view, records[view.view], name, config=config, quick=quick, fixed=values
                )
            )
        table["random_split_accuracy"] = accuracies
    return table, frame


def views(task: Task, names: Sequence[str] | None) -> tuple[Task, ...]:
    """Returns the views of a task whose records a comparison needs: its own images, and others.

    Args:
      task: the task.
      names: candidates; None for the task's default ones.
    """
    others = [view_of(task, name) for name in names or () if view_of(task, name).view]
    return (task, *{view.view: view for view in others}.values())


def check_views(records: Mapping[str, Path]) -> None:
    """Refuses views of a task that differ in the options or in the split of a raw file.

    Args:
      records: view of the task -> its packed records.

    Raises:
      UserError: one model's test files would be another's training files, or be read otherwise.
    """
    manifests = {view: data_manifest.read(folder) for view, folder in records.items()}
    own = manifests[""]
    for view, manifest in manifests.items():
        if manifest.options != own.options:
            raise UserError(
                f"The {view} of {own.task} are packed with other options than its own images. "
                "Compare again with the same --option for both."
            )
        differing = sorted(_splits_of(own) ^ _splits_of(manifest))
        if differing:
            name = differing[0][0]
            raise UserError(
                f"{name} and perhaps other files are in another split in the {view} of {own.task} "
                "than in its own images, so test files of one model would be training files of "
                "another. Give near-copies one group in the table, or compare models of the same "
                "images."
            )


def _splits_of(manifest: RecordManifest) -> set[tuple[str, str]]:
    return {(name, split) for split, names in manifest.sources.items() for name in names}


def view_of(task: Task, name: str) -> Task:
    """Returns the task with the images that a candidate takes."""
    return task.for_model(candidates.network_of(name) or "")


def compare(
    task: Task,
    records: Mapping[str, Path],
    *,
    raw: Path,
    names: tuple[str, ...],
    n_folds: int | None,
    config: TrainingConfig,
    models: Path,
    quick: bool = False,
    fixed: dict[str, Any] | None = None,
    report: Reporter = silent,
) -> pd.DataFrame:
    """Trains and evaluates each model on each fold; after a stop, the same call resumes.

    Args:
      task: the task.
      records: view of the task -> its packed records.
      raw: folder of the raw files.
      names: candidates, see `candidates.names_of` and `candidates.parse_name`; `TREES` where there
        are columns.
      n_folds: number of folds, none of which uses the test split; None for five, or as many as
        there are groups; 0 for the splits as they are packed.
      config: how networks are trained; their learning rate falls to 0 over the epochs.
      models: saved_models/<task>; results are written to its comparison/.
      quick: whether networks are as small as in quick searches, else as published.
      fixed: values that hold in every network that has such an argument.
      report: receives the stage "compare" with {"done", "total"}.

    Returns:
      A row for each model and fold, or for each of `SPLITS`: model, fold or split, examples,
      accuracy, balanced_accuracy, log_loss, mean_absolute_error where classes are numbers, for
      splits the scores of whole files, seconds of training, megabytes of weights, machine. A
      pretrained model whose weights are not available has one row, with the reason as `failed`.

    Raises:
      UserError: records or folds that do not fit, or no model could be trained.
    """
    check_views(records)
    folds = {
        name: _folds(view_of(task, model), records[name], model, n_folds, raw=raw)
        for model in names
        for name in [view_of(task, model).view]
    }
    n_runs = max(next(iter(folds.values())).count, 1)
    if TREES in names and not folds[""].spec.columns:
        raise UserError(f"{TREES} reads columns, but the records of {task.name} have none.")
    results = ResumableFolder(
        models / "comparison" / "results",
        None,
        work="comparison",
        busy=f"Another comparison is running in {models}. Wait for it to end.",
    )
    rows: list[dict[str, Any]] = []
    total = n_runs * len(names)
    with results:
        for index, name in enumerate(names):
            done = n_runs * index
            report("compare", {"done": done, "total": total})
            try:
                for fold_rows in _rows_of_model(
                    name,
                    folds[view_of(task, name).view],
                    results,
                    config=config,
                    quick=quick,
                    fixed=fixed or {},
                ):
                    rows += fold_rows
                    done += 1
                    report("compare", {"done": done, "total": total})
            except UserError as error:
                if candidates.parse_name(name).start != PRETRAINED or len(names) == 1:
                    raise
                rows.append({"model": name, "failed": str(error)})
    groups = compare_intervals.group_rows(rows)
    frame = pd.DataFrame(rows).drop(columns="groups", errors="ignore")
    if "accuracy" not in frame:
        raise UserError(frame["failed"].iloc[0])
    tables.write_csv(frame, models / "comparison" / "comparison.csv")
    tables.write_csv(groups, models / "comparison" / "groups.csv")
    figure = compare_intervals.plot(frame.dropna(subset=["accuracy"]), groups)
    files.replace(models / "comparison" / "comparison.png", figure)
    return frame


def summarize(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns a row for each model: its scores, its mean seconds of training and its megabytes.

    Folds are summarized by each metric's mean and standard deviation. Splits have each metric as
    <split>_<metric>, and the other columns of the table of seed document 004: pretrained, grey and
    machine.
    """
    rows = []
    for name, group in frame.groupby("model", sort=False):
        row: dict[str, Any] = {"model": name, "failed": _first(group, "failed") or ""}
        if "split" in frame:
            row |= {column: _first(group, column) for column in ("pretrained", "grey", "machine")}
            for split in group["split"].dropna().unique():
                scores = group[group["split"] == split]
                for column in ("examples", *metrics_of(frame)):
                    row[f"{split}_{column}"] = _first(scores, column)
        else:
            row["folds"] = int(group["accuracy"].notna().sum())
            for metric in metrics_of(frame):
                row[metric] = group[metric].mean()
                row[f"{metric}_sd"] = group[metric].std(ddof=1)
        row["seconds"] = group["seconds"].mean()
        row["megabytes"] = group["megabytes"].mean()
        rows.append(row)
    return pd.DataFrame(rows)


def metrics_of(frame: pd.DataFrame) -> tuple[str, ...]:
    """Returns the metrics of a comparison; those of whole files have other names in each task."""
    others = [name for name in frame if name not in (*METRICS, ERROR, *COLUMNS)]
    return (*METRICS, *([ERROR] if ERROR in frame else []), *others)


def random_split_accuracy(
    task: Task,
    records: Path,
    name: str,
    *,
    config: TrainingConfig,
    quick: bool,
    fixed: dict[str, Any],
) -> float | None:
    """Returns the optimistic accuracy of a network when images are split at random.

    Args:
      task: the task, with the images that the network takes.
      records: its packed records.
      name: name of the network.
      config: as in `compare`.
      quick: as in `compare`.
      fixed: as in `compare`.

    Returns:
      The accuracy, see `random_split`; None for what is no network, or where images are too few.
    """
    variant = candidates.parse_name(name)
    if candidates.network_of(name) != variant.model:
        return None
    data, spec = open_records.opened(task, records, model=variant.model, is_checked=True)
    data, spec = _Folds(task, data, spec, 0).get(grey=variant.grey)[0]
    arguments = candidates.arguments(task, name, quick=quick, fixed=fixed)
    config = _config_of(task, name, data, config, fixed=fixed)
    with dtype_policy("auto"):
        scores = random_split.random_split_scores(
            lambda: build(variant.model, spec, arguments), data, settings=config
        )
    return scores["accuracy"] if scores else None


def evaluate_candidate(task: Task, name: str, run: CandidateRun) -> list[dict[str, Any]]:
    """Fits one candidate and returns a row of scores for each evaluated subset."""
    start = time.perf_counter()
    result = candidates.fit_and_predict(name, run)
    cost = {
        "seconds": time.perf_counter() - start,
        "megabytes": result.megabytes,
        "machine": hardware.machine(),
    }
    of_files: Sequence[dict[str, float]] = result.file_scores or [{} for _ in result.predictions]
    return [
        _scores(task, labels, probs)
        | {"groups": _right_by_group(run.data, subset, labels, probs)}
        | scores
        | cost
        for subset, (labels, probs), scores in zip(
            run.evaluated, result.predictions, of_files, strict=True
        )
    ]


def _right_by_group(
    data: Dataset, subset: Subset, labels: np.ndarray, probabilities: np.ndarray
) -> dict[str, tuple[int, int]]:
    """Returns group -> (images classified rightly, images) of a subset's labelled images."""
    groups = dataset.groups_of(data.folder, subset.splits, manifest=data.manifest)
    stored = dataset.labels_of(data.folder, subset.splits, manifest=data.manifest)
    if subset.chosen is not None:
        groups, stored = groups[subset.chosen], stored[subset.chosen]
    names = np.array([group.decode() for group in groups[stored >= 0].tolist()])
    is_labelled = labels >= 0
    is_right = probabilities[is_labelled].argmax(axis=1) == labels[is_labelled]
    return {
        str(name): (int(is_right[names == name].sum()), int((names == name).sum()))
        for name in np.unique(names)
    }


class _Folds:
    """Training and evaluation data of each fold, in colours or grey; computed when needed."""

    def __init__(
        self,
        task: Task,
        data: Dataset,
        spec: Spec,
        count: int,
        *,
        evaluate_files: Callable[[keras.Model], tuple[dict[str, float], ...]] | None = None,
    ):
        self.task, self.data, self.spec, self.count = task, data, spec, count
        self.evaluate_files = evaluate_files
        self._cache: dict[bool, list[tuple[Dataset, Spec]]] = {}

    def get(self, *, grey: bool) -> list[tuple[Dataset, Spec]]:
        if grey not in self._cache:
            data, spec = self.data, self.spec
            if grey:
                data = replace(data, manifest=dataset.without_colours(data.manifest))
                spec = replace(spec, image_shape=data.manifest.image_shape)
                spec = cross_validation.spec_of_training_subset(data, spec)
            self._cache[grey] = (
                cross_validation.folds_of(data, spec, self.count) if self.count else [(data, spec)]
            )
        return self._cache[grey]


def _folds(task: Task, records: Path, name: str, n_folds: int | None, *, raw: Path) -> _Folds:
    """Returns the folds of a view of a task; by splits, whole files are evaluated as well."""
    model = candidates.network_of(name) or task.models[0]
    data, spec = open_records.opened(task, records, model=model, is_checked=False)
    task = replace(task, classes=spec.classes)
    count = cross_validation.default_count(data) if n_folds is None else n_folds
    if count or task.whole_file is None or task.whole_file.evaluate is None:
        return _Folds(task, data, spec, count)
    options = parse_options(task, [f"{n}={v}" for n, v in data.manifest.options.items()])

    def evaluate_files(network: keras.Model) -> tuple[dict[str, float], ...]:
        """Returns scores in the whole files of each of `SPLITS`, by the best validation mode."""
        modes = sliding_window.by_inference_mode(network)
        results = whole_files.evaluate_modes(task, raw, data, dict(modes), options=options)
        _, best = whole_files.best_mode(task, results)
        metrics_by_split = best.summary()["metrics"] if best else {}
        return tuple(metrics_by_split.get(split, {}) for split in SPLITS)

    return _Folds(task, data, spec, count, evaluate_files=evaluate_files)


def _rows_of_model(
    name: str,
    folds: _Folds,
    results: ResumableFolder,
    *,
    config: TrainingConfig,
    quick: bool,
    fixed: dict[str, Any],
) -> Iterator[list[dict[str, Any]]]:
    """Yields the rows of one model, fold by fold; results of an earlier run are read."""
    task = folds.task
    if candidates.network_of(name):
        config = _config_of(task, name, folds.data, config, fixed=fixed)
    arguments = candidates.arguments(task, name, quick=quick, fixed=fixed)
    grey = candidates.network_of(name) is not None and candidates.parse_name(name).grey
    for number, (data, spec) in enumerate(folds.get(grey=grey), start=1):
        plan = {
            "model": name,
            "fold": number,
            "folds": folds.count,
            "arguments": arguments,
            "data": data.manifest.fingerprint,
            "settings": asdict(config),
        }
        if folds.evaluate_files:
            sources = resumable.hash_of(data.manifest.sources)
            plan |= {"files": "best mode", "sources": sources}
        key = resumable.hash_of(plan)[:24]
        evaluated = {"fold": data.validation} if folds.count else SPLITS
        rows = results.result(key, plan)
        if not _are_scores(rows, count=len(evaluated)):
            run = CandidateRun(
                data,
                spec,
                tuple(evaluated.values()),
                arguments,
                config,
                None if grey else folds.evaluate_files,
            )
            rows = evaluate_candidate(task, name, run)
            for row, split in zip(rows, evaluated, strict=True):
                row |= {"fold": number} if folds.count else {"split": split}
                row |= {"pretrained": _is_pretrained(name, arguments), "grey": grey}
            results.add_result(key, plan, rows)
        yield [{"model": name, **row} for row in rows]


def _config_of(
    task: Task, name: str, data: Dataset, config: TrainingConfig, *, fixed: dict[str, Any]
) -> TrainingConfig:
    """Returns how a network is trained: by its own recipe, where it has one, as `train` does it.

    Args:
      task: the task, or a view of it.
      name: of the network.
      data: the records.
      config: of the comparison; the epochs are the same for all.
      fixed: the user's values, which hold before those of a recipe.
    """
    recipe = search_plan.recipe_of(tuning.search_of(task.name, candidates.parse_name(name).model))
    own = {value: recipe[value] for value in recipe if value not in fixed}
    config = replace(config, **own, augmentation=task.preprocessing.augmentation)
    return symmetries.with_measured_augmentation(config, data)


def _are_scores(rows: Any, *, count: int) -> bool:
    """Returns whether a stored result is what `evaluate_candidate` returns; it may be damaged."""
    numbers = ("examples", *METRICS, "seconds", "megabytes")
    return (
        isinstance(rows, list)
        and len(rows) == count
        and all(isinstance(row, dict) for row in rows)
        and all(type(row.get(name)) in (int, float) for row in rows for name in numbers)
        and all(isinstance(row.get("machine"), str) for row in rows)
    )


def _is_pretrained(name: str, arguments: dict[str, Any]) -> bool:
    network = candidates.network_of(name)
    if network is None or "weights" not in calls.arguments_of(network):
        return False
    return arguments.get("weights", IMAGENET) != NONE


def _scores(task: Task, labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    is_labelled = labels >= 0
    labels, probs = labels[is_labelled], probabilities[is_labelled].astype(float)
    probs /= probs.sum(axis=1, keepdims=True)
    scores = {
        "examples": len(labels),
        "accuracy": float((probs.argmax(axis=1) == labels).mean()),
        "balanced_accuracy": evaluation_metrics.balanced_accuracy(labels, probs.argmax(axis=1)),
        "log_loss": float(metrics.log_loss(labels, probs, labels=np.arange(probs.shape[1]))),
    }
    ordinal_scores = ordinal.metrics(task, labels, probs, predicted=probs.argmax(axis=1))
    if ERROR in ordinal_scores:
        scores[ERROR] = ordinal_scores[ERROR]
    return scores


def _first(frame: pd.DataFrame, name: str) -> Any:
    """Returns a column's first value; None where there is none."""
    values = frame[name].dropna() if name in frame else pd.Series()
    return values.iloc[0] if len(values) else None
