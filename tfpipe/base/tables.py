"""Reads a table as users have it (CSV, TSV, Excel, PANGAEA) and writes CSV that is safe to open."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import files, table_rows
from tfpipe.base.errors import UserError

GUARDED = re.compile(r"^'(?=[=+\-@\t\r])")  # see tables.write_csv

_MISSING = ("NaN", "nan", "NA", "N/A", "n/a", "-")
_BRACKETS = re.compile(r"\s*[\[(]([^\[\]()]*)[\])]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)

# unit -> (what it measures, how many of the smallest unit of that kind it is)
_UNITS = {
    **{"nm": ("length", 1), "µm": ("length", 10**3), "um": ("length", 10**3)},
    **{"mm": ("length", 10**6), "cm": ("length", 10**7), "m": ("length", 10**9)},
    **{"km": ("length", 10**12), "yr": ("time", 1), "yrs": ("time", 1), "year": ("time", 1)},
    **{"years": ("time", 1), "a": ("time", 1), "kyr": ("time", 10**3), "ka": ("time", 10**3)},
    **{"mK": ("temperature", 1), "K": ("temperature", 10**3), "°C": ("Celsius temperature", 1)},
    **{"‰": ("share", 1), "%": ("share", 10), "°": ("angle", 1), "deg": ("angle", 1)},
    **{"px": ("picture length", 1), "pixels": ("picture length", 1)},
}


@dataclass(frozen=True, eq=False)
class Table:
    """A table as it was read.

    Attributes:
      path: the file.
      headings: normalised name -> heading as written, in the file's order.
      frame: [rows, columns] str under the normalised names, stripped, "" where missing.
      lines: [rows] int, the line of the file (row of the sheet) where each row begins.
    """

    path: Path
    headings: dict[str, str]
    frame: pd.DataFrame
    lines: np.ndarray

    def column(self, *names: str) -> str | None:
        """Returns the first of the normalised names that the table has, or None."""
        return next((name for name in names if name in self.headings), None)

    def need(self, *names: str) -> str:
        """Returns the first of the normalised names that the table has.

        Raises:
          UserError: it has none of them.
        """
        found = self.column(*names)
        if found is None:
            raise UserError(
                f"{files.shown(self.path.name)} has the columns {_quoted(self.headings)}, expected "
                f"{' or '.join(map(repr, names))}. Rename a heading, or add the column."
            )
        return found

    def numbers(self, column: str, *, unit: str | None = None, missing_ok: bool) -> np.ndarray:
        """Returns a column as numbers, NaN where it is empty.

        A column has one decimal mark: commas count as such where no cell has a decimal point.

        Args:
          column: normalised name, as `need` returns it.
          unit: what to convert to, from the unit in the heading if it has one.
          missing_ok: whether cells may be empty.

        Returns:
          [rows] float64, finite or NaN.

        Raises:
          UserError: a cell is no finite number or is empty against `missing_ok`, or the heading's
            unit measures something else than `unit`.
        """
        cells = self.frame[column]
        values = _floats(cells)
        pointed = bool(
            (cells.str.contains(".", regex=False).to_numpy() & np.isfinite(values)).any()
        )
        if not pointed:
            values = _floats(cells.str.replace(",", ".", regex=False))
        empty = (cells == "").to_numpy()
        wrong = ~np.isfinite(values) & ~(empty & missing_ok)
        if wrong.any():
            row = int(wrong.argmax())
            cell = cells.iloc[row]
            if not cell:
                raise UserError(
                    f"{self.where(row)}: {column} is empty, expected a number. "
                    "Fill it in, or remove the row."
                )
            kind = "a number with a decimal point" if pointed and "," in cell else "a number"
            kind = "a finite number" if np.isinf(values[row]) else kind
            raise UserError(
                f"{self.where(row)}: {column} is {cell[:40]!r}, expected {kind}. "
                f"Correct the cell{' or leave it empty' if missing_ok else ''}."
            )
        return self._converted(values, column=column, unit=unit)

    def where(self, row: int) -> str:
        """Returns where a row (from 0) stands, such as "layers.csv line 14"."""
        return f"{files.shown(self.path.name)} line {self.lines[row]}"

    def _converted(self, values: np.ndarray, *, column: str, unit: str | None) -> np.ndarray:
        """Returns values [rows] in `unit`, from the unit in the column's heading."""
        given = _name_and_unit(self.headings[column])[1]
        if unit is None or given is None or unit == given:
            return values
        kind, size = _UNITS[given]
        wanted_kind, wanted_size = _UNITS[unit]
        if kind != wanted_kind:
            raise UserError(
                f"{files.shown(self.path.name)}: the heading {self.headings[column]!r} is in "
                f"{given}, expected {unit}. Convert the column, or correct its heading."
            )
        # Dividing by a whole number rounds once: 12345 cm are 123.45 m exactly as typed.
        if size < wanted_size:
            return values / (wanted_size // size)
        return values * (size // wanted_size)


def read(path: Path) -> Table:
    """Returns the table in a file, whose format and encoding its contents tell.

    Args:
      path: text with commas, semicolons or tabs (UTF-8, UTF-16 with a mark, or Windows-1252), an
        .xlsx (first sheet), or a PANGAEA .tab with its description on top. The first row that is
        not blank has the headings.

    Raises:
      UserError: there is no such table, or its headings or a row cannot be told apart.
    """
    return _assemble(path, table_rows.read(path))


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Writes a frame, without its index, as UTF-8 CSV that a spreadsheet does not run.

    Text that a spreadsheet would take for a formula gets a single quote before it; numbers, also
    those in text cells, stay as they are.

    Raises:
      UserError: the folder cannot be written to or is full; an older file is then as it was.
    """
    files.replace(path, csv_of(frame).encode("utf-8"))


def csv_of(frame: pd.DataFrame, *, headings: bool = True) -> str:
    """Returns the text of a frame as `write_csv` writes it, with or without its headings."""
    columns = [
        column.astype(object).map(_harmless) if column.dtype.kind in "OU" else column
        for _, column in frame.items()
    ]
    safe = pd.concat(columns, axis=1) if columns else frame
    header = [_harmless(str(name)) for name in frame.columns] if headings else False
    return safe.to_csv(index=False, header=header, lineterminator="\n")


def _assemble(path: Path, numbered: Iterator[tuple[int, list[str]]]) -> Table:
    """Returns the table made of (line, cells), blank rows included, the headings first."""
    name = files.shown(path.name)
    heading_line, headings = next(((line, row) for line, row in numbered if any(row)), (0, []))
    if not headings:
        raise UserError(f"{name} is blank, expected {table_rows.EXPECTED}. Copy it again.")
    while not headings[-1]:
        headings.pop()
    names: dict[str, str] = {}
    for number, heading in enumerate(headings, start=1):
        key = _name_and_unit(heading)[0] or f"column {number}"
        if key in names:
            raise UserError(
                f"{name} line {heading_line}: the headings {names[key][:40]!r} and "
                f"{heading[:40]!r} are the same name, expected different ones. "
                "Rename or remove one of the columns."
            )
        names[key] = heading
    width = len(headings)
    lines, kept = [], []
    for line, cells in numbered:
        if not any(cells):
            continue
        if len(cells) != width:
            if any(cells[width:]):
                raise UserError(
                    f"{name} line {line}: the row has {len(cells)} cells, expected at most {width} "
                    "as in the headings. Put cells that hold the delimiter in double quotes, or "
                    "remove the extra ones."
                )
            cells = cells[:width] + [""] * (width - len(cells))
        lines.append(line)
        kept.append(cells)
    if not kept:
        raise UserError(
            f"{name} has headings but no rows, expected {table_rows.EXPECTED}. Add the rows."
        )
    columns = (pd.Series(column, dtype="str") for column in zip(*kept, strict=True))
    frame = pd.DataFrame(
        {
            key: cells.mask(cells.isin(_MISSING), "")
            for key, cells in zip(names, columns, strict=True)
        }
    )
    return Table(path, names, frame, np.array(lines))


def _name_and_unit(heading: str) -> tuple[str, str | None]:
    """Returns ("depth from", "cm") of "Depth_from [cm]"; only known units count."""
    unit = None
    name = heading
    for match in _BRACKETS.finditer(heading):
        text = match[1].strip().replace("\u03bc", "\u00b5")  # Greek mu, as many keyboards type it
        text = text.lower() if text in ("M", "CM", "MM", "KM") else text
        if text in _UNITS:
            unit = text
            name = heading[: match.start()] + heading[match.end() :]
            break
    return re.sub(r"[\s_]+", " ", name).strip().lower(), unit


def _floats(cells: pd.Series) -> np.ndarray:
    """Returns [rows] float64 of str cells, NaN for whatever is no number."""
    return pd.to_numeric(cells, errors="coerce").to_numpy(np.float64, na_value=np.nan)


def _harmless(value: object) -> object:
    """Returns a cell that no spreadsheet runs and UTF-8 can hold, with plain line ends."""
    if not isinstance(value, str):
        return value
    if value.startswith(_FORMULA) and not _NUMBER.fullmatch(value):
        value = "'" + value
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _quoted(names: dict[str, str]) -> str:
    """Returns the first 20 of some names, for a sentence."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(repr(name[:40]) for name in list(names)[:20]) + more
