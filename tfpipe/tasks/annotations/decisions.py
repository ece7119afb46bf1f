"""Decision log: labels.csv beside the raw files, one line for each decision of a reviewer."""

import csv
import io
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tfpipe.base import files, locks, tables
from tfpipe.base.errors import UserError

NAME = "labels.csv"
STATES = ("predicted", "dubious", "validated")
# No action is the beginning of another, and the action is the last cell: half a line is never
# mistaken for a whole one.
ACTIONS = ("accept", "label", "dubious", "move", "draw", "delete", "undo")
# What UTF-8 or a line cannot hold, and what shows the rest of a line in another order.
_NOT_IN_A_LINE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Decision(NamedTuple):
    """One line of the log: it holds for its target until a later line about the same target.

    Attributes:
      time: ISO 8601, UTC.
      who: the reviewer.
      file: the raw file, as the task's survey names it; "" for an image.
      what: the image's key, or the first name of a span of the file.
      top_m: depth of the span's upper edge in the photo; nan for an image.
      bottom_m: of its lower edge.
      label: the class, or the kind of span; "" for a span that is deleted.
      version: the model version that was shown, such as "simple-cnn/3".
      state: one of `STATES`; "predicted" where no decision holds any more.
      action: one of `ACTIONS`.
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
        """Whether it is about depths of a file, not about an image."""
        return not math.isnan(self.top_m)

    @property
    def target(self) -> tuple[str, str]:
        """The (file, span) or ("", image key) that it is about."""
        return (self.file, self.what) if self.is_span else ("", self.what)


HEADING = ",".join(Decision._fields)


class DecisionLog(NamedTuple):
    """All decisions of a labels.csv.

    Attributes:
      lines: in the order in which they were added.
      notes: a sentence for each line that is torn.
      numbers: of the lines in the file, from 1.
    """

    lines: tuple[Decision, ...] = ()
    notes: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()

    @property
    def current(self) -> dict[tuple[str, str], Decision]:
        """The last decision about each target, without decisions that were undone."""
        last = {decision.target: decision for decision in self.lines}
        return {target: one for target, one in last.items() if one.state != "predicted"}


def now() -> str:
    """Returns the time as lines of the log hold it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read(folder: Path, *, name: str = NAME) -> DecisionLog:
    """Returns the decisions about a raw folder.

    A line that a stopped process left half written gets a note and does not count: its reviewer was
    never shown that it was saved.

    Args:
      folder: the raw folder.
      name: of the file.

    Raises:
      UserError: a line is complete but wrong; the message names file and line.
    """
    path = folder / name
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise UserError(
            f"{files.shown(path)} cannot be read: {error.strerror}. Check its permissions."
        ) from error
    if not _is_ours(data, path):
        return DecisionLog()
    lines, notes, numbers = [], [], []
    for number, line in enumerate(data.splitlines()[1:], start=2):
        cells = _cells(line)
        if cells is None:
            notes.append(
                f"{name} line {number} is incomplete: its process was stopped. It does not count."
            )
        elif cells:
            lines.append(_decision(cells, where=f"{files.shown(name)} line {number}"))
            numbers.append(number)
    return DecisionLog(tuple(lines), tuple(notes), tuple(numbers))


def append(folder: Path, decision: Decision, *, name: str = NAME) -> None:
    """Adds one line and waits until it is on disk; several processes may do so at once.

    Raises:
      UserError: as `append_all`.
    """
    append_all(folder, [decision], name=name)


def append_all(folder: Path, added: Iterable[Decision], *, name: str = NAME) -> None:
    """Adds lines, all or none, and waits until they are on disk.

    Raises:
      UserError: the disk is full, the folder cannot be written, a name does not fit in a line, or
        a span has no height, or the file is another kind of table. Then nothing was added.
    """
    path, lines = folder / name, b"".join(map(_line, added))
    if not lines:
        return
    try:
        with locks.hold(path, busy=None):
            file = os.open(path, os.O_RDWR | os.O_APPEND)
            try:
                _add(file, lines, path)
            finally:
                os.close(file)
    except OSError as error:
        raise UserError(
            f"The decision was not saved: {files.shown(path)} cannot be written "
            f"({error.strerror}). Free some space or mend its permissions, and decide again."
        ) from error


