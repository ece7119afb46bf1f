"""Boosted trees on columns: grouped search that goes on, honest numbers, versions that last."""

import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import four_class_task
import keras_tuner
import numpy as np
import pandas as pd
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as some
from made_card import made_card
from typer.testing import CliRunner

from tfpipe import cli
from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.baselines import train_trees, tree_search
from tfpipe.baselines.config import TreeSearchConfig
from tfpipe.data import columns as data_columns
from tfpipe.data import manifest
from tfpipe.data.columns import ColumnExamples
from tfpipe.evaluation import calibration
from tfpipe.models import boosted_trees
from tfpipe.registry import load, store
from tfpipe.registry.trees import TreesExport
from tfpipe.report import write
from tfpipe.tasks import catalog
from tuning import boosted_trees as tuned

pytestmark = pytest.mark.slow  # what they share trains

FEW = TreeSearchConfig(trials=2, folds=2)
SMALL = {"learning_rate": 0.3, "max_depth": 2, "trees": 8}


@pytest.fixture(scope="module", autouse=True)
def small_trees():
    """The published winner and its like, with fewer trees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuned, "PUBLISHED", {"learning_rate": 0.296, "max_depth": 3, "trees": 12})
        patch.setattr(tuned, "MAX_TREES", 30)
        yield


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shallow")
    task = replace(four_class_task.TASK, columns=("level", "=other"))
    data = four_class_task.packed(folder, files=16, task=task)
    return folder, task, data


@pytest.fixture(scope="module")
def version(packed):
    """Returns a version trained by few candidates, and what the training returned."""
    folder, task, data = packed
    return train_trees.train(task, data.folder, folder / "xgboost", config=FEW)


def drawn(count=240, *, classes=3, groups=12, seed=0) -> ColumnExamples:
    """Returns examples whose first column tells the class, of groups that have every class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    columns = rng.normal(0, 0.4, (count, 3)).astype(np.float32)
    columns[:, 0] += labels
    names = np.array([f"run{i % groups:02d}".encode() for i in rng.permutation(count)])
    return ColumnExamples(columns, labels, names, np.array([b"%d" % i for i in range(count)]))


def searched(folder, **changes):
    given = {"classes": 3, "config": FEW, "fingerprint": "one"} | changes
    return tree_search.search(drawn(), folder, **given)


def test_a_version_is_found_by_its_card_and_answers_as_predicted(packed, version):
    folder, task, data = packed
    path = store.find(folder, task=".", model="xgboost", version=None)
    loaded = load.open_version(path)
    card = loaded.card
    assert (card.kind, card.inputs, card.version) == ("boosted-trees", ("columns",), 1)
    assert card.columns == ("level", "=other") and card.classes == four_class_task.CLASSES
    frame = pd.read_csv(path / "assets.extra" / "predictions.csv")
    test = data_columns.read(data.folder, ("test",), manifest=data.manifest)
    said = loaded.predict_proba(columns=test.columns)
    assert said.dtype == np.float32
    told = frame[frame["split"] == "test"]
    np.testing.assert_allclose(told[[f"p_{n}" for n in four_class_task.CLASSES]], said, rtol=1e-6)
    assert told["key"].tolist() == [key.decode() for key in test.keys]
    assert told["label"].tolist() == test.labels.tolist() and (test.labels < 0).any()
    known = test.labels >= 0
    right = (said.argmax(axis=1) == test.labels)[known].mean()
    assert card.metrics["test"]["accuracy"] == pytest.approx(right) and right > 0.8
    assert version["metrics"] == card.metrics and version["version"] == 1


def test_the_card_tells_how_sure_it_may_be(packed, version):
    card = store.read_card(Path(version["path"]))
    assert set(card.abstention["thresholds"]) == set(four_class_task.CLASSES)
    told = card.calibration
    assert calibration.COLDEST <= told["temperature"] <= calibration.HOTTEST
    assert set(told["error"]) == set(told["error_before"]) == {"validation", "test"}


def test_the_report_tells_all_and_can_be_written_anew(packed, version):
    path = Path(version["path"])
    page = path / "assets.extra" / "report.html"
    before = page.read_text()
    wanted = ("SHAP values of the columns", "Candidates", "Calibration", "Abstention")
    assert all(f">{title}</h2>" in before for title in wanted)
    assert (
        "Most confident mistakes" in before
        and "Least confident" in before
        and "published" in before
    )
    assert write.write(path, packed[2].folder).read_text() == before
    sizes = pd.read_csv(path / "assets.extra" / "shap.csv")
    assert sizes["column"].tolist() == ["level", "'=other"]  # the one that tells the class first
    assert sizes.columns.tolist() == ["column", *four_class_task.CLASSES]


