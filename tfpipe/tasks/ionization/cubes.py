"""Finds the cubes of a folder, and what files, names and cubes.csv tell of each."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfpipe.base import files, tables
from tfpipe.base.errors import UserError
from tfpipe.tasks.ionization import cube_io
from tfpipe.tasks.task import LeftOut

TABLE = "cubes.csv"
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
      number: which of the file's cubes it is, from 0.
      slices: stored of it along axis 0; fewer than `side` in some banks.
      side: cells a side.
      z: redshift, nan where nobody tells.
      f_esc: escape fraction of ionizing photons, nan where nobody tells.
      seed: of its initial conditions, "" where nobody tells.
      box_mpc: its side, 0 where nobody tells.
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
    def about(self) -> str:
        """Returns how sentences call it."""
        return f"{files.shown(self.name)}, cube {self.number}"

    def cell_mpc(self, otherwise: float) -> float:
        """Returns the side of a cell in Mpc, by its box or else as given."""
        return self.box_mpc / self.side if self.box_mpc else otherwise


def find(folder: Path) -> tuple[list[Cube], tuple[Path, ...], list[str]]:
    """Returns the cubes of a folder and those below, its tables, and notes on files left out.

    Raises:
      UserError: there are none; a file is damaged; or cubes.csv names what is not there, or tells a
        cube twice.
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
    told = _told(folder / TABLE, folder) if (folder / TABLE).is_file() else {}
    found, strange = _held((path for path in paths if path.name != TABLE), folder, told)
    if not found:
        raise UserError(f"{files.shown(folder)} holds no cubes, expected {EXPECTED}.")
    return found, ((folder / TABLE,) if told else ()), _left_out(strange)


def find_new(paths: list[Path], table: Path | None) -> tuple[list[Cube], list[str]]:
    """Returns the cubes of files and folders, and notes on files left out.

    Args:
      paths: files, or folders of them.
      table: as cubes.csv, of the files in the folder that it lies in; None for none.

    Raises:
      UserError: as `find`, and where a path does not exist.
    """
    found, notes = [], []
    told = _told(table, table.parent) if table else {}
    for path in paths:
        if path.is_dir():
            own, _, more = find(path)
            found, notes = [*found, *own], [*notes, *more]
            continue
        if not path.is_file():
            raise UserError(f"{files.shown(path)} does not exist, expected {EXPECTED}.")
        own, strange = _held([path], path.parent, told)
        if strange:
            raise UserError(f"{files.shown(path)} holds no cubes, expected {EXPECTED}.")
        found += own
    return found, notes


def _held(
    paths: Iterable[Path], root: Path, told: dict[Path, dict[str, Any]]
) -> tuple[list[Cube], list[str]]:
    """Returns the cubes of some files, and the names of those that hold none."""
    found, strange = [], []
    for path in paths:
        name = path.relative_to(root).as_posix()
        holds = cube_io.held(path)
        if holds is None:
            strange.append(name)
            continue
        count, slices, side, _ = holds.shape
        stem = path.stem if path.suffix in cube_io.SUFFIXES else path.name
        known = {
            key: match[1] if key == "seed" else float(match[1])
            for key, pattern in _IN_NAMES.items()
            if (match := pattern.search(stem))
        }
        known |= {"seed": holds.seed} if holds.seed else {}
        known |= {"box_mpc": holds.box_mpc} if holds.box_mpc else {}
        known |= told.get(path.resolve(), {})
        for number in range(count):
            cube = Cube(path, name, number, slices, side, **known)
            own = {
                key: getattr(holds, key)[number] for key in ("z", "f_esc") if getattr(holds, key)
            }
            found.append(replace(cube, **own))
    return found, strange


def _told(path: Path, root: Path) -> dict[Path, dict[str, Any]]:
    """Returns what a table tells of files: path -> some of z, f_esc, seed and box_mpc."""
    table = tables.read(path)
    name = table.need("file")
    columns = {
        key: column
        for key, heading in (("z", "z"), ("f_esc", "f esc"), ("box_mpc", "box mpc"))
        if (column := table.column(heading))
    }
    values = {key: table.numbers(column, missing_ok=True) for key, column in columns.items()}
    seeds = table.frame[table.column("seed")] if table.column("seed") else None
    found: dict[Path, dict[str, Any]] = {}
    for row, file in enumerate(table.frame[name]):
        own = files.inside(root, file, where=table.where(row))
        if not own.is_file():
            raise UserError(
                f"{table.where(row)}: there is no {files.shown(file)} beside the table. Copy it "
                "there, or remove the row."
            )
        if own.resolve() in found:
            raise UserError(
                f"{table.where(row)}: {files.shown(file)} is told twice. Remove one of the rows."
            )
        known = {key: float(of[row]) for key, of in values.items() if np.isfinite(of[row])}
        known |= {"seed": seeds.iloc[row]} if seeds is not None and seeds.iloc[row] else {}
        found[own.resolve()] = known
    return found


def _left_out(names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    shown = ", ".join(map(files.shown, names[:5]))
    return [LeftOut(f"No cubes, so left aside: {shown}{more}.")]
