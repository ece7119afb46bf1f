"""What a version tells of how it was made, which the next one goes by; versions are but cards."""

import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
from made_card import write_card
from made_manifest import made_manifest

from tfpipe.base import tables
from tfpipe.base.errors import UserError
from tfpipe.data import dataset
from tfpipe.data.manifest import RecordSummary
from tfpipe.models.spec import Spec
from tfpipe.registry import history, load, previous_version, store, warm_start
from tfpipe.registry.card import BOOSTED_TREES
from tfpipe.tasks.splits import PackedSplits, SplitConfig
from tfpipe.training.config import TrainingConfig
from tfpipe.workflows import retrain
from tfpipe.workflows.retrain import RetrainingPlan

SPEC = Spec((16, 16, 1), tiny.CLASSES, (100.0,), (50.0,))


def make(models: Path, number: int, *, model: str = "simple-cnn", **told) -> Path:
    """Writes a version of which there is no more than a card."""
    folder = models / "tiny" / model / str(number)
    fields = {"model": model, "version": number, "classes": tiny.CLASSES, "spec": SPEC}
    write_card(folder, **fields | told)
    (folder / "saved_model.pb").write_bytes(b"")
    return folder


def test_old_answers_are_put_in_the_order_of_the_records(tmp_path, monkeypatch):
    told = {"kind": BOOSTED_TREES, "columns": ("width", "area"), "inputs": ("columns",)}
    version = make(tmp_path, 1, **told)
    manifest = made_manifest(
        columns=("area", "colour", "width"), classes=("bright", "faint", "dull")
    )
    rows = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    asked = []

    class Trees:
        def __init__(self, version):
            self.card = store.read_card(version)

        def predict_proba(self, images=None, columns=None):
            asked.append(columns)
            return np.array([[0.9, 0.1]] * 2)

    monkeypatch.setattr(dataset, "columns_of", lambda records, splits, manifest: rows)
    monkeypatch.setattr(load, "LoadedTrees", Trees)
    said = previous_version.predict_test_examples(version, tmp_path, manifest=manifest)
    assert asked[0].tolist() == [[3.0, 1.0], [6.0, 4.0]]  # width, area
    assert said.tolist() == [[0.1, 0.0, 0.9]] * 2  # dull is its first class, faint it has none
    with pytest.raises(UserError, match="no longer have the columns width, which version 1"):
        previous_version.predict_test_examples(
            version, tmp_path, manifest=replace(manifest, columns=("area",))
        )


def test_only_a_file_that_is_still_there_can_have_changed_its_split(tmp_path):
    sources = {"train": ["=a.txt", "b.txt"], "validation": ["c.txt"], "test": ["d.txt"]}
    manifest = made_manifest(sources=sources, classes=tiny.CLASSES)
    version = make(tmp_path, 1)
    previous_version.check(version, manifest)  # of the first release there is no table
    tables.write_csv(previous_version.sources(manifest), version / previous_version.SOURCES)
    fewer = {"train": ("=a.txt", "new.txt"), "validation": (), "test": ("d.txt",)}
    previous_version.check(version, replace(manifest, sources=fewer))
    moved = {"train": ("b.txt",), "validation": ("c.txt", "=a.txt"), "test": ("d.txt",)}
    with pytest.raises(UserError, match=r"version 1: =a.txt \(train, now validation\)\. So tr"):
        previous_version.check(version, replace(manifest, sources=moved))


def test_the_splits_of_a_version_outlive_its_records(tmp_path):
    sources = {"train": ["=a.txt"], "validation": ["c.txt", "e.txt"], "test": ["d.txt"]}
    manifest = made_manifest(sources=sources, classes=tiny.CLASSES)
    split = SplitConfig((0.5, 0.3, 0.2), "b")
    data = RecordSummary(fingerprint="", fractions=split.shares, salt="b")
    models = tmp_path / "tiny"
    assert previous_version.newest_splits(models, split) == PackedSplits()
    first, second = (make(tmp_path, number, data=data) for number in (1, 2))
    assert previous_version.newest_splits(models, split) == PackedSplits()  # a first release's
    tables.write_csv(previous_version.sources(manifest), second / previous_version.SOURCES)
    groups = pd.DataFrame(
        {"split": ["train", "train", "test"], "group": ["=g", "in two", "in two"], "examples": 3}
    )
    tables.write_csv(groups, second / previous_version.GROUPS)
    splits = previous_version.newest_splits(models, split)
    assert splits.by_source == {
        "=a.txt": "train",
        "c.txt": "validation",
        "e.txt": "validation",
        "d.txt": "test",
    }
    assert splits.by_group == {"=g": "train"}
    for other in (SplitConfig(split.shares, "c"), SplitConfig((0.6, 0.2, 0.2), "b")):
        assert previous_version.newest_splits(models, other) == PackedSplits()
    assert previous_version.packed_splits(first, split) == PackedSplits()


