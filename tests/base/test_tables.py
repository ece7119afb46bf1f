"""Tables as users have them: every format reads alike, and every mistake is said with its line."""

import csv
import errno
import io
import os
import re
import time

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfpipe.base import tables
from tfpipe.base.errors import UserError

EXPECTED = "expected a table (text as .csv or .tsv, a spreadsheet, .parquet or PANGAEA .tab)"
LAYERS = "Bag,Depth_from [m],Depth to (m),age (b2k)\n1,0.5,0.75,10\n2,1.25,,\n"
PANGAEA = (
    "/* DATA DESCRIPTION:\r\n"
    'Citation:\tSomebody (2020): Melt layers of "a core", in 3 parts; [a, b]. PANGAEA\r\n'
    "Parameter(s):\tDepth, top [m] (Depth top) * GEOCODE\r\n"
    "\tSize: 2 data points\r\n"
    "*/\r\n"
    "Depth top [m]\tDepth bot [m]\tAge [ka BP] (Mean)\tType\r\n"
    '0.5\t0.75\t10\ta "layer"\r\n'
    '1.25\t\t\t"open\r\n'
)


def write(folder, content, name="layers.csv"):
    data = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(data)
    return folder / name


def excel(*sheet):
    book = openpyxl.Workbook()
    for row in sheet:
        book.active.append(row)
    book.create_sheet("second").append(["something", "else"])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def message(path, question=tables.read):
    """Returns the sentences of the error that a question about a file raises."""
    with pytest.raises(UserError) as caught:
        question(path)
    return str(caught.value)


SAME = {
    "commas": LAYERS,
    "bom": b"\xef\xbb\xbf" + LAYERS.encode(),
    "utf-16": LAYERS.replace(",", "\t").encode("utf-16"),
    "windows lines": LAYERS.replace("\n", "\r\n"),
    "mac lines": LAYERS.replace("\n", "\r"),
    "tabs": LAYERS.replace(",", "\t"),
    "semicolons": LAYERS.replace(",", ";"),
    "semicolons and decimal commas": LAYERS.replace(",", ";").replace(".", ","),
    "tabs and decimal commas": LAYERS.replace(",", "\t").replace(".", ","),
    "quoted decimal commas": LAYERS.replace("0.5", '"0,5"')
    .replace("0.75", '"0,75"')
    .replace("1.25", '"1,25"'),
    "no end of line": LAYERS.rstrip("\n"),
    "spaces": LAYERS.replace(",", " , "),
    "more delimiters": LAYERS.replace("\n", ",,\n"),
    "missing words": LAYERS.replace("1.25,,", "1.25,n/a,-"),
    "short row": LAYERS.replace("1.25,,", "1.25"),
    "excel": excel(
        ["Bag", "Depth_from [m]", "Depth to (m)", "age (b2k)"], [1, 0.5, 0.75, 10], [2, 1.25]
    ),
}


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("name", ["layers.csv", "layers.xlsx"])
def test_every_format_reads_alike_under_any_extension(tmp_path, kind, name):
    table = tables.read(write(tmp_path, SAME[kind], name))
    assert table.headings == {
        "bag": "Bag",
        "depth from": "Depth_from [m]",
        "depth to": "Depth to (m)",
        "age (b2k)": "age (b2k)",
    }
    assert list(table.frame) == list(table.headings)
    assert table.frame["bag"].tolist() == ["1", "2"]
    depth_from = table.numbers("depth from", missing_ok=False)
    assert depth_from.dtype == np.float64
    np.testing.assert_array_equal(depth_from, [0.5, 1.25])
    np.testing.assert_array_equal(table.numbers("depth to", missing_ok=True), [0.75, np.nan])
    np.testing.assert_array_equal(table.numbers("age (b2k)", missing_ok=True), [10, np.nan])
    assert table.lines.tolist() == [2, 3]
    assert table.where(1) == f"{name} line 3"


