"""More trials: known ones stay as they are, new ones are those of a longer search."""

import json
from pathlib import Path

import pytest
import search_run
import tiny
from made_manifest import made_manifest

from tfpipe.base.errors import UserError
from tfpipe.base.resumable import PLAN, ResumableFolder
from tfpipe.data.dataset import Dataset
from tfpipe.search import results, run
from tfpipe.search.chief import Chief
from tfpipe.search.run import WorkerConfig
from tfpipe.training import loop

SPACE = """
def space(hp):
    small = {"conv_layers": 1, "dropout": 0.0, "dense_units": 8, "dense_dropout": 0.0}
    return small | {"filters": hp.Choice("filters", [1, 2, 3, 4])}

def training(hp):
    rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
    return {"learning_rate": rate, "optimizer": hp.Choice("optimizer", ["sgd", "nadam"])}
"""
ALGORITHMS = {
    "random": {"algorithm": "random", "trials": 3},
    "bayesian": {"algorithm": "bayesian", "trials": 3},
    "hyperband": {"algorithm": "hyperband", "trial_epochs": 3},
}


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """Returns a function that runs a search whose scores are made up, and what it was asked for."""
    taken: list[str] = []

    def served(chief: Chief, config, plan, *, workers, report) -> None:
        oracle = chief.oracle
        while (trial := oracle.create_trial("here-1")).status == "RUNNING":
            taken.append(trial.trial_id)
            values = trial.hyperparameters.values
            score = values["filters"] + values["learning_rate"] + values.get("tuner/epochs", 0) / 10
            oracle.end("here-1", status="COMPLETED", metrics={"val_accuracy": score}, seconds=1.0)
            if len(taken) == search.stop_after:
                raise KeyboardInterrupt

    def search(name="random", *, folder="search", space=SPACE, fingerprint="", by=0, **changes):
        path = tmp_path / f"space_{abs(hash(space))}.py"  # a module is loaded once
        path.write_text(space)
        data = Dataset(tmp_path, made_manifest(fingerprint=fingerprint), "accuracy")
        config = tiny.search_config(data, **ALGORITHMS[name] | changes, space=str(path))
        records = (data, None)
        taken.clear()
        return run.run_search(
            config, tmp_path / folder, records=records, workers=WorkerConfig(0), more_trials=by
        )

    monkeypatch.setattr(run, "serve_trials", served)
    search.taken, search.folder, search.stop_after = taken, tmp_path / "search", None
    return search


def trial_files(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in folder.glob("trial_*/trial.json")}


@pytest.mark.parametrize(
    ("name", "first", "all_trials"),
    [
        ("random", 3, 7),
        ("bayesian", 3, 7),
        ("hyperband", 6, 12),
    ],
)
def test_a_finished_search_goes_on_as_if_it_had_been_longer(name, first, all_trials, searched):
    searched(name)
    before = trial_files(searched.folder)
    assert len(before) == first
    best = searched(name, by=4)
    after = trial_files(searched.folder)
    assert searched.taken == [f"{i:0{len(searched.taken[0])}d}" for i in range(first, all_trials)]
    assert {key: after[key] for key in before} == before
    if name != "hyperband":
        assert best["trials"] == searched(name, folder="longer", trials=7)["trials"]
    else:
        assert best["trials"] == searched(name, folder="longer", more_trials=4)["trials"]
    # The command that began the search finds it, and its run.yaml repeats it.
    assert searched(name) == best and not searched.taken
    more = 6 if name == "hyperband" else 4  # whole iterations
    assert (best["more_trials"], best["max_trials"]) == (more, ALGORITHMS[name].get("trials", 40))
    content = results.read(searched.folder)
    assert content["finished"] and content["n_trials"] == all_trials


