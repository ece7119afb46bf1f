"""Table of particles from a FlowCam: an exported CSV or a list (.lst), under our column names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfpipe.base import files, table_formats, tables
from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import column_names

if TYPE_CHECKING:
    import pandas as pd

_LST_TYPE = re.compile("[a-z][a-z0-9_]*")  # int32, double, string, timestamp, guid and others
# The fields of lists without a head, by their number, as ZooImage's importer has them
# (zooimage, zooImport.R): those of a FlowCAM II (VisualSpreadsheet 1) and of a FlowCAM III (2).
_OLD_BEGIN = (
    "id cal_const raw_area raw_feret_max raw_feret_min raw_feret_mean raw_perimeter "
    "raw_convex_perimeter abd_area abd_diameter length width esd_diameter perimeter "
    "convex_perimeter intensity sigma_intensity compactness elongation sum_intensity roughness "
    "feret_max_angle"
)
_OLD_MIDDLE = (
    "avg_red avg_green avg_blue ppc ch1_peak ch1_width ch2_peak ch2_width ch3_peak ch3_width "
    "ch4_peak ch4_width collage_file image_x image_y image_w image_h src_x src_y"
)
_OLD_FIELDS = {
    44: f"{_OLD_BEGIN} {_OLD_MIDDLE} high_u32 low_u32 total".split(),
    47: (
        f"{_OLD_BEGIN} feret_min_angle {_OLD_MIDDLE} edge_gradient timestamp timestamp2 src_image "
        "cal_image"
    ).split(),
}
# Programs of other authors write these for cells without a value.
_MISSING = (*tables.MISSING, "#N/A", "<NA>", "NULL", "null", "None")


@dataclass(frozen=True, eq=False)
class FlowCamTable:
    """A table of particles.

    Attributes:
      cells: the table under its headings as written.
      columns: our name -> heading, for the headings that have a meaning here.
    """

    cells: tables.Table
    columns: dict[str, str]

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.cells.name

    @property
    def lines(self) -> np.ndarray:
        """The line of the file where each row begins, [rows] int."""
        return self.cells.lines

    @property
    def unknown(self) -> list[str]:
        """The headings that have no meaning here."""
        meant = set(self.columns.values())
        return [text for name, text in self.cells.headings.items() if text and name not in meant]

    def has(self, name: str) -> bool:
        """Returns whether the table has the column that we call so."""
        return name in self.columns

    def text(self, name: str) -> pd.Series:
        """Returns a column [rows] str without stray whitespace, "" where it is empty.

        Raises:
          UserError: there is no such column.
        """
        return self.cells.frame[self._heading(name)].str.split().str.join(" ")

    def whole_numbers(self, name: str) -> np.ndarray:
        """Returns a column [rows] int64.

        Raises:
          UserError: there is no such column, or a cell is no whole number of 0 or more.
        """
        return self.cells.whole_numbers(self._heading(name))

    def numbers(self) -> pd.DataFrame:
        """Returns all columns that measure something, [rows, columns] float64 under our names."""
        import pandas as pd

        measured = {
            name: self.cells.numbers(heading, missing_ok=True, finite=False)
            for name, heading in self.columns.items()
            if name in column_names.NUMBERS
        }
        return pd.DataFrame(measured, index=range(len(self.lines)))

    def _heading(self, name: str) -> str:
        if name not in self.columns:
            written = " or ".join(filter(None, column_names.TABLE[name]))
            raise UserError(
                f"{self.name} has no column {written}, expected one for every particle. Export it "
                "too."
            )
        return self.columns[name]


def read_csv(path: Path) -> FlowCamTable:
    """Returns the particles of a table of commas, semicolons or tabs.

    Raises:
      UserError: naming file and line, where it is no such table, two headings mean the same, or a
        row has more or fewer cells than there are headings.
    """
    cells = cells_of(path)
    return FlowCamTable(
        cells,
        column_names.match_csv_headings(cells.headings.values(), where=f"{cells.name} line 1"),
    )


def read_lst(path: Path) -> FlowCamTable:
    """Returns the particles of a list, which has one row of fields for each.

    Its lines are: a version ("017"), "num-fields|64", name and type of each field, then the rows,
    with `|` between cells. The lists of VisualSpreadsheet 1 and 2 name no fields: two lines, then
    rows of 44 or 47 cells with colons between them.

    Raises:
      UserError: naming the line, where the number of fields is wrong, a field has no type or
        stands twice, or a row has another length.
    """
    name = files.shown(path.name)
    text = table_formats.text_of(path, expected="a FlowCam list (.lst)")
    lines = text.splitlines()
    if len(lines) > 2 and (old := _OLD_FIELDS.get(lines[2].count(":") + 1)):
        rows = "\n".join(lines[2:])
        cells = tables.read_rows(path, rows, names=old, delimiter=":", above=2)
        return FlowCamTable(cells, column_names.match_lst_fields(old, where=name))
    word, _, count = lines[1].partition("|") if len(lines) > 1 else ("", "", "")
    is_count = count.strip().isdecimal() and len(count) < 10
    if not lines[0].strip().isdecimal() or word != "num-fields" or not is_count:
        raise UserError(
            f"{name} does not begin with a version and num-fields|<number>, nor has it rows of 44 "
            "or 47 cells with colons, so it is no FlowCam list. Export or copy it again."
        )
    fields: list[str] = []
    for number, line in enumerate(lines[2 : 2 + int(count)], start=3):
        field, bar, kind = line.strip().partition("|")
        if not bar or not _LST_TYPE.fullmatch(kind):
            raise UserError(
                f"{name} line {number}: this is no field's name|type, but line 2 declares "
                f"{count.strip()} fields, of which {len(fields)} stand above. Correct line 2."
            )
        if field in fields:
            raise UserError(
                f"{name} line {number}: the field {field!r} is already in line "
                f"{3 + fields.index(field)}, expected each once. Export the list again."
            )
        fields.append(field)
    above = 2 + len(fields)
    if len(lines) > above and _LST_TYPE.fullmatch(lines[above].strip().partition("|")[2]):
        raise UserError(
            f"{name} line {above + 1}: this is one more field, but line 2 declares only "
            f"{len(fields)}. Correct line 2, or export the list again."
        )
    rows = "\n".join(lines[above:])
    cells = tables.read_rows(path, rows, names=fields, delimiter="|", above=above)
    return FlowCamTable(cells, column_names.match_lst_fields(fields, where=name))


def cells_of(path: Path) -> tables.Table:
    """Returns a table under its headings as written; errors as `read_csv`."""
    return tables.read(path, name_of=str, missing=_MISSING, same_width=True)


def names_in(path: Path) -> set[str]:
    """Returns what we call the headings of a file; none where it is no table of particles."""
    try:
        written = tables.headings(path)
    except UserError:
        return set()
    return set(column_names.match_csv_headings(written, where=f"{files.shown(path.name)} line 1"))
