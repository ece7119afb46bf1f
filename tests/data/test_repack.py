"""Other shards of the same records: the same bytes in the same order, or the old ones."""

import errno
import itertools
import json
import os
import shutil

import pytest
from small_records import draw_small, kill_repacking, names_in, pack_small, spread, tree, written

from tfpipe.base.errors import UserError
from tfpipe.data import config, dataset, exchange, pack, repack, schema
from tfpipe.data import manifest as data_manifest
from tfpipe.data.sampling import Drawing
from tfpipe.tasks.task import SPLITS

# tfds 4.9 asks numpy and itself for what both have renamed.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return draw_small(tmp_path_factory.mktemp("small") / "raw", spread())


@pytest.fixture(scope="module")
def whole(raw, tmp_path_factory):
    """Records of 5 training, 5 validation and 1 test pictures; not to be changed."""
    folder = tmp_path_factory.mktemp("whole") / "records"
    pack_small(raw, folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "records")


def streams(folder):
    """Returns the bytes of each split's shards, one after the other."""
    shards = data_manifest.read(folder).shards
    return {
        split: b"".join((folder / s.name).read_bytes() for s in shards if s.split == split)
        for split in SPLITS
    }


def shards_of(manifest):
    """Returns how many shards each split has."""
    return [sum(shard.split == split for shard in manifest.shards) for split in SPLITS]


def hidden(folder):
    return {
        p.name
        for p in folder.parent.glob(".*")
        if not p.name.endswith((".lock", ".raw", ".packed"))
    }


@pytest.mark.parametrize(("sharding", "numbers"), [("1", [1, 1, 1]), ("3", [3, 3, 1])])
def test_other_shards_hold_the_same_bytes_in_the_same_order(whole, folder, sharding, numbers):
    old = data_manifest.read(whole)
    made = repack.repack(folder, sharding)
    assert shards_of(made) == numbers and made == data_manifest.trusted(folder)
    assert streams(folder) == streams(whole) and not hidden(folder)
    assert (made.fingerprint, made.counts, made.sources) == (
        old.fingerprint,
        old.counts,
        old.sources,
    )
    for split in SPLITS:
        keys = [
            dataset.keys_of(one, (split,), manifest=m) for one, m in ((whole, old), (folder, made))
        ]
        assert keys[0].tolist() == keys[1].tolist()


def test_a_model_trains_on_the_same_batches(whole, folder):
    drawing = Drawing(batch_size=8, seed=3, augmentation="none")
    repack.repack(folder, "4")
    drawn = []
    for one in (whole, folder):
        manifest = data_manifest.trusted(one)
        batches = dataset.training_batches(one, drawing, manifest=manifest)
        drawn.append([image["image"].tobytes() for image, _ in batches.take(3).as_numpy_iterator()])
    assert drawn[0] == drawn[1]


def test_repacked_records_are_those_that_packing_would_have_written(
    raw, folder, tmp_path, monkeypatch
):
    repack.repack(folder, "5")
    monkeypatch.setattr(pack, "SOURCES_A_SHARD", 1)
    pack_small(raw, tmp_path / "fresh", shards="5")
    assert tree(folder) == tree(tmp_path / "fresh")


def test_packing_in_so_many_shards_gives_what_repacking_does(raw, folder, tmp_path):
    repack.repack(folder, "2")
    pack_small(raw, tmp_path / "fresh", shards="2")
    assert tree(folder) == tree(tmp_path / "fresh")
    pack_small(raw, folder, shards="auto")
    assert shards_of(data_manifest.trusted(folder)) == [1, 1, 1]


def test_the_next_packing_goes_on_with_repacked_records_and_their_shards(raw, folder, tmp_path):
    repack.repack(folder, "3")
    before = written(folder)
    assert shards_of(pack_small(raw, folder)) == [3, 3, 1] and written(folder) == before
    more = shutil.copytree(raw, tmp_path / "raw")
    draw_small(more, names_in("test", 2)[1:])
    made = pack_small(more, folder)
    assert shards_of(made) == [3, 3, 2] and data_manifest.verify(folder) == []
    pack_small(more, tmp_path / "fresh", shards="3")
    assert tree(folder) == tree(tmp_path / "fresh")