def test_a_damaged_or_other_version_is_refused(packed, version, tmp_path):
    path = Path(version["path"])
    with pytest.raises(UserError, match="predicts from 2 columns .* received 1 x 5"):
        load.open_version(path).predict_proba(columns=np.zeros((1, 5), np.float32))
    copy = tmp_path / "1"
    for name in ("model.ubj", "assets.extra/contributions.npz", "assets.extra/card.json"):
        files.replace(copy / name, (path / name).read_bytes())
    (copy / "model.ubj").write_bytes(b"{}")
    with pytest.raises(UserError, match="not what was exported"):
        load.open_version(copy)


def test_trees_from_a_file_answer_bit_by_bit_as_before(tmp_path):
    known = drawn()
    trees = boosted_trees.fit(known, classes=3, arguments=SMALL)
    boosted_trees.save(trees, tmp_path / "model.ubj")
    again = boosted_trees.load(tmp_path / "model.ubj")
    np.testing.assert_array_equal(
        boosted_trees.classify(trees, known.columns), boosted_trees.classify(again, known.columns)
    )
    assert boosted_trees.classify(again, known.columns[:0]).shape == (0, 3)
    (tmp_path / "model.ubj").write_bytes(b"no trees")
    with pytest.raises(UserError, match="holds no trees"):
        boosted_trees.load(tmp_path / "model.ubj")


def test_a_file_that_answers_otherwise_is_not_published(packed, monkeypatch, tmp_path):
    other = boosted_trees.fit(drawn(), classes=3, arguments=SMALL)
    trees = boosted_trees.fit(drawn(seed=5), classes=3, arguments=SMALL)
    monkeypatch.setattr(boosted_trees, "load", lambda path: other)
    columns = drawn().columns
    export = TreesExport(trees, ("a", "b", "c"), ("x", "y", "z"), columns, columns)
    with pytest.raises(UserError, match="predict something else"):
        store.publish(export, tmp_path, card=made_card())
    assert store.versions(tmp_path) == []


def test_what_is_missing_tells_too_and_is_not_zero():
    known = drawn(classes=2)
    columns = np.zeros_like(known.columns)
    columns[known.labels == 1] = np.nan
    trees = boosted_trees.fit(known._replace(columns=columns), classes=2, arguments=SMALL)
    assert (boosted_trees.classify(trees, columns).argmax(axis=1) == known.labels).all()


def test_rare_classes_weigh_more_by_weights():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [180, 20])
    known = drawn(200)._replace(labels=labels, columns=rng.normal(0, 1, (200, 3)).astype("float32"))
    found = {
        balanced: boosted_trees.fit(
            known, classes=2, arguments=SMALL | {"trees": 2}, balanced=balanced
        )
        for balanced in boosted_trees.BALANCES
    }
    shares = {name: boosted_trees.classify(one, known.columns)[:, 1] for name, one in found.items()}
    assert shares["weights"].mean() > 0.4 and shares["none"].mean() < 0.3


def test_contributions_add_up_to_the_answers():
    known = drawn()
    trees = boosted_trees.fit(known, classes=3, arguments=SMALL)
    added = boosted_trees.contributions(trees, known.columns).astype(float)
    assert added.shape == (240, 3, 3)
    logits = np.log(boosted_trees.classify(trees, known.columns).astype(float))
    # Softmax takes out a constant an example; what is left of it is the class's mean.
    means = (logits - added.sum(axis=2)) - (logits - added.sum(axis=2))[:, :1]
    np.testing.assert_allclose(means, np.broadcast_to(means[0], means.shape), atol=1e-4)
    assert np.abs(added).mean(axis=(0, 1)).argmax() == 0


def test_growing_stops_where_others_profit_no_more():
    known, noise = drawn(), drawn(seed=3)
    shuffled = noise._replace(labels=np.random.default_rng(0).permutation(noise.labels))
    trees = boosted_trees.fit(
        known, classes=3, arguments=SMALL | {"trees": 300, "max_depth": 6}, validation_set=shuffled
    )
    assert trees.num_boosted_rounds() <= trees.best_iteration + 1 + boosted_trees.PATIENCE < 300


