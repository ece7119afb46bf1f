"""What a search says it will do, and how long it says that its rest takes, by its first trial."""

from dataclasses import replace

import four_class_task
import pytest
import tiny
from made_manifest import made_manifest

from tfpipe.base.progress import duration
from tfpipe.data.dataset import Dataset
from tfpipe.search import forecast, oracles
from tfpipe.search import plan as search_plan
from tfpipe.search import run as search_run
from tfpipe.search.oracle_state import COMPLETED, FAILED

EPOCH_S = 600.0  # every epoch takes so long


@pytest.fixture(params=["random", "hyperband"])
def begun(request, tmp_path):
    """Returns an oracle whose search begins, and its plan: trials of at most three epochs."""
    data = Dataset(tmp_path, made_manifest(), "accuracy")
    budget = {"trials": 6} if request.param == "random" else {}
    config = tiny.search_config(data, algorithm=request.param, trial_epochs=3, **budget)
    plan = search_plan.plan_of(config)
    oracle = oracles.make_oracle(config, plan, data)
    oracle.store_in(tmp_path, chief="here")
    return oracle, plan


def run_next(oracle, plan, *, status=COMPLETED) -> float | None:
    """Runs the next trial; returns its seconds, or None where there is none."""
    trial = oracle.create_trial("here-1")
    if trial.status != "RUNNING":
        return None
    values = trial.hyperparameters.values
    epochs = values.get("tuner/epochs", plan.max_epochs) - values.get("tuner/initial_epoch", 0)
    metrics = {"val_accuracy": values["filters"]} if status == COMPLETED else None
    oracle.end("here-1", status=status, metrics=metrics, seconds=epochs * EPOCH_S)
    return epochs * EPOCH_S


def test_the_time_of_the_rest_is_that_of_the_epochs_that_are_left(begun):
    oracle, plan = begun
    first = run_next(oracle, plan)
    sentence = forecast.remainder(oracle, plan, workers=1)
    halved = forecast.remainder(oracle, plan, workers=2)
    left = 0.0
    while seconds := run_next(oracle, plan):
        left += seconds
    assert f"took {duration(first)} for" in sentence
    assert f"the rest of the search takes {duration(left)}, and" in sentence
    assert f"the rest of the search takes {duration(left / 2)}, and" in halved
    assert f"{plan.epochs} epochs of the best model {duration(plan.epochs * EPOCH_S)}." in sentence
    assert forecast.remainder(oracle, plan, workers=1) == ""  # nothing is left


def test_a_failed_trial_says_nothing_of_the_time(begun):
    oracle, plan = begun
    run_next(oracle, plan, status=FAILED)
    assert forecast.remainder(oracle, plan, workers=1) == ""


def test_a_search_says_what_it_will_do_and_what_it_has_done(begun):
    oracle, plan = begun
    sentence = forecast.beginning(oracle, plan, images=5999, folds=0, workers=1)
    assert sentence == (
        f"The search ({plan.algorithm}) has 6 trials of at most 3 epochs, on 5,999 training images,"
        f" by 1 worker. The best one is then trained for at most {plan.epochs} epochs."
    )
    run_next(oracle, plan)
    again = forecast.beginning(oracle, plan, images=1, folds=4, workers=0)
    assert "on 1 training image, 4 times each for 4 folds, by workers of other machines" in again
    assert again.endswith("1 trial ended before.")


class Stop(Exception):
    """Ends a search once it has printed what it will do."""


@pytest.mark.slow
def test_the_forecast_counts_what_is_trained_on_and_the_epochs_that_were_asked_for(tmp_path):
    data = four_class_task.packed(tmp_path)  # every ninth image has no label
    in_all = sum(data.manifest.counts["train"].values())
    labelled = in_all - data.manifest.counts["train"]["(unlabelled)"]
    assert 0 < labelled < in_all

    def stop(stage, progress):
        raise Stop(progress["note"])

    for objective, count in ((data.objective, labelled), ("loss", in_all)):
        opened = replace(data, objective=objective)
        with pytest.raises(Stop, match=f"on {count} training images.* at most 7 epochs"):
            search_run.run_search(
                tiny.search_config(opened),
                tmp_path / objective,
                records=(opened, four_class_task.spec_of(opened)),
                workers=search_run.WorkerConfig(count=1),
                epochs=7,
                report=stop,
            )


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (89, "89 s"), (170, "3 min"), (9000, "2.5 h")]
)
def test_a_time_is_short_to_read(seconds, words):
    assert duration(seconds) == words
