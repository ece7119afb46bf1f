"""Detection of a folder's format: VisualSpreadsheet runs, images with a table, EcoTaxa TSV."""

from dataclasses import replace
from pathlib import Path

from tfpipe.base import files, tables
from tfpipe.base.choose import listed
from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import (
    ecotaxa,
    ecotaxa_fields,
    flowcam_table,
    image_table,
    particle_table,
    visual_spreadsheet,
)
from tfpipe.tasks.insolubles.options import InsolublesOptions
from tfpipe.tasks.insolubles.particle_table import Particles
from tfpipe.tasks.task import LeftOut

_TABLES = (".tsv", ".csv", ".xlsx")
EXPECTED = (
    "a FlowCam list (.lst) or its exported .csv with the collages, a .csv with imgpaths, or an "
    "EcoTaxa table"
)


def read(
    folder: Path, options: InsolublesOptions, *, labelled: bool = True
) -> tuple[list[Particles], list[str]]:
    """Returns the particles in a folder, or in its subfolders, and notes on what is unused.

    Args:
      folder: a run or data set, or a folder of them.
      options: the user's.
      labelled: whether class files are read.

    Raises:
      UserError: there are none, or a reader fails.
    """
    if not folder.is_dir():
        raise UserError(f"{files.shown(folder)} is no folder, expected one with {EXPECTED}.")
    here = _read(folder, options, labelled=labelled)
    if here:
        return here, []
    particles: list[Particles] = []
    notes: list[str] = []
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        if inner.name.startswith((".", "_")):
            continue
        inside = _read(inner, options, labelled=labelled)
        particles += inside
        if not inside:
            notes.append(
                LeftOut(f"{files.shown(inner.name)}/ is unused: it holds no {EXPECTED[2:]}.")
            )
    if not particles:
        raise UserError(
            f"{files.shown(folder)} holds no particles, expected {EXPECTED}.{_useless(folder)}"
        )
    return particles, notes


def _useless(folder: Path) -> str:
    """Returns a sentence on the first table in or just under a folder, "" if there is none."""
    folders = [folder, *(path for path in sorted(folder.iterdir()) if path.is_dir())]
    for path in (path for place in folders for path in _with_suffix(place, *_TABLES)):
        try:
            columns = listed(tables.headings(path), most=12)
        except UserError as error:
            return f" {error}"
        return (
            f" The table {files.shown(path.name)} has the columns {columns}: it needs imgpaths, or "
            "img_file_name and object_id."
        )
    for path in (path for place in folders for path in _with_suffix(place, ".zip")):
        return f" {files.shown(path.name)} is a .zip: unpack it into {files.shown(path.parent)}."
    return ""


def read_new(
    paths: list[Path], table: Path | None, options: InsolublesOptions
) -> tuple[list[Particles], list[str]]:
    """Returns the particles of new files, with the arguments of `survey.survey_new`; and notes."""
    particles: list[Particles] = []
    notes: list[str] = []
    untabled: list[Particles] = []
    for path in dict.fromkeys(paths):
        if not path.exists():
            raise UserError(f"{files.shown(path)} does not exist. Give runs, tables or images.")
    if table:
        return _of_table(paths, table, options), []
    for path in dict.fromkeys(paths):
        if path.is_dir() and (names := particle_table.image_files(path)) and not _has_table(path):
            untabled.append(_untabled(path, sorted(p for paths in names.values() for p in paths)))
        elif path.is_dir():
            inside, more = read(path, options, labelled=False)
            particles, notes = particles + inside, notes + more
        elif path.suffix.lower() in particle_table.IMAGE_SUFFIXES:
            untabled.append(_untabled(path.parent, [path.name]))
        else:
            particles.append(_of_file(path.parent, path, options))
    if untabled:
        count = sum(len(images.rows) for images in untabled)
        notes.append(f"{count} images are in no table, so they have no columns.")
    return particles + untabled, notes


