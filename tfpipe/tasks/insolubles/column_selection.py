"""Selection of columns that a model may use: in all runs, not constant, not telling the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfpipe.base import files
from tfpipe.base.choose import listed
from tfpipe.tasks.insolubles import column_names
from tfpipe.tasks.insolubles.options import InsolublesOptions
from tfpipe.tasks.insolubles.particle_table import Particles
from tfpipe.tasks.task import LeftOut

if TYPE_CHECKING:
    import pandas as pd

_MAX = np.finfo(np.float32).max


def select(
    tables: list[Particles], options: InsolublesOptions, *, is_new: bool = False
) -> tuple[tuple[str, ...], list[np.ndarray], list[str]]:
    """Selects the columns of all runs together.

    A value that is no finite number is replaced by the median of the particle's own run. So no
    information passes from one run to another, and new runs are treated alike.

    Args:
      tables: the particles of the runs.
      options: the user's; only `leaking` matters here.
      is_new: whether a trained model selects its columns by name, so that constant ones stay.

    Returns:
      The names, in the order of column_names.py; the values [particles, columns] float32 of each
      table; and notes on what is left out.
    """
    import pandas as pd

    in_all = set.intersection(*({*table.numbers} for table in tables))
    in_any = _ordered(set.union(*({*table.numbers} for table in tables)))
    notes = _note("not in every run, so unused", [name for name in in_any if name not in in_all])
    names = [name for name in in_any if name in in_all]
    if options.leaking == "no":
        notes += _note(
            "columns that identify the run or the place in it, so unused (--option leaking=yes "
            "uses them)",
            [name for name in names if name in column_names.LEAKING],
        )
        names = [name for name in names if name not in column_names.LEAKING]
    arrays = [table.numbers[names].to_numpy(np.float64) for table in tables]
    runs = pd.concat([table.rows["run"] for table in tables], ignore_index=True)
    values = np.concatenate(arrays)
    with np.errstate(invalid="ignore"):
        is_finite = np.abs(values) <= _MAX
    incomplete = np.flatnonzero(~is_finite.all(axis=0))
    values[:, incomplete] = _with_medians(values[:, incomplete], is_finite[:, incomplete], runs)
    is_complete = np.isfinite(values).all(axis=0)
    notes += _note("columns without any number in a run, so unused", _masked(names, ~is_complete))
    values = values.astype(np.float32)
    varies = (values != values[:1]).any(axis=0)
    is_constant = is_complete & ~varies & (not is_new)
    notes += _note("constant columns, so unused", _masked(names, is_constant))
    is_used = is_complete & (varies | is_new)
    notes += _replaced(tables, names, is_finite | ~is_used)
    ends = np.cumsum([len(array) for array in arrays])[:-1]
    return tuple(_masked(names, is_used)), np.split(values[:, is_used], ends), notes


def _with_medians(values: np.ndarray, is_finite: np.ndarray, runs: pd.Series) -> np.ndarray:
    """Returns values [n, columns] with the median of its run for each that is not finite."""
    import pandas as pd

    finite = pd.DataFrame(np.where(is_finite, values, np.nan))
    medians = finite.groupby(runs.to_numpy()).transform("median").to_numpy()
    return np.where(is_finite, values, medians)


def _ordered(names: set[str]) -> list[str]:
    """Returns names in the order of column_names.py, other names last."""
    listed = [name for name in column_names.NUMBERS if name in names]
    return listed + sorted(names - {*listed})


def _masked(names: list[str], mask: np.ndarray) -> list[str]:
    return [name for name, is_selected in zip(names, mask, strict=True) if is_selected]


def _note(reason: str, names: list[str]) -> list[str]:
    if not names:
        return []
    return [LeftOut(f"{reason[0].upper()}{reason[1:]}: {listed(names, most=60)}.")]


def _replaced(tables: list[Particles], names: list[str], is_fine: np.ndarray) -> list[str]:
    """Returns a note for each table with values [particles, columns] that were replaced."""
    notes, start = [], 0
    for table in tables:
        fine = is_fine[start : start + len(table.rows)]
        start += len(table.rows)
        if fine.all():
            continue
        lines = table.rows["line"].to_numpy()
        cells = [
            f"{name} {len(rows)} (line {listed(lines[rows], most=3)})"
            for name, column in zip(names, fine.T, strict=True)
            if len(rows := np.flatnonzero(~column))
        ]
        notes.append(
            f"{files.shown(table.table.name)}: values that are no finite numbers are replaced by "
            f"the median of their run: {listed(cells, most=12)}."
        )
    return notes