def test_a_search_that_was_stopped_with_more_trials_goes_on_to_their_number(searched):
    searched()
    searched.stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        searched(by=4)
    assert not results.read(searched.folder)["finished"]
    searched.stop_after = None
    assert len(searched(by=4)["trials"]) == 7
    assert len(searched(by=4)["trials"]) == 11
    # Killed after the decision and before the result was removed:
    (searched.folder / "more.json").write_text(json.dumps({"trials": 9}))
    assert len(searched(by=4)["trials"]) == 12


def test_more_trials_follow_the_number_that_there_were_and_not_the_default(searched):
    searched(trials=2)
    assert len(searched(trials=None, by=2)["trials"]) == 4
    assert len(searched(trials=2)["trials"]) == 4 and not searched.taken


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("random", 4),
        ("hyperband", 4),
        pytest.param("bayesian", 7, marks=pytest.mark.slow),  # the last one by a Gaussian process
    ],
)
def test_more_trials_are_in_the_ranges_of_now(name, by, searched):
    before = searched(name)["trials"]
    wide = SPACE.replace("1e-4, 1e-2", "1e-2, 1e-1").replace("[1, 2, 3, 4]", "[1, 2, 3, 4, 9]")
    after = searched(name, space=wide, by=by)["trials"]
    assert after[: len(before)] == before and len(after) >= len(before) + by
    assert all(1e-2 <= row["learning_rate"] <= 1e-1 for row in after[len(before) :])
    assert all(row["learning_rate"] < 1e-2 for row in before)
    assert searched(name, space=wide)["trials"] == after and not searched.taken


def configuration(row) -> tuple:
    return row["filters"], row["learning_rate"], row["optimizer"]


def test_hyperband_goes_on_with_a_larger_budget_from_its_best_trials(searched):
    before = searched("hyperband")["trials"]
    files = trial_files(searched.folder)
    best = searched("hyperband", trial_epochs=9, by=1)
    iteration = len(searched("hyperband", folder="alone", trial_epochs=9)["trials"])
    rows = best["trials"]
    assert rows[: len(before)] == before and len(rows) == len(before) + iteration
    after = trial_files(searched.folder)
    assert {name: after[name] for name in files} == files
    assert {row["epochs"] for row in rows[len(before) :]} == {1, 3, 9}
    ranked = sorted(before, key=lambda row: -row["score"])
    distinct = list(dict.fromkeys(configuration(row) for row in ranked))
    first = [configuration(row) for row in rows[len(before) :][:2]]
    assert first == distinct[:2]
    assert searched("hyperband", trial_epochs=9) == best and not searched.taken
    assert results.read(searched.folder)["n_trials"] == len(rows)
    # More of the larger budget, and then a larger one again.
    more = searched("hyperband", trial_epochs=9, by=1)["trials"]
    assert len(more) == len(rows) + iteration and more[: len(rows)] == rows
    larger = searched("hyperband", trial_epochs=27, by=1)["trials"]
    assert larger[: len(more)] == more and max(row["epochs"] for row in larger) == 27


def test_each_time_hyperband_has_an_iteration_more(searched):
    assert len(searched("hyperband")["trials"]) == 6
    assert [len(searched("hyperband", by=1)["trials"]) for _ in range(2)] == [12, 18]


def test_a_larger_budget_takes_over_only_what_is_in_the_same_ranges(searched):
    before = searched("hyperband")["trials"]
    narrow = SPACE.replace("[1, 2, 3, 4]", "[1, 2]")
    rows = searched("hyperband", space=narrow, trial_epochs=9, by=1)["trials"][len(before) :]
    assert {row["filters"] for row in rows} == {1, 2}


def test_in_a_space_that_was_tried_out_the_best_are_trained_longer(searched):
    small = SPACE.replace("[1, 2, 3, 4]", "[1, 2]").replace(
        'Float("learning_rate", 1e-4, 1e-2, sampling="log")', 'Choice("learning_rate", [1e-3])'
    )
    before = searched("hyperband", space=small)["trials"]
    rows = searched("hyperband", space=small, trial_epochs=9, by=1)["trials"]
    assert len(rows) > len(before) and rows[: len(before)] == before


