"""What must not grow, counted: unlike seconds, calls and traces are the same on all machines."""

import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import tiny
from run_command import run

from tfpipe.base import images
from tfpipe.data import checksum_cache
from tfpipe.registry import store
from tfpipe.training import loop
from tfpipe.training.config import TrainingConfig

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets"),
]
N_IMAGES = 24
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc counts what is read")


def draw_photos(folder: Path, *, side_px: int) -> np.random.Generator:
    """Draws images of noise in two classes; returns the generator."""
    rng = np.random.default_rng(0)
    for i in range(N_IMAGES):
        path = folder / ("oak", "elm")[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 255, (side_px, side_px, 3), dtype=np.uint8))
    return rng


def n_bytes_read() -> int:
    """Returns the bytes that this process has read from files so far, cached ones included."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar"))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> loop.Dataset:
    return tiny.packed(tmp_path_factory.mktemp("tiny"))


def n_traced(data: loop.Dataset, *, epochs: int) -> int:
    """Returns how often Python runs through the network while it is trained: a trace each time."""
    calls = Counter()

    class Counted(keras.layers.Layer):
        def call(self, inputs):
            calls["traced"] += 1
            return inputs

    built = tiny.build(tiny.spec_of(data))
    model = keras.Model(built.input, Counted(dtype="float32", name="counted")(built.output))
    settings = TrainingConfig(epochs=epochs, batch_size=16, seed=1)
    loop.prepare(model, data, settings=settings)
    calls.clear()
    loop.fit(model, data, settings=settings)
    return calls["traced"]


def test_the_network_is_traced_as_often_in_ten_epochs_as_in_one(data):
    assert n_traced(data, epochs=10) == n_traced(data, epochs=1) <= 2


def n_bytes_of_training(data: loop.Dataset, *, epochs: int) -> int:
    """Returns the bytes read in a training."""
    model = tiny.build(tiny.spec_of(data))
    settings = TrainingConfig(epochs=epochs, batch_size=16, seed=1)
    loop.prepare(model, data, settings=settings)
    before = n_bytes_read()
    loop.fit(model, data, settings=settings)
    return n_bytes_read() - before


@needs_linux
def test_records_are_read_once_in_a_training(data):
    n_bytes_of_training(data, epochs=1)  # what is imported at the first call is read, too
    size = sum((data.folder / shard.name).stat().st_size for shard in data.manifest.shards)
    assert n_bytes_of_training(data, epochs=9) - n_bytes_of_training(data, epochs=1) < size


@needs_linux
def test_raw_files_are_not_read_where_nothing_is_new(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_photos(tmp_path / "photos", side_px=300)
    size = sum(path.stat().st_size for path in (tmp_path / "photos").rglob("*.png"))
    time.sleep(checksum_cache.SETTLED_S + 0.5)  # a file that was changed just now is read
    before = n_bytes_read()
    run("pack", "./photos")
    assert n_bytes_read() - before > size
    before = n_bytes_read()
    run("pack", "./photos")
    assert n_bytes_read() - before < size / 4


@pytest.fixture
def decoded(monkeypatch) -> Counter:
    """Counts the decoded files by name."""
    counts: Counter[str] = Counter()
    read = images.read

    def counted(path, **limits):
        counts[path.name] += 1
        return read(path, **limits)

    monkeypatch.setattr(images, "read", counted)
    return counts


def test_each_image_is_decoded_once_and_none_where_nothing_is_new(tmp_path, monkeypatch, decoded):
    monkeypatch.chdir(tmp_path)
    rng = draw_photos(tmp_path / "photos", side_px=64)
    run("pack", "./photos")
    n_for_the_bits = decoded.total() - N_IMAGES  # some are looked at before
    assert 0 <= n_for_the_bits <= N_IMAGES and len(decoded) == N_IMAGES
    decoded.clear()
    run("pack", "./photos")
    assert decoded.total() <= n_for_the_bits
    small = ("--hp", "filters=4", "--epochs", "1", "--no-random-split")
    told = run("train", "./photos", *small)
    assert store.read_card(tmp_path / told["path"]).metrics["test"]
    decoded.clear()
    new = tmp_path / "new"
    new.mkdir()
    for i in range(7):
        cv2.imwrite(str(new / f"n{i}.png"), rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    run("predict", "./photos", "new", "--out", "table.csv")
    assert decoded == Counter({f"n{i}.png": 1 for i in range(7)})


def test_where_copies_become_one_group_only_they_are_decoded_again(tmp_path, monkeypatch, decoded):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for i in range(N_IMAGES):
        folder = tmp_path / "photos" / ("oak", "elm")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shade = cv2.resize(rng.uniform(0, 255, (6, 6, 3)), (64, 64))
        image = np.clip(shade + rng.normal(0, 8, shade.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{i:02d}.png"), image)
        if i < 2:
            cv2.imwrite(str(folder / f"{i:02d}-mirrored.png"), image[:, ::-1])
    summary = run("pack", "./photos")
    assert sum(summary["groups"].values()) == N_IMAGES
    again = {name for name, count in decoded.items() if count > 1}
    assert 2 <= len(again) <= 2 * 2 + 1  # the pairs, and one that tells whether images are grey
    assert decoded.total() <= N_IMAGES + 2 + len(again) + 1
    assert not list((tmp_path / "data" / "records").glob(".*.regrouped"))
