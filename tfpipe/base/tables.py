"""Tables as users have them: found by their columns, read from any format, written as safe CSV.

`read` reads a table; `find` looks for one in a folder. Both take the columns that it needs, each as
a tuple of names that mean the same:

    path = tables.find(folder, ("file", "photo"), ("top", "depth top"))  # None: there is none
    table = tables.read(path, ("file", "photo"), ("top", "depth top"))
    names = table.frame[table.need("file", "photo")]
    top_m = table.numbers(table.need("top", "depth top"), unit="m", missing_ok=False)
    note = f"Depths come from {table.source}."  # file, and sheet where there are several
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from tfpipe.base import files, problems
from tfpipe.base.errors import UserError
from tfpipe.base.table_formats import EXPECTED, escaped, sheets, text_rows, unescaped

if TYPE_CHECKING:
    import pandas as pd

# fmt: off
SUFFIXES = (
    ".csv", ".tsv", ".tab", ".txt", ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".parquet",
)
# fmt: on
MISSING = ("NaN", "nan", "NA", "N/A", "n/a", "-")  # cells that read as empty

_BLOCK_ROWS = 20_000  # rows held as Python lists before they become columns
_BRACKETS = re.compile(r"\s*[\[(]([^\[\]()]*)[\])]")
_HEADING_ROWS = 50  # rows of a sheet among which its headings are searched
# What programs print instead of a number; on Windows 1.#QNAN, -1.#IND, 1.#INF00.
_NOT_A_NUMBER = re.compile(r"[+-]?(\d\.#)?[qs]?(nan|ind|inf|na|n/a)\d*", re.IGNORECASE)

# unit -> (what it measures, size in the smallest unit of that kind)
# fmt: off
_UNITS: dict[str, tuple[str, int]] = {
    "nm": ("length", 1), "µm": ("length", 10**3), "um": ("length", 10**3),
    "mm": ("length", 10**6), "cm": ("length", 10**7), "m": ("length", 10**9),
    "km": ("length", 10**12),
    "yr": ("time", 1), "yrs": ("time", 1), "year": ("time", 1), "years": ("time", 1),
    "a": ("time", 1), "kyr": ("time", 10**3), "ka": ("time", 10**3),
    "mK": ("temperature", 1), "K": ("temperature", 10**3), "°C": ("Celsius temperature", 1),
    "‰": ("share", 1), "%": ("share", 10),
    "°": ("angle", 1), "deg": ("angle", 1),
    "px": ("image length", 1), "pixels": ("image length", 1),
}
# Units that end a heading without brackets, as in depth_top_cm.
_LAST_WORDS = ("nm", "µm", "um", "mm", "cm", "m", "km", "yr", "yrs", "years", "kyr", "ka")
# fmt: on


def column_name(heading: str) -> str:
    """Returns the normalised name of a column: "depth from" for "Depth_from [cm]"."""
    return _name_and_unit(heading)[0]


@dataclass(frozen=True, eq=False)
class Table:
    """A table as it was read.

    Attributes:
      path: the file.
      headings: column name -> heading as written, in the file's order.
      frame: [rows, columns] str under the column names, stripped, "" where missing.
      lines: [rows] int, the line of the file (row of the sheet) where each row begins.
      sheet: the name of the sheet, "" for a file that has one table.
    """

    path: Path
    headings: dict[str, str]
    frame: pd.DataFrame
    lines: np.ndarray
    sheet: str = ""

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return files.shown(self.path.name)

    @property
    def source(self) -> str:
        """What was read, for notes: the file's name, and the sheet of a file of several."""
        return f"{self.name}, sheet {self.sheet!r}" if self.sheet else self.name

    def column(self, *names: str) -> str | None:
        """Returns the first of the names that the table has, with or without a unit, or None.

        A column "depth top cm" is "depth top", and `numbers` knows that it is in cm.
        """
        return _column(self.headings, names)

    def need(self, *names: str) -> str:
        """Returns the first of the column names that the table has.

        Raises:
          UserError: it has none of them.
        """
        column = self.column(*names)
        if column is None:
            raise UserError(
                f"{self.name} has the columns {_quoted(self.headings)}, expected "
                f"{' or '.join(map(repr, names))}. Rename a heading, or add the column."
            )
        return column

    def numbers(
        self, column: str, *, unit: str | None = None, missing_ok: bool, finite: bool = True
    ) -> np.ndarray:
        """Returns a column as numbers, NaN where it is empty.

        A column has one decimal mark: commas count as such where no cell has a decimal point.

        Args:
          column: its name, as `need` returns it.
          unit: what to convert to, from the unit in the heading if it has one.
          missing_ok: whether cells may be empty.
          finite: whether words such as inf and 1.#QNAN are errors. If not, they are infinite or
            NaN.

        Returns:
          [rows] float64.

        Raises:
          UserError: a cell is no number or is empty against `missing_ok`, or the heading's unit
            measures something else than `unit`.
        """
        cells = self.frame[column]
        values = _floats(cells)
        is_empty = (cells == "").to_numpy()
        has_points = False
        if not (np.isfinite(values) | is_empty).all():
            with_point = cells.str.contains(".", regex=False).to_numpy() & np.isfinite(values)
            has_points = bool(with_point.any())
            if not has_points:
                values = _floats(cells.str.replace(",", ".", regex=False))
        is_wrong = ~np.isfinite(values) & ~(is_empty & missing_ok)
        for row in np.flatnonzero(is_wrong).tolist():
            cell = cells.iloc[row]
            if not finite and (np.isinf(values[row]) or _NOT_A_NUMBER.fullmatch(cell)):
                continue
            if not cell:
                problems.add(
                    f"{self.where(row)}: {column} is empty, expected a number. "
                    "Fill it in, or remove the row."
                )
                continue
            kind = "a number with a decimal point" if has_points and "," in cell else "a number"
            kind = "a finite number" if np.isinf(values[row]) else kind
            problems.add(
                f"{self.where(row)}: {column} is {cell[:40]!r}, expected {kind}. "
                f"Correct the cell{' or leave it empty' if missing_ok else ''}."
            )
        return self._converted(values, column=column, unit=unit)

    def whole_numbers(self, column: str) -> np.ndarray:
        """Returns a column as whole numbers, [rows] int64.

        Raises:
          UserError: a cell is no whole number of 0 or more.
        """
        values = self.numbers(column, missing_ok=False)
        is_whole = (values >= 0) & (values == np.floor(values)) & (values < 2**53)
        for row in np.flatnonzero(~is_whole & ~np.isnan(values)).tolist():
            problems.add(
                f"{self.where(row)}: {column} is {values[row]:g}, expected a whole number of 0 or "
                "more. Correct the cell."
            )
        return np.where(is_whole, values, 0).astype(np.int64)

    def where(self, row: int) -> str:
        """Returns where a row (from 0) stands, such as "layers.csv line 14"."""
        return f"{self.name} line {self.lines[row]}"

    def _converted(self, values: np.ndarray, *, column: str, unit: str | None) -> np.ndarray:
        """Returns values [rows] in `unit`, from the unit in the column's heading."""
        heading_unit = _name_and_unit(self.headings[column])[1] or _without_unit(column)[1]
        if unit is None or heading_unit is None or unit == heading_unit:
            return values
        given_kind, given_size = _UNITS[heading_unit]
        kind, size = _UNITS[unit]
        if given_kind != kind:
            raise UserError(
                f"{self.name}: the heading {self.headings[column]!r} is in {heading_unit}, "
                f"expected {unit}. Convert the column, or correct its heading."
            )
        # Dividing by a whole number rounds once: 12345 cm are 123.45 m exactly as typed.
        return values / (size // given_size) if given_size < size else values * (given_size // size)


def read(
    path: Path,
    *needs: tuple[str, ...],
    name_of: Callable[[str], str] = column_name,
    missing: tuple[str, ...] = MISSING,
    same_width: bool = False,
) -> Table:
    """Returns the table in a file. Its contents decide on format and encoding, not its name.

    Args:
      path: text with commas, semicolons or tabs (UTF-8, UTF-16 with a mark, Windows-1252 or
        Windows-1251), a spreadsheet (.xlsx, .xls, .xlsb, .ods), a .parquet, or a PANGAEA .tab with
        its description on top.
      *needs: columns that the table needs, each as names that mean the same. It is the sheet that
        has them all, and its headings are the first of 50 rows that has them. Without needs, or
        where no sheet has them all, it is the first sheet that is not blank and its first row that
        is not blank.
      name_of: heading as written -> column name; by default lower case, without underscores and
        unit.
      missing: cells that read as empty.
      same_width: whether each row must have as many cells as there are headings. If not, empty
        cells at a row's end may be absent or too many, as spreadsheets write them.

    Raises:
      UserError: naming file and line, where there is no such table, two sheets have the needed
        columns, two columns have one name, or a row cannot be split into cells.
    """
    name = files.shown(path.name)
    matches, first, count = [], None, 0
    for sheet, rows in sheets(path):
        count += 1
        head, numbered = _head(rows, needs, name_of)
        if head is None:
            continue
        first = first or (sheet, *head, numbered)
        if needs and _has(head[1], needs, name_of):
            matches.append((sheet, *head, numbered))
    if len(matches) > 1:
        raise UserError(
            f"{name} has the columns of this table on the sheets "
            f"{' and '.join(repr(match[0]) for match in matches)}, expected one sheet. Remove one, "
            "or save it in another file."
        )
    if first is None:
        raise UserError(f"{name} is blank, expected {EXPECTED}. Copy it again.")
    sheet, line, written, numbered = matches[0] if matches else first
    while not (same_width or written[-1]):
        written.pop()
    columns: dict[str, str] = {}
    for number, heading in enumerate(written, start=1):
        column = name_of(heading) or f"column {number}"
        if column in columns:
            raise UserError(
                f"{name} line {line}: the headings {columns[column][:40]!r} and "
                f"{heading[:40]!r} are the same name, expected different ones. Rename or remove "
                "one of the columns."
            )
        columns[column] = heading
    sheet = sheet if count > 1 else ""
    return _table(path, numbered, columns, missing=missing, same_width=same_width, sheet=sheet)


def find(
    folder: Path,
    *needs: tuple[str, ...],
    noun: str = "table",
    lacks: tuple[str, ...] = (),
    prefer: str = "",
    but: Container[str] = (),
) -> Path | None:
    """Returns the table of a folder that has some columns, whatever its name; None without one.

    Args:
      folder: searched itself, not the folders in it.
      *needs: the columns, each as names that mean the same, as in `read`.
      noun: what the table is, for messages.
      lacks: names of columns that it must not have.
      prefer: name without ending; of several tables the one of this name is taken.
      but: names without ending of files that are no candidates.

    Raises:
      UserError: there are several.
    """
    paths = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES
        and not path.name.startswith((".", "~"))
        and path.stem not in but
        and path.is_file()
        and _is_table(path, needs, lacks)
    ]
    preferred = [path for path in paths if path.stem == prefer]
    paths = preferred or paths
    if len(paths) > 1:
        more = f" and {len(paths) - 2} more" if len(paths) > 2 else ""
        raise UserError(
            f"{files.shown(folder)} holds several tables that may be the {noun}: {paths[0].name}, "
            f"{paths[1].name}{more}. Keep one of them there."
        )
    return paths[0] if paths else None


