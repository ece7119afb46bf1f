"""An oracle's state: killed between two writes or damaged, it loses no trial and counts it once."""

import itertools
import json
import os

import pytest
import tiny
from keras_tuner.engine import trial as trials
from made_manifest import made_manifest

from tfpipe.base import files
from tfpipe.data.dataset import Dataset
from tfpipe.search import oracles, results
from tfpipe.search import plan as search_plan
from tfpipe.search.oracle_state import COMPLETED, FAILED

ALGORITHMS = {
    "hyperband": {"algorithm": "hyperband", "trial_epochs": 3},
    "bayesian": {"algorithm": "bayesian", "trials": 6},
    "random": {"algorithm": "random", "trials": 6},
}


@pytest.fixture(autouse=True)
def quick_writes(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)


every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


class Died(BaseException):
    """As sudden as a kill: nothing that catches errors sees it."""


def begun(folder, algorithm="random", *, chief="here", **changes):
    """Returns an oracle that goes on with what is in a folder."""
    data = Dataset(folder, made_manifest(fingerprint="of the records"), "accuracy")
    config = tiny.search_config(data, **ALGORITHMS[algorithm] | changes)
    oracle = oracles.make_oracle(config, search_plan.plan_of(config), data)
    oracle.store_in(folder, chief=chief)
    return oracle


def score_of(trial) -> float:
    """Returns a made-up score, a function of the trial's values alone."""
    values = trial.hyperparameters.values
    return values["filters"] + values["learning_rate"] + values.get("tuner/epochs", 0) / 10


def end(oracle, worker: str, trial, **changes) -> None:
    metrics = {"val_accuracy": score_of(trial)}
    oracle.end(worker, **{"status": COMPLETED, "metrics": metrics, "seconds": 1.0} | changes)


def finished(oracle, *, workers=("here-1",)) -> None:
    """Has workers take turns until there is nothing more to do; each ends what it took before."""
    taken = {}
    for worker in itertools.cycle(workers):
        if worker in taken:
            end(oracle, worker, taken.pop(worker))
        trial = oracle.create_trial(worker)
        if trial.status == trials.TrialStatus.STOPPED and not taken:
            return
        if trial.status == trials.TrialStatus.RUNNING:
            taken[worker] = trial


def outcome(folder) -> list[tuple]:
    """Returns what does not depend on who ran a trial and for how long."""
    left_out = ("worker", "seconds")
    rows = results.read(folder)["trials"]
    return [tuple((k, v) for k, v in row.items() if k not in left_out) for row in rows]


def is_whole(folder, *, n_trials: int) -> None:
    state = json.loads((folder / "state.json").read_bytes())
    assert sorted(state["oracle"]["end_order"]) == sorted(state["trials"])
    assert sorted(state["oracle"]["start_order"]) == sorted(state["trials"])
    assert len(state["trials"]) == state["n_trials"] == n_trials
    assert {trial["status"] for trial in state["trials"].values()} == {COMPLETED}


# By hand, Hyperband of 3 epochs by a factor of 3: 3 trials for an epoch, 1 of them for three, and
# 2 for three at once.
N_TRIALS = {"hyperband": 6, "bayesian": 6, "random": 6}


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["hyperband", "random"])
@pytest.mark.parametrize("workers", [("here-1",), ("here-1", "here-2")], ids=len)
def test_killed_between_any_two_writes_nothing_is_lost_or_counted_twice(
    algorithm, workers, tmp_path, monkeypatch
):
    undisturbed = tmp_path / "undisturbed"
    finished(begun(undisturbed, algorithm), workers=workers)
    is_whole(undisturbed, n_trials=N_TRIALS[algorithm])
    write, left = files.replace, [0]

    def dies(path, data):
        left[0] -= 1
        if left[0] < 0:
            raise Died
        write(path, data)

    monkeypatch.setattr(files, "replace", dies)
    for survived in itertools.count():
        folder = tmp_path / str(survived)
        left[0] = survived
        try:
            finished(begun(folder, algorithm), workers=workers)
        except Died:
            left[0] = 10**6
            finished(begun(folder, algorithm), workers=workers)
            is_whole(folder, n_trials=N_TRIALS[algorithm])
            if len(workers) == 1:
                assert outcome(folder) == outcome(undisturbed)
        else:
            assert survived > 2 * N_TRIALS[algorithm]
            return


