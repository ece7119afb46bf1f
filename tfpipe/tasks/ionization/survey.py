"""Finds what a folder of ionization cubes holds, and says what is left out."""

from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from tfpipe.base.errors import UserError
from tfpipe.tasks.ionization import cubes as finding
from tfpipe.tasks.ionization import power_spectrum
from tfpipe.tasks.ionization import splits as ionization_splits
from tfpipe.tasks.ionization.cubes import Cube
from tfpipe.tasks.ionization.options import Options, names
from tfpipe.tasks.ionization.splits import Part
from tfpipe.tasks.task import LeftOut, Source, Survey

REDSHIFTS = tuple(np.arange(5.0, 13.25, 0.5).tolist())  # seed 003: 17 classes
CELL_MPC = 1.5  # seed 003: 300 Mpc in 200 cells
NEAR = 1e-3  # values nearer than this are one
MOST_BYTES = 2**26  # of the pictures of one source
WORDS = {"z": "redshift", "f_esc": "escape fraction"}


@dataclass(frozen=True)
class Batch:
    """What one source is read into.

    Attributes:
      cubes: of one file, one after the other.
      labels: of each.
      part: what is taken of each.
    """

    cubes: tuple[Cube, ...]
    labels: tuple[int, ...]
    part: Part


def survey(folder: Path, options: Options, *, asks: str) -> Survey:
    """Reads names, headers and tables; decodes no cube.

    Args:
      folder: holds the cubes.
      options: the user's.
      asks: "z" or "f_esc": which of them is to be told.

    Returns:
      A source for each file and what of it goes to one split (more where pictures are many), the
      classes found, in ascending order, and notes on all that is set aside.

    Raises:
      UserError: naming the file, where one is damaged, tells no value or one outside the table, or
        a cube is there twice.
    """
    found, tables, notes = finding.find(folder)
    _refuse_unknown(found, asks)
    _refuse_twice(found)
    found, more = _wanted(found, options)
    placed, splits, options = ionization_splits.parts(found, options)
    options, sizes = _settled([cube for cube, _ in placed], options)
    values = sorted({_rounded(getattr(cube, asks)) for cube, _ in placed})
    labels = {value: label for label, value in enumerate(values)}
    sources = _sources(placed, lambda cube: labels[_rounded(getattr(cube, asks))], options)
    return _survey(
        sources,
        options,
        tables=tables,
        notes=(*notes, *more, *splits, *sizes),
        classes=tuple(class_name(value, asks) for value in values),
    )


def survey_new(paths: list[Path], table: Path | None, options: Options) -> Survey:
    """Finds cubes that nobody has labelled; every slice of them is taken.

    Args:
      paths: files, or folders of them.
      table: as cubes.csv, of the files beside it; None for none.
      options: the user's.

    Raises:
      UserError: as `cubes.find_new`.
    """
    found, notes = finding.find_new(paths, table)
    options, more = _settled(found, options)
    placed = [(cube, Part(f"seed {cube.seed}" if cube.seed else cube.name)) for cube in found]
    sources = _sources(placed, lambda cube: -1, options)
    return _survey(sources, options, notes=(*notes, *more))


def class_name(value: float, asks: str) -> str:
    """Returns the name of a class: its value, with as many digits as 21cmFAST's names have."""
    return f"{value:.1f}" if asks == "z" else f"{value:.3f}"


def bounds(options: Options) -> np.ndarray:
    """Returns the edges of the bins of k, Mpc^-1, of settled options."""
    return power_spectrum.edges(options.side, cell_mpc=options.cell_mpc, bins=options.bins)


def _survey(sources: list[Source], options: Options, **rest) -> Survey:
    cut = any(cube.side > options.side for source in sources for cube in source.about.cubes)
    return Survey(
        tuple(sources),
        columns=power_spectrum.columns(bounds(options)),
        image_shape=(options.side, options.side, 1),
        options=options,
        # Opposite edges meet in whole slices of a periodic box only.
        augmentation="turns" if cut else "",
        may_share_groups=True,
        **rest,
    )


def _rounded(value: float) -> float:
    return round(value / NEAR) * NEAR


def _refuse_unknown(found: list[Cube], asks: str) -> None:
    for cube in found:
        value = getattr(cube, asks)
        if np.isnan(value):
            example = "_z006.50" if asks == "z" else "_fesc0.070"
            raise UserError(
                f"{cube.about}: neither file, name nor cubes.csv tells its {WORDS[asks]} ({asks}). "
                f"Name it as in {example}, or add it to cubes.csv."
            )
        if asks == "z" and min(abs(value - one) for one in REDSHIFTS) > NEAR:
            raise UserError(
                f"{cube.about}: z {value:g} is outside the table, expected {REDSHIFTS[0]:g} to "
                f"{REDSHIFTS[-1]:g} in steps of 0.5. Correct it, or move the cube away."
            )
        if asks == "f_esc" and not 0 <= value <= 1:
            raise UserError(
                f"{cube.about}: an escape fraction is a share between 0 and 1, but it is {value:g}."
                " Correct it."
            )


