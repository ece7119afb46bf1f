"""Particles of one raw folder, whichever program wrote it, and the images its table names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfpipe.base import files
from tfpipe.base.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

# column of `Particles.rows` -> its default
_ROWS = {
    "run": "",
    "particle": "",
    "file": "",
    "x": 0,
    "y": 0,
    "width": 0,
    "height": 0,
    "um_per_px": np.nan,
    "label": "",
    "status": "",
    "line": 0,
}


@dataclass(frozen=True, eq=False)
class Particles:
    """The particles of one table.

    Attributes:
      folder: the rows' files are relative to it.
      table: the table that lists them.
      rows: [particles, ...]; run, particle (its id), file, x, y, width, height in px of the file
        (width 0 if the file is an image of this particle alone), um_per_px, label (its class, ""
        if unlabelled), status (EcoTaxa's: validated, predicted, dubious or ""), line.
      numbers: [particles, columns] float64 under the names of column_names.py.
      tables: all tables that were read.
      notes: on what is left out, and why.
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
class ParticleBatch:
    """The particles of one source: `Source.about`.

    Attributes:
      table: name of the table, for messages.
      rows: as `Particles.rows`, and the key of each particle.
      labels: [particles] int, -1 for unlabelled.
      columns: [particles, columns] float32, finite.
    """

    table: str
    rows: pd.DataFrame
    labels: np.ndarray
    columns: np.ndarray


def rows(count: int, **columns: Any) -> pd.DataFrame:
    """Returns `Particles.rows` with these columns, and defaults for the others."""
    import pandas as pd

    return pd.DataFrame({**_ROWS, **columns}, index=range(count))


def image_files(folder: Path) -> dict[str, list[str]]:
    """Returns file name -> paths relative to `folder`, of every image in and under it."""
    paths: dict[str, list[str]] = {}
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(root, folder)
        for name in sorted(names):
            if not name.lower().endswith(IMAGE_SUFFIXES) or name.startswith("."):
                continue
            path = name if inside == "." else os.path.join(inside, name)
            if os.path.islink(os.path.join(root, name)):
                files.inside(folder, path, where=files.shown(folder))
            paths.setdefault(name, []).append(path)
    return paths


def match_images(written: pd.Series, folder: Path, *, lines: np.ndarray, table: Path) -> list[str]:
    """Returns the image under `folder` that each cell [n] names, as a path relative to it.

    Tables have the paths of their author's machine. So only the end of a path counts: the file
    name, and as many folders before it as are needed to distinguish files of one name.

    Raises:
      UserError: images are absent, and how many; or a cell may mean one of two.
    """
    candidates_of = image_files(folder)
    paths: list[str] = []
    absent = []
    for line, cell in zip(lines, written.astype("str").str.replace("\\", "/"), strict=True):
        places = candidates_of.get(cell.rpartition("/")[2], [])
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
            f"{files.shown(table.name)} line {line}: the image {cell[:80]!r} is not under "
            f"{files.shown(folder.name)}{more}. Put the images there, or remove the rows."
        )
    return paths


def _nearest(places: list[str], cell: str) -> list[str]:
    """Returns the paths that share the most folders with the end of `cell`."""
    ends = [path.split("/")[::-1] for path in (cell, *places)]
    shared = [len(os.path.commonprefix([ends[0], end])) for end in ends[1:]]
    return [path for path, count in zip(places, shared, strict=True) if count == max(shared)]
