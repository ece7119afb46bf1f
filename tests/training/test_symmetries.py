"""Symmetries of training images, and the augmentation that they allow."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tiny
from sklearn.datasets import load_digits

from tfpipe.data import augmentation, dataset
from tfpipe.training import symmetries
from tfpipe.training.config import TrainingConfig

KINDS = ("objects", "flipped-objects", "mirrored-objects", "upright-objects")


def bars(count=240, *, positions, seed=0):
    """Returns bright L shapes and bars, each in one of some positions, and their labels."""
    rng = np.random.default_rng(seed)
    images = np.zeros((count, 24, 24, 1), np.uint8)
    labels = np.arange(count) % 2
    for i, label in enumerate(labels):
        row, column = rng.integers(2, 6, 2)
        images[i, row : row + 14, column : column + 4] = 200
        if label:
            images[i, row : row + 4, column : column + 12] = 200
        way = rng.choice(positions)
        images[i : i + 1] = augmentation.orient_squares(images[i : i + 1], way)
    return images + rng.integers(0, 30, images.shape, dtype=np.uint8), labels


def test_digits_have_an_up():
    digits = load_digits()
    images = digits.images[:900, ..., None] * 15
    found = symmetries.measure(images, digits.target[:900], np.arange(900))
    assert found.augmentation == "upright-objects"
    assert found.accuracy["upright-objects"] > 0.9 > found.accuracy["objects"] + 0.05


@pytest.mark.parametrize(
    ("positions", "kind"), [(range(8), "objects"), (range(4), "flipped-objects")]
)
def test_images_that_lie_in_all_positions_are_turned_and_in_four_are_mirrored(positions, kind):
    images, labels = bars(positions=list(positions))
    if kind == "flipped-objects":  # what tells the classes is how the shape lies
        labels = labels.copy()
        flat = np.flatnonzero(labels == 0)
        images[flat[::2]] = augmentation.orient_squares(images[flat[::2]], 4)
        labels[flat[::2]] = 2
    found = symmetries.measure(images, labels, np.arange(len(labels)))
    assert found.augmentation == kind


def test_copies_of_a_group_are_not_on_both_sides():
    rng = np.random.default_rng(0)
    images = np.repeat(rng.integers(0, 255, (20, 16, 16, 1)), 12, axis=0)
    labels = np.repeat(rng.integers(0, 2, 20), 12)
    found = symmetries.measure(images, labels, np.repeat(np.arange(20), 12))
    assert found.accuracy["upright-objects"] < 0.8  # noise tells nothing of another group


UNMEASURED = symmetries.Symmetry("upright-objects", {})


def test_too_few_images_or_classes_stay_upright():
    assert (
        symmetries.measure(np.zeros((3, 8, 8, 1)), np.array([0, 1, 1]), np.arange(3)) == UNMEASURED
    )
    digits = load_digits()
    few = np.concatenate([np.flatnonzero(digits.target == n)[:9] for n in range(10)])
    images = digits.images[few, ..., None] * 15
    assert symmetries.measure(images, digits.target[few], np.arange(90)) == UNMEASURED
    noise = np.random.default_rng(0).uniform(size=(200, 8, 8, 1))
    assert symmetries.measure(noise, np.zeros(200, int), np.arange(200)) == UNMEASURED
    # Each class is one group, so that no fold has both in training.
    labels = np.arange(200) // 100
    assert symmetries.measure(noise, labels, labels) == UNMEASURED


def test_a_class_of_one_image_changes_nothing():
    images, labels = bars(positions=range(8))
    labels = np.append(labels, 2)
    images = np.concatenate([images, images[:1]])
    assert symmetries.measure(images, labels, np.arange(len(labels))).augmentation == "objects"


def test_a_loss_of_many_images_counts_where_few_are_measured():
    digits = load_digits()
    for first in (0, 200):
        own = slice(first, first + 200)
        images = digits.images[own, ..., None] * 15
        found = symmetries.measure(images, digits.target[own], np.arange(200))
        assert found.augmentation in ("upright-objects", "mirrored-objects")


@pytest.mark.parametrize("kind", KINDS)
def test_objects_change_as_they_may_and_their_ground_stays(kind):
    images = np.full((400, 33, 33, 2), (90, 200), np.uint8)
    images[:, 13:16, 16:29] = 20  # a bar from the middle to the right
    batch = ({"image": tf.constant(images)}, tf.range(400))
    change = augmentation.KINDS[kind](5)
    inputs, label = change(0, batch)
    changed = inputs["image"].numpy()
    assert changed.dtype == np.uint8 and (label.numpy() == np.arange(400)).all()
    np.testing.assert_array_equal(changed, change(0, batch)[0]["image"])  # of seed and number
    assert (changed != change(1, batch)[0]["image"].numpy()).any()
    assert (changed[:, 0, 0] == (90, 200)).mean() > 0.99
    rows, columns = np.mgrid[:33, :33] - 16.0
    weights = 90.0 - changed[..., 0]
    sums = weights.sum(axis=(1, 2))
    assert 0.5 < np.median(sums) / (90.0 - images[0, ..., 0]).sum() < 1.5
    angle = np.degrees(
        np.arctan2(
            (weights * rows).sum(axis=(1, 2)) / sums, (weights * columns).sum(axis=(1, 2)) / sums
        )
    )
    quadrants = np.histogram(angle, [-180, -135, -45, 45, 135, 180])[0] / 400
    is_turned = quadrants[1] + quadrants[3] > 0.3
    assert is_turned == (kind == "objects")
    to_the_left = {"upright-objects": 0.0, "objects": 0.25}.get(kind, 0.5)
    assert quadrants[0] + quadrants[4] == pytest.approx(to_the_left, abs=0.1)


def test_the_ground_of_floats_stays_and_nothing_is_cut_off():
    images = np.full((8, 20, 20, 1), 4000, np.float32)
    images[:, 9:12, 8:13] = 60000
    changed = augmentation.KINDS["objects"](0)(0, ({"image": tf.constant(images)}, tf.range(8)))[0]
    values = changed["image"].numpy()
    assert values.dtype == np.float32 and values.min() == 4000 and values.max() > 40000


def test_measured_becomes_a_kind_of_the_training_images_alone(tmp_path):
    data = tiny.packed(tmp_path)
    asked = TrainingConfig(augmentation="measured", epochs=3)
    config = symmetries.with_measured_augmentation(asked, data)
    assert config.augmentation in augmentation.KINDS and config.epochs == 3
    own = TrainingConfig(augmentation="slices")
    assert symmetries.with_measured_augmentation(own, data) is own
    labels = dataset.labels_of(data.folder, ("train",), manifest=data.manifest)
    few = replace(data, train=data.train._replace(chosen=np.arange(len(labels)) < 3))
    assert symmetries.symmetry_of(few) == UNMEASURED