def test_the_published_winner_comes_first_and_the_others_lie_in_the_space():
    assert tree_search.candidate(0, seed=4) == tuned.PUBLISHED
    hp = keras_tuner.HyperParameters()
    tuned.space(hp)
    drawn_twice = [[tree_search.candidate(i, seed=4) for i in range(1, 40)] for _ in range(2)]
    assert drawn_twice[0] == drawn_twice[1]
    assert len({json.dumps(one) for one in drawn_twice[0]}) == 39
    for one in drawn_twice[0]:
        assert 0.02 <= one["learning_rate"] <= 0.4 and 2 <= one["max_depth"] <= 14
        assert set(one) - {"trees"} == {known.name for known in hp.space} == {*boosted_trees.NAMES}
    assert tree_search.candidate(1, seed=5) != drawn_twice[0][0]


@settings(max_examples=25, deadline=None)
@given(some.integers(0, 99), some.integers(2, 6), some.integers(6, 30))
def test_folds_part_no_group_and_judge_every_example_once(seed, count, groups):
    known = drawn(90, groups=groups, seed=seed)
    parts = tree_search.make_folds(known, TreeSearchConfig(folds=count, seed=seed))
    assert len(parts) == count
    for own, judged in parts:
        assert not {*known.groups[own]} & {*known.groups[judged]}
    np.testing.assert_array_equal(np.sort(np.concatenate([j for _, j in parts])), np.arange(90))


def test_more_folds_than_groups_are_refused():
    with pytest.raises(UserError, match="--folds is 13, but there are 12 groups"):
        tree_search.make_folds(drawn(), TreeSearchConfig(folds=13))


def test_crossed_answers_come_from_trees_that_never_saw_the_group(monkeypatch):
    known, plan = drawn(), TreeSearchConfig(folds=4)
    taught, fit = [], boosted_trees.fit

    def watched(learnt, **rest):
        taught.append({*learnt.groups})
        return fit(learnt, **rest)

    monkeypatch.setattr(boosted_trees, "fit", watched)
    likely = tree_search.out_of_fold(known, classes=3, arguments=SMALL, config=plan)
    parts = tree_search.make_folds(known, plan)
    assert all(
        not groups & {*known.groups[j]} for groups, (_, j) in zip(taught, parts, strict=True)
    )
    np.testing.assert_allclose(likely.sum(axis=1), 1, rtol=1e-5)
    assert (likely.argmax(axis=1) == known.labels).mean() > 0.7