def test_pangaea_reads_with_its_description_on_top(tmp_path):
    table = tables.read(write(tmp_path, PANGAEA, "core.tab"))
    assert list(table.headings) == ["depth top", "depth bot", "age [ka bp] (mean)", "type"]
    np.testing.assert_array_equal(table.numbers("depth top", missing_ok=False), [0.5, 1.25])
    assert table.frame["type"].tolist() == ['a "layer"', '"open']
    assert table.where(0) == "core.tab line 7"
    assert message(write(tmp_path, PANGAEA.replace("*/", "*"), "core.tab")) == (
        "core.tab begins as PANGAEA data but its description never ends, expected a line '*/'. "
        "Download it again."
    )


def test_quoted_cells_and_blank_lines_keep_the_line_numbers_right(tmp_path):
    text = '\n\nname,note\n\na,"two\nlines, and a comma"\n,\n  \nb,"say ""yes"""\n\n,,\n\n'
    table = tables.read(write(tmp_path, text))
    assert table.frame.to_numpy().tolist() == [["a", "two\nlines, and a comma"], ["b", 'say "yes"']]
    assert table.lines.tolist() == [5, 9]


def test_sheet_rows_are_the_line_numbers_and_dates_and_numbers_are_as_shown(tmp_path):
    day = pd.Timestamp("2020-03-01").to_pydatetime()
    sheet = excel([], ["day", "yes", "n"], [], [day, True, 3], [None, None, 0.1], [None])
    table = tables.read(write(tmp_path, sheet, "layers.xlsx"))
    assert table.lines.tolist() == [4, 5]
    assert table.frame.to_numpy().tolist() == [["2020-03-01", "True", "3"], ["", "", "0.1"]]


def test_cp1252_umlauts_and_every_word_for_missing(tmp_path):
    text = "größe,note\n1,NaN\n2,NA\n3,n/a\n4,-\n5,Na\n"
    for encoding in ("utf-8", "cp1252"):
        table = tables.read(write(tmp_path, text.encode(encoding)))
        assert list(table.frame) == ["größe", "note"]
        assert table.frame["note"].tolist() == ["", "", "", "", "Na"]


def test_one_column_and_an_unnamed_first_column(tmp_path):
    assert tables.read(write(tmp_path, "depth\n1,5\n")).numbers("depth", missing_ok=False) == [1.5]
    table = tables.read(write(tmp_path, ",a\n0,x\n1,y\n"))
    assert table.headings == {"column 1": "", "a": "a"}


def test_the_delimiter_is_the_one_that_fits_the_rows(tmp_path):
    table = tables.read(write(tmp_path, "layer, top, as seen;depth\na;1,5\nb, c;2\n"))
    assert table.frame.to_numpy().tolist() == [["a", "1,5"], ["b, c", "2"]]


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("Depth from [m]", "depth from"),
        ("depth_from__(cm)", "depth from"),
        ("  DEPTH   from ", "depth from"),
        ("Depth [m] (bottom)", "depth (bottom)"),
        ("age (b2k)", "age (b2k)"),
        ("age (CE)", "age (ce)"),
        ("Area (ABD)", "area (abd)"),
        ("delta T [mK]", "delta t"),
        ("size (\u03bcm)", "size"),
        ("share [%]", "share"),
    ],
)
def test_headings_lose_their_unit_and_nothing_else(tmp_path, heading, name):
    assert list(tables.read(write(tmp_path, f"{heading};x\n1;2\n")).headings) == [name, "x"]


@pytest.mark.parametrize(
    ("given_unit", "unit", "value"),
    [
        ("cm", "m", 123.45),
        ("mm", "m", 12.345),
        ("µm", "mm", 12.345),
        ("um", "µm", 12345),
        ("km", "m", 12345000),
        ("m", "cm", 1234500),
        ("M", "m", 12345),
        ("m", None, 12345),
        ("b2k", "m", 12345),
        ("ka", "years", 12345000),
    ],
)
def test_units_in_headings_are_converted(tmp_path, given_unit, unit, value):
    table = tables.read(write(tmp_path, f"x [{given_unit}];y\n12345;1\n"))
    assert table.numbers(next(iter(table.headings)), unit=unit, missing_ok=False) == [value]


