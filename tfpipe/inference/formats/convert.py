"""Conversion of a table of predictions to the format of another program."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tfpipe.base import files, tables
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.inference.formats import darwin_core, ifcb, pangaea

# Columns of predictions that hold text, whatever it looks like: a run may be called 007.
TEXT = frozenset(
    {"key", "group", "run", "file", "particle", "photo", "label", "status", "classes", "kind"}
)
_NUMBERS = re.compile(r"p_.*|depth_.*|thickness_mm|probability")
_BOOLEANS = frozenset({"abstain", "blurred", "new", "uncertain"})
_WORDS = {"true": True, "1": True, "false": False, "0": False}


class TableExport(NamedTuple):
    """A table of predictions in the format of another program.

    Attributes:
      path: the file, or the folder of several.
      format: name of the format.
      rows: rows that were written.
      notes: sentences on what was left out.
    """

    path: Path
    format: str
    rows: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableFormat:
    """A format that predictions are written in.

    Attributes:
      needs: columns of the predictions that it is made of.
      rows: what their rows are, such as "layers".
      write: (predictions, out, what it takes by name) -> rows written, notes.
      takes: names of what it takes besides: "sites", "names", "about".
    """

    needs: tuple[str, ...]
    rows: str
    write: Callable[..., tuple[int, tuple[str, ...]]]
    takes: tuple[str, ...] = field(default=())


FORMATS = {
    "darwin-core": TableFormat(
        ("key", "group", "label", "abstain"),
        "images",
        darwin_core.write,
        ("sites", "names"),
    ),
    "ifcb": TableFormat(("key", "group", "label", "abstain"), "images", ifcb.write),
    "pangaea": TableFormat(
        ("photo", "depth_from_m", "depth_to_m"), "layers", pangaea.write, ("about",)
    ),
}
EMPTY: dict[str, Any] = {"sites": None, "names": None, "about": {}}


def convert(
    predictions: str | Path,
    to: str,
    out: str | Path,
    *,
    sites: str | Path | None = None,
    names: str | Path | None = None,
    about: Mapping[str, str] | None = None,
) -> TableExport:
    """Writes a table of predictions in the format of another program.

    Args:
      predictions: the table, .csv or .parquet, as `Version.predict` writes it.
      to: "darwin-core", "ifcb" or "pangaea".
      out: the file; for "ifcb" a new folder.
      sites: of "darwin-core", table of the groups: group, latitude, longitude, date, perhaps
        depth from, depth to (m) and volume (ml).
      names: of "darwin-core", table of the classes: class, scientific name, perhaps scientific
        name id.
      about: of "pangaea", name -> value: event, and perhaps `pangaea.FIELDS`.

    Raises:
      UserError: there is no such format, a column or a row of a table is missing or wrong, or the
        file cannot be written.
    """
    form = FORMATS[choose(to, FORMATS, noun="format of predictions")]
    path, out = Path(predictions), Path(out)
    given = {"sites": sites, "names": names, "about": dict(about or {})}
    for name, value in given.items():
        if value != EMPTY[name] and name not in form.takes:
            raise UserError(f"--{name} is not for --to {to}. Leave it out.")
    frame = read_predictions(path)
    missing = [name for name in form.needs if name not in frame]
    if missing:
        raise UserError(
            f"{files.shown(path.name)} has no column {missing[0]}, expected a table of predicted "
            f"{form.rows}, of which --to {to} is made. Name that table."
        )
    if not len(frame):
        raise UserError(f"{files.shown(path.name)} has no predictions. Name another table.")
    taken = {name: Path(v) if isinstance(v, str) else v for name, v in given.items()}
    for read in (path, sites, names):
        if read is not None and Path(read).resolve() == out.resolve():
            raise UserError(f"--out is {files.shown(out)}, which is read. Give another name.")
    rows, notes = form.write(frame, out, **{name: taken[name] for name in form.takes})
    return TableExport(out, to, rows, notes)


def read_predictions(path: Path) -> pd.DataFrame:
    """Returns a table that `predict` wrote, .csv or .parquet.

    Raises:
      UserError: it is missing, or no such table, or a cell is no number, or not True or False.
    """
    data = files.contents(path, expected="a table of predictions")
    try:
        if data.startswith(b"PAR1"):
            frame = pd.read_parquet(path)
        else:
            frame = tables.read_csv(path, text=TEXT | _BOOLEANS)
    except (ValueError, OSError) as error:
        raise UserError(
            f"{files.shown(path)} is no table of predictions, .csv or .parquet "
            f"({type(error).__name__}). Predict again."
        ) from error
    where = files.shown(path.name)
    for name in map(str, frame.columns):
        if _NUMBERS.fullmatch(name):
            frame[name] = _numbers(frame[name], where=where)
        elif name in _BOOLEANS:
            frame[name] = _booleans(frame[name], where=where)
    return frame


def _numbers(cells: pd.Series, *, where: str) -> np.ndarray:
    """Returns [rows] float64 of cells, NaN for empty ones, which only depths may be."""
    values = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    may_be_empty = not str(cells.name).startswith("p_")
    is_empty = (cells.isna() | (cells == "")).to_numpy() & may_be_empty
    _check(cells, np.isfinite(values) | is_empty, expected="a number with a point", where=where)
    return values


def _booleans(cells: pd.Series, *, where: str) -> np.ndarray:
    """Returns [rows] bool of cells that are True, False, 1 or 0."""
    if cells.dtype.kind == "f":
        cells = cells.map(lambda value: f"{value:g}")
    values = [_WORDS.get(str(cell).strip().lower()) for cell in cells]
    is_right = np.array([value is not None for value in values], bool)
    _check(cells, is_right, expected="True or False", where=where)
    return np.array(values, bool)


def _check(cells: pd.Series, is_right: np.ndarray, *, expected: str, where: str) -> None:
    """Raises a UserError that names the first wrong cell."""
    for row in np.flatnonzero(~is_right)[:1].tolist():
        cell = cells.iloc[row]
        came = "empty" if pd.isna(cell) or cell == "" else repr(str(cell)[:40])
        raise UserError(
            f"{where} row {row + 1}: {cells.name} is {came}, expected {expected}. Predict again, "
            "or correct the cell."
        )