def read_rows(path: Path, text: str, *, names: list[str], delimiter: str, above: int = 0) -> Table:
    """Returns the table of rows whose headings stand elsewhere, as in a FlowCam list.

    Args:
      path: the file, for messages.
      text: the rows; each has one cell for each name.
      names: of the columns, each once.
      delimiter: one character.
      above: lines of the file above the text.

    Raises:
      UserError: naming file and line, where a row has more or fewer cells, or there is no row.
    """
    numbered = text_rows(text, path, delimiter=delimiter, above=above)
    columns = {name: name for name in names}
    return _table(path, numbered, columns, missing=MISSING, same_width=True)


def headings(path: Path) -> list[str]:
    """Returns the headings of a table as written, without splitting its other rows.

    Raises:
      UserError: the file is no table.
    """
    for _, rows in sheets(path):
        for _, cells in rows:
            if any(cells):
                return cells
    return []


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Writes a frame, without its index, as UTF-8 CSV that a spreadsheet does not run.

    Text and headings are `escaped`; `read_csv` gives them back.

    Raises:
      UserError: the folder cannot be written to or is full; an older file is then as it was.
    """
    files.replace(path, csv_of(frame).encode("utf-8"))


def csv_of(frame: pd.DataFrame, *, headings: bool = True) -> str:
    """Returns the text of a frame as `write_csv` writes it, with or without its headings."""
    import pandas as pd

    columns = [
        column.astype(object).map(_harmless) if column.dtype.kind in "OU" else column
        for _, column in frame.items()
    ]
    safe = pd.concat(columns, axis=1) if columns else frame
    header = [_harmless(str(name)) for name in frame.columns] if headings else False
    return safe.to_csv(index=False, header=header, lineterminator="\n")


def read_csv(path: Path | BinaryIO, *, text: Container[str] | None = None) -> pd.DataFrame:
    """Returns a frame that `write_csv` wrote: headings and text as they were before.

    Args:
      path: the file, or its contents as `files.open_regular` opens them.
      text: the names of the columns that hold text; in the others, empty cells and nan are NaN.
        None: columns in which each cell is a number hold numbers, the others text.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is no table.
    """
    import pandas as pd

    if text is None:
        frame = pd.read_csv(path, keep_default_na=False)  # a photo may be called "NA"
    else:
        names = pd.read_csv(path, nrows=0).columns
        if not isinstance(path, Path):
            path.seek(0)
        is_text = {name: unescaped(name) in text for name in names}
        frame = pd.read_csv(
            path,
            dtype={name: str for name in names if is_text[name]},
            keep_default_na=False,
            na_values={name: ["", "nan"] for name in names if not is_text[name]},
        )
    for name in frame:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = [unescaped(x) if isinstance(x, str) else x for x in frame[name]]
    return frame.rename(columns=unescaped)


def _table(
    path: Path,
    numbered: Iterator[tuple[int, list[str]]],
    columns: dict[str, str],
    *,
    missing: tuple[str, ...],
    same_width: bool,
    sheet: str = "",
) -> Table:
    """Returns the table of the rows (line, cells) below the headings; blank rows do not count.

    Args:
      path: the file.
      numbered: the rows.
      columns: column name -> heading.
      missing: cells that read as empty.
      same_width: see `read`.
      sheet: see `Table`.
    """
    import pandas as pd

    rows = _fitted(path, numbered, width=len(columns), same_width=same_width)
    lines: list[int] = []
    blocks: list[pd.DataFrame] = []
    while block := list(islice(rows, _BLOCK_ROWS)):
        lines += [line for line, _ in block]
        by_column = zip(*(cells for _, cells in block), strict=True)
        series = (pd.Series(cells, dtype="str") for cells in by_column)
        blocks.append(
            pd.DataFrame(
                {
                    name: cells.mask(cells.isin(missing), "")
                    for name, cells in zip(columns, series, strict=True)
                }
            )
        )
    if not blocks:
        raise UserError(
            f"{files.shown(path.name)} has headings but no rows, expected one row or more. "
            "Add the rows."
        )
    frame = pd.concat(blocks, ignore_index=True) if len(blocks) > 1 else blocks[0]
    return Table(path, columns, frame, np.array(lines), sheet)


def _fitted(
    path: Path, numbered: Iterator[tuple[int, list[str]]], *, width: int, same_width: bool
) -> Iterator[tuple[int, list[str]]]:
    """Yields the rows (line, cells) that are not blank, each with `width` cells."""
    for line, cells in numbered:
        if not any(cells):
            continue
        if len(cells) == width:
            yield line, cells
        elif not same_width and not any(cells[width:]):
            yield line, cells[:width] + [""] * (width - len(cells))
        else:
            where = f"{files.shown(path.name)} line {line}: the row has {len(cells)} cells"
            if not same_width:
                raise UserError(
                    f"{where}, expected at most {width} as in the headings. Put cells that hold "
                    "the delimiter in double quotes, or remove the extra ones."
                )
            is_last = not any(any(others) for _, others in numbered)
            cut = " It is the last row: the file may be cut short." if is_last else ""
            raise UserError(
                f"{where}, expected {width}, one for each column.{cut} Correct the row, or export "
                "the file again."
            )


def _head(
    rows: Iterator[tuple[int, list[str]]],
    needs: tuple[tuple[str, ...], ...],
    name_of: Callable[[str], str],
) -> tuple[tuple[int, list[str]] | None, Iterator[tuple[int, list[str]]]]:
    """Returns (line, headings) of a sheet, None if it is blank, and the rows below them."""
    above: list[tuple[int, list[str]]] = []
    for line, cells in rows:
        if not any(cells):
            continue
        if not needs or _has(cells, needs, name_of):
            return (line, cells), rows
        above.append((line, cells))
        if len(above) == _HEADING_ROWS:
            break
    return (above[0] if above else None), chain(above[1:], rows)


def _has(
    cells: Iterable[str], needs: tuple[tuple[str, ...], ...], name_of: Callable[[str], str]
) -> bool:
    """Returns whether headings have all needed columns."""
    names = {name_of(cell) for cell in cells}
    return all(_column(names, need) for need in needs)


def _is_table(path: Path, needs: tuple[tuple[str, ...], ...], lacks: tuple[str, ...]) -> bool:
    """Returns whether a file has a sheet with the needed columns and without others."""
    try:
        heads = [_head(rows, needs, column_name)[0] for _, rows in sheets(path)]
    except UserError:
        return False  # another kind of file
    return any(
        _has(head[1], needs, column_name)
        and not _column({column_name(cell) for cell in head[1]}, lacks)
        for head in heads
        if head
    )


def _column(columns: Iterable[str], names: tuple[str, ...]) -> str | None:
    """Returns the column that has the first of the names, with or without a unit, or None."""
    every = list(columns)
    for name in names:
        if name in every:
            return name
        for column in every:
            if _without_unit(column)[0] == name:
                return column
    return None


def _without_unit(column: str) -> tuple[str, str | None]:
    """Returns ("depth top", "cm") of the column name "depth top cm"."""
    name, _, unit = column.rpartition(" ")
    unit = unit.replace("\u03bc", "\u00b5")
    if not name or unit not in _LAST_WORDS:
        return column, None
    return name.removesuffix(" in").rstrip(" ,"), unit


def _name_and_unit(heading: str) -> tuple[str, str | None]:
    """Returns ("depth from", "cm") of "Depth_from [cm]"; only units of `_UNITS` count."""
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
    import pandas as pd

    return pd.to_numeric(cells, errors="coerce").to_numpy(np.float64, na_value=np.nan)


def _harmless(value: object) -> object:
    """Returns a cell that no spreadsheet runs and UTF-8 can hold, with plain line ends."""
    if not isinstance(value, str):
        return value
    value = escaped(value).replace("\r\n", "\n").replace("\r", "\n")
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _quoted(names: dict[str, str]) -> str:
    """Returns the first 20 of some names, for a message."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(repr(name[:40]) for name in list(names)[:20]) + more
