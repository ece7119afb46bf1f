"""Symmetries of a data set: whether classes are told as well from turned and mirrored images.

A particle has no up; a digit has. A simple classifier is fitted twice on the same training images,
once with their turned or mirrored copies beside them. Where it then names held-out images worse,
the images have an orientation that augmentation must not change.
"""

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from skimage.feature import hog
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedGroupKFold

from tfpipe.data import dataset
from tfpipe.data.augmentation import TURNS, orient_squares
from tfpipe.data.dataset import Dataset
from tfpipe.training.config import TrainingConfig

SIDE, CELL_PX, DIRECTIONS = 32, 8, 8  # of the features
MOST_IMAGES = 2000
FOLDS = 5
LEAST_IMAGES = 100  # fewer tell too little
SIGNIFICANT = 2.0  # standard errors of a difference that counts
COST = 0.03  # share of held-out images whose loss counts, however few they are
# Kinds of augmentation that change more and more, and the positions of `orient_squares` that each
# gives an image: its own, its mirror image, both mirror images and half a turn, all.
POSITIONS = {
    "upright-objects": (0,),
    "mirrored-objects": (0, 1),
    "flipped-objects": (0, 1, 2, 3),
    "objects": tuple(range(TURNS)),
}


class Symmetry(NamedTuple):
    """What a simple classifier loses by copies of its training images.

    Attributes:
      augmentation: that of `POSITIONS` which changes most and costs nothing.
      accuracy: kind of `POSITIONS` -> accuracy on held-out images; {} where there are too few.
        Of classes with `FOLDS` images or more.
    """

    augmentation: str
    accuracy: dict[str, float]


def with_measured_augmentation(config: TrainingConfig, data: Dataset) -> TrainingConfig:
    """Returns a training configuration whose augmentation is no longer "measured"."""
    if config.augmentation != "measured":
        return config
    return replace(config, augmentation=symmetry_of(data).augmentation)


def symmetry_of(data: Dataset) -> Symmetry:
    """Returns the symmetry of the training images of some records."""
    return measure(*_training_images(data))


def measure(images: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Symmetry:
    """Returns the symmetry of images, by folds of their groups.

    Args:
      images: [n, height, width, channels], any real dtype.
      labels: [n] int.
      groups: [n], the group of each.
    """
    n_of_label = np.bincount(labels)[labels] if len(labels) else labels
    rows = np.flatnonzero(n_of_label >= FOLDS)  # a class of fewer is not measured
    images, labels, groups = images[rows], labels[rows], groups[rows]
    if len(labels) < LEAST_IMAGES or len(np.unique(labels)) < 2 or len(np.unique(groups)) < FOLDS:
        return Symmetry("upright-objects", {})
    small = _small(images)
    features = np.stack([_features(orient_squares(small, way)) for way in range(TURNS)])
    hits = {kind: np.zeros(len(labels), bool) for kind in POSITIONS}
    is_measured = np.zeros(len(labels), bool)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for train, held_out in folds.split(small, labels, groups):
        if len(np.unique(labels[train])) < 2:
            continue
        is_measured[held_out] = True
        for kind, ways in POSITIONS.items():
            copies = np.concatenate([features[way][train] for way in ways])
            classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
            classifier.fit(copies, np.tile(labels[train], len(ways)))
            hits[kind][held_out] = classifier.predict(features[0][held_out]) == labels[held_out]
    if not is_measured.any():
        return Symmetry("upright-objects", {})
    hits = {kind: own[is_measured] for kind, own in hits.items()}
    plain = hits["upright-objects"]
    free = [kind for kind, own in hits.items() if _costs_nothing(own, plain)]
    return Symmetry(free[-1], {kind: float(own.mean()) for kind, own in hits.items()})


def _costs_nothing(hits: np.ndarray, plain: np.ndarray) -> bool:
    """Returns whether hits [n] bool are not fewer than without copies, beyond `COST` and noise."""
    difference = hits.astype(float) - plain
    noise = SIGNIFICANT * difference.std() / np.sqrt(len(difference))
    return bool(difference.mean() >= -min(noise, COST))


def _training_images(data: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns images, labels and groups of labelled training examples, `MOST_IMAGES` at most."""
    groups = dataset.groups_of(data.folder, data.train.splits, manifest=data.manifest)
    groups = groups if data.train.chosen is None else groups[data.train.chosen]
    images, labels = [], []
    for features, label in dataset.batches(data.folder, data.train, manifest=data.manifest):
        images.append(_small(features["image"].numpy()))
        labels.append(label.numpy())
    every, label = np.concatenate(images), np.concatenate(labels)
    rows = np.flatnonzero(label >= 0)
    if len(rows) > MOST_IMAGES:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_IMAGES, replace=False))
    return every[rows], label[rows], groups[rows]


def _small(images: np.ndarray) -> np.ndarray:
    """Returns grey images at `SIDE` x `SIDE`, [n, `SIDE`, `SIDE`, 1] float32."""
    grey = images.astype(np.float32).mean(axis=-1)
    scaled = [cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for one in grey]
    return np.stack(scaled)[..., None]


def _features(small: np.ndarray) -> np.ndarray:
    """Returns histograms of gradients and mean values in cells, [n, 192] float32."""
    rows = []
    for image in small[..., 0]:
        gradients = hog(
            image,
            orientations=DIRECTIONS,
            pixels_per_cell=(CELL_PX, CELL_PX),
            cells_per_block=(1, 1),
        )
        cells = cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA)
        deviation = max(float(cells.std()), 1e-6)
        rows.append(np.concatenate([gradients, (cells - cells.mean()).ravel() / deviation]))
    return np.array(rows, np.float32)
