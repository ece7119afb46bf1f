"""Exact duplicates: files that are equal byte by byte; no split may separate them."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from tfpipe.base import files, tables
from tfpipe.base.errors import UserError
from tfpipe.tasks.image_folder.class_folders import ImageList
from tfpipe.tasks.image_folder.options import ImageFolderOptions
from tfpipe.tasks.task import LeftOut


def find_duplicates(images: ImageList) -> list[list[int]]:
    """Returns groups of rows whose files are equal.

    Args:
      images: of the folder.
    """
    paths = [images.folder / file for file in images.rows["file"]]
    sizes = defaultdict(list)
    for row, path in enumerate(paths):
        sizes[path.stat().st_size].append(row)
    contents = defaultdict(list)
    for size, rows in sizes.items():
        for row in rows if len(rows) > 1 and size else ():
            contents[files.sha256(paths[row])].append(row)
    return [rows for rows in contents.values() if len(rows) > 1]


def without_conflicts(
    images: ImageList, same: list[list[int]], options: ImageFolderOptions
) -> tuple[ImageList, list[str]]:
    """Returns the images without those of which equal files are in two classes, and a note.

    Args:
      images: of the folder, with labels.
      same: of `find_duplicates`.
      options: the user's; `conflicts` says what is done.

    Raises:
      UserError: there are such images, and they are to be refused. All pairs are then in a CSV in
        the working folder.
    """
    import pandas as pd

    labels = images.rows["label"]
    conflicting = [rows for rows in same if labels.iloc[rows].nunique() > 1]
    if not conflicting:
        return images, []
    if options.conflicts == "leave-out":
        left_out = sorted(row for rows in conflicting for row in rows)
        keep = ~images.rows.index.isin(images.rows.index[left_out])
        rest = replace(
            images,
            rows=images.rows[keep].reset_index(drop=True),
            numbers=images.numbers[keep].reset_index(drop=True),
        )
        return rest, [
            LeftOut(
                f"{len(conflicting)} images are in two classes, so their {len(left_out)} files are "
                "left out."
            )
        ]
    pairs = [
        {
            "one image": files.shown(images.rows["file"].iloc[rows[0]]),
            "its class": labels.iloc[rows[0]],
            "same image": files.shown(images.rows["file"].iloc[other]),
            "class of that": labels.iloc[other],
        }
        for rows in conflicting
        for other in rows[1:]
        if labels.iloc[other] != labels.iloc[rows[0]]
    ]
    table = Path(f"{images.folder.resolve().name}-conflicts.csv")
    tables.write_csv(pd.DataFrame(pairs), table)
    first = pairs[0]
    more = f", and {len(conflicting) - 1} other images too" if len(conflicting) > 1 else ""
    raise UserError(
        f"The same image is in two classes: {first['one image']} ({first['its class']}) and "
        f"{first['same image']} ({first['class of that']}){more}; {table} has them all. Remove the "
        "wrong one of each, or set them aside by --option conflicts=leave-out."
    )