def _refuse_twice(found: list[Cube]) -> None:
    seen: dict[tuple, Cube] = {}
    for cube in found:
        key = (cube.seed, *(f"{getattr(cube, name):.4f}" for name in ("z", "f_esc", "box_mpc")))
        other = seen.setdefault((*key, cube.side), cube)
        if other is not cube:
            seed = f"seed {cube.seed}" if cube.seed else "no seed"
            raise UserError(
                f"{other.about} and {cube.about} are the same cube: z {cube.z:g}, f_esc "
                f"{cube.f_esc:g}, {seed}. Remove one, or tell their seeds in cubes.csv."
            )


def _wanted(found: list[Cube], options: Options) -> tuple[list[Cube], list[str]]:
    """Returns the cubes that the options take, and what they leave out."""
    kept = found
    for name in ("z", "f_esc"):
        text = getattr(options, name)
        try:
            values = [float(one) for one in names(text)]
        except ValueError:
            raise UserError(f"Option {name} is {text!r}, expected numbers with commas.") from None
        if values:
            kept = [c for c in kept if any(abs(getattr(c, name) - v) <= NEAR for v in values)]
    if not kept:
        raise UserError(f"No cube has z {options.z or 'any'} and f_esc {options.f_esc or 'any'}.")
    left = len(found) - len(kept)
    if not left:
        return kept, []
    return kept, [LeftOut(f"{left} cubes are of another z or f_esc than asked for.")]


def _settled(found: list[Cube], options: Options) -> tuple[Options, list[str]]:
    """Returns the options with what the cubes decide, and notes on cubes of different scale."""
    cell_mpc = options.cell_mpc or CELL_MPC
    told = [cube.cell_mpc(cell_mpc) for cube in found]
    side = options.side or min(cube.side for cube in found)
    smallest = min(found, key=lambda cube: cube.side)
    if side > smallest.side or side < 8:
        raise UserError(
            f"{smallest.about} has {smallest.side} cells a side, but pictures of {side} px are "
            "wanted, of 8 or more. Give another --option side."
        )
    notes = []
    if max(told) > min(told) * (1 + NEAR):
        notes.append(
            f"Cells are of {min(told):.3g} to {max(told):.3g} Mpc: the same bubble has different "
            "sizes in pixels. Simulate with one size of cells, or keep one kind of cube."
        )
    return replace(options, side=side, cell_mpc=options.cell_mpc or told[0]), notes


def _sources(placed: list[tuple[Cube, Part]], label_of, options: Options) -> list[Source]:
    """Returns sources of at most `MOST_BYTES`; a cube that a part takes no slice of is refused."""
    order = {cube.path: number for number, (cube, _) in enumerate(reversed(placed))}
    ranked = sorted(placed, key=lambda one: (-order[one[0].path], one[1].begin, one[1].group))
    sources = []
    for (path, part), inside in groupby(ranked, key=lambda one: (one[0].path, one[1])):
        own = sorted((cube for cube, _ in inside), key=lambda cube: cube.number)
        pictures = _count(own[0], part, options)
        most = max(1, MOST_BYTES // (pictures * options.side**2 * 4))
        for begin in range(0, len(own), most):
            some = tuple(own[begin : begin + most])
            what = f", {part.split} slab" if part.end - part.begin < 1 else ""
            which = f", cubes {some[0].number} to {some[-1].number}" if len(some) > 1 else ""
            name = (
                f"{some[0].name}{which}{what} {part.begin:g}" if what else f"{some[0].name}{which}"
            )
            batch = Batch(some, tuple(label_of(cube) for cube in some), part)
            sources.append(Source(name, part.group, path, batch, split=part.split))
    return sources


def _count(cube: Cube, part: Part, options: Options) -> int:
    """Returns how many pictures a part of a cube gives."""
    slices = len(taken(cube, part, options))
    if not slices:
        raise UserError(
            f"{cube.about}: between {part.begin:g} and {part.end:g} of the box, "
            f"{options.gap_mpc:g} Mpc from the next slab, there is no slice. Give a smaller "
            "--option gap_mpc or every."
        )
    return slices * len(options.axes) * (cube.side // options.side) ** 2


def taken(cube: Cube, part: Part, options: Options) -> np.ndarray:
    """Returns which of a cube's stored slices [n] int are taken along each axis."""
    step = max(1, round(options.every * cube.slices / cube.side))
    box_mpc = cube.side * cube.cell_mpc(options.cell_mpc)
    inside = part.slices(cube.slices, gap=options.gap_mpc / box_mpc)
    return inside[::step]
