"""Survey of a folder of images: classes, groups, splits, and what is left out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfpipe.base import files
from tfpipe.base.choose import listed
from tfpipe.base.errors import UserError
from tfpipe.tasks.image_folder import (
    class_folders,
    exact_duplicates,
    image_tables,
    infer_size,
    suggested_groups,
)
from tfpipe.tasks.image_folder.class_folders import ImageList
from tfpipe.tasks.image_folder.options import ImageFolderOptions, shape_of
from tfpipe.tasks.image_folder.reader import LabelAndColumns
from tfpipe.tasks.task import SPLITS, Source, Survey

if TYPE_CHECKING:
    import pandas as pd


def survey(folder: Path, options: ImageFolderOptions) -> Survey:
    """Lists the images, and decodes a few to choose their size.

    Args:
      folder: holds class folders, or a table and images.
      options: the user's.

    Returns:
      A source for each image, the classes by name, and the options completed.

    Raises:
      UserError: there are no images, a class folder is empty, a table is damaged, a name has no
        group, or the same image is in two classes.
    """
    if not folder.is_dir():
        raise UserError(f"{files.shown(folder)} is no folder: expected class folders in it.")
    try:
        images = _list_images(folder)
    except UserError as error:
        if not (folder / "photos").is_dir():
            raise
        raise UserError(
            f"{error} If these are photos of an ice core with their tables, copy them to "
            "data/raw/melt-layer, and run `tfpipe check melt-layer`."
        ) from error
    images, conflicts = exact_duplicates.without_conflicts(
        images, exact_duplicates.find_duplicates(images), options
    )
    rows, notes = images.rows, [*images.notes, *conflicts]
    same = exact_duplicates.find_duplicates(images)
    rows["group"] = _groups(rows, options)
    allowed_splits, split_notes = _free_splits(rows)
    is_grouped = bool(options.group_from) or (rows["group"] != "").any()
    duplicates: list[tuple[str, str, str]] = []
    n_merged = 0
    for copies in same:
        free = [row for row in copies if rows.loc[row, "split"] == "" and not is_grouped]
        if len(free) > 1:
            rows.loc[free, "group"] = rows.loc[free[0], "file"]
            n_merged += 1
        if len(free) < len(copies):
            first, *others = (files.shown(rows.loc[row, "file"]) for row in copies)
            duplicates += [(first, other, "the same file twice") for other in others]
    if n_merged:
        notes.append(f"{n_merged} images occur twice or more; each is one group with its copies.")
    is_free = not is_grouped and (rows["split"] == "").all()
    if is_free and (hint := suggested_groups.suggest(rows["file"], rows["label"])):
        notes.append(hint)
    rows["group"] = rows["group"].where(rows["group"] != "", rows["file"])
    notes += split_notes
    classes, labels = class_folders.labels_of(rows)
    paths = [folder / file for file in rows["file"]]
    options, sentence = infer_size.infer_options(paths, options)
    return Survey(
        _sources(images, labels, allowed_splits),
        images.tables,
        (sentence, *notes),
        tuple(duplicates),
        classes=classes,
        columns=tuple(images.numbers.columns),
        image_shape=shape_of(options),
        options=options,
        merge_near_duplicates=True,
    )


def _list_images(folder: Path) -> ImageList:
    """Returns the images that a table lists, or else those in class folders; a table may add to it.

    Notes name the tables that are not used.
    """
    table = image_tables.find(folder)
    if table:
        images = image_tables.read(table, folder)
        return replace(images, notes=[*images.notes, *image_tables.unused(folder, table)])
    joined = image_tables.find_without_classes(folder)
    unused = image_tables.unused(folder, joined=joined)
    try:
        images = class_folders.list_class_folders(folder)
    except UserError as error:
        raise UserError(" ".join([str(error), *unused])) from error
    for path in joined:
        if images.rows["label"].nunique() < 2:
            image_tables.read(path, folder)  # refuses a table without classes
        images = image_tables.join(images, path)
    return replace(images, notes=[*images.notes, *unused])


def survey_new(paths: list[Path], table: Path | None, options: ImageFolderOptions) -> Survey:
    """Lists new images, without labels.

    Args:
      paths: images, or folders of them.
      table: of the images in one folder, for columns; else that in the folder, if there is one.
      options: those that a model was trained with.

    Raises:
      UserError: a path does not exist, there is no image, or a table is damaged.
    """
    for path in paths:
        if not path.exists():
            raise UserError(f"{files.shown(path)} does not exist. Give images or folders.")
    if table or (len(paths) == 1 and paths[0].is_dir()):
        folder = paths[0] if paths[0].is_dir() else paths[0].parent
        table = table or image_tables.find(folder, labelled=False)
    images = image_tables.read(table, folder, labelled=False) if table else _new_images(paths)
    if not len(images.rows):
        places = listed(paths, most=5)
        raise UserError(
            " ".join(
                [f"There is no image in {places}. Give images or folders of them.", *images.notes]
            )
        )
    images.rows["group"] = _new_groups(images.rows, options)
    images.rows["split"] = ""
    sources = _sources(images, np.full(len(images.rows), -1), [SPLITS] * len(images.rows))
    return Survey(
        sources, images.tables, tuple(images.notes), columns=tuple(images.numbers.columns)
    )


def _new_images(paths: list[Path]) -> ImageList:
    """Returns new images, and a note on those in folders that cannot be read."""
    import pandas as pd

    names: list[str] = []
    others: list[str] = []
    for path in dict.fromkeys(paths):
        inside, more = class_folders.images_in(path) if path.is_dir() else ([""], [])
        names += [str(path / name) for name in inside]
        others += [str(path / name) for name in more if class_folders.unread_kinds([name])]
    rows = class_folders.as_rows([(name, "", "", "") for name in dict.fromkeys(names)])
    notes = [class_folders.unread_note(others)] if others else []
    return ImageList(Path(), rows, pd.DataFrame(index=range(len(rows))), (), notes)


def _sources(
    images: ImageList, labels: np.ndarray, allowed_splits: Iterable[tuple[str, ...]]
) -> tuple[Source, ...]:
    numbers = images.numbers.to_numpy(np.float32)
    return tuple(
        Source(
            files.shown(row.file),
            files.shown(row.group),
            images.folder / row.file,
            LabelAndColumns(int(labels[i]), numbers[i]),
            split=row.split,
            strata=(row.label,) if row.label else (),
            allowed_splits=allowed,
        )
        for i, (row, allowed) in enumerate(
            zip(images.rows.itertuples(index=False), allowed_splits, strict=True)
        )
    )


def _groups(rows: pd.DataFrame, options: ImageFolderOptions) -> pd.Series:
    """Returns the group [images] str by the user's pattern of names, else the table's."""
    import pandas as pd

    if not options.group_from:
        return rows["group"]
    try:
        pattern = re.compile(options.group_from)
    except re.error as error:
        raise UserError(
            f"Option group_from is {options.group_from!r}, which is no regular expression: {error}."
        ) from error
    groups = []
    for file in rows["file"]:
        match = pattern.search(Path(file).name)
        group = match and (match[1] if pattern.groups else match[0])
        if not group:
            raise UserError(
                f"The name of the image {files.shown(file)} has no group: "
                f"{options.group_from!r} does not fit it. Give another --option group-from=..., or "
                "none where each image is a group."
            )
        groups.append(group)
    return pd.Series(groups, index=rows.index, dtype=object)


def _new_groups(rows: pd.DataFrame, options: ImageFolderOptions) -> pd.Series:
    """Returns the group [images] of new images, the image itself where its name has none."""
    groups = rows["group"]
    if options.group_from:
        match = rows["file"].map(lambda file: re.search(options.group_from, Path(file).name))
        groups = match.map(lambda one: (one[1] if one.re.groups else one[0]) if one else "")
    return groups.where(groups.fillna("") != "", rows["file"])


def _free_splits(rows: pd.DataFrame) -> tuple[pd.Series, list[str]]:
    """Frees training images where the user's splits lack one, so that it is drawn from them.

    Args:
      rows: as `ImageList.rows`; where an image is free, its split becomes "".

    Returns:
      The splits [images] tuple that an image may have where it is free; and a note.

    Raises:
      UserError: there are splits, but none for training.
    """
    import pandas as pd

    allowed = pd.Series([SPLITS] * len(rows), index=rows.index, dtype=object)
    names = {*rows["split"]} - {""}
    is_free = rows["split"] == ""
    if not names or names == {*SPLITS}:
        return allowed, []
    if "train" not in names and not is_free.any():
        raise UserError(
            f"The images are in the splits {', '.join(sorted(names))}, but none is in train. Put "
            "the training set in a folder train, or leave all in one tree."
        )
    lacking = [split for split in SPLITS if split not in names]
    is_training = rows["split"] == "train"
    choices = ("train", *(split for split in lacking if split != "train"))
    rows.loc[is_training, "split"] = ""
    for row in rows.index[is_training]:
        allowed[row] = choices
    if not is_training.any():
        return allowed, []
    words = " and no ".join(f"{split} split" for split in lacking)
    return allowed, [
        f"There is no {words}: groups of train are drawn for it, by the shares of --split."
    ]
