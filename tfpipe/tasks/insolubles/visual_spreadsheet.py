"""Runs as VisualSpreadsheet leaves them: a .lst or an exported .csv, collages and a class file."""

from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import class_file, derived_columns, flowcam_table, particle_table
from tfpipe.tasks.insolubles.flowcam_table import FlowCamTable
from tfpipe.tasks.insolubles.particle_table import Particles
from tfpipe.tasks.task import LeftOut


def read(
    folder: Path, table: Path, *, classes: Path | None = None, exported: Path | None = None
) -> Particles:
    """Returns the particles of one run; its name is the folder's.

    Args:
      folder: holds the collages.
      table: the run's .lst, or its particles exported as .csv.
      classes: its class file, or None: then only a CSV's column of classes gives labels.
      exported: a CSV beside a .lst, for what a .lst does not store.

    Raises:
      UserError: naming file and line, where they are damaged or contradict each other.
    """
    is_lst = table.suffix.lower() == ".lst"
    found = flowcam_table.read_lst(table) if is_lst else flowcam_table.read_csv(table)
    ids = found.whole_numbers("particle_id")
    first = _lines_of(found, ids)
    place = {
        name: found.whole_numbers(f"image_{word}_px")
        for name, word in {"x": "x", "y": "y", "width": "width", "height": "height"}.items()
    }
    _refuse_empty(place, found)
    collages = found.text("collage")
    _refuse_absent(collages, found, folder=folder)
    notes = unknown_note(found)
    numbers = found.numbers()
    if exported:
        numbers, more = _with_exported(numbers, ids, exported, table=table)
        notes += more
    numbers = numbers.assign(**derived_columns.derived(numbers))
    labels = found.text("label").to_numpy(object) if found.has("label") else np.full(len(ids), "")
    if classes:
        labels, more = _labels(ids, first, classes=classes, table=found)
        notes += more
    rows = particle_table.rows(
        len(ids),
        run=folder.name,
        particle=ids.astype(str),
        file=collages.to_numpy(object),
        **place,
        um_per_px=numbers.get("calibration_factor_um", np.nan),
        label=labels,
        line=found.lines,
    )
    tables = tuple(path for path in (table, classes, exported) if path)
    return Particles(folder, table, rows, numbers, tables, tuple(notes))


def unknown_note(table: FlowCamTable, *, besides: tuple[str, ...] = ()) -> list[str]:
    """Returns a note on a table's headings without a meaning, if it has some besides these."""
    unknown = particle_table.in_words(name for name in table.unknown if name not in besides)
    if not unknown:
        return []
    return [LeftOut(f"{table.name}: columns of unknown meaning are unused: {unknown}.")]


def _lines_of(table: FlowCamTable, ids: np.ndarray) -> dict[int, int]:
    """Returns the line of each particle by its id, which must be there once."""
    twice = pd.Series(ids).duplicated().to_numpy()
    if twice.any():
        row = int(twice.argmax())
        before = table.lines[int((ids == ids[row]).argmax())]
        raise UserError(
            f"{table.name} line {table.lines[row]}: particle {ids[row]} is already in line "
            f"{before}, expected each once. Remove one of the rows."
        )
    return dict(zip(ids.tolist(), table.lines.tolist(), strict=True))


def _refuse_empty(place: dict[str, np.ndarray], table: FlowCamTable) -> None:
    empty = (place["width"] < 1) | (place["height"] < 1)
    if empty.any():
        row = int(empty.argmax())
        raise UserError(
            f"{table.name} line {table.lines[row]}: the particle's picture is "
            f"{place['width'][row]} x {place['height'][row]} px, expected at least 1 x 1. "
            "Remove the row, or export it again."
        )


def _refuse_absent(collages: pd.Series, table: FlowCamTable, *, folder: Path) -> None:
    for row, collage in collages.drop_duplicates().items():
        where = f"{table.name} line {table.lines[row]}"
        if not files.inside(folder, collage, where=where).is_file():
            raise UserError(
                f"{where}: the collage {collage!r} is not in {files.shown(folder.name)}. Copy it "
                "there with the other files of the run."
            )


def _labels(
    ids: np.ndarray, lines: dict[int, int], *, classes: Path, table: FlowCamTable
) -> tuple[np.ndarray, list[str]]:
    """Returns the class [particles] str of each, "" for those in none or in several; and notes.

    A particle that was sorted into two classes has no label: either would be a guess, and a run of
    thousands is not lost for one slip of the mouse.
    """
    of: dict[int, class_file.Member] = {}
    several: dict[int, str] = {}
    for member in class_file.read(classes):
        if member.particle not in lines:
            raise UserError(
                f"{files.shown(classes.name)} line {member.line}: particle {member.particle} of "
                f"class {member.label!r} is not in {table.name}. The two belong to different runs, "
                "or one was cut: copy both again."
            )
        other = of.setdefault(member.particle, member)
        if other.label != member.label:
            several[member.particle] = (
                f"{member.particle} ({other.label}, line {other.line}; {member.label}, line "
                f"{member.line})"
            )
    found = np.array(["" if i in several or i not in of else of[i].label for i in lines], object)
    if not several:
        return found, []
    return found, [
        f"{files.shown(classes.name)}: {len(several)} particles are in several classes, so they "
        f"count as unlabelled: {particle_table.in_words(several.values(), most=5)}."
    ]


def _with_exported(
    numbers: pd.DataFrame, ids: np.ndarray, exported: Path, *, table: Path
) -> tuple[pd.DataFrame, list[str]]:
    """Returns a .lst's columns and those that only its exported CSV has."""
    found = flowcam_table.read_csv(exported)
    others = found.whole_numbers("particle_id")
    _lines_of(found, others)
    if not np.isin(ids, others).all():
        return numbers, [
            f"{found.name} lacks particles of {files.shown(table.name)}, so it is unused."
        ]
    more = found.numbers().set_index(others).loc[ids].reset_index(drop=True)
    more = more.drop(columns=[name for name in more if name in numbers])
    return pd.concat([numbers, more], axis=1), unknown_note(found)
