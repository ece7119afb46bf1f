"""Reads big tables in one go, under our names, and says in which line they are wrong."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import column_names

# As the runtimes of Windows print what is no number: 1.#QNAN, -1.#IND, 1.#INF00.
_NO_NUMBER = re.compile(r"[+-]?(\d\.#)?[qs]?(nan|ind|inf|na|n/a)\d*", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Table:
    """A table of particles.

    Attributes:
      path: the file.
      cells: [rows, columns] under the headings as written.
      lines: [rows] int, where each row stands in the file.
      known: heading -> our name.
    """

    path: Path
    cells: pd.DataFrame
    lines: np.ndarray
    known: dict[str, str]

    @property
    def name(self) -> str:
        return files.shown(self.path.name)

    @property
    def unknown(self) -> list[str]:
        """The headings that map to nothing."""
        return [str(heading) for heading in self.cells if heading not in self.known]

    def has(self, name: str) -> bool:
        return name in self.known.values()

    def column(self, name: str) -> pd.Series:
        """Returns the cells [rows] of the column that we call so.

        Raises:
          UserError: there is none.
        """
        for heading, ours in self.known.items():
            if ours == name:
                return self.cells[heading]
        written = " or ".join(filter(None, column_names.TABLE[name]))
        raise UserError(
            f"{self.name} has no column {written}, expected one for every particle. Export it too."
        )

    def text(self, name: str) -> pd.Series:
        """Returns a column [rows] str without stray whitespace, "" where it is empty."""
        return self.column(name).fillna("").astype("str").str.split().str.join(" ")

    def whole(self, name: str) -> np.ndarray:
        """Returns a column [rows] int.

        Raises:
          UserError: there is none, or a cell is no whole number of 0 or more.
        """
        values = numbers(self.column(name), lines=self.lines, path=self.path)
        with np.errstate(invalid="ignore"):
            wrong = ~((values >= 0) & (values == np.floor(values)) & (values < 2**53))
        if wrong.any():
            row = int(wrong.argmax())
            raise UserError(
                f"{self.name} line {self.lines[row]}: {self.column(name).name} is "
                f"{values[row]:g}, expected a whole number of 0 or more. Correct the cell."
            )
        return values.astype(np.int64)

    def numbers(self) -> pd.DataFrame:
        """Returns all columns that measure something, [rows, columns] float64 under our names."""
        measured = {
            name: numbers(self.cells[heading], lines=self.lines, path=self.path)
            for heading, name in self.known.items()
            if name in column_names.NUMBERS
        }
        return pd.DataFrame(measured, index=range(len(self.lines)))


def read(path: Path) -> Table:
    """Returns a table of commas, semicolons or tabs whose first line has the headings.

    Raises:
      UserError: it is no such table, a heading stands twice, two mean the same, or a row has more
        or fewer cells than there are headings.
    """
    name = files.shown(path.name)
    first, *lines = text_of(path, expected="a table (.csv)").splitlines()
    delimiter = max(",;\t", key=first.count)
    names = [heading.strip() for heading in next(csv.reader([first], delimiter=delimiter), [])]
    for i, heading in enumerate(names):
        if heading in names[:i]:
            raise UserError(
                f"{name} line 1: the heading {heading!r} stands twice. Rename or remove one."
            )
    known = column_names.of_csv(names, where=f"{name} line 1")
    cells, where = rows(lines, names=names, delimiter=delimiter, first=2, path=path)
    return Table(path, cells, where, known)


def names_in(path: Path) -> set[str]:
    """Returns what we call the known headings in a table's first line; reads nothing more."""
    try:
        with path.open("rb") as file:
            first = file.readline(1 << 16).decode("utf-8-sig", "replace")
    except OSError:
        files.contents(path, expected="a table (.csv)")  # says what is wrong
        raise
    written = next(csv.reader([first.strip()], delimiter=max(",;\t", key=first.count)), [])
    return set(column_names.of_csv(written, where=f"{files.shown(path.name)} line 1").values())


def text_of(path: Path, *, expected: str) -> str:
    """Returns the text of a file in UTF-8 or, failing that, in Windows' western encoding.

    Raises:
      UserError: it is missing, empty or no text.
    """
    data = files.contents(path, expected=expected)
    if b"\0" in data:
        raise UserError(
            f"{files.shown(path.name)} is no text, expected {expected}. Export it again."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def rows(
    lines: list[str], *, names: list[str], delimiter: str, first: int, path: Path
) -> tuple[pd.DataFrame, np.ndarray]:
    """Returns the cells of a table's lines, and where each row stands.

    Args:
      lines: those under the headings; blank ones do not count.
      names: of the columns.
      delimiter: one character.
      first: the number in the file of the first of the lines.
      path: of the file, for the sentences.

    Returns:
      Cells [rows, columns], numbers where a column has nothing else, else str, NaN where empty;
      and the line [rows] int of each.

    Raises:
      UserError: a row has more or fewer cells than there are names, or there is no row.
    """
    name = files.shown(path.name)
    where = np.array([i for i, line in enumerate(lines) if line.strip()], int)
    kept = [lines[i] for i in where]
    if not kept:
        raise UserError(f"{name} lists no particle, expected a row each. Export it again.")
    is_quoted = any('"' in line for line in kept)
    if is_quoted:
        cells = np.array([len(row) for row in csv.reader(kept, delimiter=delimiter)])
    else:
        cells = np.array([line.count(delimiter) + 1 for line in kept])
    if len(cells) != len(kept):
        raise UserError(
            f"{name} has a cell in double quotes that runs over the end of its line, expected one "
            "row a line. Close the quote, or remove the line's end in it."
        )
    wrong = cells != len(names)
    if wrong.any():
        row = int(wrong.argmax())
        cut = " It is the last row: the file may be cut short." if row == len(kept) - 1 else ""
        raise UserError(
            f"{name} line {first + where[row]}: the row has {cells[row]} cells, expected "
            f"{len(names)} as declared above it.{cut} Mend the row, or export the file again."
        )
    frame = pd.read_csv(
        io.StringIO("\n".join(kept)),
        sep=delimiter,
        header=None,
        names=names,
        quoting=csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE,
        skip_blank_lines=False,
        low_memory=False,
    )
    return frame, first + where


def numbers(cells: pd.Series, *, lines: np.ndarray, path: Path) -> np.ndarray:
    """Returns a column as numbers, NaN where it is empty or says so itself.

    Commas count as decimal marks where no cell has a point.

    Args:
      cells: [rows], as `rows` returns them, under the column's name.
      lines: [rows] int, where each stands.
      path: of the file, for the sentence.

    Returns:
      [rows] float64.

    Raises:
      UserError: a cell is no number.
    """
    if cells.dtype.kind in "iufb":
        return cells.to_numpy(np.float64)
    text = cells.fillna("").astype("str").str.strip()
    if not text.str.contains(r"\d\.\d", regex=True).any():
        text = text.str.replace(",", ".", regex=False)
    values = pd.to_numeric(text, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    for row in np.flatnonzero(np.isnan(values) & (text != "").to_numpy()):
        if not _NO_NUMBER.fullmatch(text.iloc[row]):
            raise UserError(
                f"{files.shown(path.name)} line {lines[row]}: {cells.name} is "
                f"{text.iloc[row][:40]!r}, expected a number. Correct the cell, or empty it."
            )
    return values