def test_a_unit_of_another_kind_is_an_error(tmp_path):
    table = tables.read(write(tmp_path, "depth [px];y\n12345;1\n"))
    assert message("depth", lambda name: table.numbers(name, unit="m", missing_ok=False)) == (
        "layers.csv: the heading 'depth [px]' is in px, expected m. "
        "Convert the column, or correct its heading."
    )


def test_column_and_need_take_the_first_name_that_is_there(tmp_path):
    table = tables.read(write(tmp_path, LAYERS))
    assert table.column("depth top", "depth to", "bag") == "depth to"
    assert table.column("depth top") is None
    assert table.need("depth top", "depth from") == "depth from"
    assert message("x", lambda _: table.need("depth top", "top")) == (
        "layers.csv has the columns 'bag', 'depth from', 'depth to', 'age (b2k)', expected "
        "'depth top' or 'top'. Rename a heading, or add the column."
    )


@pytest.mark.parametrize(
    ("cells", "missing_ok", "sentence"),
    [
        (["1", "abc"], False, "depth is 'abc', expected a number. Correct the cell."),
        (
            ["1", "abc"],
            True,
            "depth is 'abc', expected a number. Correct the cell or leave it empty.",
        ),
        (["1", "12 m"], False, "depth is '12 m', expected a number. Correct the cell."),
        (["1", "1,234.5"], False, "depth is '1,234.5', expected a number. Correct the cell."),
        (["1", "1.234,5"], False, "depth is '1.234,5', expected a number. Correct the cell."),
        (["1", "1 234"], False, "depth is '1 234', expected a number. Correct the cell."),
        (["1", "1_000"], False, "depth is '1_000', expected a number. Correct the cell."),
        (["1", "inf"], False, "depth is 'inf', expected a finite number. Correct the cell."),
        (["1", "1e999"], False, "depth is '1e999', expected a finite number. Correct the cell."),
        (["1", ""], False, "depth is empty, expected a number. Fill it in, or remove the row."),
        (["1", "nan"], False, "depth is empty, expected a number. Fill it in, or remove the row."),
        (
            ["999.5", "1,234"],
            False,
            "depth is '1,234', expected a number with a decimal point. Correct the cell.",
        ),
    ],
)
def test_cells_that_are_no_numbers_are_said_with_their_line(tmp_path, cells, missing_ok, sentence):
    text = "name;depth [m]\n\n" + "".join(f"a;{cell}\n" for cell in cells)
    table = tables.read(write(tmp_path, text))
    error = message("depth", lambda name: table.numbers(name, missing_ok=missing_ok))
    assert error == f"layers.csv line 4: {sentence}"


