"""One training of a model at a time: a second one is held back, and a dead one is no obstacle."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import four_class_task
import pytest

from tfpipe.base.errors import UserError
from tfpipe.data.dataset import Dataset
from tfpipe.registry import store
from tfpipe.training.config import TrainingConfig
from tfpipe.workflows import train
from tfpipe.workflows.train import TrainingRun

HOLDER = (
    "import sys, time; from pathlib import Path\n"
    "from tfpipe.base.resumable import ResumableFolder\n"
    "with ResumableFolder(Path(sys.argv[1]), None, work='training', busy=''):\n"
    "    print('held', flush=True); time.sleep(60)"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Dataset:
    return four_class_task.packed(tmp_path_factory.mktemp("kinds"))


def run_of(data: Dataset, models: Path) -> TrainingRun:
    return TrainingRun(
        task=four_class_task.TASK,
        model="columns-mlp",
        raw=data.folder.parent / "raw",
        records=data.folder,
        models=models,
        options=four_class_task.TASK.options,
        config=TrainingConfig(epochs=1),
        precision="float32",
        random_split=False,
    )


@pytest.fixture
def other(tmp_path):
    """Another process that trains the same model."""
    command = [sys.executable, "-c", HOLDER, tmp_path / "columns-mlp" / "training"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_training_of_a_model_is_held_back_in_one_sentence(data, tmp_path, other):
    models = tmp_path / "columns-mlp"
    with pytest.raises(UserError) as refused:
        train.train(run_of(data, models))
    sentence = f"Another training is running in {models}. Wait for it to end."
    assert str(refused.value) == sentence
    assert not store.versions(models) and not (models / "training").exists()


@pytest.mark.slow
def test_a_training_that_died_is_no_obstacle(data, tmp_path, other):
    other.kill()
    other.wait()
    models = tmp_path / "columns-mlp"
    made = train.train(run_of(data, models))
    assert store.versions(models) == [made["version"]] == [1]
    assert not (models / "training").exists() and not (models / ".training.lock").exists()


@pytest.mark.slow
def test_an_equal_training_measures_the_random_split_once(data, tmp_path):
    stages: list[str] = []
    run = replace(
        run_of(data, tmp_path / "columns-mlp"),
        random_split=True,
        report=lambda stage, numbers: stages.append(stage),
    )
    first, second = (train.train(run) for _ in range(2))
    assert stages.count("random-split") == 2, "its beginning and its only epoch, once"
    cards = [store.read_card(Path(made["path"])) for made in (first, second)]
    assert cards[0].random_split_scores == cards[1].random_split_scores != {}
    other = replace(run, config=replace(run.config, seed=1))
    third = store.read_card(Path(train.train(other)["path"]))
    assert stages.count("random-split") == 2, "records, model and epochs are the same"
    assert third.random_split_scores == cards[0].random_split_scores
    assert third.random_split_version == 2, "the newest that it was measured for"
    assert third.random_split_grouped["accuracy"] == cards[1].metrics["test"]["accuracy"]
    report = (tmp_path / "columns-mlp" / "3" / "assets.extra" / "report.html").read_text()
    assert "Both columns are of version 2" in report
    again = store.read_card(Path(train.train(other)["path"]))
    assert again.random_split_version == 2 and again.random_split_grouped
    more = replace(run, config=replace(run.config, epochs=2))
    fifth = store.read_card(Path(train.train(more)["path"]))
    assert stages.count("random-split") > 2 and fifth.random_split_version is None