def _read(folder: Path, options: InsolublesOptions, *, labelled: bool) -> list[Particles]:
    """Returns the particles of the tables in one folder; [] if it has no table."""
    lists = _with_suffix(folder, ".lst")
    ecotaxa_tables = [path for path in _with_suffix(folder, *_TABLES) if _is_ecotaxa(path)]
    csvs = [path for path in _with_suffix(folder, ".csv") if path not in ecotaxa_tables]
    names_of = {path: flowcam_table.names_in(path) for path in csvs}
    exports = [path for path, names in names_of.items() if {"particle_id", "collage"} <= names]
    exports = [path for path in exports if "image_path" not in names_of[path]]
    if lists or exports:
        table = _only(lists or exports, folder)
        exports_of_lists = exports if lists else []
        return [
            visual_spreadsheet.read(
                folder,
                table,
                classes=_class_file(folder, table) if labelled else None,
                exported=_only(exports_of_lists, folder) if exports_of_lists else None,
            )
        ]
    if ecotaxa_tables:
        return [ecotaxa.read(folder, path) for path in ecotaxa_tables]
    listing = [path for path, names in names_of.items() if "image_path" in names]
    return [image_table.read(folder, path, options) for path in listing]


def _of_table(paths: list[Path], table: Path, options: InsolublesOptions) -> list[Particles]:
    """Returns the particles of a table that are in `paths`: one folder, or files of one folder."""
    folders = {path if path.is_dir() else path.parent for path in paths}
    if len(folders) > 1:
        raise UserError(
            f"{files.shown(table.name)} is the table of one folder, but the paths are in "
            f"{len(folders)}. Predict one folder after the other."
        )
    folder = folders.pop()
    particles = _of_file(folder, table, options)
    if any(path.is_dir() for path in paths):
        return [particles]
    is_selected = particles.rows["file"].isin([path.name for path in paths]).to_numpy()
    if not is_selected.any():
        raise UserError(
            f"{files.shown(table.name)} lists none of the files. Give its own "
            "files, or another table."
        )
    rows = particles.rows[is_selected].reset_index(drop=True)
    numbers = particles.numbers[is_selected].reset_index(drop=True)
    return [replace(particles, rows=rows, numbers=numbers)]


def _of_file(folder: Path, table: Path, options: InsolublesOptions) -> Particles:
    """Returns the particles of one table, without looking for labels."""
    suffix = table.suffix.lower()
    if suffix == ".tsv" or (suffix in _TABLES and _is_ecotaxa(table)):
        return ecotaxa.read(folder, table)
    if suffix == ".csv" and "image_path" in flowcam_table.names_in(table):
        return image_table.read(folder, table, options)
    if suffix in (".csv", ".lst"):
        return visual_spreadsheet.read(folder, table)
    raise UserError(f"{files.shown(table)} has a format that cannot be read, expected {EXPECTED}.")


def _untabled(folder: Path, paths: list[str]) -> Particles:
    """Returns particles that have an image only."""
    import pandas as pd

    rows = particle_table.rows(
        len(paths), run=folder.name, particle=[Path(path).stem for path in paths], file=paths
    )
    return Particles(folder, folder, rows, pd.DataFrame(index=range(len(paths))), ())


def _has_table(folder: Path) -> bool:
    inside = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    return any(_with_suffix(path, ".lst", ".csv", ".tsv") for path in inside)


def _is_ecotaxa(path: Path) -> bool:
    """Returns whether a table is EcoTaxa's: by its name, so that its faults show, or its fields."""
    if path.suffix.lower() == ".tsv" and path.name.lower().startswith("ecotaxa"):
        return True
    try:
        return ecotaxa_fields.is_ecotaxa(tables.headings(path))
    except UserError:
        return False


def _with_suffix(folder: Path, *suffixes: str) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith(".")
    )


def _class_file(folder: Path, table: Path) -> Path | None:
    """Returns the class file of a run: the only one, or the one with the name of its list."""
    paths = _with_suffix(folder, ".cla")
    same = [path for path in paths if path.stem == table.stem]
    return (same or [_only(paths, folder)])[0] if paths else None


def _only(paths: list[Path], folder: Path) -> Path:
    if len(paths) > 1:
        names = listed((path.name for path in paths), most=12)
        raise UserError(
            f"{files.shown(folder.name)} holds {names}, expected one of them: a folder is one run. "
            "Put each run in a folder of its own."
        )
    return paths[0]
