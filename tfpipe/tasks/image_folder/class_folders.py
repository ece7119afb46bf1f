"""The pictures of a folder, and what its class folders say of them."""

import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.tasks.task import LeftOut

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".pgm", ".ppm", ".pnm"),
)
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True, eq=False)
class Listed:
    """The pictures that were found.

    Attributes:
      folder: what the files are relative to.
      rows: [pictures, ...] str: file, label ("" where nobody knows), group ("" for its own), split
        ("" where none is told).
      numbers: [pictures, columns] float64, finite.
      tables: files that told it.
      notes: what is left out and why.
    """

    folder: Path
    rows: pd.DataFrame
    numbers: pd.DataFrame
    tables: tuple[Path, ...] = ()
    notes: list[str] = field(default_factory=list)


def of_folders(folder: Path) -> Listed:
    """Returns the pictures in class folders, in one tree or under train/, val/ and test/.

    Raises:
      UserError: there is no class folder, or one without a picture.
    """
    tops, notes = _folders(folder), []
    splits = {top: SPLITS[top.name.lower()] for top in tops if top.name.lower() in SPLITS}
    if len({*splits.values()}) > 1:
        unused = [files.shown(top.name) for top in tops if top not in splits]
        if unused:
            notes.append(LeftOut(f"{in_words(unused)}: unused, beside folders of splits."))
        places = [(split, inner) for top, split in splits.items() for inner in _folders(top)]
        around = [folder, *splits]
    else:
        places, around = [("", top) for top in tops], [folder]
    if not places:
        raise UserError(
            f"{files.shown(folder)} holds no class folders, expected one for each class, with its "
            "pictures; or a table with the columns path and label."
        )
    rows, others = [], []
    for split, place in places:
        found, more = pictures_in(place)
        inside = files.shown(place.relative_to(folder))
        if not found:
            raise UserError(
                f"The class folder {inside} holds no picture ({', '.join(SUFFIXES)}). Put its "
                "pictures there, or remove the folder."
            )
        others += [f"{inside}/{name}" for name in more]
        rows += [
            (os.path.relpath(place / name, folder), class_name(place.name), "", split)
            for name in found
        ]
    if others:
        notes.append(
            LeftOut(f"{len(others)} files in class folders are no pictures: {in_words(others)}.")
        )
    loose = [path.name for place in around for path in _pictures_here(place)]
    if loose:
        notes.append(LeftOut(f"{len(loose)} pictures lie in no class folder: {in_words(loose)}."))
    return Listed(folder, rows_of(rows), pd.DataFrame(index=range(len(rows))), (), notes)


def rows_of(rows: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    """Returns `Listed.rows` of (file, label, group, split) of each picture."""
    return pd.DataFrame(rows, columns=["file", "label", "group", "split"], dtype=object)


def pictures_in(folder: Path) -> tuple[list[str], list[str]]:
    """Returns the pictures in and under a folder, relative to it, and all other files, sorted.

    Raises:
      UserError: one of them is a link that leads outside.
    """
    found, others = [], []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if _counts(name))
        for name in filter(_counts, names):
            path = os.path.relpath(os.path.join(root, name), folder)
            if os.path.islink(os.path.join(root, name)):
                files.inside(folder, path, where=files.shown(folder))
            (found if name.lower().endswith(SUFFIXES) else others).append(path)
    return sorted(found), sorted(others)


def class_name(text: str) -> str:
    """Returns a class's name on one line, letters with accents in one way of writing them."""
    return " ".join(unicodedata.normalize("NFC", files.shown(text)).split())


def in_words(names, *, most: int = 5) -> str:
    """Returns the first of some names, for a sentence, and how many there are besides."""
    listed = [files.shown(str(name)) for name in names]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def labels_of(rows: pd.DataFrame) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the classes, sorted, and each picture's label [pictures] int, -1 for none."""
    classes = tuple(sorted({*rows["label"]} - {""}))
    numbers = {name: i for i, name in enumerate(classes)} | {"": -1}
    return classes, rows["label"].map(numbers).to_numpy(int)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and _counts(path.name))


def _pictures_here(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES and p.is_file()]


def _counts(name: str) -> bool:
    """Returns whether a name is neither hidden nor left by an archiver."""
    return not name.startswith((".", "__"))
