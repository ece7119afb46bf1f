"""Every search fits the model it tunes, and the seed's winners lie in the seed's space."""

import ast
import inspect
from dataclasses import fields
from pathlib import Path

import keras_tuner
import pytest
from small_models import NEED_COLUMNS

import tuning
from tfpipe.models import MODELS
from tfpipe.models.spec import Spec
from tfpipe.tasks.catalog import TASKS
from tfpipe.training.config import SEARCHABLE, TrainingConfig
from tfpipe.training.schedules import SCHEDULES
from tuning import SEARCHES

pytestmark = pytest.mark.slow

# Seed 002, appendix A2.
WINNERS = [
    (
        {"conv_layers": 4, "filters": 157},
        {"learning_rate": 0.0049406530672152634, "optimizer": "sgd"},
    ),
    (
        {"conv_layers": 3, "filters": 251},
        {"learning_rate": 0.0001377968661129521, "optimizer": "nadam"},
    ),
    (
        {"conv_layers": 3, "filters": 232},
        {"learning_rate": 0.000228430533572026, "optimizer": "nadam"},
    ),
]
every_search = pytest.mark.parametrize("key", SEARCHES, ids="/".join)


def registered(function) -> tuple[dict, keras_tuner.HyperParameters]:
    """Returns what a space gives at its default values, and the hyperparameters it asked for."""
    hp = keras_tuner.HyperParameters()
    return function(hp), hp


@every_search
def test_spaces_give_arguments_of_the_builder(key):
    arguments = set(inspect.signature(MODELS[key[1]]).parameters) - {"spec"}
    search = SEARCHES[key]
    assert set(registered(search.space)[0]) <= arguments
    assert set(registered(search.quick_space)[0]) <= arguments


@every_search
def test_quick_spaces_ask_for_the_same_names(key):
    search = SEARCHES[key]
    _, hp = registered(search.space)
    _, quick_hp = registered(search.quick_space)
    assert set(hp.values) == set(quick_hp.values)


@every_search
def test_training_is_what_models_can_be_trained_by(key):
    search = SEARCHES[key]
    training, hp = registered(search.training)
    assert {"optimizer", "learning_rate"} <= set(training) <= set(SEARCHABLE)
    assert training["optimizer"] in ("sgd", "adam", "nadam")
    assert training.get("schedule", "constant") in SCHEDULES
    assert 1e-4 <= training["learning_rate"] <= 1e-2
    assert set(training) - {one.name for one in fields(TrainingConfig)} == set()
    assert not set(hp.values) & set(registered(search.space)[1].values)


@pytest.mark.parametrize("model", ["resnet9", "resnet18", "resnet34"])
def test_residual_networks_learn_as_in_seed_004_by_default(model):
    training, _ = registered(SEARCHES["melt-layer", model].training)
    # Its slide: epochs = 80, max_lr = 0.0007, grad_clip = 0.1, weight_decay = 1e-4, Adam.
    assert training == {
        "optimizer": "adam",
        "schedule": "one-cycle",
        "learning_rate": 7e-4,
        "weight_decay": 1e-4,
        "clip": 0.1,
    }


def test_every_model_of_a_task_is_tuned():
    tuned = {model for task, model in SEARCHES if task == "melt-layer"}
    assert tuned == set(MODELS) - set(NEED_COLUMNS)
    assert tuned == set(TASKS["melt-layer"].models)
    for name in set(TASKS) - {"melt-layer"}:
        assert {model for task, model in SEARCHES if task == name} == set(TASKS[name].models)


@pytest.mark.parametrize(
    "key",
    [
        key
        for key in SEARCHES
        if key[1] not in ("resnet101", "resnet152")  # one search with resnet50
        and key[0] in ("melt-layer", "insolubles")  # the other tasks have these spaces, too
        and (key[0] == "melt-layer" or ("melt-layer", key[1]) not in SEARCHES)  # likewise
    ],
    ids="/".join,
)
def test_quick_models_are_small(key):
    arguments, _ = registered(SEARCHES[key].quick_space)
    task, given = TASKS[key[0]].for_model(key[1]), {}
    if "weights" in inspect.signature(MODELS[key[1]]).parameters:
        given = {"weights": "none"}
    spec = Spec(
        task.image_shape,
        task.classes or tuple("abcdefg"),
        (120.0,) * task.image_shape[-1],
        (60.0,) * task.image_shape[-1],
        columns=tuple(f"c{i}" for i in range(34)),
        column_mean=(0.0,) * 34,
        column_std=(1.0,) * 34,
        row_classes=task.row_classes,
    )
    model = MODELS[key[1]](spec, **arguments, **given)
    bodies = [layer.count_params() for layer in model.layers if layer.name == "own_body"]
    assert model.count_params() - sum(bodies) < 2_000_000


@every_search
def test_quick_is_quicker(key):
    search = SEARCHES[key]
    assert 0 < search.quick_epochs < search.epochs
    assert 1 < search.factor <= search.quick_max_epochs < search.max_epochs
    assert 0 < search.quick_max_trials < search.max_trials


@pytest.mark.parametrize(("space", "training"), WINNERS)
def test_winners_of_the_seed_are_in_its_space(space, training):
    search = SEARCHES["melt-layer", "enhanced-cnn"]
    for function, winner in ((search.space, space), (search.training, training)):
        values, hp = registered(function)
        assert set(values) == set(winner)
        for one in hp.space:
            if isinstance(one, keras_tuner.engine.hyperparameters.Choice):
                assert winner[one.name] in one.values
            else:
                assert one.min_value <= winner[one.name] <= one.max_value


def test_the_winner_of_seed_001_is_what_its_space_begins_with():
    search = SEARCHES["ccd-tracks", "simple-cnn"]
    arguments, hp = registered(search.space)
    # Its slide "Hyperparameters CNN"; of three dense layers it prints the widths of two.
    assert (arguments["filters"], arguments["kernels"]) == ([64, 16], [2, 5])
    assert len(arguments["dense_units"]) == 3 and arguments["dense_units"][:2] == [16, 8]
    training, _ = registered(search.training)
    winner = {"learning_rate": 0.0003676, "decay_steps": 3866, "decay_rate": 0.9122}
    assert training == {"optimizer": "adam", "schedule": "exponential"} | winner
    ends = {one.name: one for one in hp.space}
    assert ends["filters0"].values == [8, 16, 32, 64, 128] and ends["units0"].values == [8, 16, 32]
    assert (ends["kernel0"].min_value, ends["kernel0"].max_value) == (2, 5)


def test_tuning_imports_nothing_of_ours_and_no_keras():
    allowed = {"collections", "dataclasses", "typing", "tuning"}
    for path in Path(tuning.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                roots = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                roots = {(node.module or "tuning").split(".")[0]}
            else:
                continue
            assert roots <= allowed, f"{path.name} line {node.lineno} imports {roots}"
