"""Insolubles from raw folder to records: classes, columns and shape are those found."""

import dataclasses

import flowcam
import numpy as np
import pytest
import tensorflow as tf

from tfpipe.base.errors import UserError
from tfpipe.data import dataset
from tfpipe.data import manifest as data_manifest
from tfpipe.data import pack as data_pack
from tfpipe.tasks.insolubles import TASK
from tfpipe.tasks.splits import SplitConfig
from tfpipe.tasks.task import SPLITS
from tfpipe.training import open_records

SPLIT = SplitConfig((0.5, 0.25, 0.25), "i")  # of the 8 runs 4, 2 and 2
OPTIONS = dataclasses.replace(TASK.options, side=16, min_class=1)


def pack(folder, *, classes, runs=8, options=OPTIONS, split=SPLIT):
    """Packs some runs of 6 particles and returns the manifest."""
    for i in range(runs):
        flowcam.run(folder / "raw" / f"run{i}", flowcam.particles(6), classes=classes)
        flowcam.noise(folder / "raw" / f"run{i}", np.random.default_rng(i))
    return data_pack.pack(TASK, folder / "raw", folder / "records", options=options, split=split)


def test_classes_columns_and_shape_are_those_of_the_folder(tmp_path):
    manifest = pack(tmp_path, classes={"ash": [1, 2], "dust": [3]})
    assert manifest.classes == ("ash", "dust")
    assert manifest.image_shape == (16, 16, 3)
    assert manifest.columns == flowcam.surveyed(tmp_path / "raw").columns
    assert sum(manifest.groups.values()) == 8
    for split in manifest.counts.values():
        assert split["ash"] == 2 * split["dust"] == 2 * split["(unlabelled)"] / 3
    assert data_manifest.verify(tmp_path / "records") == []
    written = data_manifest.read(tmp_path / "records")
    batches = dataset.batches(tmp_path / "records", dataset.TRAIN, manifest=written)
    batch, labels = next(iter(batches))
    assert batch["image"].shape[1:] == (16, 16, 3)
    assert batch["columns"].shape[1] == len(written.columns)
    assert set(tf.unique(labels)[0].numpy()) == {-1, 0, 1}


def test_a_class_of_three_runs_is_in_each_split(tmp_path):
    for i in range(9):
        classes = {"ash": [1, 2], "dust": [3]} | ({"pollen": [4]} if i < 3 else {})
        flowcam.run(tmp_path / f"run{i}", flowcam.particles(6), classes=classes)
    sources = flowcam.surveyed(tmp_path).sources
    for salt in map(str, range(10)):
        assigned = SplitConfig(salt=salt).assigned(sources)
        places = {(assigned.of_source(s), name) for s in sources for name in s.strata}
        assert places == {(split, name) for split in SPLITS for name in ("ash", "dust", "pollen")}
        assert len({(s.group, assigned.of_source(s)) for s in sources}) == 9


def test_without_labels_packing_works_and_classifying_says_why_not(tmp_path):
    manifest = pack(tmp_path, classes=None)
    assert manifest.classes == () and manifest.counts["train"].keys() == {"(unlabelled)"}
    opened = {"task": TASK, "records": tmp_path / "records", "is_checked": False}
    data, spec = open_records.opened(**opened, model="conv-autoencoder")
    assert spec.classes == () and spec.columns == tuple(manifest.columns)
    with pytest.raises(UserError, match="two classes or more, but the records have none: 48 of 48"):
        open_records.opened(**opened, model="resnet18")


def test_a_split_without_any_example_is_refused_without_classes_too(tmp_path):
    with pytest.raises(UserError, match="but .* has no example"):
        pack(tmp_path, classes=None, runs=2)


def test_a_class_of_one_particle_is_unlabelled_unless_one_is_enough(tmp_path):
    options = dataclasses.replace(OPTIONS, min_class=9)
    flowcam.run(tmp_path / "raw" / "odd", classes={"pollen": [1]})
    manifest = pack(tmp_path, classes={"ash": [1, 2], "dust": [3, 4]}, options=options)
    assert manifest.classes == ("ash", "dust")
    assert any("pollen (1)" in note for note in manifest.notes)
    with pytest.raises(UserError, match="no pollen"):
        data_pack.pack(TASK, tmp_path / "raw", tmp_path / "again", options=OPTIONS, split=SPLIT)
