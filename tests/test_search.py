"""A search loses nothing: killed, damaged or failing, the same call goes on."""

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import search_run
import tiny

from tfpipe import search, training
from tfpipe.errors import UserError


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> training.Data:
    return tiny.packed(tmp_path_factory.mktemp("tiny"))


def tuned(data, folder: Path, *, build=tiny.build, **changes) -> dict:
    plan = replace(search_run.PLAN, **changes)
    spec = tiny.spec_of(data)
    return search.tune(
        lambda arguments: build(spec, **arguments),
        data,
        folder,
        plan=plan,
        settings=search_run.SETTINGS,
    )


def state(folder: Path) -> dict:
    return json.loads((folder / "state.json").read_text())


@pytest.mark.slow
def test_hyperband_runs_every_trial_that_its_formula_asks_for(data, tmp_path):
    best = tuned(data, tmp_path / "search")
    # By hand, for at most 2 epochs and a factor of 2: a bracket that halves, of 2 trials for an
    # epoch and 1 for two, and a bracket of 2 trials for two epochs.
    assert [trial["epochs"] for trial in best["trials"]] == [1, 1, 2, 2, 2]
    assert {trial["status"] for trial in best["trials"]} == {"COMPLETED"}
    assert best["score"] == max(trial["score"] for trial in best["trials"])
    assert set(best["model"]) == {"filters"}
    assert set(best["training"]) == {"optimizer", "learning_rate"}


def test_bayesian_runs_as_many_trials_as_asked(data, tmp_path):
    best = tuned(data, tmp_path / "search", algorithm="bayesian", max_epochs=1)
    assert len(best["trials"]) == 3


@pytest.mark.slow
def test_a_promoted_trial_goes_on_with_its_optimizer(data, tmp_path, monkeypatch):
    begun = []
    fit = training.fit

    def spied(model, *arguments, **options):
        begun.append((options["first_epoch"], int(model.optimizer.iterations.numpy())))
        return fit(model, *arguments, **options)

    monkeypatch.setattr(training, "fit", spied)
    tuned(data, tmp_path / "search")
    promoted = [steps for epoch, steps in begun if epoch]
    fresh = [steps for epoch, steps in begun if not epoch]
    assert promoted and min(promoted) > 0
    assert set(fresh) == {0}


def test_a_finished_search_is_not_run_again(data, tmp_path, monkeypatch):
    first = tuned(data, tmp_path / "search", algorithm="bayesian", max_epochs=1)
    monkeypatch.setattr(training, "fit", None)
    assert tuned(data, tmp_path / "search", algorithm="bayesian", max_epochs=1) == first


@pytest.mark.slow
def test_the_same_seed_proposes_the_same(data, tmp_path):
    one = tuned(data, tmp_path / "one", algorithm="bayesian", max_epochs=1)
    two = tuned(data, tmp_path / "two", algorithm="bayesian", max_epochs=1)
    assert one["trials"] == two["trials"]


@pytest.mark.slow
def test_another_plan_begins_anew_and_the_earlier_search_is_kept(data, tmp_path):
    first = tuned(data, tmp_path / "search", algorithm="bayesian", max_epochs=1)
    best = tuned(data, tmp_path / "search", algorithm="bayesian", max_epochs=1, max_trials=2)
    assert len(best["trials"]) == 2
    assert search.read_best(tmp_path / "search-1") == first


@pytest.mark.slow
def test_a_damaged_state_is_set_aside_and_said(data, tmp_path, caplog):
    folder = tmp_path / "search"
    tuned(data, folder, algorithm="bayesian", max_epochs=1)
    whole = (folder / "state.json").read_bytes()
    (folder / "state.json").write_bytes(whole[: len(whole) // 2])
    best = tuned(data, folder, algorithm="bayesian", max_epochs=1)
    assert len(best["trials"]) == 3
    assert (folder / "state-1.json").read_bytes() == whole[: len(whole) // 2]
    assert "was damaged" in caplog.text


@pytest.mark.slow
def test_a_trial_that_diverges_is_marked_and_the_search_goes_on(data, tmp_path, monkeypatch):
    fit, calls = training.fit, []

    def sometimes(model, *arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise UserError("Training diverged in epoch 1.")
        return fit(model, *arguments, **options)

    monkeypatch.setattr(training, "fit", sometimes)
    best = tuned(data, tmp_path / "search", algorithm="bayesian", max_epochs=1)
    assert sorted(trial["status"] for trial in best["trials"]) == ["COMPLETED"] * 2 + ["FAILED"]


def test_answers_that_are_no_numbers_stop_a_training(data):
    model = tiny.build(tiny.spec_of(data))
    settings = training.Settings(epochs=1, batch_size=16)
    training.prepare(model, data, settings=settings)
    weights = [np.full_like(weight, np.nan) for weight in model.get_weights()]
    model.set_weights(weights)
    with pytest.raises(UserError, match="diverged in epoch 1.*learning rate"):
        training.fit(model, data, settings=settings)


def test_three_failures_in_a_row_give_the_reason_in_a_sentence(data, tmp_path, monkeypatch):
    def broken(*arguments, **options):
        raise ValueError("no such thing")

    monkeypatch.setattr(training, "fit", broken)
    with pytest.raises(UserError, match="given up after 3 failed trials: .*no such thing"):
        tuned(data, tmp_path / "search")


@pytest.mark.slow
def test_killed_five_times_it_ends_as_if_undisturbed(data, tmp_path):
    undisturbed = tuned(data, tmp_path / "undisturbed")
    folder = tmp_path / "killed"
    folder.mkdir()
    (folder / "records").symlink_to(data.folder)
    rng = random.Random(5)
    told: list[str] = []
    for _ in range(5):
        told += lines_until_killed(folder, after=rng.randint(1, 4), late_s=rng.uniform(0, 0.5))
        known = state(folder / "search")
        assert len(known["trials"]) == len(set(known["oracle"]["start_order"]))
    best = search_run.run(folder)
    assert len(best["trials"]) == len(undisturbed["trials"])
    assert {trial["status"] for trial in best["trials"]} == {"COMPLETED"}
    chosen = ("trial", "filters", "optimizer", "learning_rate", "epochs")
    first_round = [{name: trial[name] for name in chosen} for trial in best["trials"][:2]]
    expected = [{name: trial[name] for name in chosen} for trial in undisturbed["trials"][:2]]
    assert first_round == expected


def lines_until_killed(folder: Path, *, after: int, late_s: float) -> list[str]:
    """Starts the search as a process, kills it some lines and a moment later, returns the lines."""
    here = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, str(here / "search_run.py"), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{here}:{here.parent}"},
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if len(lines) >= after:
            break
    try:
        process.wait(timeout=late_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return lines
