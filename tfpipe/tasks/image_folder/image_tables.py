"""Image tables: the images of a folder, with labels and numbers from a table beside them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from tfpipe.base import files, problems, table_formats, tables
from tfpipe.base.choose import listed
from tfpipe.base.errors import UserError
from tfpipe.tasks.image_folder import class_folders
from tfpipe.tasks.image_folder.class_folders import ImageList
from tfpipe.tasks.task import LeftOut

if TYPE_CHECKING:
    import pandas as pd

# Names of the columns of images, and of classes, the first in use elsewhere.
STRONG_PATHS = ("path", "file", "filename", "file name", "image path")
PATHS = (*STRONG_PATHS, "image", "image id", "img", "id")
LABELS = ("label", "class", "class name", "category", "species", "breed", "target")
RESERVED = ("group", "split")
TRUTH = "truth"  # truth.csv of a drawn sample: for comparison, nothing may learn from it
NO_TABLES = ("abstain", "action")  # columns of predictions and of reviewers' decisions
MOST_TABLES = 20  # in a folder of a folder; of more, such as boxes of each image, none is searched
DEPTH = 2  # folders in folders in which a table is searched


def find(folder: Path, *, labelled: bool = True) -> Path | None:
    """Returns the table that lists the images of a folder, or None.

    It is in the folder itself or, where none is there, in a folder in it. Columns that may name
    anything, such as id, count only where they name images of the folder.

    Args:
      folder: of the images.
      labelled: whether it must have classes, too. If not, only the folder itself is searched.

    Raises:
      UserError: there are several.
    """
    if not labelled:
        return tables.find(folder, STRONG_PATHS, **_find_options(folder))
    names: set[str] = set()
    for places in _levels(folder):
        matches = []
        for place in places:
            strong = tables.find(place, STRONG_PATHS, LABELS, **_find_options(folder))
            if strong and place == folder:
                return strong
            table = strong or tables.find(place, PATHS, LABELS, **_find_options(folder))
            if table:
                names = names or set(_Index(folder).by_name)
                matches += [table] if _names_an_image(tables.read(table, PATHS), names) else []
        if len(matches) > 1:
            paths = listed((path.relative_to(folder) for path in matches), most=2)
            raise UserError(
                f"{files.shown(folder)} holds several tables that may be the table of images: "
                f"{paths}. Keep one of them there."
            )
        if matches:
            return matches[0]
    return None


def find_without_classes(folder: Path) -> list[Path]:
    """Returns the tables in a folder that name its images but no classes."""
    names = set(_Index(folder).by_name)
    matches = []
    for path in _table_files(folder):
        try:
            table = tables.read(path, PATHS)
        except UserError:
            continue  # another kind of file
        has_classes = table.column(*LABELS, *NO_TABLES)
        if table.column(*PATHS) and not has_classes and _names_an_image(table, names):
            matches.append(path)
    return [path for path in matches if path.stem not in _find_options(folder)["but"]]


def _find_options(folder: Path) -> dict[str, Any]:
    return {
        "noun": "table of images",
        "lacks": NO_TABLES,
        "but": (TRUTH, f"{folder.resolve().name}-conflicts"),
    }


def _levels(folder: Path) -> Iterator[list[Path]]:
    """Yields the folder, the folders in it, and those in them, without those of many tables."""
    places = [folder]
    yield places
    for _ in range(DEPTH):
        places = [inner for place in places for inner in class_folders.folders_in(place)]
        yield [place for place in places if len(_table_files(place)) <= MOST_TABLES]


def _table_files(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in tables.SUFFIXES
        and not path.name.startswith((".", "~"))
        and path.is_file()
    ]


def _names_an_image(table: tables.Table, names: set[str]) -> bool:
    """Returns whether the first rows of a table name images, given their names without folders."""
    cells = table.frame[table.need(*PATHS)].head(20)
    return any(_key(cell.replace("\\", "/").rpartition("/")[2]) in names for cell in cells)


def unused(
    folder: Path, table: Path | None = None, *, joined: Sequence[Path] = ()
) -> list[LeftOut]:
    """Returns a note on each table that is not used, with its columns or what is wrong with it.

    Those in class folders are among the files there that are no images.

    Args:
      folder: of the images.
      table: the one that is used; then all folders are searched.
      joined: tables that have a note of their own.
    """
    if table:
        places = [place for level in _levels(folder) for place in level]
    else:
        places = class_folders.unwrapped(folder)
    paths = [path for place in places for path in _table_files(place)]
    sentences = [
        _why_unused(path, folder, table)
        for path in paths
        if path not in (table, *joined) and path.stem not in _find_options(folder)["but"]
    ]
    return [LeftOut(sentence) for sentence in sentences if sentence]


def _why_unused(path: Path, folder: Path, table: Path | None) -> str:
    """Returns why a table is not used, "" for a text that is none and for reviewers' decisions."""
    name = files.shown(path.relative_to(folder))
    try:
        headings = tables.headings(path)
    except UserError as error:
        return "" if path.suffix.lower() == ".txt" else f"{name} is unused: {error}"
    if (path.suffix.lower() == ".txt" and len(headings) < 2) or "action" in headings:
        return ""
    if table:
        return f"{name} is unused, as {files.shown(table.relative_to(folder))} lists the images."
    return (
        f"{name} lists no images, so it is unused: its columns are "
        f"{listed(headings, most=8)}, and one of {', '.join(PATHS[:4])} with a label would."
    )