def test_packing_stopped_before_it_divides_goes_on_with_that(raw, folder, tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(repack, "divide", stop)
    with pytest.raises(KeyboardInterrupt):
        pack_small(raw, tmp_path / "new", shards="3")
    assert data_manifest.verify(tmp_path / "new") == []
    monkeypatch.undo()
    pack_small(raw, tmp_path / "new")
    repack.repack(folder, "3")
    assert tree(tmp_path / "new") == tree(folder)


def test_the_same_shards_are_not_written_again(folder):
    repack.repack(folder, "2")
    before = written(folder)
    repack.repack(folder, "2")
    assert written(folder) == before


def test_shards_have_about_as_many_bytes_each():
    sizes = [5, 1, 1, 1, 1, 1, 10, 0, 3, 7]
    for number in range(1, 12):
        ends = repack.borders(sizes, number)
        assert len(ends) == min(number, len(sizes))
        assert list(itertools.chain(*(range(*pair) for pair in ends))) == list(range(10))
        assert all(begin < end for begin, end in ends)
    assert repack.borders(sizes, 3) == [(0, 6), (6, 7), (7, 10)]
    assert repack.borders([], 4) == []


@pytest.mark.parametrize("megabytes", [101, 199, 201, 224, 226, 374, 376, 1_000, 123_456])
def test_auto_aims_at_100_to_200_megabytes(megabytes):
    assert 100 <= megabytes / repack.number_of(megabytes * 10**6) <= 200


@pytest.mark.parametrize("shards", ["0", "-1", "1.5", "many", "", "100000", "9" * 5000, "³"])
def test_shards_that_are_no_number_are_refused(shards):
    with pytest.raises(UserError, match="neither auto nor a number from 1 to 99999"):
        config.sharding(shards)


def test_damaged_records_and_none_at_all_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match="holds no packed records"):
        repack.repack(tmp_path / "none/records", "2")
    assert not (tmp_path / "none").exists()
    shard = next(folder.glob("*-test.tfrecord-*-of-00001"))
    shard.write_bytes(shard.read_bytes()[:-9] + b"123456789")
    before = tree(folder)
    with pytest.raises(UserError, match=f"{shard.name} .*Remove the folder"):
        repack.repack(folder, "2")
    assert tree(folder) == before and not hidden(folder)


def test_records_of_an_older_release_are_refused(folder):
    units = folder / "units.json"
    units.write_text(json.dumps([{"source": "a", "key": "b"}]))
    with pytest.raises(UserError, match="packed by an older release"):
        repack.repack(folder, "2")


def test_repacking_is_refused_while_a_packer_holds_the_lock(folder):
    before = tree(folder)
    with (
        exchange.gathering(folder, "partial", work="packing"),
        pytest.raises(UserError, match="Another run is packing"),
    ):
        repack.repack(folder, "2")
    assert tree(folder) == before


def test_a_full_disk_leaves_the_old_shards(folder, monkeypatch):
    before = tree(folder)

    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(schema, "weight", full)
    with pytest.raises(UserError, match="No space left on device. Free some space"):
        repack.repack(folder, "2")
    assert tree(folder) == before and not hidden(folder)
    monkeypatch.undo()
    assert shards_of(repack.repack(folder, "2")) == [2, 2, 1]


@pytest.mark.slow
def test_repacking_killed_before_a_renaming_or_removal_loses_nothing(whole, folder):
    # The first ones die among the files, the others at each step of the exchange.
    assert kill_repacking(folder, "3", [2, 20, -1, -2, -3]) == [-9] * 5 + [0]
    assert shards_of(data_manifest.trusted(folder)) == [3, 3, 1]
    assert streams(folder) == streams(whole) and not hidden(folder)
