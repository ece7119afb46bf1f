"""Finds files that are the same to the byte, which no class and no split may part."""

from collections import defaultdict

import pandas as pd

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.tasks.image_folder.class_folders import Listed


def found(listed: Listed, *, labels: pd.Series) -> list[list[int]]:
    """Returns the rows of pictures that are the same file, each time those of one picture.

    Args:
      listed: the pictures.
      labels: [pictures] str, the class of each.

    Raises:
      UserError: the same picture stands in two classes.
    """
    paths = [listed.folder / file for file in listed.rows["file"]]
    sizes = defaultdict(list)
    for row, path in enumerate(paths):
        sizes[path.stat().st_size].append(row)
    contents = defaultdict(list)
    for size, rows in sizes.items():
        for row in rows if len(rows) > 1 and size else ():
            contents[files.sha256(paths[row])].append(row)
    same = [rows for rows in contents.values() if len(rows) > 1]
    apart = [rows for rows in same if labels.iloc[rows].nunique() > 1]
    if apart:
        first = apart[0][0]
        other = next(row for row in apart[0] if labels.iloc[row] != labels.iloc[first])
        names = [files.shown(listed.rows["file"].iloc[row]) for row in (first, other)]
        more = f", and {len(apart) - 1} other pictures likewise" if len(apart) > 1 else ""
        raise UserError(
            f"The same picture stands in two classes: {names[0]} ({labels.iloc[first]}) and "
            f"{names[1]} ({labels.iloc[other]}){more}. Remove the wrong one of each."
        )
    return same
