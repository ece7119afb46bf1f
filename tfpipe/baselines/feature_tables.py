"""Feature tables: one row an image, read from ready tables or computed from packed records."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tfpipe.base import files, tables
from tfpipe.base.choose import choose, listed
from tfpipe.base.errors import UserError
from tfpipe.baselines import texture
from tfpipe.data import dataset, near_duplicates
from tfpipe.data.dataset import Subset
from tfpipe.data.manifest import RecordManifest
from tfpipe.tasks.task import SPLITS

NAMES = {
    "train": ("features_train.csv",),
    "validation": ("features_val.csv", "features_validation.csv"),
    "test": ("features_test.csv",),
}
SELECTED = "selected_features.json"


KINDS = ("columns", *texture.KINDS)


class FeatureSplit(NamedTuple):
    """The images of one split.

    Attributes:
      values: [n, features] float64, nan where a value is missing.
      labels: [n] int.
      groups: [n], what a fold must not divide.
    """

    values: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


class Features(NamedTuple):
    """Images by their features.

    Attributes:
      names: of the features.
      classes: names in label order.
      splits: from split to its images.
      notes: remarks for the user, one sentence each.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    splits: dict[str, FeatureSplit]
    notes: tuple[str, ...]


def has_tables(folder: Path) -> bool:
    """Returns whether a raw folder holds ready tables of features."""
    return any((folder / name).is_file() for names in NAMES.values() for name in names)


def read(folder: Path) -> Features:
    """Returns the features of ready tables: a column label, and numbers.

    Where `SELECTED` lies beside them, a JSON list of names, only these are read. Equal rows are one
    group, and are named in a note where they are in two splits.

    Raises:
      UserError: a table is missing, lacks a column, or holds something else.
    """
    paths = {split: _path(folder, split) for split in SPLITS}
    contents = {split: tables.read(path) for split, path in paths.items()}
    label = contents["train"].need("label", "class")
    names = [name for name in contents["train"].headings if name != label]
    values, lines = {}, {}
    for split, table in contents.items():
        for name in (label, *names):
            table.need(name)
        values[split] = np.stack([table.numbers(name, missing_ok=True) for name in names], axis=1)
        lines[split] = table.lines
    notes = near_duplicates.same_rows(values, lines)
    names, columns = _selected(folder, names)
    classes = tuple(sorted({*contents["train"].frame[label]}))
    splits = {}
    for split, table in contents.items():
        cells = table.frame[label]
        is_unknown = ~cells.isin(classes).to_numpy()
        if is_unknown.any():
            row = int(is_unknown.argmax())
            raise UserError(
                f"{table.where(row)}: label is {cells.iloc[row]!r}, which no row of "
                f"{paths['train'].name} has, only {listed(classes)}. Correct the cell."
            )
        labels = cells.map(classes.index).to_numpy(int)
        groups = group_equal_rows(values[split])
        splits[split] = FeatureSplit(values[split][:, columns], labels, groups)
    headings = contents["train"].headings
    return Features(tuple(headings[name] for name in names), classes, splits, tuple(notes))


def from_records(records: Path, kinds: tuple[str, ...], *, manifest: RecordManifest) -> Features:
    """Returns the labelled examples of packed records by their features.

    Args:
      records: the folder.
      kinds: some of `KINDS`; () for texture, and the columns where there are some.
      manifest: the records' manifest.

    Raises:
      UserError: no such kind, the images are of floats, or there are no columns.
    """
    columns = tuple(manifest.columns)
    kinds = kinds or (*(("columns",) if columns else ()), "texture")
    for kind in kinds:
        choose(kind, KINDS, noun="kind of features")
    if "columns" in kinds and not columns:
        raise UserError(f"The records of {manifest.task} have no columns. Leave them out.")
    image_kinds = tuple(kind for kind in kinds if kind != "columns")
    if image_kinds and manifest.image_dtype == "float32":
        raise UserError(
            f"The images of {manifest.task} are floats, for which textures are not defined. "
            "Give --features columns."
        )
    splits: dict[str, FeatureSplit] = {}
    names: tuple[str, ...] = ()
    for split in SPLITS:
        frames, labels = [], []
        for features, label in dataset.batches(
            records, Subset((split,)), manifest=manifest, batch_size=256
        ):
            is_labelled = label.numpy() >= 0
            frame = texture.table(features["image"].numpy()[is_labelled], kinds=image_kinds)
            if "columns" in kinds:
                frame[list(columns)] = features["columns"].numpy()[is_labelled]
            frames.append(frame)
            labels.append(label.numpy()[is_labelled])
        if not sum(map(len, labels)):
            raise UserError(
                f"No {split} example has a label, so nothing can be evaluated. Label some."
            )
        has_label = dataset.labels_of(records, (split,), manifest=manifest) >= 0
        groups = dataset.groups_of(records, (split,), manifest=manifest)[has_label]
        table = pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
        names = tuple(table.columns)
        splits[split] = FeatureSplit(table.to_numpy(np.float64), np.concatenate(labels), groups)
    return Features(names, tuple(manifest.classes), splits, ())


def group_equal_rows(values: np.ndarray) -> np.ndarray:
    """Returns a number for each row [n], the same for equal rows."""
    filled = np.where(np.isnan(values), np.inf, values)
    return np.unique(filled, axis=0, return_inverse=True)[1].ravel()


def write(features: Features, folder: Path) -> None:
    """Writes the tables as `read` takes them."""
    for split, part in features.splits.items():
        frame = pd.DataFrame(part.values, columns=list(features.names))
        frame.insert(0, "label", [features.classes[label] for label in part.labels])
        tables.write_csv(frame, folder / NAMES[split][0])


def _path(folder: Path, split: str) -> Path:
    paths = [folder / name for name in NAMES[split] if (folder / name).is_file()]
    if not paths:
        raise UserError(
            f"{files.shown(folder)} has no {NAMES[split][0]}, expected a table of features for "
            "each of train, val and test. Put it there."
        )
    return paths[0]


def _selected(folder: Path, names: list[str]) -> tuple[list[str], list[int]]:
    """Returns the names and the indices of the selected features."""
    path = folder / SELECTED
    if not path.is_file():
        return names, list(range(len(names)))
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        content = None
    content = content if isinstance(content, list) else []
    # Headings are read with blanks for underscores.
    selected = [str(name).replace("_", " ").lower() for name in content]
    missing = [name for name in selected if name not in names]
    if not selected or missing:
        raise UserError(
            f"{SELECTED} names {missing[0] if missing else 'nothing'!r}, expected a JSON list of "
            "columns of the tables. Correct it, or remove the file for all columns."
        )
    return selected, [names.index(name) for name in selected]
