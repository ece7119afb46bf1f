"""What reviewers have decided: labels.csv beside the raw files, a line for each decision."""

import csv
import io
import math
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tfpipe.base import files, locks, tables
from tfpipe.base.errors import UserError

NAME = "labels.csv"
STATES = ("predicted", "dubious", "validated")
# None begins with another, and they stand last in a line: half a line is never taken for a whole.
ACTIONS = ("accept", "label", "dubious", "move", "draw", "delete", "undo")
_UNFIT = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # for one line of UTF-8


class Decision(NamedTuple):
    """One line: what holds of one thing from then on.

    Attributes:
      time: ISO 8601, UTC.
      who: the reviewer.
      file: the raw file, as the task's survey names it.
      what: the picture's key, or what a span of the file was first known by.
      top_m: depth of the span's upper edge as the photo shows it; nan for a picture.
      bottom_m: of its lower edge.
      label: the class, or the kind of span; "" for a span that is none.
      version: the model's that was looked at, such as "simple-cnn/3".
      state: of `STATES`; "predicted" where no decision holds any more.
      action: of `ACTIONS`.
    """

    time: str
    who: str
    file: str
    what: str
    top_m: float
    bottom_m: float
    label: str
    version: str
    state: str
    action: str

    @property
    def is_span(self) -> bool:
        """Whether it is about depths of a file, not about a picture."""
        return not math.isnan(self.top_m)

    @property
    def thing(self) -> tuple[str, str]:
        """What it is about: later lines about the same hold instead."""
        return (self.file, self.what) if self.is_span else ("", self.what)


HEADING = ",".join(Decision._fields)


class Labels(NamedTuple):
    """All lines of a labels.csv.

    Attributes:
      lines: in the order in which they were added.
      notes: a sentence for each line that is torn.
    """

    lines: tuple[Decision, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def held(self) -> dict[tuple[str, str], Decision]:
        """What was decided last of each thing; without those that nobody decides any more."""
        last = {one.thing: one for one in self.lines}
        return {thing: one for thing, one in last.items() if one.state != "predicted"}


def now() -> str:
    """Returns the time as a line has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read(folder: Path, *, name: str = NAME) -> Labels:
    """Returns what reviewers have decided about a raw folder.

    A line that a stopped process or machine has left half written is named and does not count: it
    was never told to be saved.

    Args:
      folder: the raw folder.
      name: of the file.

    Raises:
      UserError: naming file and line, where a line is whole but not what it should be.
    """
    path = folder / name
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise UserError(
            f"{files.shown(path)} cannot be read: {error.strerror}. Check its permissions."
        ) from error
    if not _is_ours(data, path):
        return Labels()
    lines, notes = [], []
    for number, line in enumerate(data.splitlines()[1:], start=2):
        cells = _cells(line)
        if cells is None:
            notes.append(
                f"{name} line {number} is torn: whoever wrote it was stopped, so it does not count."
            )
        elif cells:
            lines.append(_decision(cells, where=f"{files.shown(name)} line {number}"))
    return Labels(tuple(lines), tuple(notes))


def append(folder: Path, decision: Decision, *, name: str = NAME) -> None:
    """Adds one line, which is on the disk when this returns; several processes may do so at once.

    Raises:
      UserError: the disk is full, the folder cannot be written, a name does not fit in a line, or
        the file is a table of another kind; nothing was added then.
    """
    path, line = folder / name, _line(decision)
    try:
        with locks.hold(path, busy=None):
            file = os.open(path, os.O_RDWR | os.O_APPEND)
            try:
                _add(file, line, path)
            finally:
                os.close(file)
    except OSError as error:
        raise UserError(
            f"The decision was not saved: {files.shown(path)} cannot be written "
            f"({error.strerror}). Free some space or mend its permissions, and decide again."
        ) from error


def _add(file: int, line: bytes, path: Path) -> None:
    """Adds a line to an open and locked file, or leaves it as it was."""
    size = os.fstat(file).st_size
    head = os.pread(file, 1 << 12, 0)
    begun = f"{HEADING}\n".encode()
    if len(head) < len(begun) and begun.startswith(head):  # new, or stopped while it was made
        os.ftruncate(file, 0)
        size, line = 0, begun + line
    elif not _is_ours(head, path):
        raise UserError(
            f"{files.shown(path)} is a table of another kind, expected the headings {HEADING}. "
            "Rename it, so that decisions can be kept under this name."
        )
    elif os.pread(file, 1, size - 1) != b"\n":
        line = b"\n" + line  # the one before was torn
    try:
        while line:  # a disk that becomes full takes a part first, and refuses the rest
            line = line[os.write(file, line) :]
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise


def _is_ours(data: bytes, path: Path) -> bool:
    """Returns whether a file holds decisions by its first line, which may be torn.

    Raises:
      UserError: it did, before another program saved it in its own way.
    """
    first, end, _ = data.decode("utf-8-sig", "replace").partition("\n")
    text = first.strip()
    if text == HEADING or (not end and HEADING.startswith(text)):
        return True
    if {"what", "state", "action"} <= {*re.split(r"[;,\t\"]+", text)}:
        raise UserError(
            f"{files.shown(path)} line 1: the headings are {text[:120]!r}, expected {HEADING!r}. "
            "Save the table with these columns in this order, separated by commas."
        )
    return False


def _cells(line: bytes) -> list[str] | None:
    """Returns the cells of a line, [] for a blank one, or None where it is torn."""
    try:
        rows = list(csv.reader([line.decode("utf-8")], strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    cells, count = rows[0] if rows else [], len(Decision._fields)
    if not any(cells) and len(cells) in (0, count):
        return []
    is_begun = cells[-1] not in ACTIONS and any(one.startswith(cells[-1]) for one in ACTIONS)
    return None if len(cells) < count or is_begun else cells


def _decision(cells: list[str], *, where: str) -> Decision:
    names = Decision._fields
    if len(cells) != len(names):
        raise UserError(
            f"{where}: the row has {len(cells)} cells, expected {len(names)}: {HEADING}. Put cells "
            "that hold a comma in double quotes."
        )
    told = {name: tables.unescaped(cell) for name, cell in zip(names, cells, strict=True)}
    for name, known in (("state", STATES), ("action", ACTIONS)):
        if told[name] not in known:
            raise UserError(
                f"{where}: {name} is {told[name][:40]!r}, expected {', '.join(known)}. Correct the "
                "cell, or remove the line."
            )
    top_m, bottom_m = _depth(told["top_m"]), _depth(told["bottom_m"])
    is_picture = told["top_m"] == told["bottom_m"] == ""
    if not told["what"] or not (is_picture or -math.inf < top_m < bottom_m < math.inf):
        raise UserError(
            f"{where}: what is {told['what'][:40]!r}, top_m {told['top_m'][:20]!r} and bottom_m "
            f"{told['bottom_m'][:20]!r}, expected a picture's key and no depths, or a span with a "
            "bottom below its top. Correct the cells, or remove the line."
        )
    return Decision(**(told | {"top_m": top_m, "bottom_m": bottom_m}))


def _depth(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _line(decision: Decision) -> bytes:
    """Returns a decision as a line, line end included."""
    cells = [*_written(decision)]
    if _UNFIT.search("".join(cells)):
        raise UserError(
            f"The decision about {decision.what!r} was not saved: a line break or a control "
            "character in a name does not fit in a table. Rename the file or the class."
        )
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8")


def _written(decision: Decision) -> Iterator[str]:
    for value in decision:
        if isinstance(value, float):
            yield "" if math.isnan(value) else f"{value:.5f}"
        else:
            yield tables.escaped(value)
