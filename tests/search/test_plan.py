"""A search: what it asks for, what a trial is, and what is refused before the first."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny
from search_run import in_this_process

from tfpipe.base.errors import UserError
from tfpipe.base.hardware import dtype_policy
from tfpipe.search import oracles, results, trial
from tfpipe.search import plan as search_plan
from tfpipe.search import run as search_run
from tfpipe.tasks import catalog
from tfpipe.training import checkpoints, loop, open_records
from tfpipe.training.config import TrainingConfig

HYPERBAND = {"algorithm": "hyperband", "trial_epochs": 3}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> loop.Dataset:
    return tiny.packed(tmp_path_factory.mktemp("tiny"))


def values(row: dict) -> dict:
    return {name: row[name] for name in ("filters", "optimizer", "learning_rate")}


@pytest.fixture(scope="module")
def hyperband(data, tmp_path_factory):
    """A whole search, its folder, and each training: (epochs before, steps before, history)."""
    folder, begun = tmp_path_factory.mktemp("hyperband"), []
    fit = loop.fit

    def spied(model, *arguments, **options):
        state = options["checkpoint_folder"] and checkpoints.newest(options["checkpoint_folder"])
        before = state.progress["epoch"] if state else 0
        history = fit(model, *arguments, **options)
        begun.append((before, int(model.optimizer.iterations.numpy()), history))
        return history

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "fit", spied)
        return in_this_process(data, folder, **HYPERBAND), folder, begun


@pytest.mark.slow
def test_hyperband_runs_every_trial_that_its_formula_asks_for(hyperband):
    result, _, _ = hyperband
    # By hand, for at most 3 epochs and a factor of 3: a bracket of 3 trials for an epoch, of which
    # 1 goes on to three, and a bracket of 2 trials for three epochs.
    assert [row["epochs"] for row in result["trials"]] == [1, 1, 1, 3, 3, 3]
    assert {row["status"] for row in result["trials"]} == {"COMPLETED"}
    assert result["n_trials"] == 6
    assert result["best"]["score"] == max(row["score"] for row in result["trials"])


@pytest.mark.slow
def test_a_promoted_trial_goes_on_with_its_optimizer_schedule_and_data(data, hyperband):
    result, _, begun = hyperband
    (place,) = [place for place, (before, *_) in enumerate(begun) if before]
    before, steps, history = begun[place]
    promoted = result["trials"][place]
    (past,) = [r for r in result["trials"][:3] if values(r) == values(promoted)]
    # As if that trial had been trained for three epochs from the beginning.
    settings = TrainingConfig(
        seed=3 + 1 + int(past["trial"]),
        epochs=3,
        patience=3,
        optimizer=promoted["optimizer"],
        learning_rate=promoted["learning_rate"],
    )
    loop.keras.utils.set_random_seed(settings.seed)
    with dtype_policy(tiny.search_config(data).precision):
        model = tiny.build(tiny.spec_of(data), filters=promoted["filters"])
        loop.prepare(model, data, settings=settings)
        straight = loop.fit(model, data, settings=settings)
    assert before == 1 and steps == int(model.optimizer.iterations.numpy())
    assert history["val_loss"] == pytest.approx(straight["val_loss"], rel=1e-5)


def test_a_score_is_that_of_the_epoch_that_is_best_in_the_mean(data):
    one = {"val_average_precision": [0.1, 0.5, 0.9, 0.2], "val_loss": [4.0, 3.0, 2.0, 1.0]}
    two = {"val_average_precision": [0.1, 0.7, 0.2, 0.2], "val_loss": [4.0, 3.0, 1.0, 6.0]}
    assert trial.mean_metrics([one, two], data) == pytest.approx(
        {"val_average_precision": 0.6, "val_loss": 3.0, "fold 1": 0.5, "fold 2": 0.7}
    )
    assert trial.mean_metrics([two], replace(data, objective="loss")) == {
        "val_average_precision": 0.2,
        "val_loss": 1.0,
    }
    with pytest.raises(UserError, match="Its score is not a number"):
        trial.mean_metrics([{"val_average_precision": [np.nan, np.inf]}], data)


@pytest.mark.slow
def test_the_same_seed_proposes_and_scores_the_same(data, tmp_path):
    one = in_this_process(data, tmp_path / "one", trials=2)
    two = in_this_process(data, tmp_path / "two", trials=2)
    for row in one["trials"] + two["trials"]:
        row.pop("seconds")
    assert one["trials"] == two["trials"]
    assert len(one["trials"]) == 2


@pytest.mark.slow
def test_with_folds_a_trial_has_their_mean_and_spread(data, tmp_path):
    result = in_this_process(data, tmp_path, trials=1, trial_epochs=2, folds=2)
    (row,) = result["trials"]
    assert len(row["fold_scores"]) == 2
    assert row["score"] == pytest.approx(np.mean(row["fold_scores"]))
    assert row["spread"] == pytest.approx(np.std(row["fold_scores"]))
    assert {path.name for path in (tmp_path / "trial_0").iterdir()} == {
        "fold_0",
        "fold_1",
        "trial.json",
    }


@pytest.mark.slow
def test_an_autoencoder_is_judged_by_its_loss(data, tmp_path):
    config = tiny.search_config(data)
    records, spec = open_records.opened(tiny.TASK, data.folder, model="conv-vae", is_checked=True)
    assert records.objective == "loss"
    oracle = oracles.make_oracle(config, search_plan.plan_of(config), records)
    assert (oracle.objective.name, oracle.objective.direction) == ("val_loss", "min")


@pytest.mark.slow
def test_a_trial_that_diverges_is_marked_and_the_search_goes_on(data, tmp_path, monkeypatch):
    fit, calls = loop.fit, []

    def sometimes(model, *arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise UserError("Training diverged in epoch 1.")
        return fit(model, *arguments, **options)

    monkeypatch.setattr(loop, "fit", sometimes)
    result = in_this_process(data, tmp_path)
    assert [row["status"] for row in result["trials"]] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert result["trials"][1]["message"] == "Training diverged in epoch 1."


def test_a_finished_search_is_told_and_not_run_again(data, tmp_path):
    folder = tmp_path / "search"
    first = {"model": {"filters": 2}, "score": 0.5}
    config = tiny.search_config(data)
    oracles.make_oracle(config, search_plan.plan_of(config), data).store_in(folder, chief="here")
    (folder / "best.json").write_text(json.dumps(first))
    nobody = search_run.WorkerConfig(count=0)
    records = (data, tiny.spec_of(data))
    assert search_run.run_search(config, folder, records=records, workers=nobody) == first
    assert results.read(folder)["finished"]


@pytest.mark.parametrize("damaged", [(), ("plan.json",), ("state.json",)])
def test_another_plan_begins_anew_and_the_earlier_search_is_kept(damaged, data, tmp_path):
    folder = tmp_path / "search"
    config = tiny.search_config(data)
    oracle = oracles.make_oracle(config, search_plan.plan_of(config), data)
    oracle.store_in(folder, chief="here")
    (folder / "plan.json").write_text(json.dumps(oracle.plan))
    for name in damaged:
        (folder / name).write_bytes(b"{")
    with search_run.resumable_search(folder, oracle.plan):
        written = json.loads((folder / "plan.json").read_bytes())
        assert written == json.loads(json.dumps(oracle.plan))
    assert not (tmp_path / "search-1").exists()
    other = replace(config, trials=2)
    with search_run.resumable_search(
        folder, oracles.make_oracle(other, search_plan.plan_of(other), data).plan
    ):
        assert not (folder / "trial_0").exists() and not (folder / "state.json").exists()
    assert (tmp_path / "search-1" / "plan.json").is_file()


def test_two_chiefs_cannot_keep_one_search(tmp_path):
    with (
        search_run.resumable_search(tmp_path / "search", {}),
        pytest.raises(UserError, match="Another search is running in .*search"),
        search_run.resumable_search(tmp_path / "search", {}),
    ):
        pass


def test_a_search_that_was_never_begun_is_not_read(tmp_path):
    assert results.read_best(tmp_path) is None
    with pytest.raises(UserError, match="holds no search whose state can be read"):
        results.read(tmp_path)


# What is refused before the first trial.


def space_file(folder, text: str) -> str:
    path = folder / "my_space.py"
    path.write_text(text)
    return str(path)


def test_a_space_that_names_an_unknown_argument_is_told_the_builders(data, tmp_path):
    mine = space_file(tmp_path, "def space(hp):\n    return {'filter': hp.Int('f', 1, 3)}")
    with pytest.raises(UserError) as refused:
        search_plan.plan_of(tiny.search_config(data, space=mine))
    assert str(refused.value) == (
        "No argument of simple-cnn called 'filter'. Did you mean 'filters'? There are: filters, "
        "conv_layers, kernels, dropout, dense_units, dense_dropout."
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def space(hp):\n  return {", "my_space.py line 2: SyntaxError: .* Correct the file."),
        ("import nothing_of_this_name", "my_space.py line 1: ModuleNotFoundError: No module"),
        (
            "def space(hp):\n  a = 1\n  return {'filters': no}",
            "my_space.py line 3: NameError: .*'no'",
        ),
        ("spaces = 1", "has no function space"),
        ("def space(hp):\n  return [1]", "space\\(hp\\) in my_space.py returned a list"),
        (
            "def space(hp):\n  return {}\ndef training(hp):\n  return {'rate': 1}",
            "'rate'.*learning",
        ),
    ],
)
def test_what_is_wrong_with_a_space_is_said_with_its_line(text, says, data, tmp_path):
    with pytest.raises(UserError, match=says):
        search_plan.plan_of(tiny.search_config(data, space=space_file(tmp_path, text)))


def test_a_task_without_a_space_has_that_of_any_folder_of_pictures_or_needs_one(data):
    plan = search_plan.plan_of(tiny.search_config(data, space=None))
    assert plan.space(search_plan.hyperparameters({}))
    config = replace(tiny.search_config(data, space=None), model="dense-baseline")
    with pytest.raises(UserError, match="no search space for dense-baseline on tiny, .* --space"):
        search_plan.plan_of(config)


def test_a_space_without_training_leaves_it_to_the_settings(data, tmp_path):
    mine = space_file(tmp_path, "def space(hp):\n    return {'filters': hp.Int('f', 1, 3)}")
    plan = search_plan.plan_of(
        tiny.search_config(data, space=mine, fixed={"learning_rate": 0.1, "dropout": 0.2})
    )
    assert plan.space(search_plan.hyperparameters({"f": 3})) == {"filters": 3, "dropout": 0.2}
    assert plan.training(search_plan.hyperparameters({})) == {"learning_rate": 0.1}


def test_trials_are_none_of_hyperbands(data):
    with pytest.raises(UserError, match="--trials belongs to a Bayesian or random search"):
        search_plan.plan_of(replace(tiny.search_config(data), algorithm="hyperband", trials=3))


def test_more_folds_than_groups_are_refused_before_anything_is_kept(data, tmp_path):
    records, nobody = (data, tiny.spec_of(data)), search_run.WorkerConfig(count=0)
    with pytest.raises(UserError, match="--folds is 40, but there are"):
        config = tiny.search_config(data, folds=40)
        search_run.run_search(config, tmp_path / "s", records=records, workers=nobody)
    assert not (tmp_path / "s").exists()


def test_hyperparameters_behind_conditions_are_known_from_the_beginning(data, tmp_path):
    mine = space_file(
        tmp_path,
        "def space(hp):\n"
        "    deep = hp.Boolean('deep')\n"
        "    with hp.conditional_scope('deep', [True]):\n"
        "        units = hp.Int('units', 1, 9)\n"
        "    return {'dense_units': units if deep else 3}\n",
    )
    config = tiny.search_config(data, space=mine)
    known = oracles.make_oracle(config, search_plan.plan_of(config), data).plan["space"]
    assert [one["name"] for one in known] == ["deep", "units"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("TASK = 3", "defines no TASK"),
        ("1 / 0", "my_task.py line 1: ZeroDivisionError: division by zero. Correct the file."),
        (None, "my_task.py does not exist, expected a Python file with a TASK in it"),
    ],
)
def test_what_is_wrong_with_a_task_file_is_said(text, says, tmp_path):
    path = tmp_path / "my_task.py"
    if text:
        path.write_text(text)
    with pytest.raises(UserError, match=says):
        catalog.find(str(path))


def test_a_task_is_found_in_a_python_file():
    assert catalog.find(tiny.__file__).name == "tiny"
