"""Folders of pictures, one a particle, with a table of them, as ICELEARNING's data set has it.

Its pictures are called class_date_repeat_flowcell_lens_number ("camp_11nov_4_fc80_20x_33.png") and
its samples core_bag_..._number, so that what stands before the last number is the run.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import derived_columns, flowcam_table, particle_table
from tfpipe.tasks.insolubles.flowcam_table import FlowCamTable
from tfpipe.tasks.insolubles.options import Options, names
from tfpipe.tasks.insolubles.particle_table import Particles
from tfpipe.tasks.insolubles.visual_spreadsheet import unknown_note


def read(folder: Path, table: Path, options: Options) -> Particles:
    """Returns the particles that a table of pictures lists.

    Args:
      folder: the pictures are in or under it.
      table: a CSV with a column imgpaths, and VisualSpreadsheet's columns; classes by name in a
        column (label, class or category), or by `options.class_columns`.
      options: the user's.

    Raises:
      UserError: naming file and line, where a picture is absent, listed twice or tells no run, or
        the classes contradict each other.
    """
    found = flowcam_table.read_csv(table)
    paths = particle_table.pictures_meant(
        found.text("picture"), folder, lines=found.lines, table=table
    )
    refuse_twice(paths, found.lines, table=table)
    numbers = found.numbers()
    numbers = numbers.assign(**derived_columns.derived(numbers))
    columns = names(options.class_columns)
    if columns:
        labels = _one_of(columns, found)
    elif found.has("label"):
        labels = found.text("label").to_numpy(object)
    else:
        labels = np.full(len(paths), "")
    rows = particle_table.rows(
        len(paths),
        run=runs(paths, pattern=options.run_pattern, folder=folder),
        particle=[Path(path).stem for path in paths],
        file=paths,
        um_per_px=numbers.get("calibration_factor_um", np.nan),
        label=labels,
        line=found.lines,
    )
    notes = unknown_note(found, besides=columns)
    return Particles(folder, table, rows, numbers, (table,), tuple(notes))


def runs(paths: list[str], *, pattern: str, folder: Path) -> list[str]:
    """Returns the run of each picture, by its name; the folder's name if `pattern` is empty.

    Raises:
      UserError: the pattern is none, or a name does not follow it.
    """
    if not pattern:
        return [folder.name] * len(paths)
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"Option run_pattern is {pattern!r}, which is no regular expression: {error}."
        ) from error
    found = []
    for path in paths:
        match = compiled.fullmatch(Path(path).stem)
        if match is None:
            raise UserError(
                f"The name of the picture {files.shown(path)} tells no run: {pattern!r} does not "
                "fit it. Give another --option run_pattern=..., or an empty one where the folder "
                "is one run."
            )
        found.append(match[1] if compiled.groups else match[0])
    return found


def refuse_twice(paths: list[str], lines: np.ndarray, *, table: Path) -> None:
    """Raises a UserError if a picture stands in two lines of its table."""
    twice = pd.Series(paths).duplicated().to_numpy()
    if twice.any():
        row = int(twice.argmax())
        raise UserError(
            f"{files.shown(table.name)} line {lines[row]}: the picture {paths[row]} is already in "
            f"line {lines[paths.index(paths[row])]}, expected each once. Remove one of the rows."
        )


def _one_of(columns: tuple[str, ...], table: FlowCamTable) -> np.ndarray:
    """Returns the class [rows] str of 0/1 columns, "" where all are 0."""
    absent = [name for name in columns if name not in table.cells.headings]
    if absent:
        raise UserError(
            f"{table.name} has no column {absent[0]!r}, as option class_columns says. Correct it."
        )
    ones = np.stack(
        [table.cells.numbers(name, missing_ok=False) for name in columns],
        axis=1,
    )
    wrong = ~np.isin(ones, (0, 1)).all(axis=1) | (ones.sum(axis=1) > 1)
    if wrong.any():
        raise UserError(
            f"{table.name} line {table.lines[int(wrong.argmax())]}: {', '.join(columns)} are not "
            "zeros with at most one 1 among them, as class_columns need. Correct the row."
        )
    chosen = np.array(columns, object)[ones.argmax(axis=1)]
    return np.where(ones.any(axis=1), chosen, "")
