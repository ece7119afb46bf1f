"""A second packing of the same raw files ends before anything is read, and others do not."""

import dataclasses
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfpipe.data import checksum_cache, exchange, stored_records, unchanged, validation
from tfpipe.tasks import catalog
from tfpipe.tasks.splits import SplitConfig
from tfpipe.workspace import Workspace

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")]


def draw(folder, name, seed):
    image = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / name), image)


def workspace(root) -> Workspace:
    return Workspace(root / "data", root / "models", progress=False)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Returns a folder with photos that are packed, whose state is noted."""
    monkeypatch.setattr(checksum_cache, "SETTLED_S", -1.0)
    for i in range(12):
        draw(tmp_path / "photos" / ("oak", "elm")[i % 2], f"{i:02d}.png", i)
    workspace(tmp_path).pack(str(tmp_path / "photos"))
    return tmp_path


@pytest.fixture
def looked(monkeypatch) -> list:
    """Has packings that go on to read the raw folder end, and lists them."""
    calls = []

    def pack_and_publish(*arguments, **settings):
        calls.append(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(stored_records, "pack_and_publish", pack_and_publish)
    return calls


def looks(root, **settings) -> bool:
    """Returns whether a packing goes on to read the raw folder."""
    try:
        workspace(root).pack(str(root / "photos"), **settings)
    except KeyboardInterrupt:
        return True
    return False


def overwrite_secretly(root):
    path = root / "photos" / "oak" / "00.png"
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "a new image": lambda root: draw(root / "photos" / "elm", "new.png", 99),
    "one less": lambda root: (root / "photos" / "elm" / "01.png").unlink(),
    "another name": lambda root: (root / "photos" / "elm" / "01.png").rename(
        root / "photos" / "elm" / "x.png"
    ),
    "another image of the same size and time": overwrite_secretly,
    "an empty class": lambda root: (root / "photos" / "ash").mkdir(),
    "decisions": lambda root: (root / "photos" / "decisions.csv").write_text("x\n"),
    "a published version": lambda root: (root / "models" / "photos" / "m" / "1").mkdir(
        parents=True
    ),
    "a manifest that was replaced": lambda root: os.utime(
        root / "data" / "records" / "photos" / "manifest.json"
    ),
    "no records": lambda root: shutil.rmtree(root / "data" / "records" / "photos"),
}


def test_where_nothing_is_new_nothing_is_looked_at(root, looked):
    assert not looks(root) and not looks(root) and looked == []
    records = workspace(root).pack(str(root / "photos"))
    assert records.manifest == workspace(root).records(str(root / "photos")).manifest


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_looked_at(root, looked, change):
    CHANGES[change](root)
    assert looks(root) and len(looked) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"options": {"channels": "grey"}},
        {"split": SplitConfig((0.5, 0.25, 0.25))},
        {"split": SplitConfig(salt="other")},
        {"skip_bad": 1},
        {"shards": 2},
    ],
)
def test_other_settings_are_looked_at(root, looked, settings):
    assert looks(root, **settings)


def test_files_that_were_changed_just_now_are_looked_at_again(root, looked, monkeypatch):
    monkeypatch.setattr(checksum_cache, "SETTLED_S", 3600.0)
    assert looks(root)


def state(root, **changes) -> str:
    task = dataclasses.replace(catalog.find(str(root / "photos")), **changes)
    how = {"options": task.options, "split": SplitConfig(), "skip_bad": 0, "shards": ""}
    return unchanged.state_of(
        task,
        root / "photos",
        root / "data" / "records" / "photos",
        versions=root / "models",
        how=how,
    )


def test_links_to_folders_views_and_own_readers_have_no_state(root):
    assert state(root) and not state(root, view="other")
    assert not state(root, read=lambda source, options: None)  # somebody's own code
    (root / "photos" / "ash").symlink_to(root / "photos" / "elm")
    assert not state(root)


def test_a_packing_with_nothing_new_imports_neither_tensorflow_nor_pandas(root):
    code = (
        "import sys\n"
        "from tfpipe.data import checksum_cache\n"
        "from tfpipe.workspace import Workspace\n"
        "checksum_cache.SETTLED_S = -1.0\n"
        "Workspace('data', 'models', progress=False).pack('./photos')\n"
        "print('tensorflow' in sys.modules, 'pandas' in sys.modules)"
    )
    (root / "photos" / "elm" / "01.png").touch()
    loaded = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert loaded == [["True", "True"], ["False", "False"]]


def test_damaged_records_are_not_taken_over_from_a_packing_that_was_killed(root, monkeypatch):
    draw(root / "photos" / "oak", "new.png", 100)

    def killed(*arguments, **settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(validation, "merged", killed)
        workspace(root).pack(str(root / "photos"))
    folder = workspace(root).records_folder(catalog.find(str(root / "photos")))
    partial = exchange.hidden(folder, "partial")
    shared = [path for path in sorted(partial.iterdir()) if path.stat().st_nlink > 1]
    assert shared, "none of the old shards is linked"
    content = bytearray(shared[0].read_bytes())
    content[len(content) // 3] ^= 255
    with shared[0].open("r+b") as file:  # the old records have the same bytes
        file.write(content)
    draw(root / "photos" / "elm", "newer.png", 101)
    packed = workspace(root).pack(str(root / "photos"))
    shards = [str(packed.path / shard.name) for shard in packed.manifest.shards]
    n_read = sum(1 for _ in tf.data.TFRecordDataset(shards))  # raises where one is damaged
    assert n_read == 14
    assert not exchange.hidden(folder, "regrouped").exists()
