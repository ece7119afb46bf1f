"""Image tables: the images of a folder, with labels and numbers from a table beside them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfpipe.base import files, tables
from tfpipe.base.errors import UserError
from tfpipe.tasks.image_folder import class_folders
from tfpipe.tasks.image_folder.class_folders import ImageList
from tfpipe.tasks.task import LeftOut

# Names of the columns of images, and of classes, the first in use elsewhere.
STRONG_PATHS = ("path", "file", "filename", "file name", "image path")
PATHS = (*STRONG_PATHS, "image", "image id", "img", "id")
LABELS = ("label", "class", "class name", "category", "species", "breed", "target")
RESERVED = ("group", "split")
TRUTH = "truth"  # truth.csv of a drawn sample: for comparison, nothing may learn from it


def find(folder: Path, *, labelled: bool = True) -> Path | None:
    """Returns the table in a folder that lists images, or None.

    Columns that may name anything, such as id, count only where they name images of the folder.

    Args:
      folder: of the images.
      labelled: whether it must have classes, too.

    Raises:
      UserError: there are several.
    """
    # A table of predictions has a column "abstain".
    common: dict[str, Any] = {
        "noun": "table of images",
        "lacks": ("abstain",),
        "but": (TRUTH, f"{folder.resolve().name}-conflicts"),
    }
    if not labelled:
        return tables.find(folder, STRONG_PATHS, **common)
    strong = tables.find(folder, STRONG_PATHS, LABELS, **common)
    if strong:
        return strong
    weak = tables.find(folder, PATHS, LABELS, **common)
    if weak and _names_an_image(weak, folder):
        return weak
    return tables.find(folder, ("path",), **common)  # without classes, which `read` refuses


def _names_an_image(path: Path, folder: Path) -> bool:
    """Returns whether the first rows of a table name images under a folder."""
    table = tables.read(path, PATHS, LABELS)
    candidates = _by_stem(folder)
    cells = table.frame[table.need(*PATHS)].head(20)
    return any(Path(cell.replace("\\", "/")).name in candidates for cell in cells)


def unused(folder: Path) -> list[LeftOut]:
    """Returns a note on each table in a folder that lists no images, with its columns."""
    notes = []
    for path in sorted(folder.iterdir()):
        if path.stem == TRUTH or path.name[0] in ".~":
            continue
        if path.suffix.lower() in tables.SUFFIXES and path.is_file():
            try:
                columns = class_folders.listed_names(tables.headings(path), most=8)
            except UserError:
                continue  # a text of another kind
            notes.append(
                LeftOut(
                    f"{files.shown(path.name)} lists no images, so it is unused: its columns are "
                    f"{columns}, and one of {', '.join(PATHS[:4])} with a label would."
                )
            )
    return notes


def read(path: Path, folder: Path, *, labelled: bool = True) -> ImageList:
    """Returns the images that a table lists.

    Args:
      path: the table; it has a column of `PATHS`, one of `LABELS`, and perhaps group and split.
        All others that hold a number in each row are numbers beside the images. Images may be
        named without folder or extension.
      folder: the images are in or under it.
      labelled: whether a label is needed.

    Raises:
      UserError: naming file and line, where an image is absent or listed twice, or a cell does not
        fit its column.
    """
    table = tables.read(path, PATHS)
    cells = table.frame
    image_column = table.need(*PATHS)
    names = _files(table, image_column, folder)
    label = table.need(*LABELS) if labelled else table.column(*LABELS)
    splits = [_split(table, row) for row in range(len(cells))] if "split" in cells else ""
    columns = {
        "file": names,
        "label": cells[label].map(class_folders.class_name) if label and labelled else "",
        "group": cells.get("group", ""),
        "split": splits,
    }
    numbers, notes = _numbers(table, but=(*RESERVED, image_column, label))
    notes.append(f"Images and classes are those of {table.name}: {image_column}, {label}.")
    if label and labelled:
        notes += class_folders.twin_notes({*columns["label"]} - {""})
    rows = pd.DataFrame(columns, index=range(len(cells))).astype(object)
    n_unlabelled = int((rows["label"] == "").sum()) if label else 0
    if n_unlabelled:
        notes.append(f"{n_unlabelled} rows of {files.shown(path.name)} have no label: unlabelled.")
    return ImageList(folder, rows, numbers, (path,), notes)


def _files(table: tables.Table, column: str, folder: Path) -> list[str]:
    """Returns the image of each row, relative to the folder."""
    row_of: dict[str, int] = {}
    absent = []
    candidates: dict[str, list[str]] | None = None
    for row, cell in enumerate(table.frame[column].str.replace("\\", "/")):
        path = files.inside(folder, cell, where=table.where(row))
        name = str(path.relative_to(folder))
        if not path.is_file():
            if candidates is None:  # the folder is listed once, where a name alone does not do
                candidates = _by_stem(folder)
            name = _matched(candidates, cell, table=table, row=row) or name
        if name in row_of:
            raise UserError(
                f"{table.where(row)}: the image {files.shown(name)} is already in line "
                f"{table.lines[row_of[name]]}, expected each once. Remove one of the rows."
            )
        row_of[name] = row
        if not (folder / name).is_file():
            absent.append((row, name))
    if absent:
        row, name = absent[0]
        more = f", nor are {len(absent) - 1} others" if len(absent) > 1 else ""
        raise UserError(
            f"{table.where(row)}: the image {files.shown(name)} is not under "
            f"{files.shown(folder.name)}{more}. Put the images there, or remove the rows."
        )
    return list(row_of)


def _by_stem(folder: Path) -> dict[str, list[str]]:
    """Returns file name, with and without extension -> paths of the images under a folder."""
    found: dict[str, list[str]] = {}
    for path in class_folders.images_in(folder)[0]:
        for name in {Path(path).name, Path(path).stem}:
            found.setdefault(name, []).append(path)
    return found


def _matched(candidates: dict[str, list[str]], cell: str, *, table: tables.Table, row: int) -> str:
    """Returns the image that a cell names without folder or extension, "" for none."""
    paths = candidates.get(Path(cell).name, [])
    if len(paths) > 1:
        raise UserError(
            f"{table.where(row)}: {cell[:40]!r} may be {files.shown(paths[0])} or "
            f"{files.shown(paths[1])}. Write the path as it is under the folder."
        )
    return paths[0] if paths else ""


def _split(table: tables.Table, row: int) -> str:
    cell = table.frame["split"].iloc[row]
    if cell and cell.lower() not in class_folders.SPLITS:
        raise UserError(
            f"{table.where(row)}: split is {cell[:40]!r}, expected train, validation or test, or "
            "nothing where it is free. Correct the cell."
        )
    return class_folders.SPLITS[cell.lower()] if cell else ""


def _numbers(table: tables.Table, *, but: tuple[str | None, ...]) -> tuple[pd.DataFrame, list[str]]:
    """Returns the columns that are numbers throughout, and a note on the others."""
    numbers: dict[str, np.ndarray] = {}
    unused: list[str] = []
    for name in table.headings:
        cells = table.frame[name]
        if name in but:
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
