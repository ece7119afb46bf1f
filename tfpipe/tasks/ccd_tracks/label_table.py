"""What people have said of the tracks of exposures: labels.csv, and which track each row means."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfpipe.base import files, tables
from tfpipe.base.errors import UserError
from tfpipe.tasks.ccd_tracks.segmentation import Tracks
from tfpipe.tasks.task import LeftOut


class Mark(NamedTuple):
    """One row: a class, the pixel of the whole exposure it is said of, and where that stands."""

    x: int
    y: int
    label: str
    where: str


def read(path: Path, *, names: list[str]) -> tuple[dict[str, list[Mark]], list[str]]:
    """Returns exposure -> the rows about it, and notes on rows about exposures that are not there.

    Args:
      path: a table of exposure, x (column), y (row), label; from 0, of the file's own array.
      names: of the exposures, as paths from the table's folder; the file's name alone will do.

    Raises:
      UserError: naming file and line.
    """
    table = tables.read(path)
    exposures, labels = table.frame[table.need("exposure")], table.frame[table.need("label")]
    places = [table.numbers(table.need(axis), missing_ok=False) for axis in ("x", "y")]
    meant: dict[str, list[str]] = {}
    for name in names:
        for called in {name, name.rpartition("/")[2]}:
            meant.setdefault(called, []).append(name)
    found: dict[str, list[Mark]] = {}
    absent: dict[str, int] = {}
    for row, (exposure, label) in enumerate(zip(exposures, labels, strict=True)):
        if not label:  # nobody knows
            continue
        own = meant.get(exposure.replace("\\", "/"), [])
        if len(own) > 1:
            raise UserError(
                f"{table.where(row)}: {files.shown(exposure)} may be {own[0]} or {own[1]}. Write "
                "the path from the folder of the table."
            )
        if not own:
            absent[exposure] = absent.get(exposure, 0) + 1
            continue
        x, y = (int(np.floor(axis[row])) for axis in places)
        found.setdefault(own[0], []).append(Mark(x, y, label, table.where(row)))
    listed = [f"{files.shown(name)} ({count})" for name, count in list(absent.items())[:12]]
    notes = [
        LeftOut(f"{path.name} has rows about exposures that are not here: {', '.join(listed)}.")
    ]
    return found, notes if absent else []


def of_tracks(
    tracks: Tracks, marks: list[Mark], *, corner: tuple[int, int]
) -> tuple[list[str], list[str]]:
    """Returns each track's class as written ("" for none), and the places of rows without a track.

    A row means the track of its pixel, else the smallest of those whose box it is in.

    Args:
      tracks: of the exposure.
      marks: its rows.
      corner: (row, column) of the section's first pixel in the whole exposure.

    Raises:
      UserError: two rows give one track different classes.
    """
    found: dict[int, Mark] = {}
    missed = []
    numbers = {number: i for i, number in enumerate(tracks.number.tolist())}
    for mark in marks:
        i = _meant(tracks, numbers, y=mark.y - corner[0], x=mark.x - corner[1])
        if i is None:
            missed.append(mark.where)
            continue
        before = found.setdefault(i, mark)
        if before.label != mark.label:
            raise UserError(
                f"{mark.where}: the track at x {mark.x}, y {mark.y} is {mark.label!r}, but "
                f"{before.label!r} by {before.where}. Remove one of the rows."
            )
    return [found[i].label if i in found else "" for i in range(len(tracks.number))], missed


def _meant(tracks: Tracks, numbers: dict[int, int], *, y: int, x: int) -> int | None:
    height, width = tracks.components.shape
    if (
        0 <= y < height
        and 0 <= x < width
        and (i := numbers.get(int(tracks.components[y, x]))) is not None
    ):
        return i
    down, right = y - tracks.top, x - tracks.left
    inside = (down >= 0) & (down < tracks.height) & (right >= 0) & (right < tracks.width)
    if not inside.any():
        return None
    return int(np.where(inside, tracks.height * tracks.width, np.inf).argmin())
