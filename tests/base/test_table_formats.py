"""The same table in every format gives the same rows, and is found by its columns."""

import csv
import io
import zipfile
from xml.sax.saxutils import escape

import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpipe.base import table_formats, tables
from tfpipe.base.errors import UserError

NEEDS = (("depth from", "depth top"), ("type of feature", "type"))
HEADINGS = ["depth from [m]", "type of feature", "note"]


def text(rows, *, delimiter=",", above=""):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(HEADINGS)
    writer.writerows([repr(depth), *map(tables.escaped, words)] for depth, *words in rows)
    return (above + stream.getvalue()).encode()


def xlsx(rows):
    book = openpyxl.Workbook()
    book.active.append(["About these data", None, "see the next sheet"])
    sheet = book.create_sheet("features")
    sheet.append(["Features of the core"])
    for row in [HEADINGS, *rows]:
        sheet.append(row)
        for cell in sheet[sheet.max_row]:
            cell.data_type = "s" if isinstance(cell.value, str) else cell.data_type
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


MANIFEST = (
    '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
)


def ods(rows):
    """Returns an OpenDocument spreadsheet (ODF 1.3, part 3), text first, as its parts."""

    def cell(value):
        if isinstance(value, float):
            return f'<table:table-cell office:value-type="float" office:value="{value!r}"/>'
        return (
            '<table:table-cell office:value-type="string">'
            f"<text:p>{escape(value)}</text:p></table:table-cell>"
        )

    def sheet(name, lines):
        body = "".join(
            f"<table:table-row>{''.join(map(cell, line))}</table:table-row>" for line in lines
        )
        return f'<table:table table:name="{name}">{body}</table:table>'

    spaces = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "table", "text")
    )
    content = (
        f"<office:document-content{spaces}><office:body><office:spreadsheet>"
        + sheet("about", [["About these data"]])
        + sheet("features", [HEADINGS, *rows])
        + "</office:spreadsheet></office:body></office:document-content>"
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        file.writestr("content.xml", content)
        file.writestr("META-INF/manifest.xml", MANIFEST)
    return stream.getvalue()


def parquet(rows):
    stream = io.BytesIO()
    pd.DataFrame(rows, columns=HEADINGS).to_parquet(stream)
    return stream.getvalue()


PANGAEA = "/* DATA DESCRIPTION:\nCitation:\tA core\nEvent(s):\t(a, b) * c\n*/\n"
WRITERS = {
    "csv": text,
    "tsv": lambda rows: text(rows, delimiter="\t"),
    "txt": lambda rows: text(rows, delimiter=";", above="# by somebody, in 2020\n# in metres\n"),
    "tab": lambda rows: text(rows, delimiter="\t", above=PANGAEA),
    "xlsx": xlsx,
    "ods": ods,
    "parquet": parquet,
}

WORDS = st.text(
    st.characters(codec="utf-8", categories=["L", "N"], include_characters=" =,;#-+()"),
    max_size=12,
).map(str.strip)
# openpyxl writes 16 digits, so a number of 17 does not come back from any .xlsx of its own.
DEPTHS = st.integers(-(10**9), 10**9).map(lambda tenth_mm: tenth_mm / 10_000)


@settings(max_examples=20, deadline=None)  # each in seven formats
@given(st.lists(st.tuples(DEPTHS, WORDS, WORDS), min_size=1, max_size=6))
def test_the_same_table_in_every_format_gives_the_same_rows(tmp_path_factory, rows):
    expected = [
        [depth, *("" if word in tables.MISSING else word for word in words)]
        for depth, *words in rows
    ]
    for ending, written in WRITERS.items():
        path = tmp_path_factory.getbasetemp() / f"same.{ending}"
        path.write_bytes(written([list(row) for row in rows]))
        table = tables.read(path, *NEEDS)
        depths = table.numbers(table.need("depth from"), unit="m", missing_ok=False)
        words = table.frame[["type of feature", "note"]].to_numpy().tolist()
        assert [[depth, *pair] for depth, pair in zip(depths, words, strict=True)] == expected, (
            ending
        )


@pytest.mark.parametrize(
    ("ending", "source"),
    [("xlsx", "any.xlsx, sheet 'features'"), ("ods", "any.ods, sheet 'features'")],
)
def test_the_sheet_that_has_the_columns_is_taken_and_named(tmp_path, ending, source):
    path = tmp_path / f"any.{ending}"
    path.write_bytes(WRITERS[ending]([[1.5, "meltLayer", "a"]]))
    assert tables.read(path, *NEEDS).source == source
    assert tables.find(tmp_path, *NEEDS) == path


def test_two_sheets_with_the_columns_are_refused(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(HEADINGS)
    book.create_sheet("again").append(HEADINGS)
    book.save(tmp_path / "any.xlsx")
    with pytest.raises(UserError, match="on the sheets 'Sheet' and 'again', expected one sheet"):
        tables.read(tmp_path / "any.xlsx", *NEEDS)


def test_of_several_tables_the_preferred_one_is_taken_else_all_are_named(tmp_path):
    for name in ("a.csv", "b.tsv", "photo list.csv"):
        (tmp_path / name).write_bytes(text([[1.0, "x", "y"]]))
    (tmp_path / "unlike.csv").write_text("depth from,width\n1,2\n")
    with pytest.raises(UserError, match=r"a\.csv, b\.tsv and 1 more"):
        tables.find(tmp_path, *NEEDS, noun="table of features")
    assert tables.find(tmp_path, *NEEDS, prefer="b") == tmp_path / "b.tsv"
    assert tables.find(tmp_path, *NEEDS, but=("a", "b")) == tmp_path / "photo list.csv"
    assert tables.find(tmp_path, *NEEDS, lacks=("note",)) is None


@pytest.mark.parametrize(
    ("heading", "metres"),
    [
        ("top", 250),
        ("top_m", 250),
        ("top_cm", 2.5),
        ("Top [cm]", 2.5),
        ("top_mm", 0.25),
        ("top in mm", 0.25),
        ("top (km)", 250_000),
    ],
)
def test_units_of_headings_are_converted_in_brackets_or_not(tmp_path, heading, metres):
    (tmp_path / "a.csv").write_text(f"{heading},x\n250,1\n")
    table = tables.read(tmp_path / "a.csv", ("top",))
    assert table.numbers(table.need("top"), unit="m", missing_ok=False) == [metres]


@pytest.mark.parametrize(
    ("encoding", "line", "name"),
    [
        ("utf-8", "дуб,Größe,été", ""),
        ("utf-16", "дуб,Größe,été", ""),
        ("cp1252", "Größe,été,naïve,forêt,Ångström,œuvre,señor,coração", "Windows-1252"),
        ("latin-1", "Füße,Äpfel,Übermaß", "Windows-1252"),
        ("cp1251", "дуб,вяз,ёлка", "Windows-1251"),
        ("cp1251", "Picea abies,ель,Quercus,дуб", "Windows-1251"),
        ("ascii", "oak,elm", ""),
    ],
)
def test_text_is_read_in_its_encoding(tmp_path, encoding, line, name):
    path = tmp_path / "a.csv"
    path.write_bytes(f"{line}\n".encode(encoding))
    assert tables.headings(path) == line.split(",")
    assert table_formats.encoding_of(path) == name