def test_a_kill_before_the_plan_is_written_leaves_the_search_as_it_was(searched, monkeypatch):
    before = searched("hyperband")
    write = ResumableFolder.write

    def killed(self, name, content):
        if name == PLAN:
            raise KeyboardInterrupt
        write(self, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(ResumableFolder, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            searched("hyperband", trial_epochs=9, by=1)
    assert searched("hyperband") == before and not searched.taken
    assert len(searched("hyperband", by=1)["trials"]) == 12
    rows = searched("hyperband", trial_epochs=9, by=1)["trials"]
    assert results.read(searched.folder)["n_trials"] == len(rows) > 12


def test_a_larger_budget_that_was_stopped_goes_on_to_its_end(searched):
    searched("hyperband")
    whole = searched("hyperband", folder="whole")
    whole = searched("hyperband", folder="whole", trial_epochs=9, by=1)
    searched.stop_after = 4
    with pytest.raises(KeyboardInterrupt):
        searched("hyperband", trial_epochs=9, by=1)
    searched.stop_after = None
    with pytest.raises(UserError, match="Let it end by --trial-epochs 9, then change"):
        searched("hyperband", trial_epochs=27, by=1)
    stopped = searched("hyperband", trial_epochs=9, by=1)
    assert len(stopped["trials"]) == len(whole["trials"])


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        (
            "hyperband",
            {"trial_epochs": 2},
            "had at most 3 epochs, now it would be 2.*epochs 3 goes",
        ),
        ("random", {"trial_epochs": 9}, "had at most 1 epochs, now it would be 9"),
        ("random", {"fingerprint": "other"}, "its records are different. Search anew without"),
        ("random", {"algorithm": "bayesian"}, "its algorithm or budget is different"),
        ("random", {"fixed": {"filters": 2}}, "its values held fixed are different"),
        (
            "random",
            {"space": SPACE.replace('"filters"', '"dense_units"')},
            "'filters' is gone from its space",
        ),
        (
            "random",
            {"space": SPACE.replace('"dense_units": 8', '"dense_units": 9')},
            "from the same values its space makes another model or another training",
        ),
        (
            "random",
            {
                "space": SPACE.replace(
                    'Float("learning_rate", 1e-4, 1e-2, sampling="log")',
                    'Choice("learning_rate", [1e-4, 1e-2])',
                )
            },
            "'learning_rate' is of another kind in its space",
        ),
        (
            "bayesian",
            {"space": SPACE.replace("[1, 2, 3, 4]", "[7, 8]")},
            "'filters' has lost the value",
        ),
    ],
)
def test_trials_that_do_not_compare_are_refused_and_stay(name, changes, says, searched):
    searched(name)
    before = {p: p.read_bytes() for p in searched.folder.rglob("*") if p.is_file()}
    with pytest.raises(UserError, match=f"search cannot have more trials: .*{says}"):
        searched(name, **changes, by=3)
    assert {p: p.read_bytes() for p in searched.folder.rglob("*") if p.is_file()} == before


def test_more_trials_of_no_search_are_refused(searched):
    with pytest.raises(UserError, match="holds no search that could have more trials. Begin one"):
        searched(by=3)


@pytest.mark.slow
def test_more_trials_by_workers_train_none_again(tmp_path):
    data: loop.Dataset = tiny.packed(tmp_path / "tiny")
    given = {"trials": 1, "trial_epochs": 1}
    first = search_run.by_workers(data, tmp_path / "s", workers=WorkerConfig(1), **given)
    before = trial_files(tmp_path / "s")
    more = search_run.by_workers(
        data, tmp_path / "s", workers=WorkerConfig(1), more_trials=1, **given
    )
    assert more["trials"][0] == first["trials"][0] and len(more["trials"]) == 2
    assert trial_files(tmp_path / "s")["trial_0"] == before["trial_0"]
