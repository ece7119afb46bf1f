"""Image tables: folders of images, one a particle, with a CSV of them, as in the ICELEARNING data.

Its images are called class_date_repeat_flowcell_lens_number ("camp_11nov_4_fc80_20x_33.png") and
its samples core_bag_..._number. The part before the last number is the run.
"""

import re
from pathlib import Path

import numpy as np

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import derived_columns, flowcam_table, particle_table
from tfpipe.tasks.insolubles.flowcam_table import FlowCamTable
from tfpipe.tasks.insolubles.options import InsolublesOptions, names
from tfpipe.tasks.insolubles.particle_table import Particles
from tfpipe.tasks.insolubles.visual_spreadsheet import unknown_note


def read(folder: Path, table: Path, options: InsolublesOptions) -> Particles:
    """Returns the particles of an image table.

    Args:
      folder: the images are in or under it.
      table: a CSV with a column imgpaths, and VisualSpreadsheet's columns; classes by name in a
        column (label, class or category), or by `options.class_columns`.
      options: the user's.

    Raises:
      UserError: naming file and line, where an image is absent, listed twice or has no run in its
        name, or the classes contradict each other.
    """
    particles = flowcam_table.read_csv(table)
    paths = particle_table.match_images(
        particles.text("image_path"), folder, lines=particles.lines, table=table
    )
    check_unique(paths, particles.lines, table=table)
    numbers = particles.numbers()
    numbers = numbers.assign(**derived_columns.derive(numbers))
    columns = names(options.class_columns)
    if columns:
        labels = _from_columns(columns, particles)
    elif particles.has("label"):
        labels = particles.text("label").to_numpy(object)
    else:
        labels = np.full(len(paths), "")
    rows = particle_table.rows(
        len(paths),
        run=run_names(paths, pattern=options.run_pattern, folder=folder),
        particle=[Path(path).stem for path in paths],
        file=paths,
        um_per_px=numbers.get("calibration_factor_um", np.nan),
        label=labels,
        line=particles.lines,
    )
    notes = unknown_note(particles, besides=columns)
    return Particles(folder, table, rows, numbers, (table,), tuple(notes))


def run_names(paths: list[str], *, pattern: str, folder: Path) -> list[str]:
    """Returns the run of each image, by its name; the folder's name if `pattern` is empty.

    Raises:
      UserError: the pattern is no regular expression, or a name does not match it.
    """
    if not pattern:
        return [folder.name] * len(paths)
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"Option run_pattern is {pattern!r}, which is no regular expression: {error}. "
            "Correct it."
        ) from error
    runs = []
    for path in paths:
        match = compiled.fullmatch(Path(path).stem)
        if match is None:
            raise UserError(
                f"The name of the image {files.shown(path)} has no run: it does not match "
                f"{pattern!r}. Give another --option run_pattern=..., or an empty one if the "
                "folder is one run."
            )
        runs.append(match[1] if compiled.groups else match[0])
    return runs


def check_unique(paths: list[str], lines: np.ndarray, *, table: Path) -> None:
    """Raises a UserError if an image is in two lines of its table."""
    import pandas as pd

    is_duplicate = pd.Series(paths).duplicated().to_numpy()
    if is_duplicate.any():
        row = int(is_duplicate.argmax())
        raise UserError(
            f"{files.shown(table.name)} line {lines[row]}: the image {paths[row]} is already in "
            f"line {lines[paths.index(paths[row])]}, expected each once. Remove one of the rows."
        )


def _from_columns(columns: tuple[str, ...], table: FlowCamTable) -> np.ndarray:
    """Returns the class [rows] str of 0/1 columns, "" where all are 0."""
    absent = [name for name in columns if name not in table.cells.headings]
    if absent:
        raise UserError(
            f"{table.name} has no column {absent[0]!r}, which option class_columns names. "
            "Correct the option."
        )
    values = np.stack(
        [table.cells.numbers(name, missing_ok=False) for name in columns],
        axis=1,
    )
    wrong = ~np.isin(values, (0, 1)).all(axis=1) | (values.sum(axis=1) > 1)
    if wrong.any():
        raise UserError(
            f"{table.name} line {table.lines[int(wrong.argmax())]}: {', '.join(columns)} are not "
            "all 0 except at most one 1, as option class_columns needs. Correct the row."
        )
    chosen = np.array(columns, object)[values.argmax(axis=1)]
    return np.where(values.any(axis=1), chosen, "")
