"""Turned and mirrored pictures: in training, and in the claim of a split that parts the copies."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
import tiny

from tfpipe.data import augmentation
from tfpipe.tasks.task import SPLITS
from tfpipe.training import random_split

WAYS = range(augmentation.TURNS)
PICTURES = np.random.default_rng(0).uniform(4000, 70000, (64, 5, 5, 2)).astype(np.float32)


def test_the_eight_positions_are_those_of_a_square():
    one = np.arange(9).reshape(1, 3, 3, 1)
    wanted = {
        np.rot90(side, turns, axes=(1, 2)).tobytes()
        for side in (one, one[:, :, ::-1])
        for turns in range(4)
    }
    assert {augmentation.orient_squares(one, way).tobytes() for way in WAYS} == wanted
    assert len(wanted) == 8
    assert (augmentation.orient_squares(one, 0) == one).all()


@pytest.mark.parametrize("way", WAYS)
def test_numpy_and_tensorflow_turn_alike(way):
    theirs = augmentation.orient_squares(tf.constant(PICTURES), way).numpy()
    np.testing.assert_array_equal(theirs, augmentation.orient_squares(PICTURES, way))


def test_training_pictures_are_turned_each_its_own_way_and_nothing_else_changes():
    change = augmentation.KINDS["turns"](3)
    batch = ({"image": tf.constant(PICTURES), "columns": tf.ones((64, 2))}, tf.range(64))
    found = Counter()
    for number in (0, 1, 0):
        inputs, label = change(number, batch)
        assert inputs["image"].dtype == tf.float32 and inputs["image"].shape == PICTURES.shape
        np.testing.assert_array_equal(label, np.arange(64))
        np.testing.assert_array_equal(inputs["columns"], 1)
        changed = inputs["image"].numpy()
        ways = [
            next(w for w in WAYS if (augmentation.orient_squares(one[None], w)[0] == new).all())
            for one, new in zip(PICTURES, changed, strict=True)
        ]
        found[tuple(ways)] += 1
        assert set(ways) == set(WAYS)
    assert sorted(found.values()) == [1, 2]  # a function of seed and batch number


@pytest.mark.slow
def test_the_claim_parts_eight_copies_of_each_picture(tmp_path):
    data = tiny.packed(tmp_path)
    (tmp_path / "mixed").mkdir()
    mixed = random_split.write_random_split(data, tmp_path / "mixed", turns=8, seed=0)
    images = {split: pictures_of(tmp_path / "mixed" / split) for split in SPLITS}
    every = np.concatenate(list(images.values()))
    total = sum(shard.count for shard in data.manifest.shards)
    assert len(every) == 8 * total == sum(shard.count for shard in mixed.manifest.shards)
    shapes = Counter(np.sort(image.ravel()).tobytes() for image in every)
    assert set(shapes.values()) == {8}
    assert len({image.tobytes() for image in every}) == 8 * total
    test = {np.sort(image.ravel()).tobytes() for image in images["test"]}
    train = {np.sort(image.ravel()).tobytes() for image in images["train"]}
    assert len(test & train) > 0.9 * len(test)


def pictures_of(path) -> np.ndarray:
    wanted = {"image": tf.io.FixedLenFeature((), tf.string)}
    records = tf.data.TFRecordDataset(str(path)).batch(100_000)
    (told,) = records.map(lambda each: tf.io.parse_example(each, wanted)["image"])
    return tf.io.decode_raw(told, tf.uint8).numpy().reshape(-1, 16, 16, 1)
