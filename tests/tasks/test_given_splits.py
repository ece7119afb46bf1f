"""Splits that the user has made, and near-copies that nobody has grouped."""

import dataclasses
import shutil

import pytest
import small_records
import tensorflow_datasets as tfds

from tfpipe.base.errors import UserError
from tfpipe.data import manifest as data_manifest
from tfpipe.data import near_duplicates, pack
from tfpipe.tasks.task import SPLITS


def task_of(*, splits=None, groups=None, **rest):
    """Returns the small task, its pictures in these splits and groups by name."""
    task = small_records.make_task()

    def survey(folder, options):
        found = task.survey(folder, options)
        sources = tuple(
            dataclasses.replace(
                one,
                split=(splits or {}).get(one.path.stem, ""),
                group=(groups or {}).get(one.path.stem, one.group),
            )
            for one in found.sources
        )
        return dataclasses.replace(found, sources=sources, **rest)

    return dataclasses.replace(task, survey=survey)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return small_records.draw_small(
        tmp_path_factory.mktemp("given") / "raw", small_records.spread(3, 2, 2)
    )


def test_the_users_splits_are_the_records(raw, tmp_path):
    names = sorted(path.stem for path in raw.glob("*.png"))
    splits = {name: SPLITS[i % 3] for i, name in enumerate(names)}
    manifest = small_records.pack_small(raw, tmp_path / "records", task=task_of(splits=splits))
    for split in SPLITS:
        wanted = [f"{name}.png" for name in names if splits[name] == split]
        assert manifest.sources[split] == tuple(wanted)
    assert data_manifest.verify(tmp_path / "records") == []
    # Another split by the user is another data set.
    other = dict(zip(splits, [*list(splits.values())[1:], "train"], strict=True))
    again = small_records.pack_small(raw, tmp_path / "records", task=task_of(splits=other))
    assert again.fingerprint != manifest.fingerprint


def test_a_group_that_the_users_splits_part_is_refused_and_named(raw, tmp_path):
    names = sorted(path.stem for path in raw.glob("*.png"))
    splits = {name: SPLITS[i % 3] for i, name in enumerate(names)}
    groups = {names[0]: "same", names[1]: "same"}
    with pytest.raises(UserError, match=f"{names[0]}.png .train. and {names[1]}.png .valid.*same"):
        small_records.pack_small(raw, tmp_path / "r", task=task_of(splits=splits, groups=groups))


def test_training_and_validation_may_share_a_group_with_gaps_and_the_test_never(raw, tmp_path):
    names = sorted(path.stem for path in raw.glob("*.png"))
    splits = {name: SPLITS[i % 3] for i, name in enumerate(names)}
    groups = {names[0]: "same", names[1]: "same"}
    told = {"splits": splits, "may_share_groups": True}
    manifest = small_records.pack_small(raw, tmp_path / "r", task=task_of(groups=groups, **told))
    assert f"{names[1]}.png" in manifest.sources["validation"]
    groups[names[2]] = "same"
    with pytest.raises(UserError, match=f"{names[0]}.png .train. and {names[2]}.png .test.*same"):
        small_records.pack_small(raw, tmp_path / "s", task=task_of(groups=groups, **told))


def test_near_copies_are_one_group_where_that_is_asked_and_refused_where_not(raw, tmp_path):
    own = shutil.copytree(raw, tmp_path / "raw")
    like = small_records.names_in("train", 1)[0]
    copy = small_records.names_in("test", 1, word="copy")[0]
    shutil.copy(own / f"{like}.png", own / f"{copy}.png")
    with pytest.raises(UserError, match="could be believed"):
        small_records.pack_small(own, tmp_path / "records", task=task_of())
    task = task_of(merge_near_duplicates=True)
    manifest = small_records.pack_small(own, tmp_path / "records", task=task)
    split = next(s for s in SPLITS if f"{like}.png" in manifest.sources[s])
    assert f"{copy}.png" in manifest.sources[split]
    assert any("near-copies of others" in note for note in manifest.notes)
    assert data_manifest.verify(tmp_path / "records") == []
    # Packed once more, the groups that were merged are found again and nothing is written.
    written = small_records.written(tmp_path / "records")
    small_records.pack_small(own, tmp_path / "records", task=task)
    assert small_records.written(tmp_path / "records") == written


def test_copies_that_only_the_comparison_of_splits_sees_are_one_group_too(
    raw, tmp_path, monkeypatch
):
    own = shutil.copytree(raw, tmp_path / "raw")
    like = small_records.names_in("train", 1)[0]
    copy = small_records.names_in("test", 1, word="copy")[0]
    shutil.copy(own / f"{like}.png", own / f"{copy}.png")
    # Of many images that are all alike, an index shows the nearest only.
    monkeypatch.setattr(near_duplicates, "new_pairs", lambda *prints, **rest: [])
    task = task_of(merge_near_duplicates=True)
    manifest = small_records.pack_small(own, tmp_path / "records", task=task)
    split = next(s for s in SPLITS if f"{like}.png" in manifest.sources[s])
    assert f"{copy}.png" in manifest.sources[split]
    # Splits of the user cannot be mended so.
    splits = {path.stem: "train" for path in own.glob("*.png")}
    splits |= {copy: "test", small_records.names_in("validation", 1)[0]: "validation"}
    task = task_of(merge_near_duplicates=True, splits=splits)
    with pytest.raises(UserError, match="could be believed"):
        small_records.pack_small(own, tmp_path / "other", task=task)


def test_a_task_whose_name_begins_with_a_digit_is_packed(raw, tmp_path):
    task = dataclasses.replace(task_of(), name="2ds-probe")
    manifest = small_records.pack_small(raw, tmp_path / "records", task=task)
    builder = tfds.builder_from_directory(tmp_path / "records")
    assert builder.info.splits["train"].num_examples == sum(manifest.counts["train"].values())


def test_many_sources_share_shards(tmp_path):
    task = small_records.make_task()
    raw = small_records.draw_small(tmp_path / "raw", small_records.names_in("train", 1))
    (one,) = task.survey(raw, task.options).sources
    many = [dataclasses.replace(one, name=str(i), split="train") for i in range(1000)]
    jobs = pack.assign_shards(task, many, split=small_records.HALVES)
    assert len(jobs) <= pack.MOST_SHARDS
    assert [source.name for _, _, inside in jobs for source in inside] == [s.name for s in many]
