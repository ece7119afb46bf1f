"""Trainings in TensorBoard, and as runs of a real MLflow server, with their models."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import cv2
import four_class_task
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfpipe.base.errors import UserError
from tfpipe.registry import load, store
from tfpipe.training.config import TrainingConfig
from tfpipe.workflows import tracking, train
from tfpipe.workflows.train import TrainingRun

EPOCHS = 3
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return four_class_task.packed(tmp_path_factory.mktemp("kinds"))


@pytest.fixture
def run(data, tmp_path) -> TrainingRun:
    return TrainingRun(
        task=four_class_task.TASK,
        model="image-and-columns",
        raw=data.folder.parent / "raw",
        records=data.folder,
        models=tmp_path / "image-and-columns",
        options=four_class_task.TASK.options,
        config=TrainingConfig(epochs=EPOCHS),
        precision="float32",
        hyperparameters={"filters": 2, "dense_units": 4, "branch_units": 4},
        random_split=False,
    )


# TensorBoard.


def events_of(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()


def numbers(events: EventAccumulator, tag: str) -> tuple[list[int], list[float]]:
    """Returns the steps and the values of a scalar."""
    found = events.Tensors(tag)
    values = [np.frombuffer(e.tensor_proto.tensor_content, "<f4").item() for e in found]
    return [e.step for e in found], values


def test_tensorboard_has_curves_scores_images_and_hyperparameters(run, tmp_path):
    made = train.train(replace(run, tensorboard=tmp_path / "board"))
    card = store.read_card(Path(made["path"]))
    (folder,) = (tmp_path / "board" / "kinds").iterdir()
    events = events_of(folder)
    steps, losses = numbers(events, "loss")
    assert steps == [1, 2, 3]
    np.testing.assert_allclose(losses, card.history["loss"], rtol=1e-6)
    _, (accuracy,) = numbers(events, "test/accuracy")
    assert accuracy == pytest.approx(card.metrics["test"]["accuracy"])
    for tag in ("examples", "confusion of the test split"):
        (event,) = events.Tensors(tag)
        _, _, png = event.tensor_proto.string_val  # width, height, image
        image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        assert image.shape[0] > 100 and image.std() > 10, tag
    (session,) = [tag for tag in events.Tags()["tensors"] if tag.startswith("_hparams_")]
    content = events.SummaryMetadata(session).plugin_data.content
    assert b"dense_units" in content and b"learning_rate" in content


def test_another_training_has_a_folder_of_its_own_beside_it(run):
    values = {"model": run.model, "units": 4, "widths": (1, 2)}
    assert tracking.run_name(values) == tracking.run_name(dict(reversed(values.items())))
    assert tracking.run_name(values) != tracking.run_name(values | {"units": 5})
    assert tracking.run_name(values).startswith("image-and-columns-")


# MLflow.


def test_mlflow_is_asked_for_in_a_sentence_where_it_is_not_installed(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match="pip install mlflow"):
        train.train(replace(run, mlflow="http://127.0.0.1:5000"))
    assert not (run.models / "1").exists()


@pytest.fixture(scope="module")
def mlflow():
    return pytest.importorskip("mlflow")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def server(mlflow, tmp_path):
    """The address of a running MLflow server, and its process."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/runs.db"]
    command += ["--artifacts-destination", str(tmp_path / "artifacts")]
    with (
        (tmp_path / "server.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True) as process,
    ):
        try:
            _wait_for(address)
            yield address, process
        finally:
            _stop(process)


def _wait_for(address: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("The server does not answer.")


def _stop(process: subprocess.Popen) -> None:
    """Ends the server with its workers."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait()


def only_run(mlflow, address: str):
    client = mlflow.MlflowClient(tracking_uri=address)
    number = client.get_experiment_by_name("kinds").experiment_id
    (found,) = client.search_runs([number])
    (model,) = client.search_logged_models([number]) or (None,)
    return client, found, model


def test_a_run_has_curves_scores_the_report_and_a_model_that_predicts_the_same(
    run, data, mlflow, server, capsys
):
    before = mlflow.get_tracking_uri()
    made = train.train(replace(run, mlflow=server[0]))
    assert mlflow.get_tracking_uri() == before and mlflow.active_run() is None
    assert capsys.readouterr().out == ""  # a command with --json prints one object
    version = Path(made["path"])
    card = store.read_card(version)
    client, found, model = only_run(mlflow, server[0])
    assert found.info.status == "FINISHED"
    assert found.data.params["dense_units"] == "4"
    assert found.data.tags["tfpipe.version"] == "kinds/image-and-columns/1"
    assert found.data.metrics["test_accuracy"] == card.metrics["test"]["accuracy"]
    history = client.get_metric_history(found.info.run_id, "val_loss")
    assert [(one.step, one.value) for one in history] == [
        *enumerate(card.history["val_loss"], start=1)
    ]
    files = {one.path for one in client.list_artifacts(found.info.run_id)}
    assert {"report.html", "card.json", "run.yaml"} <= files

    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.integers(0, 255, (7, 16, 16, 1), dtype=np.uint8),
        "columns": rng.normal(size=(7, 2)).astype(np.float32),
    }
    expected = load.open_version(version).predict_proba(inputs["image"], inputs["columns"])
    mlflow.set_tracking_uri(server[0])
    try:
        as_function = mlflow.pyfunc.load_model(model.model_uri)
        as_keras = mlflow.keras.load_model(model.model_uri)
    finally:
        mlflow.set_tracking_uri(before)
    for answer in (as_function.predict(inputs), as_keras.predict(inputs, verbose=0)):
        np.testing.assert_allclose(answer, expected, atol=1e-5)
    signature = as_function.metadata.signature
    assert {one.name for one in signature.inputs} == {"image", "columns"}
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"(?s)image.*schema"):
        as_function.predict({"image": inputs["image"].astype(np.float64)[:, :3]})
    assert tuple(as_function.metadata.metadata["classes"]) == four_class_task.CLASSES


def test_an_interrupted_training_is_marked_and_goes_on_in_its_run(run, mlflow, server):
    def interrupt(stage, progress):
        if stage == "train" and progress["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train(replace(run, mlflow=server[0], report=interrupt))
    assert only_run(mlflow, server[0])[1].info.status == "KILLED"
    train.train(replace(run, mlflow=server[0]))
    client, found, model = only_run(mlflow, server[0])
    assert found.info.status == "FINISHED" and model
    history = client.get_metric_history(found.info.run_id, "loss")
    assert {one.step for one in history} == {1, 2, 3}


def test_a_server_that_is_gone_is_named_once_and_the_version_is_published(run, server, caplog):
    address, process = server

    def end(stage, progress):
        if stage == "train" and progress["epoch"] == 1:
            _stop(process)

    made = train.train(replace(run, mlflow=address, report=end))
    assert Path(made["path"]).is_dir()
    warnings = [one for one in caplog.messages if "does not take the training any more" in one]
    assert len(warnings) == 1 and address in warnings[0]


def test_a_server_that_is_not_there_is_named_within_seconds_without_its_password(run, mlflow):
    begin = time.monotonic()
    with pytest.raises(UserError, match="cannot be used") as refused:
        train.train(replace(run, mlflow=f"http://user:secret@127.0.0.1:{free_port()}"))
    assert "secret" not in str(refused.value)
    assert time.monotonic() - begin < 20
