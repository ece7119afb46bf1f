"""A project folder: made whole or not at all, and the commands of its README work in it."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from run_command import refusal, run

from tfpipe.tasks.catalog import TASKS
from tfpipe.tasks.options import parse_options
from tfpipe.training.config import TrainingConfig
from tfpipe.workflows import project_folder, rerun, run_config, train

TINY = {
    "melt-layer": {"photos": 2, "px_per_m": 600},
    "insolubles": {"runs": 3, "field_runs": 1, "particles": 20},
    "ccd-tracks": {"exposures": 2, "tracks": 6, "frame_px": 256},
    "folds": {"outcrops": 2, "crops": 1},
    "ionization-redshift": {"simulations": 2, "cells": 16},
    "ionization-escape-fraction": {"simulations": 2, "cells": 16},
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("task", TASKS)
def test_a_folder_of_each_task_has_a_run_and_raw_files_that_its_readme_names(task, monkeypatch):
    monkeypatch.setattr(project_folder, "SIZES", TINY)
    made = run("init", "mine", "--task", task)
    config = run_config.read(Path("mine/run.yaml"))
    assert (config.task, config.model, config.records) == (task, TASKS[task].models[0], "")
    settings = [f"{name}={value}" for name, value in config.options.items()]
    assert parse_options(TASKS[task], settings) == TASKS[task].options
    assert config.search.quick and config.training is None  # so epochs are those of the search
    assert config.search.model == config.model
    assert TASKS[task].survey(Path(made["raw"]), TASKS[task].options).sources
    readme = Path("mine/README.md").read_text()
    (line,) = [line for line in readme.splitlines() if line.startswith("tfpipe predict")]
    new = Path("mine", line.split()[3])
    assert TASKS[task].survey_new([new], None, TASKS[task].options).sources
    assert sorted(path.name for path in Path("mine").iterdir()) == ["README.md", "data", "run.yaml"]


def test_a_folder_that_holds_something_and_a_wrong_task_are_refused(home, monkeypatch, capsys):
    (home / "mine").mkdir()
    (home / "mine" / "notes.txt").touch()
    words = ("init", "mine", "--task")
    assert "already holds something" in refusal(monkeypatch, capsys, *words, "folds")
    assert "Did you mean 'folds'" in refusal(monkeypatch, capsys, *words, "fold")
    monkeypatch.chdir(home / "mine")
    here = refusal(monkeypatch, capsys, "init", ".", "--task", "folds")
    assert here.endswith(
        "Give the name of a new one, such as folds: tfpipe init folds --task folds."
    )
    assert [path.name for path in home.rglob("*")] == ["mine", "notes.txt"]


def test_a_task_is_left_out_only_where_run_yaml_names_one(home, monkeypatch, capsys):
    assert "Which task? Name one" in refusal(monkeypatch, capsys, "check")
    Path("run.yaml").write_text("command: train\ntask: folds\nmodel: resnet9\n")
    assert project_folder.task_here() == "folds"
    assert "folds" in refusal(monkeypatch, capsys, "versions")
    Path("run.yaml").write_text("command: train\ntask: own.py\nmodel: resnet9\n")
    Path("own.py").write_text("raise SystemExit")
    assert "is run only if you name it" in refusal(monkeypatch, capsys, "check")


def test_only_the_model_of_run_yaml_need_be_changed(monkeypatch):
    monkeypatch.setattr(project_folder, "SIZES", TINY)
    run("init", "mine", "--task", "melt-layer")
    path, task = Path("mine/run.yaml"), TASKS["melt-layer"]
    text = path.read_text()
    first, other = task.models[:2]
    path.write_text(text.replace(f"model: {first}", f"model: {other}"))
    config = run_config.read(path)
    rerun.check(config, task)
    assert (config.model, config.search.model, config.search.task) == (other, other, task.name)
    # A version's file, which names all of them, is read as it is.
    search = dataclasses.replace(config.search, records="records", training={"seed": 3})
    whole = dataclasses.replace(config, search=search, training=TrainingConfig(epochs=7))
    path.write_text(whole.to_yaml())
    assert run_config.read(path) == whole


def test_a_search_without_training_has_the_epochs_of_its_plan(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(train, "tune", lambda run, search, **how: given.append((run, how)))
    task = TASKS["folds"]
    (tmp_path / "run.yaml").write_text(
        f"command: tune\ntask: folds\nmodel: {task.models[0]}\nsearch: {{quick: false}}\n"
    )
    config = run_config.read(tmp_path / "run.yaml")
    for training in (None, TrainingConfig(epochs=7)):
        changed = dataclasses.replace(config, training=training)
        rerun.rerun(changed, task, raw=tmp_path, records=tmp_path, models=tmp_path)
    assert [how["epochs"] for _, how in given] == [None, 7]
    assert given[0][0].config.augmentation == task.preprocessing.augmentation


LIGHT = """
import sys
from tfpipe.workflows import project_folder
heavy = {"tensorflow", "keras", "keras_tuner", "sklearn", "xgboost"} & set(sys.modules)
assert not heavy, heavy
"""


def test_a_folder_is_made_without_what_takes_long_to_import():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")
def test_the_next_commands_work_in_the_folder_without_an_option(home, monkeypatch):
    run("init", "mine", "--task", "ccd-tracks")
    monkeypatch.chdir(home / "mine")
    assert run("check")["problems"] == []
    made = run("tune", "--quick")
    assert (made["task"], made["version"]) == ("ccd-tracks", 1)
    new = "data/raw/ccd-tracks/night-1"
    assert run("predict", "ccd-tracks", new, "--out", "predictions.csv")["rows"]
    again = run("rerun", "run.yaml")
    assert (again["task"], again["version"]) == ("ccd-tracks", 2)
