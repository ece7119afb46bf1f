"""Which columns a model may see: those that all runs have, that vary, and that tell no run."""

import numpy as np
import pandas as pd

from tfpipe.base import files
from tfpipe.tasks.insolubles import column_names
from tfpipe.tasks.insolubles.options import Options
from tfpipe.tasks.insolubles.particle_table import Particles, in_words
from tfpipe.tasks.task import LeftOut

_LARGEST = np.finfo(np.float32).max


def settle(
    found: list[Particles], options: Options, *, is_new: bool = False
) -> tuple[tuple[str, ...], list[np.ndarray], list[str]]:
    """Finds the columns of all runs together.

    A particle with a value that is no finite number stays, and has the median of its own run in its
    place: nothing crosses from one run to another, and new runs are treated alike.

    Args:
      found: the runs.
      options: the user's; `leaking` counts here.
      is_new: whether a trained model will pick its columns by name, so that constant ones stay.

    Returns:
      The names, in the order of headings.py; the values [particles, columns] float32 of each of
      `found`; and notes on what is left out.
    """
    everywhere = set.intersection(*({*one.numbers} for one in found))
    anywhere = _ordered(set.union(*({*one.numbers} for one in found)))
    notes = _note("not in every run, so unused", [n for n in anywhere if n not in everywhere])
    named = [name for name in anywhere if name in everywhere]
    if options.leaking == "no":
        notes += _note(
            "columns that tell the run or the place in it, so unused (--option leaking=yes lets "
            "them in)",
            [name for name in named if name in column_names.LEAKING],
        )
        named = [name for name in named if name not in column_names.LEAKING]
    tables = [one.numbers[named].to_numpy(np.float64) for one in found]
    runs = pd.concat([one.rows["run"] for one in found], ignore_index=True)
    values = np.concatenate(tables)
    with np.errstate(invalid="ignore"):
        is_finite = np.abs(values) <= _LARGEST
    gaps = np.flatnonzero(~is_finite.all(axis=0))
    values[:, gaps] = _with_medians(values[:, gaps], is_finite[:, gaps], runs)
    is_known = np.isfinite(values).all(axis=0)
    notes += _note("columns without any number in a run, so unused", _picked(named, ~is_known))
    values = values.astype(np.float32)
    varies = (values != values[:1]).any(axis=0)
    notes += _note("constant columns, so unused", _picked(named, is_known & ~varies & (not is_new)))
    kept = is_known & (varies | is_new)
    notes += _filled(found, named, is_finite | ~kept)
    ends = np.cumsum([len(table) for table in tables])[:-1]
    return tuple(_picked(named, kept)), np.split(values[:, kept], ends), notes


def _with_medians(values: np.ndarray, is_finite: np.ndarray, runs: pd.Series) -> np.ndarray:
    """Returns values [n, columns] with the median of its run for each that is not finite."""
    finite = pd.DataFrame(np.where(is_finite, values, np.nan))
    medians = finite.groupby(runs.to_numpy()).transform("median").to_numpy()
    return np.where(is_finite, values, medians)


def _ordered(names: set[str]) -> list[str]:
    known = [name for name in column_names.NUMBERS if name in names]
    return known + sorted(names - {*known})


def _picked(names: list[str], mask: np.ndarray) -> list[str]:
    return [name for name, one in zip(names, mask, strict=True) if one]


def _note(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    return [LeftOut(f"{what[0].upper()}{what[1:]}: {in_words(names, most=60)}.")]


def _filled(found: list[Particles], names: list[str], is_fine: np.ndarray) -> list[str]:
    """Returns a note for each table with values [particles, columns] that are not finite."""
    notes, start = [], 0
    for one in found:
        fine = is_fine[start : start + len(one.rows)]
        start += len(one.rows)
        if fine.all():
            continue
        cells = [
            f"{name} {len(rows)} (line {in_words(one.rows['line'].to_numpy()[rows], most=3)})"
            for name, column in zip(names, fine.T, strict=True)
            if len(rows := np.flatnonzero(~column))
        ]
        notes.append(
            f"{files.shown(one.table.name)}: values that are no finite numbers are replaced by the "
            f"median of their run: {in_words(cells)}."
        )
    return notes
