"""Runs of VisualSpreadsheet: a .lst or an exported .csv, collages and a class file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfpipe.base import files
from tfpipe.base.choose import listed
from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import class_file, derived_columns, flowcam_table, particle_table
from tfpipe.tasks.insolubles.flowcam_table import FlowCamTable
from tfpipe.tasks.insolubles.particle_table import Particles
from tfpipe.tasks.task import LeftOut

if TYPE_CHECKING:
    import pandas as pd


def read(
    folder: Path, table: Path, *, classes: Path | None = None, exported: Path | None = None
) -> Particles:
    """Returns the particles of one run; its name is the folder's.

    Args:
      folder: has the collages.
      table: the run's .lst, or its particles exported as .csv.
      classes: its class file; None for labels from a column of classes only.
      exported: a CSV beside a .lst, for the columns that a .lst does not store.

    Raises:
      UserError: naming file and line, where they are damaged or contradict each other.
    """
    is_lst = table.suffix.lower() == ".lst"
    particles = flowcam_table.read_lst(table) if is_lst else flowcam_table.read_csv(table)
    ids = particles.whole_numbers("particle_id")
    line_of = _lines_of(particles, ids)
    box = {
        name: particles.whole_numbers(f"image_{name}_px") for name in ("x", "y", "width", "height")
    }
    _check_boxes(box, particles)
    collages = particles.text("collage")
    _check_collages(collages, particles, folder=folder)
    notes = unknown_note(particles)
    numbers = particles.numbers()
    if exported:
        numbers, more = _with_exported(numbers, ids, exported, table=table)
        notes += more
    numbers = numbers.assign(**derived_columns.derive(numbers))
    labels = np.full(len(ids), "", object)
    if particles.has("label"):
        labels = particles.text("label").to_numpy(object)
    if classes:
        labels, more = _labels(line_of, classes=classes, table=particles)
        notes += more
    rows = particle_table.rows(
        len(ids),
        run=folder.name,
        particle=ids.astype(str),
        file=collages.to_numpy(object),
        x=box["x"],
        y=box["y"],
        width=box["width"],
        height=box["height"],
        um_per_px=numbers.get("calibration_factor_um", np.nan),
        label=labels,
        line=particles.lines,
    )
    tables = tuple(path for path in (table, classes, exported) if path)
    return Particles(folder, table, rows, numbers, tables, tuple(notes))


def unknown_note(table: FlowCamTable, *, besides: tuple[str, ...] = ()) -> list[str]:
    """Returns a note on a table's headings without a meaning, if it has some besides these."""
    unknown = listed((name for name in table.unknown if name not in besides), most=12)
    if not unknown:
        return []
    return [LeftOut(f"{table.name}: columns of unknown meaning are unused: {unknown}.")]


def _lines_of(table: FlowCamTable, ids: np.ndarray) -> dict[int, int]:
    """Returns particle id -> line, in order; each id must occur once."""
    import pandas as pd

    is_duplicate = pd.Series(ids).duplicated().to_numpy()
    if is_duplicate.any():
        row = int(is_duplicate.argmax())
        first_line = table.lines[int((ids == ids[row]).argmax())]
        raise UserError(
            f"{table.name} line {table.lines[row]}: particle {ids[row]} is already in line "
            f"{first_line}, expected each once. Remove one of the rows."
        )
    return dict(zip(ids.tolist(), table.lines.tolist(), strict=True))


def _check_boxes(box: dict[str, np.ndarray], table: FlowCamTable) -> None:
    is_empty = (box["width"] < 1) | (box["height"] < 1)
    if is_empty.any():
        row = int(is_empty.argmax())
        raise UserError(
            f"{table.name} line {table.lines[row]}: the particle's image is "
            f"{box['width'][row]} x {box['height'][row]} px, expected at least 1 x 1. "
            "Remove the row, or export it again."
        )


def _check_collages(collages: pd.Series, table: FlowCamTable, *, folder: Path) -> None:
    for row, collage in collages.drop_duplicates().items():
        where = f"{table.name} line {table.lines[row]}"
        if not files.inside(folder, collage, where=where).is_file():
            raise UserError(
                f"{where}: the collage {collage!r} is not in {files.shown(folder.name)}. Copy it "
                "there with the other files of the run."
            )


def _labels(
    line_of: dict[int, int], *, classes: Path, table: FlowCamTable
) -> tuple[np.ndarray, list[str]]:
    """Returns the class [particles] str of each, "" for those in none or in several; and notes.

    A particle in two classes has no label, as either would be a guess. It is no error, so that one
    slip of the mouse does not cost a run of thousands.
    """
    member_of: dict[int, class_file.ClassMember] = {}
    several: dict[int, str] = {}
    for member in class_file.read(classes):
        if member.particle not in line_of:
            raise UserError(
                f"{files.shown(classes.name)} line {member.line}: particle {member.particle} of "
                f"class {member.label!r} is not in {table.name}. The two belong to different runs, "
                "or one was cut: copy both again."
            )
        first = member_of.setdefault(member.particle, member)
        if first.label != member.label:
            several[member.particle] = (
                f"{member.particle} ({first.label}, line {first.line}; {member.label}, line "
                f"{member.line})"
            )
    labels = np.array(
        ["" if i in several or i not in member_of else member_of[i].label for i in line_of], object
    )
    if not several:
        return labels, []
    return labels, [
        f"{files.shown(classes.name)}: {len(several)} particles are in several classes, so they "
        f"count as unlabelled: {listed(several.values(), most=5)}."
    ]


def _with_exported(
    numbers: pd.DataFrame, ids: np.ndarray, exported: Path, *, table: Path
) -> tuple[pd.DataFrame, list[str]]:
    """Returns the columns of a .lst and those that only its exported CSV has; and notes."""
    import pandas as pd

    particles = flowcam_table.read_csv(exported)
    others = particles.whole_numbers("particle_id")
    _lines_of(particles, others)
    if not np.isin(ids, others).all():
        return numbers, [
            f"{particles.name} lacks particles of {files.shown(table.name)}, so it is unused."
        ]
    more = particles.numbers().set_index(others).loc[ids].reset_index(drop=True)
    more = more.drop(columns=[name for name in more if name in numbers])
    return pd.concat([numbers, more], axis=1), unknown_note(particles)