DAMAGES = {
    "zero bytes": (b"", "layers.csv is empty (0 bytes), expected a table"),
    "blank": (b"\n \n\t\t\n", f"layers.csv is blank, {EXPECTED}. Copy it again."),
    "no rows": (
        b"a,b\n\n,\n",
        "layers.csv has headings but no rows, expected one row or more. Add the rows.",
    ),
    "no rows in excel": (excel(["a", "b"]), "layers.csv has headings but no rows, expected"),
    "binary": (
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
        "layers.csv holds bytes that are no text in UTF-8, UTF-16, Windows-1252 or "
        f"Windows-1251, {EXPECTED}. Save it again as text in UTF-8.",
    ),
    "not in cp1252": (b"a,b\n\x81,\x8d\n", "layers.csv holds bytes that are no text in UTF-8"),
    "broken excel": (
        excel(["a", "b"], [1, 2])[:-200],
        f"layers.csv cannot be read as a spreadsheet, {EXPECTED}. "
        "Open it in a spreadsheet program and save it again, or save it as .csv.",
    ),
    "other zip": (
        b"PK\x03\x04" + bytes(100),
        "layers.csv cannot be read as a spreadsheet, expected",
    ),
    "old excel": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512),
        "layers.csv cannot be read as a spreadsheet, expected",
    ),
    "same headings": (
        b"\nDepth [m],x,depth__(cm)\n1,2,3\n",
        "layers.csv line 2: the headings 'Depth [m]' and 'depth__(cm)' are the same name, expected "
        "different ones. Rename or remove one of the columns.",
    ),
    "too many cells": (
        b"a,b\n1,2\n\n1,5,2,5\n",
        "layers.csv line 4: the row has 4 cells, expected at most 2 as in the headings. "
        "Put cells that hold the delimiter in double quotes, or remove the extra ones.",
    ),
    "open quote": (
        b'a,b\n1,2\n3,"4\n5,6\n',
        "layers.csv line 3: the row cannot be split into cells (unexpected end of data), expected "
        "double quotes in pairs around whole cells. Close or remove the quote.",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_tables_say_what_is_wrong(tmp_path, damage):
    content, sentence = DAMAGES[damage]
    error = message(write(tmp_path, content))
    assert error == sentence or (not sentence.endswith(".") and error.startswith(sentence))


def test_a_missing_table_and_a_folder(tmp_path):
    assert message(tmp_path / "layers.csv") == (
        f"{tmp_path}/layers.csv does not exist, {EXPECTED}. Check the name and the folder."
    )
    assert message(tmp_path) == f"{tmp_path} is a folder, {EXPECTED}. Name the file in it."


CELLS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers().map(str),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8),
    st.sampled_from(['"', "a\nb", "a;b", "a,b", "a\tb", "'", "''", '"";', "x" * 100]),
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=8),
    st.sampled_from(",;\t"),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=8, max_size=8),
    st.sampled_from(".,"),
)
@example([["a,b,c", "d;e;f"]] * 3, ";", [1.5] * 8, ",")
def test_random_tables_come_back(tmp_path_factory, table, delimiter, values, mark):
    path = tmp_path_factory.getbasetemp() / "random.csv"
    written = [[*cells, repr(value)] for cells, value in zip(table, values, strict=False)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["first", "second", "value"])
        writer.writerows([a, b, value.replace(".", mark)] for a, b, value in written)
    read = tables.read(path)
    missing = {"", "NaN", "nan", "NA", "N/A", "n/a", "-"}
    plain = [[tables.unescaped(cell).strip() for cell in row] for row in table]
    stripped = [["" if cell in missing else cell for cell in row] for row in plain]
    assert read.frame[["first", "second"]].to_numpy().tolist() == stripped
    assert read.numbers("value", missing_ok=False).tolist() == [float(row[2]) for row in written]


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(lambda data: b"PK\x03\x04" + data),
        st.text('ab1.,;\t\n\r"-[m](/*) ', max_size=80).map(str.encode),
        st.text('a1\t\n"', max_size=40).map(
            lambda text: f"/* DATA DESCRIPTION\n*/\n{text}".encode()
        ),
        st.tuples(st.integers(0, 4000), st.integers(0, 255)).map(
            lambda change: bytes(
                change[1] if place == change[0] else byte
                for place, byte in enumerate(SAME["excel"])
            )
        ),
    )
)
def test_any_bytes_give_a_table_or_the_users_error(tmp_path_factory, data):
    path = write(tmp_path_factory.getbasetemp(), data, "any.csv")
    try:
        table = tables.read(path)
        for column in table.headings:
            table.numbers(column, unit="m", missing_ok=True)
    except UserError as error:
        assert "any.csv" in str(error) and "expected" in str(error)
        return
    assert table.frame.shape == (len(table.lines), len(table.headings))


@pytest.mark.slow
def test_a_million_rows_take_seconds_not_minutes(tmp_path):
    count = 100_000
    depth = np.random.default_rng(0).uniform(0, 3000, count).round(4)
    lines = [f"{i};{value};{value};a;b;0,5\n".replace(".", ",") for i, value in enumerate(depth)]
    path = write(tmp_path, "bag;depth from;depth to;type;note;width\n" + "".join(lines))
    start = time.process_time()
    table = tables.read(path)
    np.testing.assert_array_equal(table.numbers("depth from", missing_ok=False), depth)
    assert time.process_time() - start < 5  # a tenth of the rows, and a slow machine


