"""Cubes of a folder, with their parameters from files, file names and cubes.csv."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tfpipe.base import files, problems, tables
from tfpipe.base.errors import UserError
from tfpipe.tasks.ionization import cube_io
from tfpipe.tasks.source_names import unique_names
from tfpipe.tasks.task import LeftOut

TABLE = "cubes.csv"
# Column names of a table of cubes: its file, and any of its parameters.
TABLE_COLUMNS = (("file",), ("z", "f esc", "seed", "box mpc"))
EXPECTED = (
    "cubes as .npy, .npz, HDF5 of 21cmFAST 3, or float32 whose name ends as in _200_300Mpc (cells "
    "a side, Mpc a side)"
)
_NUMBER = r"(\d+(?:\.\d+)?)"
_IN_NAMES = {
    "z": re.compile(rf"(?:^|_)z{_NUMBER}(?=_|$)"),  # z006.50
    "f_esc": re.compile(rf"(?:^|_)f_?esc{_NUMBER}(?=_|$)"),  # fesc0.070
    "seed": re.compile(r"(?:^|_)seed_?(\d+)(?=_|$)"),
    "box_mpc": re.compile(rf"_{_NUMBER}Mpc(?=_|$)"),
}


@dataclass(frozen=True)
class Cube:
    """One simulation box at one redshift.

    Attributes:
      path: the file that holds it.
      name: of the file, from the raw folder.
      number: its place among the file's cubes, from 0.
      slices: number stored along axis 0; fewer than `side` in some banks.
      side: cells a side.
      z: redshift, nan if unknown.
      f_esc: escape fraction of ionizing photons, nan if unknown.
      seed: of its initial conditions, "" if unknown.
      box_mpc: its side, 0 if unknown.
    """

    path: Path
    name: str
    number: int
    slices: int
    side: int
    z: float = math.nan
    f_esc: float = math.nan
    seed: str = ""
    box_mpc: float = 0.0

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"{files.shown(self.name)}, cube {self.number}"

    def cell_mpc(self, default: float) -> float:
        """Returns the side of a cell in Mpc, by its box or else the default."""
        return self.box_mpc / self.side if self.box_mpc else default


@dataclass(frozen=True)
class Parameters:
    """Parameters of a simulation as one source gives them, with the defaults of `Cube`."""

    z: float = math.nan
    f_esc: float = math.nan
    seed: str = ""
    box_mpc: float = 0.0

    def updated(self, other: "Parameters") -> "Parameters":
        """Returns these, replaced by those that `other` has."""
        return Parameters(
            z=self.z if math.isnan(other.z) else other.z,
            f_esc=self.f_esc if math.isnan(other.f_esc) else other.f_esc,
            seed=other.seed or self.seed,
            box_mpc=other.box_mpc or self.box_mpc,
        )


def find(folder: Path) -> tuple[list[Cube], tuple[Path, ...], list[str]]:
    """Returns the cubes of a folder and those below, its tables, and notes on files left out.

    Raises:
      UserError: there are none; a file is damaged; or cubes.csv names a file that is missing, or a
        file twice.
    """
    if not folder.is_dir():
        raise UserError(
            f"{files.shown(folder)} is no folder. Put {EXPECTED} there, or draw some by "
            "`tfpipe sample`."
        )
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part[0] == "." for part in path.relative_to(folder).parts)
    )
    table = folder / TABLE
    if not table.is_file():
        table = tables.find(folder, *TABLE_COLUMNS, noun="table of cubes", but=("truth",)) or table
    parameters = _read_table(table, folder) if table.is_file() else {}
    cubes, others = _inspect((path for path in paths if path != table), folder, parameters)
    if not cubes:
        raise UserError(f"{files.shown(folder)} holds no cubes, expected {EXPECTED}.")
    notes = _left_out(others)
    if parameters and table.name != TABLE:
        notes.append(f"Parameters of cubes are from {files.shown(table.name)}.")
    return cubes, ((table,) if parameters else ()), notes


def find_new(paths: list[Path], table: Path | None) -> tuple[list[Cube], list[str]]:
    """Returns the cubes of files and folders, and notes on files left out.

    Args:
      paths: files, or folders of them.
      table: as cubes.csv, of the files in the folder that it lies in; None for none.

    Returns:
      Each cube once. Files of two folders that are called alike have their folders in their names.

    Raises:
      UserError: as `find`, and where a path does not exist.
    """
    cubes: list[Cube] = []
    notes: list[str] = []
    parameters = _read_table(table, table.parent) if table else {}
    for path in paths:
        if path.is_dir():
            inside, _, more = find(path)
            cubes, notes = [*cubes, *inside], [*notes, *more]
            continue
        if not path.is_file():
            raise UserError(f"{files.shown(path)} does not exist, expected {EXPECTED}.")
        inside, others = _inspect([path], path.parent, parameters)
        if others:
            raise UserError(f"{files.shown(path)} holds no cubes, expected {EXPECTED}.")
        cubes += inside
    names = unique_names((cube.path, cube.name) for cube in cubes)
    once = {(cube.path, cube.number): cube for cube in cubes if cube.path in names}
    return [replace(cube, name=names[cube.path]) for cube in once.values()], notes


def _inspect(
    paths: Iterable[Path], root: Path, parameters: dict[Path, Parameters]
) -> tuple[list[Cube], list[str]]:
    """Returns the cubes of some files, and the names of the files without cubes."""
    cubes: list[Cube] = []
    others = []
    for path in paths:
        name = path.relative_to(root).as_posix()
        contents = cube_io.inspect(path)
        if contents is None:
            others.append(name)
            continue
        count, slices, side, _ = contents.shape
        # Later ones replace earlier ones: the name, the file, the table, the cube itself.
        of_file = _of_name(path).updated(Parameters(seed=contents.seed, box_mpc=contents.box_mpc))
        of_file = of_file.updated(parameters.get(path.resolve(), Parameters()))
        cubes += [
            Cube(
                path,
                name,
                number,
                slices,
                side,
                z=contents.z[number] if contents.z else of_file.z,
                f_esc=contents.f_esc[number] if contents.f_esc else of_file.f_esc,
                seed=of_file.seed,
                box_mpc=of_file.box_mpc,
            )
            for number in range(count)
        ]
    return cubes, others


def _of_name(path: Path) -> Parameters:
    """Returns the parameters in a file's name."""
    stem = path.stem if path.suffix in cube_io.SUFFIXES else path.name
    matches = {key: pattern.search(stem) for key, pattern in _IN_NAMES.items()}
    numbers = {key: float(match[1]) for key, match in matches.items() if match}
    seed = matches["seed"]
    return Parameters(
        z=numbers.get("z", math.nan),
        f_esc=numbers.get("f_esc", math.nan),
        seed=seed[1] if seed else "",
        box_mpc=numbers.get("box_mpc", 0.0),
    )


