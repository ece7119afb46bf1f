"""Tables of features, one row a picture: ready ones, and which of their rows are the same."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tfpipe.base import files, tables
from tfpipe.base.errors import UserError
from tfpipe.data import near_duplicates
from tfpipe.tasks.task import SPLITS

NAMES = {
    "train": ("features_train.csv",),
    "validation": ("features_val.csv", "features_validation.csv"),
    "test": ("features_test.csv",),
}
SELECTED = "selected_features.json"


class Part(NamedTuple):
    """The pictures of one split.

    Attributes:
      values: [n, features] float64, nan where one is missing.
      labels: [n] int.
      groups: [n], what a fold must not part.
    """

    values: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


class Features(NamedTuple):
    """Pictures by their features.

    Attributes:
      names: of the features.
      classes: names in label order.
      parts: split -> its pictures.
      notes: what was noticed, one sentence each.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    parts: dict[str, Part]
    notes: tuple[str, ...]


def there(folder: Path) -> bool:
    """Returns whether a raw folder holds ready tables of features."""
    return any((folder / name).is_file() for names in NAMES.values() for name in names)


def read(folder: Path) -> Features:
    """Returns the features of ready tables: a column label, and numbers.

    Where `SELECTED` lies beside them, a JSON list of names, only these are taken. Rows that are the
    same are one group, and are named where they stand in two splits.

    Raises:
      UserError: a table is missing, lacks a column, or holds something else.
    """
    paths = {split: _path(folder, split) for split in SPLITS}
    read = {split: tables.read(path) for split, path in paths.items()}
    label = read["train"].need("label", "class")
    names = [name for name in read["train"].headings if name != label]
    every, lines = {}, {}
    for split, table in read.items():
        for name in (label, *names):
            table.need(name)
        every[split] = np.stack([table.numbers(name, missing_ok=True) for name in names], axis=1)
        lines[split] = table.lines
    notes = near_duplicates.same_rows(every, lines)
    names, chosen = _selected(folder, names)
    classes = tuple(sorted({*read["train"].frame[label]}))
    parts = {}
    for split, table in read.items():
        told = table.frame[label]
        unknown = ~told.isin(classes).to_numpy()
        if unknown.any():
            row = int(unknown.argmax())
            raise UserError(
                f"{table.where(row)}: label is {told.iloc[row]!r}, which no row of "
                f"{paths['train'].name} has, only {', '.join(classes)}. Correct the cell."
            )
        labels = told.map(classes.index).to_numpy(int)
        parts[split] = Part(every[split][:, chosen], labels, same_ones(every[split]))
    written = read["train"].headings
    return Features(tuple(written[name] for name in names), classes, parts, tuple(notes))


def same_ones(values: np.ndarray) -> np.ndarray:
    """Returns a number for each row [n], the same for rows that are the same."""
    known = np.where(np.isnan(values), np.inf, values)
    return np.unique(known, axis=0, return_inverse=True)[1].ravel()


def write(features: Features, folder: Path) -> None:
    """Writes the tables as `read` takes them."""
    for split, part in features.parts.items():
        frame = pd.DataFrame(part.values, columns=list(features.names))
        frame.insert(0, "label", [features.classes[label] for label in part.labels])
        tables.write_csv(frame, folder / NAMES[split][0])


def _path(folder: Path, split: str) -> Path:
    found = [folder / name for name in NAMES[split] if (folder / name).is_file()]
    if not found:
        raise UserError(
            f"{files.shown(folder)} has no {NAMES[split][0]}, expected a table of features for "
            "each of train, val and test. Put it there."
        )
    return found[0]


def _selected(folder: Path, names: list[str]) -> tuple[list[str], list[int]]:
    """Returns the features to take, and where they stand."""
    path = folder / SELECTED
    if not path.is_file():
        return names, list(range(len(names)))
    try:
        told = json.loads(path.read_bytes())
    except ValueError:
        told = None
    # Headings are read with blanks for underscores.
    wanted = [str(one).replace("_", " ").lower() for one in told] if isinstance(told, list) else []
    lacking = [one for one in wanted if one not in names]
    if not wanted or lacking:
        raise UserError(
            f"{SELECTED} names {lacking[0] if lacking else 'nothing'!r}, expected a JSON list of "
            "columns of the tables. Correct it, or remove the file for all columns."
        )
    return wanted, [names.index(one) for one in wanted]