def read(path: Path, folder: Path, *, labelled: bool = True) -> ImageList:
    """Returns the images that a table lists.

    Args:
      path: the table; it has a column of `PATHS`, one of `LABELS`, and perhaps group and split.
        All others that hold a number in each row are numbers beside the images. Images may be
        named without folder or extension, and in other capitals.
      folder: the images are in or under it.
      labelled: whether a label is needed.

    Raises:
      UserError: naming file and line, where an image is absent or listed twice, a cell does not
        fit its column, or a class is not that of the image's class folder.
    """
    import pandas as pd

    table = tables.read(path, PATHS)
    cells = table.frame
    image_column = table.need(*PATHS)
    index = _Index(folder)
    names = _files(table, image_column, folder, index)
    label = table.need(*LABELS) if labelled else table.column(*LABELS)
    columns = {
        "file": names,
        "label": cells[label].map(class_folders.class_name) if label and labelled else "",
        "group": cells.get("group", ""),
        "split": [_split(table, row) for row in range(len(cells))] if "split" in cells else "",
    }
    numbers, notes = _numbers(table, but=(*RESERVED, image_column, label))
    what = f"{image_column}, {label}" if label else image_column
    place = f"{beside}/" if (beside := os.path.relpath(path.parent, folder)) != "." else ""
    notes.append(f"Images and classes are those of {files.shown(place)}{table.source}: {what}.")
    encoding = table_formats.encoding_of(path)
    if encoding:
        notes.append(
            f"{table.name} is not in UTF-8; it was read as {encoding}. Save it as UTF-8 if letters "
            "are wrong."
        )
    rows = pd.DataFrame(columns, index=range(len(cells))).astype(object)
    if label and labelled:
        _check_class_folders(rows, table)
        notes += class_folders.twin_notes({*columns["label"]} - {""})
        notes += _join_split_folders(rows, table)
    n_unlabelled = int((rows["label"] == "").sum()) if label else 0
    if n_unlabelled:
        notes.append(f"{n_unlabelled} rows of {table.name} have no label: unlabelled.")
    in_table = set(names)
    others = [name for name in index.images if name not in in_table]
    if others:
        are = "image is" if len(others) == 1 else "images are"
        notes.append(LeftOut(f"{len(others)} {are} not in {table.name}: {listed(others, most=5)}."))
    return ImageList(folder, rows, numbers, (path,), notes)


