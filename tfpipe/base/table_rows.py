"""The rows of a table file: CSV with any delimiter, Excel or PANGAEA, told by their contents."""

import csv
import io
import re
import warnings
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path

from tfpipe.base import files
from tfpipe.base.errors import UserError

EXPECTED = "a table (.csv, .tsv, .txt, .xlsx or PANGAEA .tab)"

_BINARY = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


def read(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Returns (line of the file or row of the sheet, stripped cells) of each row, blank ones too.

    Raises:
      UserError: the file is no table, at once, or a row cannot be told apart, when it is reached.
    """
    data = files.contents(path, expected=EXPECTED)
    if data.startswith(b"PK\x03\x04"):
        return _sheet_rows(data, path)
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise UserError(
            f"{files.shown(path.name)} is in the old Excel format, expected {EXPECTED}. "
            "Save it as .xlsx or .csv."
        )
    text = _decoded(data, path)
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
    quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    file = io.StringIO(text, newline="")
    reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)
    line = above + 1
    try:
        for row in reader:
            yield line, [cell.strip() for cell in row]
            line = above + reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{files.shown(path.name)} line {line}: the row cannot be told apart ({error}), "
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


def _decoded(data: bytes, path: Path) -> str:
    """Returns the text of a file, whichever of the usual encodings it has."""
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _BINARY.search(text):
            return text
    raise UserError(
        f"{files.shown(path.name)} holds bytes that are no text, expected {EXPECTED}. "
        "Save the table as .csv in UTF-8, or as .xlsx."
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
