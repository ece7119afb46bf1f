"""Image tables: the images of a folder, with labels and numbers from a table beside them."""

from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import files, tables
from tfpipe.base.errors import UserError
from tfpipe.tasks.image_folder import class_folders
from tfpipe.tasks.image_folder.class_folders import ImageList
from tfpipe.tasks.task import LeftOut

SUFFIXES = (".csv", ".tsv", ".xlsx")
PATH, LABEL = "path", "label"
RESERVED = (PATH, LABEL, "group", "split")


def find(folder: Path) -> Path | None:
    """Returns the table in a folder that lists images, or None.

    Raises:
      UserError: there are two.
    """
    paths = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and path.is_file() and _lists_images(path)
    ]
    if len(paths) > 1:
        raise UserError(
            f"{files.shown(folder)} holds two tables of images, {paths[0].name} and "
            f"{paths[1].name}, expected one. Join them, or remove one."
        )
    return paths[0] if paths else None


def read(path: Path, folder: Path, *, labelled: bool = True) -> ImageList:
    """Returns the images that a table lists.

    Args:
      path: the table; path, label, and perhaps group and split are its columns. All others that
        hold a number in each row are numbers beside the images.
      folder: the images are in or under it.
      labelled: whether a label is needed.

    Raises:
      UserError: naming file and line, where an image is absent or listed twice, or a cell does not
        fit its column.
    """
    table = tables.read(path)
    cells = table.frame
    names = _files(table, table.need(PATH), folder)
    label = table.need(LABEL) if labelled else None
    splits = [_split(table, row) for row in range(len(cells))] if "split" in cells else ""
    columns = {
        "file": names,
        "label": cells[label].map(class_folders.class_name) if label else "",
        "group": cells.get("group", ""),
        "split": splits,
    }
    numbers, notes = _numbers(table)
    rows = pd.DataFrame(columns, index=range(len(cells))).astype(object)
    n_unlabelled = int((rows["label"] == "").sum()) if label else 0
    if n_unlabelled:
        notes.append(f"{n_unlabelled} rows of {files.shown(path.name)} have no label: unlabelled.")
    return ImageList(folder, rows, numbers, (path,), notes)


def _lists_images(path: Path) -> bool:
    """Returns whether the headings of a table name a column of images."""
    try:
        headings = tables.headings(path)
    except UserError:
        return False  # another kind of table
    return PATH in {heading.lower() for heading in headings}


def _files(table: tables.Table, column: str, folder: Path) -> list[str]:
    """Returns the image of each row, relative to the folder."""
    row_of: dict[str, int] = {}
    absent = []
    for row, cell in enumerate(table.frame[column].str.replace("\\", "/")):
        path = files.inside(folder, cell, where=table.where(row))
        name = str(path.relative_to(folder))
        if name in row_of:
            raise UserError(
                f"{table.where(row)}: the image {files.shown(name)} is already in line "
                f"{table.lines[row_of[name]]}, expected each once. Remove one of the rows."
            )
        row_of[name] = row
        if not path.is_file():
            absent.append((row, name))
    if absent:
        row, name = absent[0]
        more = f", nor are {len(absent) - 1} others" if len(absent) > 1 else ""
        raise UserError(
            f"{table.where(row)}: the image {files.shown(name)} is not under "
            f"{files.shown(folder.name)}{more}. Put the images there, or remove the rows."
        )
    return list(row_of)


def _split(table: tables.Table, row: int) -> str:
    cell = table.frame["split"].iloc[row]
    if cell and cell.lower() not in class_folders.SPLITS:
        raise UserError(
            f"{table.where(row)}: split is {cell[:40]!r}, expected train, validation or test, or "
            "nothing where it is free. Correct the cell."
        )
    return class_folders.SPLITS[cell.lower()] if cell else ""


def _numbers(table: tables.Table) -> tuple[pd.DataFrame, list[str]]:
    """Returns the columns that are numbers throughout, and a note on the others."""
    numbers: dict[str, np.ndarray] = {}
    unused: list[str] = []
    for name in table.headings:
        cells = table.frame[name]
        if name in RESERVED:
            continue
        is_number = pd.to_numeric(cells.str.replace(",", "."), errors="coerce").notna()
        if is_number.mean() <= 0.5 or (cells == "").any():
            unused.append(name)
        else:
            numbers[name.replace(" ", "_")] = table.numbers(name, missing_ok=False)
    notes: list[str] = []
    if unused:
        names = class_folders.listed_names(unused, most=20)
        notes.append(LeftOut(f"Columns without a number in each row are left out: {names}."))
    index = np.arange(len(table.frame))
    return pd.DataFrame(numbers, index=index), notes
