"""Label table of exposures (labels.csv), and which track each of its rows means."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfpipe.base import files, problems, tables
from tfpipe.base.errors import UserError
from tfpipe.tasks.ccd_tracks.segmentation import Tracks
from tfpipe.tasks.task import LeftOut

COLUMNS = (("exposure",), ("x",), ("y",), ("label",))  # of the table


class PointLabel(NamedTuple):
    """One row: a class and a pixel of the whole exposure; `where` is file and line."""

    x: int
    y: int
    label: str
    where: str


def read(path: Path, *, names: list[str]) -> tuple[dict[str, list[PointLabel]], list[str]]:
    """Returns exposure -> its labels, and notes on rows whose exposure is missing.

    Args:
      path: a table of exposure, x (column), y (row), label; from 0, of the file's own array.
      names: of the exposures, as paths from the table's folder; the file's name alone is enough.

    Raises:
      UserError: naming file and line.
    """
    table = tables.read(path, *COLUMNS)
    exposures, classes = table.frame[table.need("exposure")], table.frame[table.need("label")]
    x, y = (table.numbers(table.need(axis), missing_ok=False) for axis in ("x", "y"))
    candidates: dict[str, list[str]] = {}
    for name in names:
        for written in {name, name.rpartition("/")[2]}:
            candidates.setdefault(written, []).append(name)
    labels: dict[str, list[PointLabel]] = {}
    absent: dict[str, int] = {}
    for row, (exposure, label) in enumerate(zip(exposures, classes, strict=True)):
        if not label or np.isnan(x[row] + y[row]):  # unlabelled, or named as a problem
            continue
        matches = candidates.get(exposure.replace("\\", "/"), [])
        if len(matches) > 1:
            problems.add(
                f"{table.where(row)}: {files.shown(exposure)} may be {matches[0]} or {matches[1]}. "
                "Write the path from the folder of the table."
            )
            continue
        if not matches:
            absent[exposure] = absent.get(exposure, 0) + 1
            continue
        point = PointLabel(int(np.floor(x[row])), int(np.floor(y[row])), label, table.where(row))
        labels.setdefault(matches[0], []).append(point)
    notes = [] if path.name == "labels.csv" else [f"Labels are from {table.source}."]
    if absent:
        listed = [f"{files.shown(name)} ({count})" for name, count in list(absent.items())[:12]]
        notes.append(
            LeftOut(f"{path.name} has rows about exposures that are not here: {', '.join(listed)}.")
        )
    return labels, notes


def match(
    tracks: Tracks, labels: list[PointLabel], *, corner: tuple[int, int]
) -> tuple[list[str], list[str]]:
    """Returns each track's class ("" for none), and file and line of labels without a track.

    A label belongs to the track of its pixel, else to the smallest track whose box holds the pixel.

    Args:
      tracks: of the exposure.
      labels: of the exposure.
      corner: (row, column) of the section's first pixel in the whole exposure.

    Raises:
      UserError: two rows give one track different classes.
    """
    label_of: dict[int, PointLabel] = {}
    unmatched = []
    index_of = {number: i for i, number in enumerate(tracks.number.tolist())}
    for label in labels:
        i = _track_at(tracks, index_of, y=label.y - corner[0], x=label.x - corner[1])
        if i is None:
            unmatched.append(label.where)
            continue
        first = label_of.setdefault(i, label)
        if first.label != label.label:
            raise UserError(
                f"{label.where}: the track at x {label.x}, y {label.y} is {label.label!r}, but "
                f"{first.label!r} by {first.where}. Remove one of the rows."
            )
    classes = [label_of[i].label if i in label_of else "" for i in range(len(tracks.number))]
    return classes, unmatched


def _track_at(tracks: Tracks, index_of: dict[int, int], *, y: int, x: int) -> int | None:
    """Returns the index of the track at a pixel of the section, or None."""
    height, width = tracks.components.shape
    if 0 <= y < height and 0 <= x < width:
        i = index_of.get(int(tracks.components[y, x]))
        if i is not None:
            return i
    down, right = y - tracks.top, x - tracks.left
    inside = (down >= 0) & (down < tracks.height) & (right >= 0) & (right < tracks.width)
    if not inside.any():
        return None
    return int(np.where(inside, tracks.height * tracks.width, np.inf).argmin())
