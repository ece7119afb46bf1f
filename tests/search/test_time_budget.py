"""A search of a given time has the trials and epochs that fit into it, by a measured speed."""

import json
import time
from dataclasses import replace

import pytest
import tiny
from made_manifest import made_manifest

from tfpipe.base.errors import UserError
from tfpipe.cli import options
from tfpipe.data.dataset import Dataset
from tfpipe.search import oracles, time_budget
from tfpipe.search import plan as search_plan
from tfpipe.search.run import LOCAL_ADDRESS
from tfpipe.search.time_budget import SEARCH_SHARE, EpochSpeed

SPEED = EpochSpeed(epoch_s=2.0, start_s=1.0)


def begun(folder, algorithm: str):
    """Returns a search without numbers of trials and epochs, its plan, and its records."""
    data = Dataset(folder, made_manifest(), "accuracy")
    config = tiny.search_config(data, algorithm=algorithm, trials=None, trial_epochs=None)
    plan = replace(search_plan.plan_of(config), max_epochs=20, epochs=50)
    return config, plan, data


@pytest.mark.parametrize("algorithm", ["hyperband", "bayesian", "random"])
def test_more_time_is_more_search_and_none_exceeds_its_share(tmp_path, algorithm):
    config, plan, data = begun(tmp_path, algorithm)
    before_s = 0.0
    for time_s in (120, 300, 600, 1200, 7200):
        trials, trial_epochs = time_budget.fit(time_s, SPEED, config, plan, data=data)
        epochs = (trials or 0) * trial_epochs
        if algorithm == "hyperband":
            oracle = oracles.make_oracle(config, replace(plan, max_epochs=trial_epochs), data)
            trials, epochs = oracle.n_trials, oracle.count_epochs()
        search_s = trials * SPEED.start_s + epochs * SPEED.epoch_s
        assert before_s <= search_s <= SEARCH_SHARE * time_s
        assert 2 * trial_epochs * SPEED.epoch_s <= (1 - SEARCH_SHARE) * time_s, "two trainings fit"
        assert 2 <= trial_epochs <= plan.max_epochs
        before_s = search_s
    if algorithm != "hyperband":
        assert search_s > 0.95 * SEARCH_SHARE * time_s, "long times are used, by more trials"


def test_folds_take_their_part(tmp_path):
    config, plan, data = begun(tmp_path, "random")
    trials, epochs = time_budget.fit(600, SPEED, config, plan, data=data)
    folded = time_budget.fit(600, SPEED, replace(config, folds=3), plan, data=data)
    assert folded[0] * folded[1] <= trials * epochs / 3


@pytest.mark.parametrize("algorithm", ["hyperband", "random"])
def test_too_short_a_time_is_refused_with_one_that_is_enough(tmp_path, algorithm):
    config, plan, data = begun(tmp_path, algorithm)
    for speed in (SPEED, EpochSpeed(60.0, 5.0)):
        with pytest.raises(UserError, match=r"too short: an epoch .* takes") as refused:
            time_budget.fit(5, speed, config, plan, data=data)
        enough = 60 * options.minutes(str(refused.value).split("Give --time ")[1].split(" ")[0])
        time_budget.fit(enough, speed, config, plan, data=data)


def test_a_search_that_is_repeated_has_the_plan_of_the_first(tmp_path, monkeypatch):
    data = tiny.packed(tmp_path / "records")
    config = tiny.search_config(data, trials=None, trial_epochs=None)
    models = tmp_path / "models"
    began = time.monotonic()
    first = time_budget.planned(600, config, models, data=data, trainings=1)
    assert 0 < first.speed.epoch_s < time.monotonic() - began, "measured, in a fresh process"
    assert first.trials >= 6 and first.trial_epochs >= 2
    written = (models / time_budget.FILE).read_bytes()
    again = time_budget.planned(600, config, models, data=data, trainings=1)
    assert again == first and (models / time_budget.FILE).read_bytes() == written
    twice = time_budget.planned(600, config, models, data=data, trainings=2)
    assert (twice.trials, twice.trial_epochs) == (first.trials, first.trial_epochs)
    assert twice.trial_epochs <= twice.epochs <= first.epochs
    assert (models / time_budget.FILE).read_bytes() == written
    other = replace(config, fixed={"dropout": 0.1})
    time_budget.planned(600, other, models, data=data, trainings=1)
    assert json.loads((models / time_budget.FILE).read_text())["of"]["search"]["fixed"]


def test_numbers_beside_a_time_are_refused(tmp_path):
    config, _, _ = begun(tmp_path, "random")
    with pytest.raises(UserError, match="--time chooses trials"):
        time_budget.check(
            replace(config, trials=3), more_trials=0, epochs=None, chief=LOCAL_ADDRESS
        )
    with pytest.raises(UserError, match="--time chooses trials"):
        time_budget.check(config, more_trials=0, epochs=5, chief=LOCAL_ADDRESS)
    with pytest.raises(UserError, match="--time chooses trials"):
        time_budget.check(config, more_trials=3, epochs=None, chief=LOCAL_ADDRESS)
    with pytest.raises(UserError, match="--time plans for this machine alone"):
        time_budget.check(config, more_trials=0, epochs=None, chief="0.0.0.0:5000")
    time_budget.check(config, more_trials=0, epochs=None, chief=LOCAL_ADDRESS)


@pytest.mark.parametrize(
    ("text", "minutes"), [("20m", 20), ("1h30m", 90), ("90s", 1.5), ("2H", 120), (None, None)]
)
def test_times_are_read(text, minutes):
    assert options.minutes(text) == minutes


@pytest.mark.parametrize("text", ["20", "", "m", "0m", "1.5h", "20 minutes", "30m1h"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UserError, match="expected a time such as 90s, 20m or 1h30m"):
        options.minutes(text)