@every_algorithm
def test_a_damaged_state_is_made_anew_from_the_trials_own_files(algorithm, tmp_path, caplog):
    finished(begun(tmp_path, algorithm))
    whole, path = outcome(tmp_path), tmp_path / "state.json"
    path.write_bytes(path.read_bytes()[:-100])
    oracle = begun(tmp_path, algorithm)
    assert oracle.create_trial("here-1").status == trials.TrialStatus.STOPPED
    assert outcome(tmp_path) == whole
    assert "state.json was damaged and is now state-1.json" in caplog.text
    assert (tmp_path / "state-1.json").is_file()


@every_algorithm
def test_a_damaged_state_in_the_middle_goes_on_as_if_it_were_whole(algorithm, tmp_path):
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "damaged"
    finished(begun(undisturbed, algorithm))
    oracle = begun(folder, algorithm)
    for _ in range(4):
        end(oracle, "here-1", oracle.create_trial("here-1"))
    oracle.create_trial("here-1")
    (folder / "state.json").write_bytes(b"{")
    finished(begun(folder, algorithm))
    is_whole(folder, n_trials=N_TRIALS[algorithm])
    assert outcome(folder) == outcome(undisturbed)


@every_algorithm
@pytest.mark.parametrize("victim", [0, 2, 3])
def test_of_a_damaged_trial_and_state_only_that_trial_is_run_again(
    algorithm, victim, tmp_path, caplog
):
    oracle = begun(tmp_path, algorithm)
    for _ in range(5):
        end(oracle, "here-1", oracle.create_trial("here-1"))
    before = outcome(tmp_path)
    lost = sorted(oracle.trials)[victim]
    (tmp_path / f"trial_{lost}" / "trial.json").write_bytes(b"")
    (tmp_path / "state.json").unlink()
    oracle = begun(tmp_path, algorithm)
    assert [t for t in oracle.trials if t not in oracle.end_order] == [lost]
    again = oracle.create_trial("here-1")
    assert again.trial_id == lost
    given = again.hyperparameters.values
    known = oracle.trials[sorted(oracle.trials)[victim - 1]].hyperparameters.values
    assert {*given} - {"tuner/trial_id"} == {*known} - {"tuner/trial_id"}
    end(oracle, "here-1", again)
    after = outcome(tmp_path)
    assert [row for i, row in enumerate(after) if i != victim] == [
        row for i, row in enumerate(before) if i != victim
    ]
    finished(oracle)
    is_whole(tmp_path, n_trials=N_TRIALS[algorithm])
    assert "it is run again" in caplog.text


def test_what_was_a_promoted_trial_is_one_again_though_its_file_is_lost(tmp_path):
    oracle = begun(tmp_path, "hyperband")
    finished(oracle)
    (promoted,) = [
        name for name, t in oracle.trials.items() if "tuner/trial_id" in t.hyperparameters.values
    ]
    folder = tmp_path / "stopped"
    oracle = begun(folder, "hyperband")
    while promoted not in oracle.trials:
        trial = oracle.create_trial("here-1")
        if trial.trial_id != promoted:
            end(oracle, "here-1", trial)
    values = dict(trial.hyperparameters.values)
    oracle.create_trial("here-2")  # so that the promoted one is not the last
    (folder / f"trial_{promoted}" / "trial.json").write_bytes(b"")
    (folder / "state.json").unlink()
    again = begun(folder, "hyperband").trials[promoted].hyperparameters.values
    chosen = ("tuner/epochs", "tuner/initial_epoch", "tuner/trial_id", "filters", "learning_rate")
    assert {name: again.get(name) for name in chosen} == {name: values[name] for name in chosen}


@pytest.mark.slow
def test_a_bayesian_search_that_was_stopped_proposes_what_it_would_have(tmp_path):
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "stopped"
    more = {"trials": 11}  # of which the first 9 are random
    finished(begun(undisturbed, "bayesian", **more))
    oracle = begun(folder, "bayesian", **more)
    for _ in range(10):
        end(oracle, "here-1", oracle.create_trial("here-1"))
    finished(begun(folder, "bayesian", **more))
    assert outcome(folder) == outcome(undisturbed)


def test_a_trial_that_is_given_out_again_has_nothing_of_the_first_time(tmp_path):
    oracle = begun(tmp_path)
    trial = oracle.create_trial("here-1")
    oracle.update_trial(trial.trial_id, {"val_accuracy": 0.9})
    oracle.worker_lost("here-1")
    end(oracle, "here-1", oracle.create_trial("here-1"), metrics={"val_accuracy": 0.1})
    assert results.read(tmp_path)["trials"][0]["score"] == 0.1