def test_written_tables_read_back_and_run_nothing(tmp_path):
    frame = pd.DataFrame(
        {
            "=name": ["=1+1", "+cmd|'/c calc'!A0", "-a", "@SUM(A1)", "\tx", "\r=x", "-1.5", "ok"],
            "value": [-1.5, 0.1, np.nan, 1e-300, 2, 3, 4, 5],
            "note": ["a,b", 'say "x"', "two\r\nlines", None, "größe", "odd", "+5", "1-2"],
            "day": pd.date_range("2020-01-01", periods=8),
        }
    )
    # a file name in no encoding, which pandas holds only as an object
    frame["note"] = frame["note"].astype(object).replace("odd", "\udcff")
    path = tmp_path / "new" / "out.csv"
    tables.write_csv(frame, path)
    raw = path.read_bytes()
    cells = list(csv.reader(io.StringIO(raw.decode(), newline="")))
    assert cells[0] == ["'=name", "value", "note", "day"]
    assert [row[0] for row in cells[1:]] == [
        "'=1+1",
        "'+cmd|'/c calc'!A0",
        "'-a",
        "'@SUM(A1)",
        "'\tx",
        "'\n=x",
        "-1.5",
        "ok",
    ]
    assert [row[1] for row in cells[1:5]] == ["-1.5", "0.1", "", "1e-300"]
    assert [row[2] for row in cells[1:]] == [
        "a,b",
        'say "x"',
        "two\nlines",
        "",
        "größe",
        "\\udcff",
        "+5",
        "1-2",
    ]
    assert cells[1][3] == "2020-01-01"
    assert b"\r" not in raw
    np.testing.assert_array_equal(
        tables.read(path).numbers("value", missing_ok=True), frame["value"].to_numpy()
    )
    assert frame["=name"][0] == "=1+1"


BEGINNINGS = ("", "'", "''", "=", "+", "-", "@", "\t", "\n", "'=", "''@", "-1", "+2.5e3", "a")
TEXT = st.builds(
    str.__add__,
    st.sampled_from(BEGINNINGS),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=4),
)


@given(TEXT)
def test_escaped_text_is_no_formula_and_comes_back(text):
    cell = tables.escaped(text)
    assert tables.unescaped(cell) == text
    is_number = re.fullmatch(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?", cell, re.ASCII)
    assert is_number or not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert len(cell) <= len(text) + 1


@pytest.mark.parametrize("number", ["-5", "+5", "-1.5", "-1,5", "+.5", "-1e-300", "7"])
def test_text_that_is_a_number_stays_as_it_is(number):
    assert tables.escaped(number) == number


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(TEXT, st.floats(allow_infinity=False)), min_size=1, max_size=6),
    st.tuples(TEXT, TEXT).filter(lambda names: names[0] != names[1] and all(names)),
)
def test_written_frames_are_read_back_as_they_were(tmp_path_factory, rows, names):
    path = tmp_path_factory.getbasetemp() / "frame.csv"
    frame = pd.DataFrame(rows, columns=list(names))
    tables.write_csv(frame, path)
    read = tables.read_csv(path, text=names[:1])
    assert list(read) == list(names)
    assert read[names[0]].tolist() == frame[names[0]].tolist()
    np.testing.assert_allclose(read[names[1]], frame[names[1]], rtol=1e-15)


def test_answers_of_which_some_are_missing_are_read(tmp_path):
    (tmp_path / "a.csv").write_text("key,is_right\na,True\nb,\nc,False\n")
    frame = tables.read_csv(tmp_path / "a.csv", text={"key"})
    assert frame["is_right"].tolist()[::2] == [True, False] and pd.isna(frame["is_right"][1])


def test_the_reader_of_users_tables_takes_one_apostrophe_off_too(tmp_path):
    frame = pd.DataFrame({"name": ["=1+1", "'=1+1", "''", "'a", "-5"]})
    tables.write_csv(frame, tmp_path / "out.csv")
    assert tables.read(tmp_path / "out.csv").frame["name"].tolist() == frame["name"].tolist()


