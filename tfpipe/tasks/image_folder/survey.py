"""Finds the pictures of a folder: their classes, groups and splits, and what is left out."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.tasks.image_folder import class_folders, exact_duplicates, infer_size, picture_tables
from tfpipe.tasks.image_folder.class_folders import Listed
from tfpipe.tasks.image_folder.options import Options, shape_of
from tfpipe.tasks.image_folder.reader import About
from tfpipe.tasks.splits import SplitConfig
from tfpipe.tasks.task import SPLITS, Source, Survey

SHARE = 0.2  # of the training groups, for a split that the user's own lack


def survey(folder: Path, options: Options) -> Survey:
    """Lists the pictures, and decodes a few to choose their size.

    Args:
      folder: holds class folders, or a table and pictures.
      options: the user's.

    Returns:
      A source for each picture, the classes by name, and the options settled.

    Raises:
      UserError: there are no pictures, a class folder is empty, a table is damaged, a name tells no
        group, or the same picture stands in two classes.
    """
    if not folder.is_dir():
        raise UserError(f"{files.shown(folder)} is no folder: expected class folders in it.")
    table = picture_tables.find(folder)
    found = picture_tables.read(table, folder) if table else class_folders.of_folders(folder)
    rows, notes = found.rows, list(found.notes)
    same = exact_duplicates.found(found, labels=rows["label"])
    rows["group"] = _groups(rows, options)
    duplicates = ()
    is_told = bool(options.group_from) or (rows[["group", "split"]] != "").any(axis=None)
    if is_told:
        shown = rows["file"].map(files.shown)
        pairs = [(shown[a], shown[b]) for a, *more in same for b in more]
        duplicates = tuple((*pair, "the same file twice") for pair in pairs)
    elif same:
        for a, *more in same:
            rows.loc[[a, *more], "group"] = rows.loc[a, "file"]
        notes.append(f"{len(same)} pictures are there twice or more; each and its copies are one.")
    rows["group"] = rows["group"].where(rows["group"] != "", rows["file"])
    notes += _complete(rows)
    classes, labels = class_folders.labels_of(rows)
    paths = [folder / file for file in rows["file"]]
    options, sentence = infer_size.settled(paths, options)
    return Survey(
        _sources(found, labels),
        found.tables,
        (sentence, *notes),
        duplicates,
        classes=classes,
        columns=tuple(found.numbers.columns),
        image_shape=shape_of(options),
        options=options,
        merge_near_duplicates=True,
    )


def survey_new(paths: list[Path], table: Path | None, options: Options) -> Survey:
    """Finds new pictures; labels are not looked for.

    Args:
      paths: pictures, or folders of them.
      table: of the pictures in one folder, for columns; else that in the folder, if there is one.
      options: those that a model was trained with.

    Raises:
      UserError: a path does not exist, there is no picture, or a table is damaged.
    """
    for path in paths:
        if not path.exists():
            raise UserError(f"{files.shown(path)} does not exist. Give pictures or folders.")
    if table or (len(paths) == 1 and paths[0].is_dir()):
        folder = paths[0] if paths[0].is_dir() else paths[0].parent
        table = table or picture_tables.find(folder)
    if table:
        found = picture_tables.read(table, folder, labelled=False)
    else:
        names = [
            str(path / name) if path.is_dir() else str(path)
            for path in dict.fromkeys(paths)
            for name in (class_folders.pictures_in(path)[0] if path.is_dir() else [path.name])
        ]
        rows = class_folders.rows_of([(name, "", "", "") for name in dict.fromkeys(names)])
        found = Listed(Path(), rows, pd.DataFrame(index=range(len(rows))))
    if not len(found.rows):
        raise UserError(
            f"There is no picture in {class_folders.in_words(paths)}. "
            "Give pictures or folders of them."
        )
    found.rows["group"] = found.rows["file"]
    found.rows["split"] = ""
    sources = _sources(found, np.full(len(found.rows), -1))
    return Survey(sources, found.tables, tuple(found.notes), columns=tuple(found.numbers.columns))


def _sources(found: Listed, labels: np.ndarray) -> tuple[Source, ...]:
    numbers = found.numbers.to_numpy(np.float32)
    return tuple(
        Source(
            files.shown(row.file),
            files.shown(row.group),
            found.folder / row.file,
            About(int(labels[i]), numbers[i]),
            split=row.split,
        )
        for i, row in enumerate(found.rows.itertuples(index=False))
    )


def _groups(rows: pd.DataFrame, options: Options) -> pd.Series:
    """Returns the group [pictures] str that names tell by the user's pattern, else the table's."""
    if not options.group_from:
        return rows["group"]
    try:
        pattern = re.compile(options.group_from)
    except re.error as error:
        raise UserError(
            f"Option group_from is {options.group_from!r}, which is no regular expression: {error}."
        ) from error
    found = []
    for file in rows["file"]:
        match = pattern.search(Path(file).name)
        told = match and (match[1] if pattern.groups else match[0])
        if not told:
            raise UserError(
                f"The name of the picture {files.shown(file)} tells no group: "
                f"{options.group_from!r} does not fit it. Give another --option group-from=..., or "
                "none where each picture is of its own."
            )
        found.append(told)
    return pd.Series(found, index=rows.index, dtype=object)


def _complete(rows: pd.DataFrame) -> list[str]:
    """Takes a split that the user's own lack out of the training groups; returns notes on it."""
    told = {*rows["split"]} - {""}
    if not told:
        return []
    if "train" not in told:
        raise UserError(
            f"The pictures are in the splits {', '.join(sorted(told))}, but none is in train. Put "
            "those to learn from in a folder train, or leave all in one tree."
        )
    notes = []
    for lacking in [split for split in SPLITS if split not in told]:
        learnt = rows["split"] == "train"
        split = SplitConfig((1 - SHARE, SHARE, 0.0), salt=lacking)
        drawn = rows["group"].map(split.of_group)
        rows.loc[learnt & (drawn == "validation"), "split"] = lacking
        notes.append(f"There is no {lacking} split: {SHARE:.0%} of the training groups are it.")
    return notes
