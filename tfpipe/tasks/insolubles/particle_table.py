"""The particles of one raw folder, whatever wrote it, and the pictures that its table means."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import files
from tfpipe.base.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

# column of `Particles.rows`: what it is where a table does not tell
_ROWS = {
    **{"run": "", "particle": "", "file": "", "x": 0, "y": 0, "width": 0, "height": 0},
    **{"um_per_px": np.nan, "label": "", "status": "", "line": 0},
}


@dataclass(frozen=True, eq=False)
class Particles:
    """The particles of one table.

    Attributes:
      folder: what the rows' files are relative to.
      table: the table that lists them.
      rows: [particles, ...]; run, particle (its id), file, x, y, width, height in px of the file
        (width 0 where the file is a picture of this particle alone), um_per_px, label (its class,
        "" where nobody knows), status (EcoTaxa's: validated, predicted, dubious or ""), line.
      numbers: [particles, columns] float64 under the names of headings.py.
      tables: all tables that were read.
      notes: what is left out and why.
    """

    folder: Path
    table: Path
    rows: pd.DataFrame
    numbers: pd.DataFrame
    tables: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_collage(self) -> bool:
        """Whether the files show many particles each."""
        return bool((self.rows["width"] > 0).any())


@dataclass(frozen=True, eq=False)
class Batch:
    """What the tables say of the particles of one source: `Source.about`.

    Attributes:
      table: name of the table, for sentences.
      rows: as `Particles.rows`, and the key of each particle.
      labels: [particles] int, -1 where nobody knows.
      columns: [particles, columns] float32, finite.
    """

    table: str
    rows: pd.DataFrame
    labels: np.ndarray
    columns: np.ndarray


def rows(count: int, **given) -> pd.DataFrame:
    """Returns `Particles.rows` with the columns given, and what goes without saying."""
    return pd.DataFrame({**_ROWS, **given}, index=range(count))


def picture_files(folder: Path) -> dict[str, list[str]]:
    """Returns file name -> paths relative to `folder`, of every picture in and under it."""
    found: dict[str, list[str]] = {}
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(root, folder)
        for name in sorted(names):
            if not name.lower().endswith(SUFFIXES) or name.startswith("."):
                continue
            path = name if inside == "." else os.path.join(inside, name)
            if os.path.islink(os.path.join(root, name)):
                files.inside(folder, path, where=files.shown(folder))
            found.setdefault(name, []).append(path)
    return found


def pictures_meant(written: pd.Series, folder: Path, *, lines: np.ndarray, table: Path) -> list:
    """Returns the picture under `folder` that each cell [n] means, as a path relative to it.

    Tables name pictures as they lay on their author's machine, so only the end of a path counts:
    the file name, and as many folders before it as tell one from another.

    Raises:
      UserError: a picture is not there, and how many are not; or it may be one of two.
    """
    known = picture_files(folder)
    paths, absent = [], []
    for line, cell in zip(lines, written.astype("str").str.replace("\\", "/"), strict=True):
        places = known.get(cell.rpartition("/")[2], [])
        if len(places) > 1:
            places = _nearest(places, cell)
        if len(places) > 1:
            raise UserError(
                f"{files.shown(table.name)} line {line}: {cell[:80]!r} may be {places[0]} or "
                f"{places[1]}. Write the path as it is under the folder of the table."
            )
        if not places:
            absent.append((line, cell))
        paths += places
    if absent:
        line, cell = absent[0]
        more = f", nor are {len(absent) - 1} others" if len(absent) > 1 else ""
        raise UserError(
            f"{files.shown(table.name)} line {line}: the picture {cell[:80]!r} is not under "
            f"{files.shown(folder.name)}{more}. Put the pictures there, or remove the rows."
        )
    return paths


def _nearest(places: list[str], cell: str) -> list[str]:
    """Returns those of some paths that end as `cell` does for the most folders."""
    ends = [path.split("/")[::-1] for path in (cell, *places)]
    shared = [len(os.path.commonprefix([ends[0], end])) for end in ends[1:]]
    return [path for path, count in zip(places, shared, strict=True) if count == max(shared)]


def in_words(names: Iterable, *, most: int = 12) -> str:
    """Returns the first of some names, for a sentence, and how many there are besides."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
