"""Precision by the environment: models compute in it, and the global policy is float32 after."""

import dataclasses

import four_class_task
import keras
import pytest
import search_run
import tiny

from tfpipe.base import hardware
from tfpipe.baselines import compare
from tfpipe.explore import run as explore_run
from tfpipe.training import loop
from tfpipe.training.config import TrainingConfig
from tfpipe.workflows import train
from tfpipe.workflows.train import TrainingRun

pytestmark = pytest.mark.slow  # each trains

SMALL = {"filters": 4, "conv_layers": 2, "dense_units": 8, "dropout": 0.0}
TASK = dataclasses.replace(
    four_class_task.TASK, models=("simple-cnn", "columns-mlp"), columns=("level", "other")
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return four_class_task.packed(tmp_path_factory.mktemp("kinds"), files=16, task=TASK)


@pytest.fixture
def dtypes(monkeypatch):
    """Lets "auto" be mixed_bfloat16; returns the dtypes that each fitted model computes in."""
    monkeypatch.setenv(hardware.PRECISION_VARIABLE, "mixed_bfloat16")
    fit, dtypes = loop.fit, []

    def recorded(model, *args, **kwargs):
        dtypes.append({layer.compute_dtype for layer in model.layers})
        return fit(model, *args, **kwargs)

    monkeypatch.setattr(loop, "fit", recorded)
    return dtypes


def policy() -> str:
    return keras.config.dtype_policy().name


def run_of(data, models, **changes) -> TrainingRun:
    return TrainingRun(
        task=TASK,
        raw=data.folder.parent / "raw",
        records=data.folder,
        models=models,
        options=TASK.options,
        config=TrainingConfig(epochs=1),
        random_split=False,
        **changes,
    )


def test_the_policy_is_float32_after_training_and_comparing(data, tmp_path, dtypes):
    train.train(run_of(data, tmp_path / "models", model="columns-mlp"))
    assert policy() == "float32" and "bfloat16" in dtypes.pop()
    compare.compare(
        TASK,
        {"": data.folder},
        raw=data.folder,
        names=("columns-mlp",),
        n_folds=2,
        config=TrainingConfig(epochs=1),
        models=tmp_path / "models",
    )
    assert policy() == "float32"
    assert len(dtypes) == 2 and all("bfloat16" in names for names in dtypes)


def test_the_policy_is_float32_after_a_search_and_an_exploration(data, tmp_path, dtypes):
    small = tiny.packed(tmp_path / "tiny")
    search_run.in_this_process(small, tmp_path / "search", trials=1)
    assert policy() == "float32" and "bfloat16" in dtypes.pop()
    models = tmp_path / "models"
    made = train.train(run_of(data, models, model="simple-cnn", hyperparameters=SMALL))
    assert policy() == "float32"
    explore_run.explore(
        explore_run.ExplorationConfig(
            TASK,
            models / str(made["version"]),
            data.folder,
            tmp_path / "out",
            leave_out="many",
        )
    )
    assert policy() == "float32"
    assert len(dtypes) >= 2 and all("bfloat16" in names for names in dtypes)
