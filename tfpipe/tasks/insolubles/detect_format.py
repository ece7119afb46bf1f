"""Tells by their files what folders hold: VisualSpreadsheet's runs, pictures with a table, TSV."""

from pathlib import Path

import pandas as pd

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import (
    ecotaxa,
    flowcam_table,
    particle_table,
    picture_table,
    visual_spreadsheet,
)
from tfpipe.tasks.insolubles.options import Options
from tfpipe.tasks.insolubles.particle_table import Particles
from tfpipe.tasks.task import LeftOut

EXPECTED = (
    "a FlowCam list (.lst) or its exported .csv with the collages, a .csv with imgpaths, or an "
    "ecotaxa*.tsv"
)


def read(folder: Path, options: Options, *, labelled: bool = True) -> tuple[list, list[str]]:
    """Returns the particles in a folder, or in the folders in it, and notes on what is unused.

    Args:
      folder: a run or data set, or a folder of them.
      options: the user's.
      labelled: whether class files are read.

    Raises:
      UserError: there are none, or as the readers.
    """
    if not folder.is_dir():
        raise UserError(f"{files.shown(folder)} is no folder: expected {EXPECTED} in it.")
    here = _read(folder, options, labelled=labelled)
    if here:
        return here, []
    found, notes = [], []
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        if inner.name.startswith((".", "_")):
            continue
        inside = _read(inner, options, labelled=labelled)
        found += inside
        if not inside:
            notes.append(
                LeftOut(f"{files.shown(inner.name)}/ is unused: it holds no {EXPECTED[2:]}.")
            )
    if not found:
        raise UserError(f"{files.shown(folder)} holds no particles: expected {EXPECTED}.")
    return found, notes


def read_new(paths: list[Path], table: Path | None, options: Options) -> tuple[list, list[str]]:
    """Returns the particles of new files, as `survey.survey_new` takes them; and notes."""
    found, notes, loose = [], [], []
    for path in dict.fromkeys(paths):
        if not path.exists():
            raise UserError(f"{files.shown(path)} does not exist. Give runs, tables or pictures.")
    if table:
        return _of_table(paths, table, options), []
    for path in dict.fromkeys(paths):
        if path.is_dir() and (known := particle_table.picture_files(path)) and not _has_table(path):
            loose.append(_loose(path, sorted(p for same in known.values() for p in same)))
        elif path.is_dir():
            inside, more = read(path, options, labelled=False)
            found, notes = found + inside, notes + more
        elif path.suffix.lower() in particle_table.SUFFIXES:
            loose.append(_loose(path.parent, [path.name]))
        else:
            found.append(_of_file(path.parent, path, options))
    if loose:
        count = sum(len(one.rows) for one in loose)
        notes.append(f"{count} pictures are in no table, so nothing was measured of them.")
    return found + loose, notes


def _read(folder: Path, options: Options, *, labelled: bool) -> list[Particles]:
    """Returns the particles of the tables in one folder; [] if it has none."""
    lists = _with_suffix(folder, ".lst")
    tables = {path: flowcam_table.names_in(path) for path in _with_suffix(folder, ".csv")}
    exports = [path for path, names in tables.items() if {"particle_id", "collage"} <= names]
    exports = [path for path in exports if "picture" not in tables[path]]
    if lists or exports:
        table = _only(lists or exports, folder)
        beside = [path for path in exports if lists]
        return [
            visual_spreadsheet.read(
                folder,
                table,
                classes=_class_file(folder, table) if labelled else None,
                exported=_only(beside, folder) if beside else None,
            )
        ]
    tsvs = [p for p in _with_suffix(folder, ".tsv") if p.name.lower().startswith("ecotaxa")]
    if tsvs:
        return [ecotaxa.read(folder, path) for path in tsvs]
    listing = [path for path, names in tables.items() if "picture" in names]
    return [picture_table.read(folder, path, options) for path in listing]


def _of_table(paths: list[Path], table: Path, options: Options) -> list[Particles]:
    """Returns those particles of a table that are in `paths`: one folder, or files of one."""
    places = {path if path.is_dir() else path.parent for path in paths}
    if len(places) > 1:
        raise UserError(
            f"{files.shown(table.name)} tells of one folder, but the paths are in {len(places)}. "
            "Predict one folder after the other."
        )
    folder = places.pop()
    one = _of_file(folder, table, options)
    if any(path.is_dir() for path in paths):
        return [one]
    asked = one.rows["file"].isin([path.name for path in paths]).to_numpy()
    if not asked.any():
        raise UserError(f"{files.shown(table.name)} lists none of the files given. Check it.")
    rows, numbers = (part[asked].reset_index(drop=True) for part in (one.rows, one.numbers))
    return [Particles(folder, table, rows, numbers, one.tables, one.notes)]


def _of_file(folder: Path, table: Path, options: Options) -> Particles:
    """Returns the particles of one table, without looking for labels."""
    suffix = table.suffix.lower()
    if suffix == ".tsv":
        return ecotaxa.read(folder, table)
    if suffix == ".csv" and "picture" in flowcam_table.names_in(table):
        return picture_table.read(folder, table, options)
    if suffix in (".csv", ".lst"):
        return visual_spreadsheet.read(folder, table)
    raise UserError(f"{files.shown(table)} is of no kind that is known here: expected {EXPECTED}.")


def _loose(folder: Path, paths: list[str]) -> Particles:
    """Returns particles of which there is nothing but a picture each."""
    rows = particle_table.rows(
        len(paths), run=folder.name, particle=[Path(path).stem for path in paths], file=paths
    )
    return Particles(folder, folder, rows, pd.DataFrame(index=range(len(paths))), ())


def _has_table(folder: Path) -> bool:
    inside = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    return any(_with_suffix(path, ".lst", ".csv", ".tsv") for path in inside)


def _with_suffix(folder: Path, *suffixes: str) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith(".")
    )


def _class_file(folder: Path, table: Path) -> Path | None:
    """Returns the class file of a run: the one, or the one that is called as its list is."""
    known = _with_suffix(folder, ".cla")
    same = [path for path in known if path.stem == table.stem]
    return (same or [_only(known, folder)])[0] if known else None


def _only(paths: list[Path], folder: Path) -> Path:
    if len(paths) > 1:
        names = particle_table.in_words(path.name for path in paths)
        raise UserError(
            f"{files.shown(folder.name)} holds {names}, expected one of them: a folder is one run. "
            "Put each run in a folder of its own."
        )
    return paths[0]
