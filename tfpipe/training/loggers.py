"""Epoch callbacks that log metrics: to a CSV, TensorBoard or MLflow."""

import csv
import io
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.training.loop import EpochCallback


def history_csv(path: Path) -> EpochCallback:
    """Returns a callback that writes a table with one row per epoch.

    The first column is `epoch`, from 1. The file is replaced after each epoch. A resumed training
    appends to the earlier rows, and replaces those of epochs that it repeats.
    """

    def log(epoch: int, metrics: dict[str, float]) -> None:
        rows = _rows_before(path, epoch)
        rows.append({"epoch": str(epoch)} | {name: repr(v) for name, v in metrics.items()})
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[-1]), restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        files.replace(path, text.getvalue().encode())

    return log


def _rows_before(path: Path, epoch: int) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if int(row["epoch"]) < epoch]


def to_tensorboard(folder: Path) -> EpochCallback:
    """Returns a callback that writes scalar summaries, for `tensorboard --logdir`."""
    writer = tf.summary.create_file_writer(str(folder))

    def log(epoch: int, metrics: dict[str, float]) -> None:
        with files.writing_to(folder, option="--tensorboard"), writer.as_default(step=epoch):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)
            writer.flush()

    return log


def to_mlflow(address: str, *, experiment: str, values: dict[str, Any]) -> EpochCallback:
    """Returns a callback that logs metrics to an MLflow tracking server or folder, in one run.

    Args:
      address: a tracking URI, such as http://127.0.0.1:5000 or a folder.
      experiment: name of the experiment.
      values: parameters of the run.

    Raises:
      UserError: MLflow is not installed, or cannot be reached.
    """
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise UserError(
            "--mlflow needs MLflow, which is not installed. Run `pip install mlflow`."
        ) from error
    try:
        client = mlflow.MlflowClient(tracking_uri=address)
        match = client.get_experiment_by_name(experiment)
        number = match.experiment_id if match else client.create_experiment(experiment)
        run = client.create_run(number).info.run_id
        for name, value in values.items():
            client.log_param(run, name, value)
    except (MlflowException, OSError) as error:
        raise UserError(f"MLflow at {address!r} cannot be used ({error}).") from error

    def log(epoch: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            client.log_metric(run, name, value, step=epoch)

    return log