def _add(file: int, line: bytes, path: Path) -> None:
    """Adds lines to an open and locked file, or leaves it as it was."""
    size = os.fstat(file).st_size
    head = os.pread(file, 1 << 12, 0)
    heading = f"{HEADING}\n".encode()
    if len(head) < len(heading) and heading.startswith(head):  # new, or stopped at creation
        os.ftruncate(file, 0)
        size, line = 0, heading + line
    elif not _is_ours(head, path):
        raise UserError(
            f"{files.shown(path)} is another kind of table, expected the headings {HEADING}. "
            "Rename it, so that decisions can be saved under this name."
        )
    elif os.pread(file, 1, size - 1) != b"\n":
        line = b"\n" + line  # the previous line was torn
    try:
        while line:  # a disk that becomes full takes a part first, then refuses the rest
            line = line[os.write(file, line) :]
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise


def _is_ours(data: bytes, path: Path) -> bool:
    """Returns whether a file holds decisions, by its first line, which may be incomplete.

    Raises:
      UserError: it holds decisions, but another program saved it with other columns.
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
    is_torn = cells[-1] not in ACTIONS and any(name.startswith(cells[-1]) for name in ACTIONS)
    return None if len(cells) < count or is_torn else cells


def _decision(cells: list[str], *, where: str) -> Decision:
    names = Decision._fields
    if len(cells) != len(names):
        raise UserError(
            f"{where}: the row has {len(cells)} cells, expected {len(names)}: {HEADING}. Put cells "
            "that hold a comma in double quotes."
        )
    values = {name: tables.unescaped(cell) for name, cell in zip(names, cells, strict=True)}
    if fault := _fault(values):
        raise UserError(f"{where}: {fault}. Correct the cells, or remove the line.")
    top_m, bottom_m = _depth(values["top_m"]), _depth(values["bottom_m"])
    return Decision(
        time=values["time"],
        who=values["who"],
        file=values["file"],
        what=values["what"],
        top_m=top_m,
        bottom_m=bottom_m,
        label=values["label"],
        version=values["version"],
        state=values["state"],
        action=values["action"],
    )


def _fault(values: Mapping[str, str]) -> str:
    """Returns what is wrong with the cells of a line, and what was expected; "" for nothing."""
    for name, allowed in (("state", STATES), ("action", ACTIONS)):
        if values[name] not in allowed:
            return f"{name} is {values[name][:40]!r}, expected {', '.join(allowed)}"
    top_m, bottom_m = _depth(values["top_m"]), _depth(values["bottom_m"])
    is_image = values["top_m"] == values["bottom_m"] == ""
    if values["what"] and (is_image or -math.inf < top_m < bottom_m < math.inf):
        return ""
    return (
        f"what is {values['what'][:40]!r}, top_m {values['top_m'][:20]!r} and bottom_m "
        f"{values['bottom_m'][:20]!r}, expected an image's key and no depths, or a span with a "
        "bottom below its top"
    )


def _depth(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _line(decision: Decision) -> bytes:
    """Returns a decision as a line of the log, with its line end.

    Raises:
      UserError: `read` would refuse the line.
    """
    cells = [*_to_cells(decision)]
    values = map(tables.unescaped, cells)
    if fault := _fault(dict(zip(Decision._fields, values, strict=True))):
        raise UserError(f"The decision was not saved: {fault}. Correct it, and decide again.")
    if _NOT_IN_A_LINE.search("".join(cells)):
        raise UserError(
            f"The decision about {decision.what!r} was not saved: a line break, a control "
            "character or one that turns the direction of writing does not fit in a table. Rename "
            "the file or the class, or write your name otherwise."
        )
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8")


def _to_cells(decision: Decision) -> Iterator[str]:
    for value in decision:
        if isinstance(value, float):
            yield "" if math.isnan(value) else f"{value:.5f}"
        else:
            yield tables.escaped(value)
