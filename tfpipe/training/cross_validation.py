"""Grouped k-fold: on few groups one held-out split ranks models by luck.

Folds are made of the training and the validation groups; the test groups stay unseen. Every group
is judged once, by a model that never saw it, and scaling knows a fold's training groups only.
"""

import warnings
from dataclasses import replace

import numpy as np
import tensorflow as tf
from sklearn.model_selection import StratifiedGroupKFold

from tfpipe.base.errors import UserError
from tfpipe.data import dataset
from tfpipe.data.dataset import Dataset, Subset
from tfpipe.models.spec import Spec

SPLITS = ("train", "validation")
USUAL = 5


def of(data: Dataset, spec: Spec, count: int) -> list[tuple[Dataset, Spec]]:
    """Returns `count` folds: what to learn from and be judged by, and what a model may know of it.

    Args:
      data: the records.
      spec: what a model may know of the training split.
      count: folds, at least 2.

    Raises:
      UserError: there are fewer groups than folds, or a class is in fewer than two folds.
    """
    labels = dataset.labels_of(data.folder, SPLITS, manifest=data.manifest)
    groups, sums = _groups(data, spec, Subset(SPLITS))
    if not 2 <= count <= len(sums):
        raise UserError(
            f"--folds is {count}, but there are {len(sums)} groups to train and validate on. "
            f"Give 2 to {len(sums)} folds, or more data."
        )
    with warnings.catch_warnings():
        # It warns of classes with fewer examples than folds; what matters is refused below.
        warnings.simplefilter("ignore", UserWarning)
        parts = list(
            StratifiedGroupKFold(count, shuffle=True, random_state=0).split(labels, labels, groups)
        )
    found = []
    for number, (_, judged) in enumerate(parts, start=1):
        held = np.isin(np.arange(len(labels)), judged)
        _check(labels, held, spec, number=number, count=count)
        own = replace(data, train=Subset(SPLITS, ~held), validation=Subset(SPLITS, held))
        stats = _statistics([sums[group] for group in np.unique(groups[~held])])
        found.append((own, replace(spec, **stats)))
    return found


def known(data: Dataset, spec: Spec) -> Spec:
    """Returns what a model may know of the examples it learns from, by reading them anew."""
    _, sums = _groups(data, spec, data.train)
    return replace(spec, **_statistics(list(sums.values())))


def usual(data: Dataset) -> int:
    """Returns how many folds are made where nobody says: five, or one a group where these are few.

    With one group there are still two, which `of` refuses.
    """
    groups = dataset.groups_of(data.folder, SPLITS, manifest=data.manifest)
    return min(USUAL, max(2, len(np.unique(groups))))


def _check(labels, held, spec: Spec, *, number: int, count: int) -> None:
    present = np.unique(labels[labels >= 0])
    for label in present:
        for name, part in (("training", ~held), ("validation", held)):
            if not (labels[part] == label).any():
                raise UserError(
                    f"--folds {count}: fold {number} has no {spec.classes[label]!r} among its "
                    f"{name} groups. Give fewer folds, or more groups that have some."
                )


def _groups(data: Dataset, spec: Spec, part: Subset) -> tuple[np.ndarray, dict]:
    """Returns each example's group [n], and by group the sums that make means and deviations."""
    channels, columns = spec.image_shape[-1], len(spec.columns)
    names = dataset.groups_of(data.folder, part.splits, manifest=data.manifest)
    sums: dict[bytes, dict[str, np.ndarray]] = {}
    begin = 0
    for features, label in dataset.batches(
        data.folder, part, manifest=data.manifest, batch_size=256
    ):
        own = names[begin : begin + len(label)]
        begin += len(label)
        pixels = tf.cast(features["image"], tf.float64)
        moments = np.stack(
            [tf.reduce_sum(pixels**power, axis=[1, 2]).numpy() for power in (1, 2)], axis=1
        )
        numbers = features["columns"].numpy().astype(float) if columns else np.zeros((len(own), 0))
        count = int(np.prod(pixels.shape[1:3]))
        for group in np.unique(own):
            where = own == group
            one = sums.setdefault(
                group, {"image": np.zeros((3, channels)), "column": np.zeros((3, columns))}
            )
            one["image"][0] += where.sum() * count
            one["image"][1:] += moments[where].sum(axis=0)
            one["column"][0] += where.sum()
            one["column"][1:] += [numbers[where].sum(axis=0), (numbers[where] ** 2).sum(axis=0)]
    return names, sums


def _statistics(sums: list[dict[str, np.ndarray]]) -> dict[str, tuple[float, ...]]:
    """Returns the fields of a Spec that are statistics."""
    stats = {}
    for word in ("image", "column"):
        count, total, squares = np.sum([one[word] for one in sums], axis=0)
        mean = total / np.maximum(count, 1)
        std = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
        stats[f"{word}_mean"] = tuple(mean.tolist())
        stats[f"{word}_std"] = tuple(np.where(std > 0, std, 1.0).tolist())
    return stats