def test_a_frame_without_rows_writes_its_headings(tmp_path):
    tables.write_csv(pd.DataFrame({"a": [], "b": []}), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == b"a,b\n"


def test_a_full_disk_is_said_and_leaves_the_old_table(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = write(tmp_path, "old")
    monkeypatch.setattr(os, "fsync", fail)
    error = message(path, lambda path: tables.write_csv(pd.DataFrame({"a": [1]}), path))
    assert error.startswith(f"{path} cannot be written: No space left on device. Free some space")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_headings_are_read_without_the_rows_below_them(tmp_path):
    path = write(tmp_path, '\n"a, b",Depth [m]\n1,2\n3,"4')
    assert tables.headings(path) == ["a, b", "Depth [m]"]
    with pytest.raises(UserError, match="line 4"):
        tables.read(path)


def test_a_table_of_one_width_refuses_short_and_long_rows(tmp_path):
    def read(text):
        return tables.read(write(tmp_path, text), name_of=str, same_width=True)

    assert list(read("A,b_c,\n1,2,3\n").headings.items()) == [
        ("A", "A"),
        ("b_c", "b_c"),
        ("column 3", ""),
    ]
    assert message("a,b\n1,2\n3\n4,5\n", read) == (
        "layers.csv line 3: the row has 1 cells, expected 2, one for each column. Correct the row, "
        "or export the file again."
    )
    assert message("a,b\n1,2\n3,4,5\n\n", read) == (
        "layers.csv line 3: the row has 3 cells, expected 2, one for each column. It is the last "
        "row: the file may be cut short. Correct the row, or export the file again."
    )


def test_whole_numbers_and_numbers_that_are_not_finite(tmp_path):
    table = tables.read(write(tmp_path, "n,x\n3,1.#QNAN\n0,-inf\n7,\n"))
    assert table.whole_numbers("n").tolist() == [3, 0, 7]
    values = table.numbers("x", missing_ok=True, finite=False)
    np.testing.assert_array_equal(values, [np.nan, -np.inf, np.nan])
    table = tables.read(write(tmp_path, "n\n3\n-1\n"))
    assert message("n", table.whole_numbers) == (
        "layers.csv line 3: n is -1, expected a whole number of 0 or more. Correct the cell."
    )


def test_rows_whose_headings_stand_elsewhere(tmp_path):
    path = tmp_path / "run.lst"
    table = tables.read_rows(path, "1|a\n\n2|b\n", names=["n", "kind"], delimiter="|", above=4)
    assert table.frame.to_numpy().tolist() == [["1", "a"], ["2", "b"]]
    assert table.where(1) == "run.lst line 7"


LINES = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(LINES, st.floats(allow_nan=False, allow_infinity=False)), min_size=1),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(",;\t"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_tables_come_back_in_every_encoding(
    tmp_path_factory, rows, encoding, line_end, delimiter, quoting
):
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
    writer.writerow(["größe", "x"])
    writer.writerows(["*" + note, value] for note, value in rows)
    path = write(tmp_path_factory.getbasetemp(), stream.getvalue().encode(encoding), "coded.csv")
    table = tables.read(path)
    assert table.frame["größe"].tolist() == [("*" + note).strip() for note, _ in rows]
    assert table.numbers("x", missing_ok=False).tolist() == [value for _, value in rows]
    assert table.lines.tolist() == list(range(2, 2 + len(rows)))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(LINES, max_size=5),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
    st.sampled_from(".,"),
)
def test_a_description_of_any_lines_is_no_part_of_the_table(
    tmp_path_factory, description, values, mark
):
    above = ["/* DATA DESCRIPTION:", *("\t" + line for line in description), "*/"]
    below = ["Depth [m]\tnote", *(f'{value!r}\t"'.replace(".", mark) for value in values)]
    text = "\n".join([*above, *below])
    table = tables.read(write(tmp_path_factory.getbasetemp(), text, "core.tab"))
    assert table.numbers("depth", missing_ok=False).tolist() == values
    assert table.lines[0] == len(above) + 2
