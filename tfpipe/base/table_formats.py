"""Formats of tables: text, spreadsheets, Parquet and PANGAEA files, as rows of text cells."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path

from tfpipe.base import files
from tfpipe.base.errors import UserError

Rows = Iterator[tuple[int, list[str]]]  # (line of the file or row of the sheet, stripped cells)

EXPECTED = "a table (text as .csv or .tsv, a spreadsheet, .parquet or PANGAEA .tab)"

_BINARY = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_NOT_ASCII = re.compile(rb"[\xa8\xb8\xc0-\xff]+")  # letters of both Windows encodings
_ENCODINGS = {"cp1252": "Windows-1252", "cp1251": "Windows-1251"}  # as people know them
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # begin what a spreadsheet may run
_ESCAPED = tuple(f"'{mark}" for mark in (*_FORMULA, "'"))
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)


def sheets(path: Path) -> Iterator[tuple[str, Rows]]:
    """Yields name and rows of each sheet of a table; a file of one table has one without name.

    Raises:
      UserError: the file is no table, at once, or a row cannot be split, when it is reached.
    """
    data = files.contents(path, expected=EXPECTED)
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return _spreadsheet(data, path)
    if data.startswith(b"PAR1"):
        return iter([("", _parquet(data, path))])
    return iter([("", _text(_decoded(data, path, expected=EXPECTED), path))])


def text_of(path: Path, *, expected: str = EXPECTED) -> str:
    """Returns the text of a file, whichever of the usual encodings it has.

    Args:
      path: a file in UTF-8, UTF-16 with a mark, Windows-1252 or Windows-1251.
      expected: what it should be, for messages.

    Raises:
      UserError: it is missing, empty or no text.
    """
    return _decoded(files.contents(path, expected=expected), path, expected=expected)


def encoding_of(path: Path) -> str:
    """Returns the encoding of a table of text as read, "" for Unicode and for other formats.

    Raises:
      UserError: it is missing, empty or no text.
    """
    data = files.contents(path, expected=EXPECTED)
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"PAR1")):
        return ""
    return _ENCODINGS.get(_text_and_encoding(data, path, expected=EXPECTED)[1], "")


def text_rows(
    text: str, path: Path, *, delimiter: str, above: int = 0, quotes: bool = True
) -> Rows:
    """Yields (first line, stripped cells) of each row, of text that stands below `above` lines."""
    file = io.StringIO(text, newline="")
    if quotes:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
    else:
        reader = csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
    has_escapes = "'" in text  # few tables have, and 50,000 rows of 64 cells take 1 s less
    line = above + 1
    try:
        for row in reader:
            cells = map(unescaped, row) if has_escapes else row
            yield line, list(map(str.strip, cells))
            line = above + reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{files.shown(path.name)} line {line}: the row cannot be split into cells ({error}), "
            "expected double quotes in pairs around whole cells. Close or remove the quote."
        ) from error


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


def _text(text: str, path: Path) -> Rows:
    """Returns the rows of text, below the description of a PANGAEA file or lines of comment."""
    if text.startswith("/*"):
        # On a line of its own; heads of one line end where that line does.
        end = re.search(r"^\*/[ \t]*(\r\n|\n|\r)", text, re.MULTILINE) or re.search(
            r"\*/[ \t]*(\r\n|\n|\r)", text
        )
        if end is None:
            raise UserError(
                f"{files.shown(path.name)} begins as PANGAEA data but its description never ends, "
                "expected a line '*/'. Download it again."
            )
        above = len(re.findall(r"\r\n|\n|\r", text[: end.end()]))
        return text_rows(text[end.end() :], path, delimiter="\t", above=above, quotes=False)
    comment = re.match(r"([ \t]*#[^\r\n]*(\r\n|\n|\r))+", text)
    below = text[comment.end() :] if comment else text
    delimiter = _delimiter(below)
    if comment and below.strip():
        lines = comment[0].splitlines()
        width = len(next(csv.reader(below.strip().splitlines()[:1], delimiter=delimiter)))
        if width > 1 and len(lines[-1].split(delimiter)) == width:
            lines.pop()  # the headings themselves begin with #
        above = len(lines)
        rest = text[sum(map(len, comment[0].splitlines(keepends=True)[:above])) :]
        return text_rows(rest, path, delimiter=delimiter, above=above)
    return text_rows(text, path, delimiter=_delimiter(text))


def _spreadsheet(data: bytes, path: Path) -> Iterator[tuple[str, Rows]]:
    """Yields name and rows of each sheet of an .xlsx, .xlsb, .xls or .ods file."""
    import python_calamine  # most tables are text

    contents = []
    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        for name in book.sheet_names:
            rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
            contents.append((name, [[_cell(value) for value in row] for row in rows]))
    except BaseException as error:  # damaged files make its parser panic, which is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise UserError(
            f"{files.shown(path.name)} cannot be read as a spreadsheet, expected {EXPECTED}. "
            "Open it in a spreadsheet program and save it again, or save it as .csv."
        ) from error
    return ((name, enumerate(rows, start=1)) for name, rows in contents)


def _parquet(data: bytes, path: Path) -> Rows:
    """Returns the rows of a Parquet file, the names of its columns as the first."""
    from pyarrow import parquet

    try:
        table = parquet.read_table(io.BytesIO(data))
        columns = [[_cell(value) for value in column.to_pylist()] for column in table.columns]
        names = [str(name).strip() for name in table.column_names]
    except Exception as error:  # a damaged file makes pyarrow raise almost anything
        raise UserError(
            f"{files.shown(path.name)} cannot be read as Parquet, expected {EXPECTED}. "
            "Write it again, or save it as .csv."
        ) from error
    return enumerate([names, *map(list, zip(*columns, strict=True))], start=1)


def _cell(value: object) -> str:
    """Returns the value of a spreadsheet cell as it would stand in a CSV."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    text = str(value).strip()
    return text.removesuffix(" 00:00:00") if isinstance(value, datetime) else text


def _decoded(data: bytes, path: Path, *, expected: str) -> str:
    """Returns the text that the bytes of a file hold."""
    return _text_and_encoding(data, path, expected=expected)[0]


def _text_and_encoding(data: bytes, path: Path, *, expected: str) -> tuple[str, str]:
    """Returns the text that the bytes of a file hold, and its encoding as Python calls it."""
    is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    legacy = ("cp1251",) if _is_cyrillic(data) else ("cp1252",)
    for encoding in ("utf-16",) if is_utf16 else ("utf-8-sig", *legacy):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _BINARY.search(text):
            return text, encoding
    raise UserError(
        f"{files.shown(path.name)} holds bytes that are no text in UTF-8, UTF-16, Windows-1252 or "
        f"Windows-1251, expected {expected}. Save it again as text in UTF-8."
    )


def _is_cyrillic(data: bytes) -> bool:
    """Returns whether bytes read as words of Windows-1251 letters, as Western text never does.

    Words of Western languages have at most two letters beyond ASCII in a row, those of Cyrillic
    ones have nothing else.
    """
    runs = [len(run) for run in _NOT_ASCII.findall(data)]
    return sum(run for run in runs if run > 2) > sum(runs) / 2


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
