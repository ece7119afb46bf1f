"""Tables as users have them: one reader of CSV, TSV, Excel and PANGAEA files, and safe CSV."""

import csv
import io
import re
import warnings
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import files
from tfpipe.base.errors import UserError

EXPECTED = "a table (.csv, .tsv, .txt, .xlsx or PANGAEA .tab)"
MISSING = ("NaN", "nan", "NA", "N/A", "n/a", "-")  # cells that read as empty

_BINARY = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_BLOCK_ROWS = 20_000  # rows held as Python lists before they become columns
_BRACKETS = re.compile(r"\s*[\[(]([^\[\]()]*)[\])]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # begin what a spreadsheet may run
_ESCAPED = tuple(f"'{mark}" for mark in (*_FORMULA, "'"))
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)
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
    """

    path: Path
    headings: dict[str, str]
    frame: pd.DataFrame
    lines: np.ndarray

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return files.shown(self.path.name)

    def column(self, *names: str) -> str | None:
        """Returns the first of the column names that the table has, or None."""
        return next((name for name in names if name in self.headings), None)

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
                raise UserError(
                    f"{self.where(row)}: {column} is empty, expected a number. "
                    "Fill it in, or remove the row."
                )
            kind = "a number with a decimal point" if has_points and "," in cell else "a number"
            kind = "a finite number" if np.isinf(values[row]) else kind
            raise UserError(
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
        is_wrong = ~((values >= 0) & (values == np.floor(values)) & (values < 2**53))
        if is_wrong.any():
            row = int(is_wrong.argmax())
            raise UserError(
                f"{self.where(row)}: {column} is {values[row]:g}, expected a whole number of 0 or "
                "more. Correct the cell."
            )
        return values.astype(np.int64)

    def where(self, row: int) -> str:
        """Returns where a row (from 0) stands, such as "layers.csv line 14"."""
        return f"{self.name} line {self.lines[row]}"

    def _converted(self, values: np.ndarray, *, column: str, unit: str | None) -> np.ndarray:
        """Returns values [rows] in `unit`, from the unit in the column's heading."""
        heading_unit = _name_and_unit(self.headings[column])[1]
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
    *,
    name_of: Callable[[str], str] = column_name,
    missing: tuple[str, ...] = MISSING,
    same_width: bool = False,
) -> Table:
    """Returns the table in a file. Its contents decide on format and encoding, not its name.

    Args:
      path: text with commas, semicolons or tabs (UTF-8, UTF-16 with a mark, or Windows-1252), an
        .xlsx (first sheet), or a PANGAEA .tab with its description on top. The first row that is
        not blank has the headings.
      name_of: heading as written -> column name; by default lower case, without underscores and
        unit.
      missing: cells that read as empty.
      same_width: whether each row must have as many cells as there are headings. If not, empty
        cells at a row's end may be absent or too many, as spreadsheets write them.

    Raises:
      UserError: naming file and line, where there is no such table, two columns have one name, or a
        row cannot be split into cells.
    """
    numbered = _rows(path)
    line, written = next(((line, row) for line, row in numbered if any(row)), (0, []))
    if not written:
        raise UserError(f"{files.shown(path.name)} is blank, expected {EXPECTED}. Copy it again.")
    while not (same_width or written[-1]):
        written.pop()
    columns: dict[str, str] = {}
    for number, heading in enumerate(written, start=1):
        name = name_of(heading) or f"column {number}"
        if name in columns:
            raise UserError(
                f"{files.shown(path.name)} line {line}: the headings {columns[name][:40]!r} and "
                f"{heading[:40]!r} are the same name, expected different ones. Rename or remove "
                "one of the columns."
            )
        columns[name] = heading
    return _table(path, numbered, columns, missing=missing, same_width=same_width)


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
    numbered = _text_rows(text, path, delimiter=delimiter, above=above)
    columns = {name: name for name in names}
    return _table(path, numbered, columns, missing=MISSING, same_width=True)


def headings(path: Path) -> list[str]:
    """Returns the headings of a table as written, without splitting its other rows.

    Raises:
      UserError: the file is no table.
    """
    return next((cells for _, cells in _rows(path) if any(cells)), [])


def text_of(path: Path, *, expected: str = EXPECTED) -> str:
    """Returns the text of a file, whichever of the usual encodings it has.

    Args:
      path: a file in UTF-8, UTF-16 with a mark, or Windows-1252.
      expected: what it should be, for messages.

    Raises:
      UserError: it is missing, empty or no text.
    """
    return _decoded(files.contents(path, expected=expected), path, expected=expected)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Writes a frame, without its index, as UTF-8 CSV that a spreadsheet does not run.

    Text and headings are `escaped`; `read_csv` gives them back.

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


def read_csv(path: Path, *, text: Container[str] | None = None) -> pd.DataFrame:
    """Returns a frame that `write_csv` wrote: headings and text as they were before.

    Args:
      path: the file.
      text: the names of the columns that hold text; in the others, empty cells and nan are NaN.
        None: columns in which each cell is a number hold numbers, the others text.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is no table.
    """
    if text is None:
        frame = pd.read_csv(path, keep_default_na=False)  # a photo may be called "NA"
    else:
        names = pd.read_csv(path, nrows=0).columns
        is_text = {name: unescaped(name) in text for name in names}
        frame = pd.read_csv(
            path,
            dtype={name: str for name in names if is_text[name]},
            keep_default_na=False,
            na_values={name: ["", "nan"] for name in names if not is_text[name]},
        )
    for name in frame:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = frame[name].map(unescaped, na_action="ignore")
    return frame.rename(columns=unescaped)


