"""A few new raw files cost what they are: other shards are the old files under another name."""

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_records import draw_small, make_task, names_in, pack_small, spread, tree

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.data import checksum_cache, copy_candidates, pack, source_cache
from tfpipe.data import manifest as data_manifest
from tfpipe.tasks import catalog
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.splits import SplitConfig

# tfds 4.9 asks numpy and itself for what both have renamed.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """A shard holds one raw file, and files count as settled at once."""
    monkeypatch.setattr(pack, "SOURCES_A_SHARD", 1)
    monkeypatch.setattr(checksum_cache, "SETTLED_S", -1.0)


@pytest.fixture
def raw(tmp_path):
    return draw_small(tmp_path / "raw", spread())


def shards(folder) -> dict[int, Path]:
    """Returns the shards and the files of hashes, by inode."""
    return {path.stat().st_ino: path for path in folder.glob("*.tfrecord-*")}


def test_only_the_shard_of_a_new_file_is_written_and_hashed(raw, tmp_path, monkeypatch):
    folder = tmp_path / "records"
    pack_small(raw, folder)
    before = shards(folder)
    kept = {path.name: path.read_bytes() for path in before.values()}
    for inode, path in before.items():
        os.link(path, tmp_path / str(inode))
    draw_small(raw, [f"{names_in('train', 6)[5]}"])
    hashed, sha256 = [], files.sha256
    monkeypatch.setattr(files, "sha256", lambda path: hashed.append(path) or sha256(path))
    pack_small(raw, folder)
    now = shards(folder)
    new = [path.name for inode, path in now.items() if inode not in before]
    assert len(now) == len(before) + 2 and len(new) == 2
    assert sorted(new)[1] == f"{sorted(new)[0]}.hashes"
    again = {path.name for path in hashed if ".tfrecord-" in path.name}
    assert all(sorted(new)[0] in name for name in again) and again
    for inode, path in before.items():  # nothing is changed in place
        assert (tmp_path / str(inode)).read_bytes() == kept[path.name]
    pack_small(raw, tmp_path / "fresh")
    assert tree(folder) == tree(tmp_path / "fresh") and data_manifest.verify(folder) == []


def test_where_files_have_one_name_only_they_are_copied(raw, tmp_path, monkeypatch):
    folder = tmp_path / "records"
    pack_small(raw, folder)
    draw_small(raw, ["new1"])
    before = shards(folder)

    def refuse(path, target):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    pack_small(raw, folder)
    assert not before.keys() & shards(folder).keys()
    pack_small(raw, tmp_path / "fresh")
    assert tree(folder) == tree(tmp_path / "fresh")


def write_what_lacks(shards, folder, context, report):
    """Writes shards as the workers of a runner do: those that are finished are not looked at."""
    waiting = [one for one in shards if not (folder / f"{one.name}.json").is_file()]
    pack.write_by_threads(waiting, folder, context, report)
    return pack.write_by_threads(shards, folder, context, report)


@pytest.mark.parametrize("write", [pack.write_by_threads, write_what_lacks])
def test_a_linked_shard_that_is_damaged_before_the_next_try_is_written_anew(
    write, raw, tmp_path, monkeypatch
):
    folder = tmp_path / "records"
    pack_small(raw, folder)
    draw_small(raw, ["new1"])
    with monkeypatch.context() as patch:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def fail(*args, **kwargs):
            raise full

        patch.setattr(data_manifest, "describe", fail)
        with pytest.raises(UserError, match="No space left"):
            pack_small(raw, folder)
    shard = sorted(folder.glob("*-train.tfrecord-*"))[0]
    with shard.open("r+b") as file:  # the same inode as in the unfinished packing
        file.write(b"damaged")
    pack_small(raw, folder, engine=pack.THIS_PROCESS._replace(write_shards=write))
    assert data_manifest.verify(folder) == []
    pack_small(raw, tmp_path / "fresh")
    assert tree(folder) == tree(tmp_path / "fresh")


def test_one_more_of_many_files_leaves_the_shards_before_it(monkeypatch):
    monkeypatch.setattr(pack, "MOST_SHARDS", 4)

    class First:
        @staticmethod
        def of_source(source):
            return "train"

    class Numbered:
        def __init__(self, name):
            self.name = name

    task = make_task()
    for count in range(1, 60):
        plans = [
            [
                [one.name for one in shard.sources]
                for shard in pack.assign_shards(task, [Numbered(i) for i in range(n)], split=First)
            ]
            for n in (count, count + 1)
        ]
        assert len(plans[1]) <= 4
        doubled = len(plans[1][0]) == 2 * len(plans[0][0]) and len(plans[0]) == 4
        assert doubled or plans[1][: len(plans[0]) - 1] == plans[0][:-1]


def test_a_folder_decodes_and_compares_its_new_image_alone(tmp_path, monkeypatch):
    raw, folder = tmp_path / "pictures", tmp_path / "records"
    for i in range(24):
        path = raw / ("dark", "light")[i % 2] / f"p{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(i).integers(0, 256, (6, 8, 3), np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, (32, 24)))
    for name in ("p00", "p02"):  # copies, which are in the groups of their originals
        image = cv2.imread(str(raw / "dark" / f"{name}.png"))
        cv2.imwrite(str(raw / "dark" / f"r{name}.png"), np.clip(image, 3, 255))
    task = catalog.find(str(raw))
    given = {"options": parse_options(task, []), "split": SplitConfig((0.5, 0.25, 0.25), "b")}
    pack.pack(task, raw, folder, **given)
    compared, decoded = [], []
    compare_all, read = copy_candidates.compare_all, source_cache.read

    def counted(one, other):
        compared.append(one.n_images * other.n_images)
        return compare_all(one, other)

    monkeypatch.setattr(copy_candidates, "compare_all", counted)
    monkeypatch.setattr(
        source_cache,
        "read",
        lambda source, *args, **how: decoded.append(source.name) or read(source, *args, **how),
    )
    coarse = np.random.default_rng(99).integers(0, 256, (6, 8, 3), np.uint8)
    cv2.imwrite(str(raw / "dark" / "z.png"), cv2.resize(coarse, (32, 24)))
    pack.pack(task, raw, folder, **given)
    assert decoded == ["dark/z.png"] and 0 < sum(compared) < 3 * 27
    pack.pack(task, raw, tmp_path / "fresh", **given)
    assert tree(folder) == tree(tmp_path / "fresh")


def test_the_groups_of_old_records_are_gathered_once(raw, tmp_path):
    folder = tmp_path / "records"
    pack_small(raw, folder)
    cache = source_cache.SourceCache(folder)
    assert cache.groups is cache.groups and len(cache.groups) == len(cache.units)