def _read_table(path: Path, root: Path) -> dict[Path, Parameters]:
    """Returns file -> its parameters in a table."""
    table = tables.read(path, *TABLE_COLUMNS)
    names = table.frame[table.need("file")]

    def numbers(heading: str) -> np.ndarray:
        column = table.column(heading)
        if column is None:
            return np.full(len(names), np.nan)
        return table.numbers(column, missing_ok=True)

    z, f_esc, box_mpc = (numbers(heading) for heading in ("z", "f esc", "box mpc"))
    seeds = table.frame[table.column("seed")] if table.column("seed") else None
    parameters: dict[Path, Parameters] = {}
    for row, name in enumerate(names):
        with problems.contained():
            file = files.inside(root, name, where=table.where(row))
            if not file.is_file():
                raise UserError(
                    f"{table.where(row)}: there is no {files.shown(name)} beside the table. Copy "
                    "it there, or remove the row."
                )
            if file.resolve() in parameters:
                raise UserError(
                    f"{table.where(row)}: {files.shown(name)} is already in the table, expected "
                    "each file once. Remove one of the rows."
                )
            parameters[file.resolve()] = Parameters(
                z=float(z[row]),
                f_esc=float(f_esc[row]),
                seed=str(seeds.iloc[row]) if seeds is not None else "",
                box_mpc=float(np.nan_to_num(box_mpc[row])),
            )
    return parameters


def _left_out(names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    shown = ", ".join(map(files.shown, names[:5]))
    return [LeftOut(f"Files without cubes are left out: {shown}{more}.")]
