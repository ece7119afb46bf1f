"""Raw files to records: whole or not at all, the same bytes every time, and vouched for."""

import dataclasses
import errno
import json
import os
import random
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
import subprocesses
import tensorflow as tf
import tensorflow_datasets as tfds
from small_records import (
    WINDOWS,
    Options,
    draw_melt,
    draw_small,
    kill_packing,
    make_task,
    names_in,
    pack_melt,
    pack_small,
    spread,
    tree,
    written,
)

from tfpipe.base.errors import UserError
from tfpipe.data import (
    copy_prints,
    dataset,
    fingerprint,
    near_duplicates,
    pack,
    schema,
    source_cache,
)
from tfpipe.data import manifest as data_manifest
from tfpipe.tasks.splits import SplitConfig
from tfpipe.tasks.task import SPLITS, Source

# tfds 4.9 asks numpy and itself for what both have renamed.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """The small task's raw folder: 5 training, 5 validation pictures and 1 test picture."""
    return draw_small(tmp_path_factory.mktemp("small") / "raw", spread())


@pytest.fixture(scope="module")
def whole(raw, tmp_path_factory):
    """Its records; not to be changed."""
    folder = tmp_path_factory.mktemp("whole") / "records"
    pack_small(raw, folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of them, to be changed."""
    return shutil.copytree(whole, tmp_path / "records")


@pytest.fixture
def own_raw(raw, tmp_path):
    return shutil.copytree(raw, tmp_path / "raw")


@pytest.fixture(scope="module")
def melt_raw(tmp_path_factory):
    return draw_melt(tmp_path_factory.mktemp("melt") / "raw")


def shard_of(folder, split, number=0):
    return sorted(folder.glob(f"*-{split}.tfrecord-*"))[number]


def borders(path):
    """Returns the offset of each record of a TFRecord file, and the file's size."""
    data, found = path.read_bytes(), [0]
    while found[-1] < len(data):
        length = int.from_bytes(data[found[-1] : found[-1] + 8], "little")
        found.append(found[-1] + 8 + 4 + length + 4)
    return found


def hidden(folder):
    return {
        p.name
        for p in folder.parent.glob(".*")
        if not p.name.endswith((".lock", ".raw", ".packed"))
    }


# What is packed.


def test_records_hold_what_the_reader_gave_and_tfds_reads_the_same(raw, whole):
    task, manifest = make_task(), data_manifest.trusted(whole)
    sources = {source.name: source for source in task.survey(raw, task.options).sources}
    builder = tfds.builder_from_directory(whole)
    in_order = tfds.ReadConfig(interleave_cycle_length=1)
    assert builder.info.features["label"].names == list(task.classes)
    for split in SPLITS:
        read = [
            example
            for name in manifest.sources[split]
            for example in task.read(sources[name], task.options).examples
        ]
        told = list(tfds.as_numpy(builder.as_dataset(split=split, read_config=in_order)))
        batched = list(
            dataset.batches(whole, dataset.Subset((split,)), manifest=manifest, batch_size=7)
        )
        images = np.concatenate([batch["image"] for batch, _ in batched])
        columns = np.concatenate([batch["columns"] for batch, _ in batched])
        labels = np.concatenate([label for _, label in batched])
        assert len(read) == len(told) == len(images) == builder.info.splits[split].num_examples
        assert sum(s.count for s in manifest.shards if s.split == split) == len(read)
        for i, (one, other) in enumerate(zip(read, told, strict=True)):
            np.testing.assert_array_equal(one.image, other["image"])
            np.testing.assert_array_equal(one.image, images[i])
            np.testing.assert_array_equal(one.columns, other["columns"])
            np.testing.assert_array_equal(one.columns, columns[i])
            assert one.label == other["label"] == labels[i]
            assert (one.key, one.group) == (other["key"].decode(), other["group"].decode())
            assert one.metadata["where"] == other["where"].decode()
            assert one.metadata["number"] == other["number"]
            assert abs(one.metadata["depth_m"] - other["depth_m"].item()) < 1e-9


def test_every_picture_is_in_one_split_and_counted(raw, whole):
    manifest = data_manifest.read(whole)
    names = [name for split in SPLITS for name in manifest.sources[split]]
    assert sorted(names) == sorted(path.name for path in raw.glob("*.png"))
    assert [len(manifest.sources[split]) for split in SPLITS] == [5, 5, 1]
    for split in SPLITS:
        each = len(manifest.sources[split]) * WINDOWS // 2
        assert manifest.counts[split] == {"plain": each, "spotted": each}


def test_two_workers_may_write_the_same_shard_at_once(raw, whole, tmp_path):
    def twice(shards, folder, context, report):
        doubled = [shard for shard in shards for _ in range(2)]
        return pack.write_by_threads(doubled, folder, context, report)[::2]

    engine = pack.THIS_PROCESS._replace(write_shards=twice)
    pack_small(raw, tmp_path / "records", engine=engine)
    assert tree(tmp_path / "records") == tree(whole) and not hidden(tmp_path / "records")


def test_packing_twice_gives_the_same_bytes_whatever_the_threads(raw, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    pack_small(raw, tmp_path / "again")
    assert tree(tmp_path / "again") == tree(whole)
    assert all(not path.rsplit("/")[-1].startswith(".") for path in tree(whole))
    assert not hidden(tmp_path / "again")


def test_statistics_are_numpys_over_the_training_split_alone(whole):
    manifest = data_manifest.read(whole)
    batches = list(dataset.batches(whole, dataset.TRAIN, manifest=manifest))
    images = np.concatenate([batch["image"] for batch, _ in batches]).astype(np.float64)
    columns = np.concatenate([batch["columns"] for batch, _ in batches]).astype(np.float64)
    stats = data_manifest.read_stats(whole)
    np.testing.assert_allclose(stats["image_mean"], images.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(stats["image_std"], images.std(axis=(0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(stats["column_mean"], columns.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(stats["column_std"], columns.std(axis=0), rtol=1e-6)


@pytest.mark.parametrize("split", SPLITS)
def test_statistics_know_nothing_of_pictures_outside_training(own_raw, whole, tmp_path, split):
    name = names_in(split, 1)[0]
    pixels = cv2.imread(str(own_raw / f"{name}.png"))
    cv2.imwrite(str(own_raw / f"{name}.png"), pixels // 2)
    pack_small(own_raw, tmp_path / "records")
    same = (tmp_path / "records/stats.json").read_bytes() == (whole / "stats.json").read_bytes()
    assert same == (split != "train")


# What is packed again.


def test_unchanged_raw_files_are_not_packed_again(raw, folder, monkeypatch):
    before = written(folder)
    monkeypatch.setattr(schema, "write", None)
    assert pack_small(raw, folder).fingerprint == data_manifest.read(folder).fingerprint
    assert written(folder) == before


def test_a_changed_table_option_picture_or_split_is_packed_again(own_raw, folder):
    seen = {pack_small(own_raw, folder).fingerprint}
    options = dataclasses.replace(make_task().options, first=2)
    seen.add(pack_small(own_raw, folder, options=options).fingerprint)
    assert data_manifest.read(folder).counts["test"] == {"plain": 2, "spotted": 2}
    seen.add(pack_small(own_raw, folder, split=SplitConfig((0.4, 0.3, 0.3))).fingerprint)
    (own_raw / "table.csv").write_text("a,b\n")
    seen.add(pack_small(own_raw, folder).fingerprint)
    (own_raw / "table.csv").write_text("a,c\n")
    seen.add(pack_small(own_raw, folder).fingerprint)
    draw_small(own_raw / "other", ["else"])
    (own_raw / "other/else.png").replace(own_raw / f"{spread()[0]}.png")
    seen.add(pack_small(own_raw, folder).fingerprint)
    assert len(seen) == 6
    assert data_manifest.verify(folder) == [] and not hidden(folder)


def test_added_pictures_move_no_old_one_to_another_split(own_raw, folder):
    old = data_manifest.read(folder).sources
    draw_small(own_raw, [f"a{i}" for i in range(8)] + [f"z{i}" for i in range(8)])
    new = pack_small(own_raw, folder).sources
    assert sum(map(len, new.values())) == sum(map(len, old.values())) + 16
    assert all(set(old[split]) <= set(new[split]) for split in SPLITS)


def readers(task, read):
    """Returns a task that notes the name of each source it reads."""

    def noted(source, options):
        read.append(source.name)
        return task.read(source, options)

    return dataclasses.replace(task, read=noted)


def test_only_new_and_changed_pictures_are_read_and_the_bytes_are_those_of_a_fresh_pack(
    own_raw, folder, tmp_path
):
    draw_small(own_raw, ["new1", "new2"])
    draw_small(own_raw / "other", ["else"])
    changed = own_raw / f"{spread()[0]}.png"
    (own_raw / "other/else.png").replace(changed)
    read = []
    pack_small(own_raw, folder, task=readers(make_task(), read))
    assert sorted(read) == sorted(["new1.png", "new2.png", changed.name])
    pack_small(own_raw, tmp_path / "fresh")
    assert tree(folder) == tree(tmp_path / "fresh")
    assert data_manifest.verify(folder) == [] and not hidden(folder)


def test_an_index_of_images_that_a_killed_run_left_is_in_no_records(tmp_path, monkeypatch):
    monkeypatch.setattr(near_duplicates, "EXHAUSTIVE", 0)
    raw = draw_small(tmp_path / "raw", spread())
    left = tmp_path / ".records.partial" / ".index-left"
    left.mkdir(parents=True)
    (left / ".index").write_bytes(b"half")
    pack_small(raw, tmp_path / "records")
    assert not list((tmp_path / "records").rglob(".*"))
    copy = names_in("test", 2)[1]  # of a training image
    shutil.copy(raw / f"{spread()[0]}.png", raw / f"{copy}.png")
    with pytest.raises(UserError, match=rf"{copy} \(test\): {WINDOWS} near-copies"):
        pack_small(raw, tmp_path / "records")


def test_records_with_fingerprints_of_another_form_let_every_picture_be_read(folder, monkeypatch):
    monkeypatch.setattr(copy_prints, "PACKED", copy_prints.PACKED + 1)
    units = json.loads((folder / "units.json").read_bytes())
    cache = source_cache.SourceCache(folder)
    assert all(cache.find(unit["key"], {}) is None for unit in units)
    monkeypatch.undo()
    assert all(cache.find(unit["key"], {}) is not None for unit in units)


def test_other_options_and_damaged_records_let_every_picture_be_read(own_raw, folder, caplog):
    draw_small(own_raw, ["new1"])
    read = []
    options = dataclasses.replace(make_task().options, first=1)
    pack_small(own_raw, folder, task=readers(make_task(), read), options=options)
    assert len(read) == 12
    shard_of(folder, "test").write_bytes(b"")
    draw_small(own_raw, ["new2"])
    read.clear()
    pack_small(own_raw, folder, task=readers(make_task(), read), options=options)
    assert len(read) == 13 and "are damaged" in caplog.text
    assert data_manifest.verify(folder) == []


def test_what_a_survey_says_of_a_source_is_told_by_value(tmp_path):
    def told(about):
        source = Source("a", "a", path, about)
        return fingerprint.SourceFingerprints(make_task(), options=make_task().options)(source)

    path = draw_small(tmp_path, ["a"]) / "a.png"
    frame = pd.DataFrame({"area": [1.0, np.nan], "name": ["x", "y"]})
    abouts = [None, 1, "1", [1, 2], {"a": 1}, path, np.arange(3), np.arange(3.0), frame, Options()]
    assert len({told(about) for about in abouts}) == len(abouts)
    assert told(frame) == told(frame.copy()) != told(frame.assign(area=[1.0, 2.0]))
    assert told(Options()) == told(Options()) != told(Options(first=1))
    assert told(lambda: None) is None  # read each time


# What is refused.


def test_a_split_that_lacks_a_class_is_refused_with_counts_and_both_ways_out(tmp_path):
    names = spread(2, 0, 1) + names_in("validation", 2, word="plain")
    raw = draw_small(tmp_path / "raw", names)
    with pytest.raises(UserError) as error:
        pack_small(raw, tmp_path / "records")
    for part in (
        "validation has no spotted",
        "train: 6 plain, 6 spotted; validation: 12 plain, 0 spotted; test: 3 plain, 3 spotted",
        "5 groups)",
        "--salt",
        "--split",
    ):
        assert part in str(error.value)
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize("names", [["p001"], ["plain1", "plain2", "plain3", "plain4"]])
def test_one_picture_or_one_class_alone_is_refused(tmp_path, names):
    raw = draw_small(tmp_path / "raw", names)
    with pytest.raises(UserError, match=f"has no spotted.*; {len(names)} groups\\)"):
        pack_small(raw, tmp_path / "records")


def test_a_folder_without_pictures_is_refused(tmp_path):
    (tmp_path / "raw").mkdir()
    with pytest.raises(UserError, match="train has no plain.*; 0 groups"):
        pack_small(tmp_path / "raw", tmp_path / "records")


def test_a_cut_picture_fails_the_run_and_is_named(own_raw, tmp_path):
    bad = own_raw / f"{names_in('validation', 1)[0]}.png"
    data = bad.read_bytes()
    bad.write_bytes(data[: len(data) * 6 // 10])
    folder = tmp_path / "records"
    with pytest.raises(UserError, match=f"1 of 11 files.*{bad.name} is cut.*--skip-bad 1"):
        pack_small(own_raw, folder)
    assert not folder.exists()

    kept = {p for p in written(tmp_path / ".records.partial").items() if p[0].endswith("of-00002")}
    assert len(kept) == 4
    manifest = pack_small(own_raw, folder, skip_bad=1)
    now = {(path.replace(".records.partial", "records"), how) for path, how in kept}
    assert now <= set(written(folder).items())
    assert (
        list(manifest.unreadable) == [bad.name] and "is cut short" in manifest.unreadable[bad.name]
    )
    assert manifest.counts["validation"] == {"plain": 12, "spotted": 12}

    with pytest.raises(UserError, match=bad.name):  # the budget is this call's, not the last one's
        pack_small(own_raw, folder)
    assert data_manifest.verify(folder) == []
    bad.write_bytes(data)
    assert pack_small(own_raw, folder).unreadable == {}


def test_a_bad_file_that_is_read_in_parts_counts_once(own_raw, tmp_path):
    bad = own_raw / f"{names_in('validation', 1)[0]}.png"
    bad.write_bytes(b"")

    whole = make_task()

    def in_parts(raw, options):
        survey = whole.survey(raw, options)
        parts = [
            dataclasses.replace(source, name=f"{source.name}, {part}")
            for source in survey.sources
            for part in ("upper", "lower")
            if part == "upper" or source.path == bad
        ]
        return dataclasses.replace(survey, sources=tuple(parts))

    task = dataclasses.replace(whole, survey=in_parts)
    with pytest.raises(UserError, match=r"^1 of 11 files.*--skip-bad 1\.$"):
        pack_small(own_raw, tmp_path / "records", task=task)
    made = pack_small(own_raw, tmp_path / "records", task=task, skip_bad=1)
    assert len(made.unreadable) == 2 and made.unreadable_files == 1


def test_records_without_the_bad_picture_are_those_of_a_folder_without_it(own_raw, tmp_path):
    bad = own_raw / f"{names_in('validation', 5)[-1]}.png"
    bad.write_bytes(b"")
    pack_small(own_raw, tmp_path / "skipped", skip_bad=1)
    bad.unlink()
    pack_small(own_raw, tmp_path / "without")
    for name in ("stats.json", "pictures.csv", shard_of(tmp_path / "without", "train").name):
        assert (tmp_path / "skipped" / name).read_bytes() == (
            tmp_path / "without" / name
        ).read_bytes()
    counts = [data_manifest.read(tmp_path / one).counts for one in ("skipped", "without")]
    assert counts[0] == counts[1]


# Full disks.


@pytest.mark.parametrize("where", ["fsync", "renaming", "writer", "description"])
def test_a_full_disk_is_told_and_leaves_no_half_shard(raw, whole, tmp_path, monkeypatch, where):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    calls = []

    def fails_at(number, function, error=full):
        def run(*args, **kwargs):
            calls.append(args)
            if len(calls) >= number:
                raise error
            return function(*args, **kwargs)

        return run

    folder = tmp_path / "records"
    with monkeypatch.context() as patch:
        if where == "fsync":
            patch.setattr(os, "fsync", fails_at(12, os.fsync))
        elif where == "renaming":
            patch.setattr(os, "replace", fails_at(12, os.replace))
        elif where == "writer":
            told = tf.errors.ResourceExhaustedError(None, None, "No space left on device")
            write = fails_at(20, tf.io.TFRecordWriter.write, told)
            patch.setattr(tf.io.TFRecordWriter, "write", lambda *args: write(*args))
        else:
            patch.setattr(tfds.folder_dataset, "write_metadata", fails_at(1, None))
        with pytest.raises(UserError, match=r"cannot be written.*No space left.*Free some space"):
            pack_small(raw, folder)
    assert calls and not folder.exists()
    assert not list((tmp_path / ".records.partial").glob(".*"))
    for shard in (tmp_path / ".records.partial").glob("*-of-0000?"):
        assert shard.read_bytes() == (whole / shard.name).read_bytes()
    pack_small(raw, folder)
    assert tree(folder) == tree(whole) and not hidden(folder)


def test_old_records_stay_when_the_new_ones_do_not_fit(own_raw, folder, monkeypatch):
    before = tree(folder)
    draw_small(own_raw, ["new"])

    def full(descriptor):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="Read-only file system"):
        pack_small(own_raw, folder)
    assert tree(folder) == before and data_manifest.verify(folder) == []


# Damage.


def cut_inside(path):
    middle = borders(path)[3] + 100
    path.write_bytes(path.read_bytes()[:middle])


def cut_on_border(path):
    path.write_bytes(path.read_bytes()[: borders(path)[3]])


def flip(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (cut_inside, "is damaged at record 3 of 24"),
        (cut_on_border, "ends after 3 of 24 records"),
        (lambda path: flip(path, borders(path)[5] + 40), "is damaged at record 5 of 24"),
        (lambda path: flip(path, borders(path)[5] + 1), "is damaged at record 5 of 24"),
        (lambda path: flip(path, borders(path)[5] + 9), "is damaged at record 5 of 24"),
        (lambda path: path.write_bytes(b""), "ends after 0 of 24 records"),
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(2 * path.read_bytes()), "has changed since"),
    ],
    ids=[
        "cut inside a record",
        "cut on a border",
        "bit of a payload",
        "bit of a length",
        "bit of a checksum",
        "emptied",
        "removed",
        "doubled",
    ],
)
def test_a_damaged_shard_is_named_and_refused(folder, change, says):
    assert data_manifest.trusted(folder)
    shard = shard_of(folder, "train")
    change(shard)
    assert len(data_manifest.verify(folder)) == 1
    assert f"{shard.name} {says}" in data_manifest.verify(folder)[0]
    with pytest.raises(UserError, match=f"{shard.name} {says}.*tfpipe pack"):
        data_manifest.trusted(folder)


def test_shards_that_changed_places_are_both_named(folder):
    one, other = shard_of(folder, "train"), shard_of(folder, "validation")
    one.rename(folder / "x")
    other.rename(one)
    (folder / "x").rename(other)
    assert [sentence.split()[0] for sentence in data_manifest.verify(folder)] == [
        one.name,
        other.name,
    ]


@pytest.mark.parametrize("name", ["stats.json", "features.json", "dataset_info.json"])
def test_a_changed_or_missing_description_is_refused(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes().replace(b"1", b"2"))
    with pytest.raises(UserError, match=f"{name} is missing or has changed"):
        data_manifest.trusted(folder)
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing or has changed"):
        data_manifest.trusted(folder)


@pytest.mark.parametrize("left", [b"", b'{"shards": [', b"\xff\xfe", b"[]", b"{}"])
def test_a_damaged_manifest_is_refused(raw, folder, left):
    (folder / "manifest.json").write_bytes(left)
    for refusing in (data_manifest.trusted, lambda folder: pack_small(raw, folder)):
        with pytest.raises(UserError, match=r"manifest\.json is damaged"):
            refusing(folder)


# Two at once, and killed ones.


def test_a_second_packer_is_refused_and_a_dead_ones_lock_is_no_obstacle(raw, tmp_path):
    folder = tmp_path / "records"
    hold = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'w');"
        "fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", hold, tmp_path / ".records.lock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="Another run is packing"):
            pack_small(raw, folder)
        assert not folder.exists() and not hidden(folder)
        other.kill()
    assert (tmp_path / ".records.lock").exists()
    assert pack_small(raw, folder).counts


def test_a_packer_refuses_another_while_it_packs(raw, tmp_path):
    refused = []

    def report(stage, info):
        with pytest.raises(UserError, match="Another run is packing"):
            pack_small(raw, tmp_path / "records")
        refused.append(info["done"])

    pack_small(raw, tmp_path / "records", report=report)
    assert refused == [0, 1, 2, 3, 4, 5][: len(refused)] and len(refused) > 1


def check_kills(told, folder):
    """Checks that every run but the last was killed, and no finished shard was written again."""
    assert [one["status"] for one in told] == [-9] * (len(told) - 1) + [0]
    final = {path.name: path.stat().st_ino for path in folder.glob("*-of-*")}
    assert any(one["shards"] for one in told)
    assert all(one["shards"].items() <= final.items() for one in told)
    assert not hidden(folder)


@pytest.mark.slow
def test_packing_killed_at_random_moments_goes_on_and_gives_the_same_bytes(
    melt_raw, tmp_path, monkeypatch
):
    monkeypatch.setattr(pack, "SOURCES_A_SHARD", 1)
    pack_melt(melt_raw, tmp_path / "whole/records")
    draw = random.Random(5)
    moments = [[shards, draw.uniform(0, 0.05)] for shards in (0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)]
    folder = tmp_path / "killed/records"
    told = kill_packing("melt-layer", melt_raw, folder, moments)
    # A fast machine finishes several shards before the kill, so few are asked for.
    assert len({len(one["shards"]) for one in told}) >= 3
    check_kills(told, folder)
    assert tree(folder) == tree(tmp_path / "whole/records")


@pytest.mark.slow
def test_packing_killed_before_a_renaming_or_removal_goes_on_and_gives_the_same_bytes(
    raw, tmp_path, monkeypatch
):
    monkeypatch.setattr(pack, "SOURCES_A_SHARD", 1)
    pack_small(raw, tmp_path / "whole/records")
    # The first four die among the shards, the others before each step of what follows.
    moments = [3, 13, 34, 45, *range(1, 12), 1, 2, 3]
    folder = tmp_path / "killed/records"
    check_kills(kill_packing("small", raw, folder, moments), folder)
    assert tree(folder) == tree(tmp_path / "whole/records")


# Melt layers.


@pytest.mark.slow
def test_the_command_packs_what_the_function_packs(melt_raw, tmp_path):
    pack_melt(melt_raw, tmp_path / "records")
    shutil.copytree(melt_raw, tmp_path / "data/raw/melt-layer")
    settings = ["--option", "stride_px=40", "--split", "50/25/25", "--salt", "a"]
    done = subprocesses.run("tfpipe", "pack", "melt-layer", *settings, "--data", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "data/records/melt-layer") == tree(tmp_path / "records")
