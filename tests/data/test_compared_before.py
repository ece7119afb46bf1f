"""A second packing compares new images with all, and old ones among themselves never again."""

import dataclasses
import shutil

import cv2
import numpy as np
import pytest
from small_records import HALVES, WINDOWS, draw_small, make_task, names_in, pack_small, spread

from tfpipe.base.errors import UserError
from tfpipe.data import near_duplicates
from tfpipe.tasks.splits import SplitConfig
from tfpipe.tasks.task import SPLITS

# tfds 4.9 asks numpy and itself for what both have renamed.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with raw files and their records; not to be changed."""
    folder = tmp_path_factory.mktemp("project")
    draw_small(folder / "raw", spread())
    pack_small(folder / "raw", folder / "records")
    return folder


@pytest.fixture
def own_raw(project, tmp_path):
    return shutil.copytree(project / "raw", tmp_path / "raw")


@pytest.fixture
def folder(project, tmp_path):
    return shutil.copytree(project / "records", tmp_path / "records")


def draw_copies(raw, new, old):
    """Draws an image for each new name that shows, a little brighter, what the old one does."""
    for name, other in zip(new, old, strict=True):
        pixels = cv2.imread(str(raw / f"{other}.png"))
        cv2.imwrite(str(raw / f"{name}.png"), cv2.convertScaleAbs(pixels, alpha=1, beta=2))


def test_only_new_pictures_are_compared_with_all(own_raw, folder, monkeypatch):
    pairs = []
    whole = near_duplicates.find_pairs

    def counted(one, other):
        pairs.append(one.n_images * other.n_images)
        return whole(one, other)

    monkeypatch.setattr(near_duplicates, "find_pairs", counted)
    draw_small(own_raw, names_in("train", 6)[5:])
    pack_small(own_raw, folder)
    assert sum(pairs) == WINDOWS * WINDOWS * 6  # 1 new picture with 6 of the other splits


@pytest.mark.parametrize(("new", "old"), [("train", "validation"), ("validation", "train")])
def test_a_new_copy_of_an_old_picture_in_another_split_is_refused(own_raw, folder, new, old):
    draw_copies(own_raw, names_in(new, 6)[5:], names_in(old, 1))
    with pytest.raises(UserError, match="stands in two splits.*near-copies"):
        pack_small(own_raw, folder)


def test_old_copies_that_another_split_parts_are_compared_again(own_raw, folder):
    salted = SplitConfig(HALVES.shares, "b")
    names = names_in("train", 20)
    one = names[0]
    other = next(n for n in names[5:] if salted.of_group(n) != salted.of_group(one))
    draw_copies(own_raw, [other], [one])
    assert pack_small(own_raw, folder).compared == near_duplicates.RULES
    with pytest.raises(UserError, match="stands in two splits"):
        pack_small(own_raw, folder, split=salted)


def test_records_that_were_never_compared_are(own_raw, folder):
    draw_copies(own_raw, names_in("validation", 6)[5:], names_in("train", 1))
    skipping = dataclasses.replace(make_task().raw_files, skip_duplicate_check=True)
    task = make_task(raw_files=skipping)
    assert pack_small(own_raw, folder, task=task).compared == 0
    draw_small(own_raw, ["new1"])
    with pytest.raises(UserError, match="stands in two splits"):
        pack_small(own_raw, folder)


def test_new_copies_are_told_in_the_same_words_whatever_was_compared_before():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (3, 12, 20, 30, 3), np.uint8)
    noise[1][:4] = noise[0][:4, ::-1]  # copies of training images, upside down
    noise[2][4:6] = noise[1][8:10]
    prints = {s: near_duplicates.fingerprints(n)[0] for s, n in zip(SPLITS, noise, strict=True)}
    groups = {split: np.array([f"{split}{i}" for i in range(12)], object) for split in SPLITS}
    whole = near_duplicates.crossings(prints, groups)
    assert len(whole) == 6
    for _ in range(5):
        compared = {split: rng.random(12) < 0.5 for split in SPLITS}
        compared["validation"][:4] = compared["test"][4:6] = False  # one of each pair is new
        assert near_duplicates.crossings(prints, groups, compared) == whole
