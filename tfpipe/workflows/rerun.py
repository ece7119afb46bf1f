"""Rerun: a run repeated from its run.yaml."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.base.hardware import PRECISIONS
from tfpipe.base.progress import Reporter, silent
from tfpipe.data.sampling import BALANCES
from tfpipe.registry import store, trees
from tfpipe.search.run import WorkerConfig
from tfpipe.tasks import catalog
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.task import Task
from tfpipe.training.config import TrainingConfig
from tfpipe.workflows import train
from tfpipe.workflows.run_config import RunConfig


def check(config: RunConfig, task: Task) -> None:
    """Checks the names of a run before anything is packed or written.

    Raises:
      UserError: the task has no such model, or the run says not how it is trained.
    """
    models = (trees.MODEL,) if config.trees else task.models
    choose(config.model, models, noun=f"model for {task.name}")
    choose(config.precision, PRECISIONS, noun="precision")
    if config.trees is None and config.training is None and config.search is None:
        raise UserError(
            "run.yaml has neither training, search nor trees. Give the file of a version."
        )
    if config.training:
        choose(config.training.balance, BALANCES, noun="balance")
    if config.search and config.search.model != config.model:
        raise UserError(
            f"run.yaml is of the model {config.model}, but its search is of {config.search.model}. "
            "Give the file of a version."
        )


def rerun(
    config: RunConfig,
    task: Task,
    *,
    raw: Path,
    records: Path,
    models: Path,
    report: Reporter = silent,
) -> dict[str, Any]:
    """Repeats a run on packed records, and publishes the result as the next version.

    Args:
      config: the run, checked by `check`.
      task: its task.
      raw: folder of the raw files.
      records: folder of the packed records.
      models: saved_models/<task>.
      report: receives the progress.

    Returns:
      {"version", "path", "metrics"}.

    Raises:
      UserError: the version whose weights training started from is missing.
    """
    start = _start(config, models / config.model)
    if config.trees:
        return train.train_trees(
            task,
            records,
            models / config.model,
            config=config.trees,
            command=config.command,
            retrained_from=start,
            report=report,
        )
    training = config.training or TrainingConfig(augmentation=task.preprocessing.augmentation)
    run = train.TrainingRun(
        task=task,
        model=config.model,
        raw=raw,
        records=records,
        models=models / config.model,
        options=parse_options(task, [f"{name}={value}" for name, value in config.options.items()]),
        config=training,
        precision=config.precision,
        hyperparameters=config.search.fixed if config.search else {},
        random_split=config.random_split,
        report=report,
        initialized_from=start,
    )
    if config.search:
        search = replace(
            config.search, task=catalog.origin_of(task), records=str(records.resolve())
        )
        epochs = config.training.epochs if config.training else None
        return train.tune(run, search, workers=WorkerConfig(), epochs=epochs)
    return train.train_as_given(run, config.hyperparameters, command=config.command)


def _start(config: RunConfig, folder: Path) -> Path | None:
    """Returns the version whose weights training starts from, or None."""
    if config.initialized_from is None:
        return None
    if config.initialized_from not in store.versions(folder):
        raise UserError(
            f"The run started from version {config.initialized_from} of {config.model}, which is "
            f"not in {folder}. Copy it there."
        )
    return folder / str(config.initialized_from)