def test_a_trial_is_given_out_again_when_its_worker_is_lost(tmp_path):
    oracle = begun(tmp_path)
    first = oracle.create_trial("here-1")
    oracle.worker_lost("here-1")
    again = oracle.create_trial("here-2")
    assert again.trial_id == first.trial_id
    end(oracle, "here-1", first)  # too late: it is not its trial any more
    assert oracle.end_order == []
    end(oracle, "here-2", again)
    end(oracle, "here-2", again)
    assert oracle.end_order == [first.trial_id]


def test_a_trial_that_costs_five_workers_is_given_up(tmp_path):
    oracle = begun(tmp_path)
    for i in range(oracles.MAX_LOSSES):
        trial = oracle.create_trial(f"here-{i}")
        assert trial.trial_id == "0"
        oracle.worker_lost(f"here-{i}")
    assert oracle.create_trial("here-9").trial_id == "1"
    row = results.read(tmp_path)["trials"][0]
    assert (row["status"], row["message"]) == (FAILED, "Its worker was killed 5 times.")


def test_nobody_is_sent_home_as_long_as_a_trial_may_come_back(tmp_path):
    oracle = begun(tmp_path, trials=1)
    oracle.create_trial("here-1")
    assert oracle.create_trial("here-2").status == trials.TrialStatus.IDLE
    oracle.worker_lost("here-1")
    trial = oracle.create_trial("here-2")
    assert trial.status == trials.TrialStatus.RUNNING
    end(oracle, "here-2", trial)
    assert oracle.create_trial("here-2").status == trials.TrialStatus.STOPPED


def test_a_new_chief_gives_out_its_own_trials_and_leaves_those_of_workers_elsewhere(tmp_path):
    oracle = begun(tmp_path, chief="one:1")
    own, other = oracle.create_trial("one:1-1"), oracle.create_trial("two:7-1")
    oracle = begun(tmp_path, chief="one:2")
    assert oracle.create_trial("one:2-1").trial_id == own.trial_id
    end(oracle, "two:7-1", other)
    assert oracle.end_order == [other.trial_id]


def test_three_failures_in_a_row_give_the_search_up_and_it_can_be_taken_up_again(tmp_path, caplog):
    oracle = begun(tmp_path)
    end(oracle, "here-1", oracle.create_trial("here-1"))
    for _ in range(oracles.MAX_CONSECUTIVE_FAILURES):
        oracle.create_trial("here-1")
        oracle.end("here-1", status=trials.TrialStatus.INVALID, message="No such thing.")
    assert oracle.given_up == "No such thing."
    assert oracle.create_trial("here-1").status == trials.TrialStatus.STOPPED
    assert caplog.text.count("failed and is left out: No such thing.") == 3
    oracle = begun(tmp_path)
    assert oracle.given_up is None
    assert oracle.create_trial("here-1").trial_id in ("1", "2", "3")
    oracle.worker_lost("here-1")
    finished(oracle)
    is_whole(tmp_path, n_trials=6)


def test_a_score_that_is_no_number_is_a_failure(tmp_path):
    oracle = begun(tmp_path)
    end(oracle, "here-1", oracle.create_trial("here-1"), metrics={"val_accuracy": float("nan")})
    row = results.read(tmp_path)["trials"][0]
    assert (row["status"], row["message"]) == (FAILED, "Its score is not a number.")


def test_the_lock_is_free_after_an_error(tmp_path):
    oracle = begun(tmp_path)
    oracle.create_trial("here-1")
    with pytest.raises(ValueError, match="Objective value missing"):
        oracle.end("here-1", status=COMPLETED, metrics={"loss": 1.0})
    assert oracle.lock.acquire(blocking=False)
    oracle.lock.release()
    assert oracle.create_trial("here-2").status == trials.TrialStatus.RUNNING


def test_states_of_trials_that_cannot_go_on_are_not_needed(tmp_path):
    oracle = begun(tmp_path, "hyperband")
    first = [oracle.create_trial("here-1").trial_id]
    assert oracle.resumable_trials() == {*first}
    end(oracle, "here-1", oracle.trials[first[0]])
    assert oracle.resumable_trials() == {*first}  # it may be promoted
    finished(oracle)
    oracle.remove_completed_brackets()
    assert oracle.resumable_trials() == set()
