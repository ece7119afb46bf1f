"""Exact duplicates: files that are equal byte by byte; no split may separate them."""

from collections import defaultdict

import pandas as pd

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.tasks.image_folder.class_folders import ImageList


def find_duplicates(images: ImageList, *, labels: pd.Series) -> list[list[int]]:
    """Returns groups of rows whose files are equal.

    Args:
      images: of the folder.
      labels: [images] str, the class of each.

    Raises:
      UserError: the same image is in two classes.
    """
    paths = [images.folder / file for file in images.rows["file"]]
    sizes = defaultdict(list)
    for row, path in enumerate(paths):
        sizes[path.stat().st_size].append(row)
    contents = defaultdict(list)
    for size, rows in sizes.items():
        for row in rows if len(rows) > 1 and size else ():
            contents[files.sha256(paths[row])].append(row)
    same = [rows for rows in contents.values() if len(rows) > 1]
    conflicting = [rows for rows in same if labels.iloc[rows].nunique() > 1]
    if conflicting:
        first = conflicting[0][0]
        other = next(row for row in conflicting[0] if labels.iloc[row] != labels.iloc[first])
        names = [files.shown(images.rows["file"].iloc[row]) for row in (first, other)]
        more = f", and {len(conflicting) - 1} other images too" if len(conflicting) > 1 else ""
        raise UserError(
            f"The same image is in two classes: {names[0]} ({labels.iloc[first]}) and "
            f"{names[1]} ({labels.iloc[other]}){more}. Remove the wrong one of each."
        )
    return same