def test_a_search_that_was_killed_goes_on_and_ends_the_same(tmp_path, monkeypatch):
    whole = searched(tmp_path / "whole", config=FEW._replace(trials=3))

    def killed(stage, info):
        if info["done"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "search", config=FEW._replace(trials=3), report=killed)
    calls, fit = [], boosted_trees.fit

    def counted(*given, **rest):
        calls.append(rest["arguments"])
        return fit(*given, **rest)

    monkeypatch.setattr(boosted_trees, "fit", counted)
    assert searched(tmp_path / "search", config=FEW._replace(trials=3)) == whole
    assert calls == [tree_search.candidate(2, seed=0)] * FEW.folds
    del calls[:]
    assert searched(tmp_path / "search")["candidates"] == whole["candidates"][:2]
    assert not calls  # fewer are asked for: nothing to score, and the rest is kept
    assert len((tmp_path / "search" / "trials.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "change",
    [{"fingerprint": "two"}, {"config": FEW._replace(seed=1)}, {"config": FEW._replace(folds=3)}],
)
def test_a_search_of_something_else_is_moved_aside(change, tmp_path, caplog):
    searched(tmp_path / "search")
    with caplog.at_level(logging.WARNING, "tfpipe"):
        searched(tmp_path / "search", **change)
    assert "search-1" in caplog.text and (tmp_path / "search-1" / "trials.jsonl").is_file()


def test_a_damaged_search_is_moved_aside(tmp_path, caplog):
    first = searched(tmp_path / "search")
    (tmp_path / "search" / "trials.jsonl").write_text('{"candidate": 0')
    assert searched(tmp_path / "search") == first
    assert "cannot be read" in caplog.text


def test_the_winner_has_the_lowest_loss_and_the_trees_of_its_folds(tmp_path):
    best = searched(tmp_path / "search", config=FEW._replace(trials=3))
    rows = best["candidates"]
    winner = min(rows, key=lambda row: row["log_loss"])
    assert best["candidate"] == winner["candidate"] and best["log_loss"] == winner["log_loss"]
    assert best["arguments"] == winner["arguments"] | {"trees": winner["trees"]}
    assert json.loads((tmp_path / "search" / "best.json").read_text()) == best


def test_nothing_is_chosen_by_the_test_split():
    parts = {"validation": drawn(seed=1), "test": drawn(seed=2)}
    trees = boosted_trees.fit(drawn(), classes=3, arguments=SMALL)
    wrong = parts | {"test": parts["test"]._replace(labels=(parts["test"].labels + 1) % 3)}
    other = drawn(seed=3)
    unseen = other.labels, boosted_trees.classify(trees, other.columns), other.groups
    one, again = (
        train_trees.evaluate(trees, p, unseen, classes=tuple("abc"), balance="weights").card
        for p in (parts, wrong)
    )
    assert one["calibration"]["temperature"] == again["calibration"]["temperature"]
    assert one["abstention"]["thresholds"] == again["abstention"]["thresholds"]
    assert one["metrics"]["validation"] == again["metrics"]["validation"]
    assert one["metrics"]["test"] != again["metrics"]["test"]


def test_two_classes_have_a_decision():
    parts = {name: drawn(classes=2, seed=i) for i, name in enumerate(("validation", "test"))}
    trees = boosted_trees.fit(drawn(classes=2), classes=2, arguments=SMALL)
    none = np.zeros(0, int), np.zeros((0, 2), np.float32), np.zeros(0, "S3")
    told = train_trees.evaluate(trees, parts, none, classes=("no", "yes"), balance="weights").card
    assert 0 < told["thresholds"]["decision"] < 1 and told["metrics"]["test"]["f1"] > 0.7


def test_records_without_columns_say_so(tmp_path):
    data = tiny.packed(tmp_path)
    with pytest.raises(UserError, match="no columns .* `tfpipe train tiny`"):
        train_trees.train(tiny.TASK, data.folder, tmp_path / "xgboost", config=FEW)


def test_an_infinite_value_is_named(packed, monkeypatch):
    _, _, data = packed
    whole = data_columns.dataset.columns_of

    def endless(*arguments, **rest):
        columns = whole(*arguments, **rest)
        columns[3, 1] = -np.inf
        return columns

    monkeypatch.setattr(data_columns.dataset, "columns_of", endless)
    with pytest.raises(UserError, match=r"file\d+.txt@003: column '=other' is infinite"):
        data_columns.read(data.folder, ("train",), manifest=data.manifest)


def test_labels_that_cannot_teach_are_refused(caplog):
    known = drawn()
    parts = dict.fromkeys(("train", "validation", "test"), known)
    nobody = known._replace(labels=np.full(240, -1))
    with pytest.raises(UserError, match="No validation example has a label"):
        data_columns.check(parts | {"validation": nobody}, classes=tuple("abc"))
    alike = known._replace(labels=np.full(240, 1))
    with pytest.raises(UserError, match="are 'b', expected two classes"):
        data_columns.check(parts | {"train": alike}, classes=tuple("abc"))
    assert not caplog.text
    lone = known._replace(labels=np.where(np.arange(240) == 7, 2, known.labels % 2))
    data_columns.check(parts | {"train": lone}, classes=tuple("abc"))
    assert re.search("one training group only.*: c", caplog.text)


def test_the_command_line_says_what_it_made(packed, monkeypatch):
    folder, task, data = packed
    monkeypatch.setitem(catalog.TASKS, "kinds", task)
    for name in ("raw", "records"):
        (folder / "data" / name).mkdir(parents=True)
        (folder / "data" / name / "kinds").symlink_to(folder / name)
    words = ["shallow", "kinds", "--trials", "1", "--folds", "2", "--json"]
    words += ["--data", str(folder / "data"), "--models", str(folder / "models")]
    made = CliRunner().invoke(cli.app, words, catch_exceptions=False)
    told = json.loads(made.stdout)
    assert (told["command"], told["model"], told["version"]) == ("shallow", "xgboost", 1)
    assert told["path"] == str(folder / "models" / "kinds" / "xgboost" / "1")
    assert manifest.read(data.folder).fingerprint == data.manifest.fingerprint
    refused = CliRunner().invoke(cli.app, [*words, "--balance", "wieghts"])
    assert "Did you mean 'weights'?" in str(refused.exception)
