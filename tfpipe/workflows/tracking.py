"""Experiment trackers: a training and its version in TensorBoard, or as a run of MLflow."""

import contextlib
import hashlib
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfpipe.base import figures, files, storage
from tfpipe.base.errors import UserError
from tfpipe.data import manifest as data_manifest
from tfpipe.models.calls import inputs_of
from tfpipe.registry import load, store
from tfpipe.registry.card import CLASSIFIER, VersionCard
from tfpipe.report import example_sheet, notebook

LOG = logging.getLogger(__name__)
RUN_ID = "mlflow-run.json"  # in the folder of an unfinished training
DPI = 80  # of figures in TensorBoard
EXAMPLES = 6  # images of a class in TensorBoard
MAX_PARAMETER_LETTERS = 500  # older servers of MLflow refuse more
# What an MLflow model needs to be loaded, beside MLflow.
PACKAGES = ("tensorflow", "keras", "numpy")
# MLflow itself tries for minutes, while the training waits. A user's own values are left.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


class Tracker(Protocol):
    """What follows a training, and then has its version."""

    def log_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Logs the metrics of an epoch, from 1."""

    def log_version(self, version: Path, records: Path) -> None:
        """Logs the published version, which was trained on packed records."""

    def fail(self, *, is_interrupted: bool) -> None:
        """Notes that the training has ended without a version."""


@contextlib.contextmanager
def tracked(
    *,
    tensorboard: Path | None,
    mlflow: str | None,
    name: str,
    values: dict[str, Any],
    unfinished: Path,
) -> Iterator[list[Tracker]]:
    """Yields the trackers of a training, which learn of its end.

    Args:
      tensorboard: folder of event files; None for no TensorBoard.
      mlflow: tracking URI; None for no MLflow.
      name: of the experiment: the task's.
      values: hyperparameters and settings.
      unfinished: folder of the training while it is unfinished. A resumed training goes on in its
        MLflow run.

    Raises:
      UserError: MLflow is not installed, or cannot be reached.
    """
    trackers: list[Tracker] = []
    if tensorboard:
        trackers.append(TensorBoardTracker(tensorboard / name / run_name(values), values))
    if mlflow:
        trackers.append(MlflowTracker(mlflow, name, values, unfinished / RUN_ID))
    try:
        yield trackers
    except BaseException as error:
        for tracker in trackers:
            tracker.fail(is_interrupted=not isinstance(error, Exception))
        raise


def run_name(values: dict[str, Any]) -> str:
    """Returns a name that equal hyperparameters and settings share: a resumed training goes on."""
    text = json.dumps(values, sort_keys=True, default=str).encode()
    return f"{values['model']}-{hashlib.sha256(text).hexdigest()[:8]}"


class TensorBoardTracker:
    """Event files for `tensorboard --logdir`: curves, images, confusion matrix, HParams.

    Args:
      folder: of this training; those of others beside it are compared with it.
      values: hyperparameters and settings.
    """

    def __init__(self, folder: Path, values: dict[str, Any]):
        self._folder, self._values = folder, values
        with files.writing_to(folder, option="--tensorboard"):
            self._writer = tf.summary.create_file_writer(str(folder))

    def log_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        with self._writing(epoch):
            for name, value in metrics.items():
                tf.summary.scalar(name, value)

    def log_version(self, version: Path, records: Path) -> None:
        from tensorboard.plugins.hparams import api as hparams  # imports TensorBoard, a second

        card, manifest = store.read_card(version), data_manifest.read(records)
        with self._writing(0):
            hparams.hparams(_flat(self._values), trial_id=self._folder.name)
            for name, value in _numbers(card.metrics.get("test", {})).items():
                tf.summary.scalar(f"test/{name}", value)
            sheet = example_sheet.draw(
                records, manifest=manifest, split="train", per_class=EXAMPLES, seed=0
            )
            _image("examples", sheet)
            if card.kind == CLASSIFIER:
                _image("confusion of the test split", notebook.confusion(version))
        self._writer.close()

    def fail(self, *, is_interrupted: bool) -> None:
        self._writer.close()

    @contextlib.contextmanager
    def _writing(self, step: int) -> Iterator[None]:
        place = files.writing_to(self._folder, option="--tensorboard")
        with place, self._writer.as_default(step=step):
            yield
            self._writer.flush()


class MlflowTracker:
    """A run of an MLflow server: parameters, curves, test metrics, report, and the Keras model.

    A server that is not reached any more is named once, and the training goes on without it.

    Args:
      address: tracking URI, such as http://127.0.0.1:5000 or sqlite:///runs.db.
      experiment: name of the experiment.
      values: parameters of the run.
      run_file: file that holds the run's id while the training is unfinished.

    Raises:
      UserError: MLflow is not installed, or cannot be reached.
    """

    def __init__(self, address: str, experiment: str, values: dict[str, Any], run_file: Path):
        try:
            import mlflow
        except ImportError as error:
            raise UserError(
                "--mlflow needs MLflow, which is not installed. Run `pip install mlflow`."
            ) from error
        self._mlflow, self._address, self._is_reached = mlflow, address, True
        try:
            with _impatient():
                self._client = mlflow.MlflowClient(tracking_uri=address)
                self._run = self._run_of(experiment, values, run_file)
        except (mlflow.exceptions.MlflowException, OSError) as error:
            raise UserError(
                f"MLflow at {storage.shown(address)} cannot be used ({self._reason(error)}). Start "
                "the server by `mlflow server`, or name another one by --mlflow."
            ) from error

    def _run_of(self, experiment: str, values: dict[str, Any], run_file: Path) -> str:
        """Returns the id of the run that an interrupted training had, else of a new one."""
        if run_file.is_file():
            before = json.loads(run_file.read_text())
            if before["address"] == self._address:
                self._client.update_run(before["run"], status="RUNNING")
                return before["run"]
        match = self._client.get_experiment_by_name(experiment)
        number = match.experiment_id if match else self._client.create_experiment(experiment)
        run = self._client.create_run(number, run_name=run_name(values)).info.run_id
        for name, value in _flat(values).items():
            self._client.log_param(run, name, str(value)[:MAX_PARAMETER_LETTERS])
        files.replace(run_file, json.dumps({"address": self._address, "run": run}).encode())
        return run

    def log_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        if not self._is_reached:
            return
        with self._reaching():
            for name, value in metrics.items():
                self._client.log_metric(self._run, name, value, step=epoch)

    def log_version(self, version: Path, records: Path) -> None:
        if not self._is_reached:
            return
        card, extra = store.read_card(version), version / "assets.extra"
        with self._reaching():
            for name, value in _numbers(card.metrics.get("test", {})).items():
                self._client.log_metric(self._run, f"test_{name}", value)
            tags = {"version": f"{card.task}/{card.model}/{card.version}", "path": str(version)}
            for tag, text in (tags | {"records": card.data.fingerprint}).items():
                self._client.set_tag(self._run, f"tfpipe.{tag}", text)
            for file in ("report.html", "card.json", "run.yaml", "history.csv"):
                if (extra / file).is_file():
                    self._client.log_artifact(self._run, str(extra / file))
            with self._active_run():
                _log_model(load.read_model(version), card)

    def fail(self, *, is_interrupted: bool) -> None:
        if not self._is_reached:
            return
        with self._reaching():
            self._client.set_terminated(self._run, "KILLED" if is_interrupted else "FAILED")

    @contextlib.contextmanager
    def _active_run(self) -> Iterator[None]:
        """Makes the run and the server those of MLflow's global functions; ends the run.

        What was theirs before is put back.
        """
        before = self._mlflow.get_tracking_uri()
        self._mlflow.set_tracking_uri(self._address)
        try:
            with self._mlflow.start_run(run_id=self._run, nested=True):
                yield
        finally:
            self._mlflow.set_tracking_uri(before)

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """Warns of a server that is gone."""
        try:
            # MLflow prints addresses.
            with contextlib.redirect_stdout(io.StringIO()), _impatient():
                yield
        except (self._mlflow.exceptions.MlflowException, OSError) as error:
            self._is_reached = False
            LOG.warning(
                "MLflow at %s does not take the training any more (%s). It goes on without.",
                storage.shown(self._address),
                self._reason(error),
            )

    def _reason(self, error: Exception) -> str:
        """Returns the first line of an error, without the password that an address may hold."""
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return lines[0].replace(self._address, storage.shown(self._address))


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Lets MLflow give up after seconds."""
    added = [name for name in PATIENCE if name not in os.environ]
    os.environ.update({name: PATIENCE[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _log_model(model: keras.Model, card: VersionCard) -> None:
    """Logs the model with its signature to MLflow's active run, for mlflow.keras and pyfunc."""
    import mlflow.keras
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def schema(tensors: dict[str, Any]) -> Schema:
        return Schema(
            [
                TensorSpec(np.dtype(tensor.dtype), (-1, *tensor.shape[1:]), name)
                for name, tensor in tensors.items()
            ]
        )

    inputs = {name: model.input[name] for name in inputs_of(model)}
    outputs = schema(dict(zip(model.output_names, model.outputs, strict=True)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's own, about what is chosen here
        mlflow.keras.log_model(
            model,
            name="model",
            signature=ModelSignature(schema(inputs), outputs),
            pip_requirements=[f"{name}=={card.packages[name]}" for name in PACKAGES],
            metadata={"classes": list(card.classes), "thresholds": dict(card.thresholds)},
        )


def _image(name: str, figure: figures.StyledFigure) -> None:
    pixels = tf.io.decode_png(figures.png(figure, dpi=DPI), channels=3)
    tf.summary.image(name, pixels[None])


def _flat(values: dict[str, Any]) -> dict[str, bool | int | float | str]:
    """Returns values as trackers take them: what is no number, word or boolean as text."""
    kinds = (bool, int, float, str)
    return {name: v if isinstance(v, kinds) else str(v) for name, v in values.items()}


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """Returns the metrics that are finite numbers."""
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    return {name: float(value) for name, value in numbers.items() if np.isfinite(value)}