def join(images: ImageList, path: Path) -> ImageList:
    """Returns the images of class folders with group, split and numbers of a table without classes.

    Args:
      images: in class folders.
      path: the table. Where it does not list all images, a note says that it is unused.

    Raises:
      UserError: as `read`.
    """
    import pandas as pd

    tabled = read(path, images.folder, labelled=False)
    row_of = {file: row for row, file in enumerate(tabled.rows["file"])}
    n_listed = sum(file in row_of for file in images.rows["file"])
    if n_listed < len(images.rows):
        note = LeftOut(
            f"{files.shown(path.name)} has no column of classes and lists {n_listed} of "
            f"{len(images.rows)} images, so it is unused. Add the other images, or a label."
        )
        return replace(images, notes=[*images.notes, note])
    order = [row_of[file] for file in images.rows["file"]]
    rows, given = images.rows.copy(), tabled.rows.iloc[order].reset_index(drop=True)
    _check_splits(given, rows["split"], files.shown(path.name))
    for name in RESERVED:
        rows[name] = rows[name].where(rows[name] != "", given[name])
    twice = [name for name in tabled.numbers if name in images.numbers]
    if twice:
        raise UserError(
            f"{files.shown(path.name)} has the column {twice[0]!r}, as another table of these "
            "images has. Rename or remove one of them."
        )
    added = [name for name in RESERVED if (given[name] != "").any()]
    columns = listed([*added, *tabled.numbers], most=5) or "nothing"
    numbers = tabled.numbers.iloc[order].reset_index(drop=True)
    left_out = [note for note in tabled.notes if isinstance(note, LeftOut)]
    what = f"Classes are the folders; {files.shown(path.name)} adds {columns}."
    return replace(
        images,
        rows=rows,
        numbers=pd.concat([images.numbers, numbers], axis=1),
        tables=(*images.tables, path),
        notes=[*images.notes, what, *left_out],
    )


class _Index:
    """The images under a folder, by the names that a table may give them.

    Attributes:
      images: paths within the folder, sorted.
      by_name: name, with and without extension, as `_key` writes it -> paths, of images that
        cannot be read too.
    """

    def __init__(self, folder: Path):
        """Lists a folder."""
        self.images, others = class_folders.images_in(folder)
        self.by_name: dict[str, list[str]] = {}
        unread = [name for name in others if class_folders.unread_kinds([name])]
        for path in [*self.images, *unread]:
            for name in {_key(Path(path).name), _key(Path(path).stem)}:
                self.by_name.setdefault(name, []).append(path)

    def find(self, cell: str) -> list[str]:
        """Returns the paths that a cell may mean: its folders and capitals decide among several."""
        parts = [_key(part) for part in PurePosixPath(cell).parts]
        paths = self.by_name.get(parts[-1], [])
        if len(paths) > 1:
            beside = [
                path
                for path in paths
                if [_key(part) for part in Path(path).parent.parts][-len(parts) + 1 :] == parts[:-1]
            ]
            paths = beside if len(parts) > 1 and beside else paths
        if len(paths) > 1:
            name = PurePosixPath(cell).name
            paths = [path for path in paths if name in (Path(path).name, Path(path).stem)] or paths
        return paths


def _key(name: str) -> str:
    """Returns a file's name without capitals, accents in one way of writing them."""
    return unicodedata.normalize("NFC", name).casefold()


def _files(table: tables.Table, column: str, folder: Path, index: _Index) -> list[str]:
    """Returns the image of each row, relative to the folder."""
    row_of: dict[str, int] = {}
    absent: list[tuple[int, str]] = []
    unread: list[tuple[int, str]] = []
    listed = set(index.images)
    beside = os.path.relpath(table.path.parent, folder)
    for row, cell in enumerate(table.frame[column].str.replace("\\", "/")):
        if beside != "." and cell:  # the table's own folder comes first
            nearer = os.path.normpath(f"{beside}/{cell}")
            cell = nearer if nearer in listed else cell
        name = str(files.inside(folder, cell, where=table.where(row)).relative_to(folder))
        if name not in listed:
            name = _matched(index, cell, table=table, row=row) or name
        if name in row_of:
            raise UserError(
                f"{table.where(row)}: the image {files.shown(name)} is already in line "
                f"{table.lines[row_of[name]]}, expected each once. Remove one of the rows."
            )
        row_of[name] = row
        if not (folder / name).is_file():
            absent.append((row, name))
        elif class_folders.unread_kinds([name]):
            unread.append((row, name))
    if absent:
        row, name = absent[0]
        more = f", nor are {len(absent) - 1} others" if len(absent) > 1 else ""
        raise UserError(
            f"{table.where(row)}: the image {files.shown(name)} is not under "
            f"{files.shown(folder.name)}{more}. Put the images there, or remove the rows."
        )
    if unread:
        row, name = unread[0]
        names = [name for _, name in unread]
        raise UserError(
            f"{table.where(row)}: {files.shown(name)} cannot be read; the table lists "
            f"{class_folders.unread_kinds(names)}. {class_folders.remedy(names)}"
        )
    return list(row_of)