def test_what_versions_were_adapted_with_is_matched_by_its_checksum(tmp_path):
    split = SplitConfig()
    data = RecordSummary(fingerprint="", fractions=split.shares, salt="")
    first = make(tmp_path, 1, data=data)
    second = make(tmp_path, 2, data=data, initialized_from=1)
    third = make(tmp_path, 3, data=data, initialized_from=2)
    home = {"train": ("a.txt",), "validation": ("b.txt",), "test": ("d.txt",)}
    sums = {"new: /new/a.txt": "A", "new: d.txt": "D", "new: e.txt": "E"}
    for version, sources in (
        (first, home | {"test": ("d.txt", "new: d.txt", "new: e.txt")}),
        (second, home | {"train": ("a.txt", "new: /new/a.txt", "new: d.txt")}),
        (third, home),
    ):
        added = {k: v for k, v in sums.items() if k in sources["train"] + sources["test"]}
        manifest = made_manifest(sources=sources, added_sha256=added, classes=tiny.CLASSES)
        tables.write_csv(previous_version.sources(manifest), version / previous_version.SOURCES)
        names = [(part, name) for part, own in sources.items() for name in own]
        groups = pd.DataFrame(names, columns=["split", "group"])
        tables.write_csv(groups, version / previous_version.GROUPS)
    splits = previous_version.packed_splits(third, split)
    assert splits.by_checksum == {"A": "train", "D": "train", "E": "test"}
    in_home = {name: part for part, own in home.items() for name in own}
    assert previous_version.packed_splits(second, split).by_source == in_home
    by_group = previous_version.packed_splits(second, split).by_group
    assert by_group == in_home | {"/new/a.txt": "train"}, "a packed group of that name goes first"
    previous_version.check(second, made_manifest(sources=home, classes=tiny.CLASSES))
    assert previous_version.training_groups(third) == {"a.txt", "/new/a.txt", "d.txt"}
    assert previous_version.training_groups(first) == {"a.txt"}
    # Versions without checksums go by the name that the file had.
    table = pd.DataFrame({"split": ["test"], "source": ["new: run.txt"]})
    tables.write_csv(table, third / previous_version.SOURCES)
    moved = home | {"train": ("a.txt", "run.txt")}
    with pytest.raises(UserError, match=r"run.txt \(test, now train\)"):
        previous_version.check(third, made_manifest(sources=moved, classes=tiny.CLASSES))


def test_each_of_a_line_of_versions_is_retrained_as_gently_as_the_first(tmp_path):
    first = asdict(TrainingConfig(learning_rate=0.01, epochs=2, seed=5)) | {"precision": "float32"}
    gentle = first | {"learning_rate": 0.001, "epochs": 1, "schedule": "cosine"}
    make(tmp_path, 1, training=first)
    make(tmp_path, 2, training=gentle, initialized_from=1)
    third = make(tmp_path, 3, training=gentle, initialized_from=2)
    settings = retrain.training_config(third, RetrainingPlan(initialized_from=third))
    assert (settings.learning_rate, settings.epochs) == (pytest.approx(0.001), 1)
    assert settings.schedule == "cosine" and settings.seed == 5
    afresh = retrain.training_config(third, RetrainingPlan(epochs=9, seed=6))
    assert (afresh.learning_rate, afresh.epochs, afresh.seed) == (0.01, 9, 6)


def test_versions_that_say_they_start_from_each_other_are_followed_once(tmp_path):
    training = asdict(TrainingConfig()) | {"precision": "float32"}
    make(tmp_path, 1, training=training, initialized_from=2)
    second = make(tmp_path, 2, training=training, initialized_from=2)
    assert retrain.training_config(second, RetrainingPlan(epochs=3)).epochs == 3


def test_records_are_packed_and_weights_begun_with_as_the_card_tells(tmp_path):
    data = RecordSummary(
        fingerprint="",
        fractions=(0.5, 0.3, 0.2),
        salt="b",
        unreadable={"x.txt": "cut", "y.txt": "cut"},
    )
    version = make(tmp_path, 1, options={"pictures": 7}, data=data)
    told = retrain.packing_of(tiny.TASK, version)
    assert told == {
        "options": tiny.Options(pictures=7),
        "split": SplitConfig((0.5, 0.3, 0.2), "b"),
        "skip_bad": 2,
    }
    newest = make(tmp_path, 2)
    assert retrain.starting_version(newest, None, from_scratch=False) == newest
    assert retrain.starting_version(newest, None, from_scratch=True) is None
    assert retrain.starting_version(newest, 1, from_scratch=False) == version
    trees = make(tmp_path, 1, model="xgboost", kind=BOOSTED_TREES)
    assert retrain.starting_version(trees, None, from_scratch=False) is None


def test_weights_that_are_gone_on_with_keep_their_scale(tmp_path):
    now = replace(SPEC, image_mean=(140.0,), image_std=(10.0,))
    assert warm_start.spec_of(make(tmp_path, 1), now) == SPEC
    wider = replace(now, image_shape=(32, 16, 1))
    with pytest.raises(UserError, match="image_shape 32, 16, 1, but version 1 .* 16, 16, 1"):
        warm_start.spec_of(tmp_path / "tiny/simple-cnn/1", wider)


def test_the_line_that_was_rolled_back_is_the_one_that_is_served(tmp_path):
    for number in (1, 2):
        make(tmp_path, number)
    other = make(tmp_path, 1, model="resnet9")
    os.utime(tmp_path / "tiny/simple-cnn/1", (1e9, 1e9))
    os.utime(other, (1.5e9, 1.5e9))
    made = history.rollback(tmp_path / "tiny/simple-cnn/1")
    assert made.name == "3"
    found = store.find(tmp_path, task="tiny", model=None, version=None)
    assert found == made
    rows = {(r["model"], r["version"]): r for r in history.table(tmp_path, task="tiny")}
    assert [rows["simple-cnn", n]["served"] for n in (1, 2, 3)] == ["", "", "by default"]
    assert rows["resnet9", 1]["served"] == "yes"