def escaped(value: str) -> str:
    """Returns the text of a CSV cell that no spreadsheet takes for a formula.

    Text that begins with = + - @, a tab or a line end gets one apostrophe in front, and so does
    text that begins with an apostrophe before one of these or before another apostrophe. Text that
    is a number stays as it is. `unescaped` is the inverse.
    """
    if value.startswith(_ESCAPED):
        return "'" + value
    return "'" + value if value.startswith(_FORMULA) and not _NUMBER.fullmatch(value) else value


def unescaped(cell: str) -> str:
    """Returns the text that `escaped` made a CSV cell of."""
    return cell[1:] if cell.startswith(_ESCAPED) else cell


def _table(
    path: Path,
    numbered: Iterator[tuple[int, list[str]]],
    columns: dict[str, str],
    *,
    missing: tuple[str, ...],
    same_width: bool,
) -> Table:
    """Returns the table of the rows (line, cells) below the headings; blank rows do not count.

    Args:
      path: the file.
      numbered: the rows.
      columns: column name -> heading.
      missing: cells that read as empty.
      same_width: see `read`.
    """
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
    return Table(path, columns, frame, np.array(lines))


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


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Returns (line of the file or row of the sheet, stripped cells) of each row, blank ones too.

    Raises:
      UserError: the file is no table, at once, or a row cannot be split, when it is reached.
    """
    data = files.contents(path, expected=EXPECTED)
    if data.startswith(b"PK\x03\x04"):
        return _sheet_rows(data, path)
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise UserError(
            f"{files.shown(path.name)} is in the old Excel format, expected {EXPECTED}. "
            "Save it as .xlsx or .csv."
        )
    text = _decoded(data, path, expected=EXPECTED)
    if not text.startswith("/* DATA DESCRIPTION"):
        return _text_rows(text, path, delimiter=_delimiter(text))
    end = re.search(r"^\*/[ \t]*\r?\n", text, re.MULTILINE)
    if end is None:
        raise UserError(
            f"{files.shown(path.name)} begins as PANGAEA data but its description never ends, "
            "expected a line '*/'. Download it again."
        )
    above = text.count("\n", 0, end.end())
    return _text_rows(text[end.end() :], path, delimiter="\t", above=above, quotes=False)


def _text_rows(
    text: str, path: Path, *, delimiter: str, above: int = 0, quotes: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """Yields (first line, stripped cells) of each row, of text that stands below `above` lines."""
    file = io.StringIO(text, newline="")
    if quotes:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
    else:
        reader = csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
    line = above + 1
    try:
        for row in reader:
            yield line, [unescaped(cell).strip() for cell in row]
            line = above + reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{files.shown(path.name)} line {line}: the row cannot be split into cells ({error}), "
            "expected double quotes in pairs around whole cells. Close or remove the quote."
        ) from error


def _sheet_rows(data: bytes, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Returns (row of the sheet, stripped cells) of the first sheet of an Excel file."""
    import openpyxl  # slow to import, and most tables are text

    try:
        with warnings.catch_warnings(action="ignore"):
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # some programs write wrong ones
            rows = [[_cell(value) for value in row] for row in sheet.iter_rows(values_only=True)]
    except Exception as error:  # a damaged file makes openpyxl raise almost anything
        raise UserError(
            f"{files.shown(path.name)} cannot be read as an Excel file, expected {EXPECTED}. "
            "Open it in a spreadsheet and save it again, or save it as .csv."
        ) from error
    return enumerate(rows, start=1)


def _cell(value: object) -> str:
    """Returns the value of a spreadsheet cell as it would stand in a CSV."""
    text = "" if value is None else str(value).strip()
    return text.removesuffix(" 00:00:00") if isinstance(value, datetime) else text


def _decoded(data: bytes, path: Path, *, expected: str) -> str:
    """Returns the text that the bytes of a file hold."""
    is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if is_utf16 else ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _BINARY.search(text):
            return text
    raise UserError(
        f"{files.shown(path.name)} holds bytes that are no text, expected {expected}. "
        "Save it again as text in UTF-8."
    )


def _delimiter(text: str) -> str:
    """Returns the delimiter that gives the most rows as many cells, over one, as the headings."""
    head = text[: 1 << 16]
    best, best_score = "\t", (0.0, 1)  # without a delimiter, each line is one cell
    for delimiter in "\t;,":
        reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
        rows = [row for row in islice(reader, 100) if any(cell.strip() for cell in row)]
        if len(head) < len(text) and len(rows) > 1:
            rows.pop()  # the sample may end within it
        width = len(rows[0]) if rows else 0
        score = (sum(len(row) == width for row in rows) / max(len(rows), 1), width)
        if width > 1 and score > best_score:
            best, best_score = delimiter, score
    return best


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