def _matched(index: _Index, cell: str, *, table: tables.Table, row: int) -> str:
    """Returns the image that a cell names without folder or extension, "" for none."""
    paths = index.find(cell)
    if len(paths) > 1:
        raise UserError(
            f"{table.where(row)}: {cell[:40]!r} may be {files.shown(paths[0])} or "
            f"{files.shown(paths[1])}. Write the path as it is under the folder."
        )
    return paths[0] if paths else ""


def _check_class_folders(rows: pd.DataFrame, table: tables.Table) -> None:
    """Raises a UserError if images lie in folders that are called as another class than theirs."""
    classes = {_key(label) for label in rows["label"]} - {""}
    wrong = []
    for row, (file, label) in enumerate(zip(rows["file"], rows["label"], strict=True)):
        folders = [class_folders.class_name(part) for part in Path(file).parent.parts]
        named = [folder for folder in folders if _key(folder) in classes]
        if label and named and _key(label) not in map(_key, named):
            wrong.append(f"{files.shown(file)} is {label} in line {table.lines[row]}")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(
            f"{table.name} contradicts the class folders: {'; '.join(wrong[:3])}{more}. Correct "
            "the table or move the images; if the folders are no classes, rename them."
        )


def _join_split_folders(rows: pd.DataFrame, table: tables.Table) -> list[str]:
    """Fills splits of images in folders of several splits, where there is no such column; a note.

    Raises:
      UserError: there is such a column, and it contradicts the folders.
    """
    import pandas as pd

    of_folder = pd.Series(
        [
            next(filter(None, map(class_folders.split_of, Path(file).parent.parts)), "")
            for file in rows["file"]
        ],
        index=rows.index,
        dtype=object,
    )
    names = sorted({*of_folder} - {""})
    if len(names) < 2:
        return []
    if "split" in table.frame:
        _check_splits(rows, of_folder, table.name)
        return []
    rows["split"] = of_folder
    return [f"The splits {listed(names, most=5)} are those of the folders in which the images are."]


def _check_splits(rows: pd.DataFrame, of_folder: pd.Series, name: str) -> None:
    """Raises a UserError if a table, called `name`, has other splits [rows] than the folders."""
    is_wrong = (rows["split"] != of_folder) & (rows["split"] != "") & (of_folder != "")
    wrong = [
        f"{files.shown(file)} is in {split}"
        for file, split in rows.loc[is_wrong, ["file", "split"]].itertuples(index=False)
    ]
    if wrong:
        raise UserError(
            f"{name} contradicts the folders of splits: {listed(wrong, most=3)}. Correct the "
            "table, or move the images."
        )


def _split(table: tables.Table, row: int) -> str:
    """Returns the split of a row, "" for none, as folders of splits are called."""
    cell = table.frame["split"].iloc[row]
    if cell and not class_folders.split_of(cell):
        problems.add(
            f"{table.where(row)}: split is {cell[:40]!r}, expected train, validation or test, or "
            "nothing where it is free. Correct the cell."
        )
    return class_folders.split_of(cell)


def _numbers(table: tables.Table, *, but: tuple[str | None, ...]) -> tuple[pd.DataFrame, list[str]]:
    """Returns the columns that are numbers throughout, and a note on the others."""
    import pandas as pd

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
        names = listed(unused, most=20)
        notes.append(LeftOut(f"Columns without a number in each row are left out: {names}."))
    index = np.arange(len(table.frame))
    return pd.DataFrame(numbers, index=index), notes
