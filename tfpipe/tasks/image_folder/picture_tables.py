"""The pictures of a folder, and what a table beside them says of each."""

from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import files, tables
from tfpipe.base.errors import UserError
from tfpipe.tasks.image_folder import class_folders
from tfpipe.tasks.image_folder.class_folders import Listed
from tfpipe.tasks.task import LeftOut

SUFFIXES = (".csv", ".tsv", ".xlsx")
PATH, LABEL = "path", "label"
TOLD = (PATH, LABEL, "group", "split")


def find(folder: Path) -> Path | None:
    """Returns the table in a folder that lists pictures, if there is one.

    Raises:
      UserError: there are two.
    """
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and path.is_file() and _lists_pictures(path)
    ]
    if len(found) > 1:
        raise UserError(
            f"{files.shown(folder)} holds two tables of pictures, {found[0].name} and "
            f"{found[1].name}, expected one. Join them, or remove one."
        )
    return found[0] if found else None


def read(path: Path, folder: Path, *, labelled: bool = True) -> Listed:
    """Returns the pictures that a table lists.

    Args:
      path: the table; path, label, and perhaps group and split are its columns. All others that
        hold a number in each row are numbers beside the pictures.
      folder: the pictures are in or under it.
      labelled: whether a label is needed.

    Raises:
      UserError: naming file and line, where a picture is absent or listed twice, or a cell is not
        what its column holds.
    """
    table = tables.read(path)
    cells = table.frame
    names = _files(table, table.need(PATH), folder)
    label = table.need(LABEL) if labelled else None
    splits = [_split(table, row) for row in range(len(cells))] if "split" in cells else ""
    told = {
        "file": names,
        "label": cells[label].map(class_folders.class_name) if label else "",
        "group": cells.get("group", ""),
        "split": splits,
    }
    numbers, notes = _numbers(table)
    found = pd.DataFrame(told, index=range(len(cells))).astype(object)
    nobody = int((found["label"] == "").sum()) if label else 0
    if nobody:
        notes.append(f"{nobody} rows of {files.shown(path.name)} have no label: unlabelled.")
    return Listed(folder, found, numbers, (path,), notes)


def _lists_pictures(path: Path) -> bool:
    """Returns whether the first row of a table with cells names pictures."""
    try:
        headings = tables.headings(path)
    except UserError:
        return False  # some other table of the user's
    return PATH in {heading.lower() for heading in headings}


def _files(table: tables.Table, column: str, folder: Path) -> list[str]:
    """Returns each row's picture, as it is called under the folder."""
    found: dict[str, int] = {}
    absent = []
    for row, cell in enumerate(table.frame[column].str.replace("\\", "/")):
        path = files.inside(folder, cell, where=table.where(row))
        name = str(path.relative_to(folder))
        if name in found:
            raise UserError(
                f"{table.where(row)}: the picture {files.shown(name)} is already in line "
                f"{table.lines[found[name]]}, expected each once. Remove one of the rows."
            )
        found[name] = row
        if not path.is_file():
            absent.append((row, name))
    if absent:
        row, name = absent[0]
        more = f", nor are {len(absent) - 1} others" if len(absent) > 1 else ""
        raise UserError(
            f"{table.where(row)}: the picture {files.shown(name)} is not under "
            f"{files.shown(folder.name)}{more}. Put the pictures there, or remove the rows."
        )
    return list(found)


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
    found, unused = {}, []
    for name in table.headings:
        cells = table.frame[name]
        if name in TOLD:
            continue
        known = pd.to_numeric(cells.str.replace(",", "."), errors="coerce").notna()
        if known.mean() <= 0.5 or (cells == "").any():
            unused.append(name)
        else:
            found[name.replace(" ", "_")] = table.numbers(name, missing_ok=False)
    said = class_folders.in_words(unused, most=20)
    notes: list[str] = []
    if unused:
        notes.append(LeftOut(f"Columns without a number in each row are left out: {said}."))
    index = np.arange(len(table.frame))
    return pd.DataFrame(found, index=index), notes
