"""Grouped k-fold cross-validation: with few groups, one held-out split ranks models by luck.

Folds are made of the training and the validation groups; the test groups stay held out. Every group
is in the validation subset of one fold, and a fold's statistics are those of its training groups.
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

Sums = dict[str, np.ndarray]  # "image", "column" -> [3, n]: count, sum, sum of squares
SPLITS = ("train", "validation")
DEFAULT_COUNT = 5


def folds_of(data: Dataset, spec: Spec, count: int) -> list[tuple[Dataset, Spec]]:
    """Returns `count` folds: training and validation subset, and the spec with their statistics.

    Args:
      data: the records.
      spec: of the whole training split.
      count: folds, at least 2.

    Raises:
      UserError: there are fewer groups than folds, or a class is in fewer than two folds.
    """
    labels = dataset.labels_of(data.folder, SPLITS, manifest=data.manifest)
    groups, sums = statistics_by_group(data, spec, Subset(SPLITS))
    if not 2 <= count <= len(sums):
        raise UserError(
            f"--folds is {count}, but there are {len(sums)} groups to train and validate on. "
            f"Give 2 to {len(sums)} folds, or more data."
        )
    folds = []
    for number, (_, validation) in enumerate(grouped_folds(labels, groups, count), start=1):
        is_held = np.isin(np.arange(len(labels)), validation)
        _check(labels, is_held, spec, number=number, count=count)
        fold = replace(data, train=Subset(SPLITS, ~is_held), validation=Subset(SPLITS, is_held))
        fold_sums = [sums[group] for group in np.unique(groups[~is_held])]
        folds.append((fold, _with_statistics(spec, fold_sums)))
    return folds


def grouped_folds(
    labels: np.ndarray, groups: np.ndarray, count: int, *, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns (training rows, validation rows) of each fold, int each; no group is in both.

    Classes are about equally common in all folds (scikit-learn's `StratifiedGroupKFold`).

    Args:
      labels: [n] int.
      groups: [n], theirs.
      count: folds, at least 2 and at most as many as groups.
      seed: of the order of groups.
    """
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # It warns of classes with fewer examples than folds. Callers refuse what they cannot use.
        warnings.simplefilter("ignore", UserWarning)
        return list(folds.split(np.zeros((len(labels), 1)), labels, groups))


def spec_of_training_subset(data: Dataset, spec: Spec) -> Spec:
    """Returns a spec with the statistics of the training subset, which is read for it."""
    _, sums = statistics_by_group(data, spec, data.train)
    return _with_statistics(spec, list(sums.values()))


def default_count(data: Dataset) -> int:
    """Returns the default number of folds: five, or the number of groups where these are fewer.

    With one group there are still two, which `folds_of` refuses.
    """
    groups = dataset.groups_of(data.folder, SPLITS, manifest=data.manifest)
    return min(DEFAULT_COUNT, max(2, len(np.unique(groups))))


def _check(labels: np.ndarray, is_held: np.ndarray, spec: Spec, *, number: int, count: int) -> None:
    present = np.unique(labels[labels >= 0])
    for label in present:
        for name, subset in (("training", ~is_held), ("validation", is_held)):
            if not (labels[subset] == label).any():
                raise UserError(
                    f"--folds {count}: fold {number} has no {spec.classes[label]!r} among its "
                    f"{name} groups. Give fewer folds, or more groups of that class."
                )


def statistics_by_group(
    data: Dataset, spec: Spec, subset: Subset
) -> tuple[np.ndarray, dict[bytes, Sums]]:
    """Returns each example's group [n], and by group the sums for means and deviations."""
    channels, columns = spec.image_shape[-1], len(spec.columns)
    names = dataset.groups_of(data.folder, subset.splits, manifest=data.manifest)
    sums: dict[bytes, Sums] = {}
    begin = 0
    for features, label in dataset.batches(
        data.folder, subset, manifest=data.manifest, batch_size=256
    ):
        batch_groups = names[begin : begin + len(label)]
        begin += len(label)
        pixels = tf.cast(features["image"], tf.float64)
        moments = np.stack(
            [tf.reduce_sum(pixels**power, axis=[1, 2]).numpy() for power in (1, 2)], axis=1
        )
        numbers = (
            features["columns"].numpy().astype(float)
            if columns
            else np.zeros((len(batch_groups), 0))
        )
        count = int(np.prod(pixels.shape[1:3]))
        for group in np.unique(batch_groups):
            rows = batch_groups == group
            group_sums = sums.setdefault(
                group, {"image": np.zeros((3, channels)), "column": np.zeros((3, columns))}
            )
            group_sums["image"][0] += rows.sum() * count
            group_sums["image"][1:] += moments[rows].sum(axis=0)
            group_sums["column"][0] += rows.sum()
            group_sums["column"][1:] += [
                numbers[rows].sum(axis=0),
                (numbers[rows] ** 2).sum(axis=0),
            ]
    return names, sums


def _with_statistics(spec: Spec, sums: list[Sums]) -> Spec:
    """Returns a spec with means and deviations by the sums of groups."""
    image_mean, image_std = _mean_and_std(sums, "image")
    column_mean, column_std = _mean_and_std(sums, "column")
    return replace(
        spec,
        image_mean=image_mean,
        image_std=image_std,
        column_mean=column_mean,
        column_std=column_std,
    )


def _mean_and_std(sums: list[Sums], kind: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    count, total, squares = np.sum([group_sums[kind] for group_sums in sums], axis=0)
    mean = total / np.maximum(count, 1)
    std = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
    return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())
