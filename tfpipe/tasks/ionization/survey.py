"""Survey of ionization cubes: a source for each file and split, and notes on what is left out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from tfpipe.base.errors import UserError
from tfpipe.tasks.ionization import power_spectrum
from tfpipe.tasks.ionization.cubes import Cube, find, find_new
from tfpipe.tasks.ionization.options import IonizationOptions, names
from tfpipe.tasks.ionization.splits import Slab, split_cubes
from tfpipe.tasks.task import LeftOut, Source, Survey

REDSHIFTS = tuple(np.arange(5.0, 13.25, 0.5).tolist())  # 17 classes (Fay 2019)
CELL_MPC = 1.5  # 300 Mpc in 200 cells (Fay 2019)
TOLERANCE = 1e-3  # values of z or f_esc that differ by less are equal
MAX_BYTES = 2**26  # of the images of one source
TITLES = {"z": "redshift", "f_esc": "escape fraction"}


@dataclass(frozen=True)
class CubeBatch:
    """Cubes that are read together: `Source.about`.

    Attributes:
      cubes: of one file, in order.
      labels: class index of each cube.
      slab: the part of each cube that is used.
    """

    cubes: tuple[Cube, ...]
    labels: tuple[int, ...]
    slab: Slab


def survey(folder: Path, options: IonizationOptions, *, target: str) -> Survey:
    """Lists cubes from names, headers and tables; decodes none.

    Args:
      folder: has the cubes.
      options: the user's.
      target: "z" or "f_esc": the quantity to predict.

    Returns:
      A source for each file and split (several if the images are many), the classes in ascending
      order, and notes on what is left out.

    Raises:
      UserError: naming the file, where one is damaged, has no value or one out of range, or a cube
        is present twice.
    """
    cubes, tables, notes = find(folder)
    _check_values(cubes, target)
    _check_unique(cubes)
    cubes, unused = _selected(cubes, options)
    slabs, split_notes = split_cubes(cubes, options)
    options, scale_notes = _completed([cube for cube, _ in slabs], options)
    values = sorted({_rounded(getattr(cube, target)) for cube, _ in slabs})
    labels = {value: label for label, value in enumerate(values)}
    names = tuple(class_name(value, target) for value in values)
    sources = [
        replace(source, strata=tuple(names[i] for i in sorted({*source.about.labels})))
        for source in _sources(slabs, lambda cube: labels[_rounded(getattr(cube, target))], options)
    ]
    return _survey(
        sources,
        options,
        tables=tables,
        notes=(*notes, *unused, *split_notes, *scale_notes),
        classes=names,
    )


def survey_new(paths: list[Path], table: Path | None, options: IonizationOptions) -> Survey:
    """Lists unlabelled cubes, with all their slices.

    Args:
      paths: files, or folders of them.
      table: as cubes.csv, of the files beside it; None for none.
      options: the user's.

    Raises:
      UserError: as `cubes.find_new`.
    """
    cubes, notes = find_new(paths, table)
    options, scale_notes = _completed(cubes, options)
    slabs = [(cube, Slab(f"seed {cube.seed}" if cube.seed else cube.name)) for cube in cubes]
    sources = _sources(slabs, lambda cube: -1, options)
    return _survey(sources, options, notes=(*notes, *scale_notes))


def class_name(value: float, target: str) -> str:
    """Returns the name of a class: its value, with as many digits as 21cmFAST's names have."""
    return f"{value:.1f}" if target == "z" else f"{value:.3f}"


def bin_edges(options: IonizationOptions) -> np.ndarray:
    """Returns the edges of the bins of k, Mpc^-1, of completed options."""
    return power_spectrum.edges(options.side, cell_mpc=options.cell_mpc, bins=options.bins)


def _survey(
    sources: list[Source],
    options: IonizationOptions,
    *,
    notes: tuple[str, ...],
    tables: tuple[Path, ...] = (),
    classes: tuple[str, ...] = (),
) -> Survey:
    are_parts = any(cube.side > options.side for source in sources for cube in source.about.cubes)
    return Survey(
        tuple(sources),
        tables=tables,
        notes=notes,
        classes=classes,
        columns=power_spectrum.column_names(bin_edges(options)),
        image_shape=(options.side, options.side, 1),
        options=options,
        # Opposite edges are neighbours in whole slices of a periodic box only.
        augmentation="turns" if are_parts else "",
        may_share_groups=True,
    )


def _rounded(value: float) -> float:
    return round(value / TOLERANCE) * TOLERANCE


def _check_values(cubes: list[Cube], target: str) -> None:
    """Raises a UserError if a cube has no value of the target, or one out of range."""
    for cube in cubes:
        value = getattr(cube, target)
        if np.isnan(value):
            example = "_z006.50" if target == "z" else "_fesc0.070"
            raise UserError(
                f"{cube.title} has no {TITLES[target]} ({target}) in the file, its name or "
                f"cubes.csv. Name the file as in {example}, or add it to cubes.csv."
            )
        if target == "z" and min(abs(value - z) for z in REDSHIFTS) > TOLERANCE:
            raise UserError(
                f"{cube.title} has z {value:g}, expected {REDSHIFTS[0]:g} to {REDSHIFTS[-1]:g} in "
                "steps of 0.5. Correct it, or remove the cube."
            )
        if target == "f_esc" and not 0 <= value <= 1:
            raise UserError(
                f"{cube.title} has the escape fraction {value:g}, expected a share between 0 and "
                "1. Correct it."
            )


def _check_unique(cubes: list[Cube]) -> None:
    """Raises a UserError if two cubes are the same simulation at the same redshift."""
    first: dict[tuple, Cube] = {}
    for cube in cubes:
        key = (cube.seed, *(f"{getattr(cube, name):.4f}" for name in ("z", "f_esc", "box_mpc")))
        other = first.setdefault((*key, cube.side), cube)
        if other is not cube:
            seed = f"seed {cube.seed}" if cube.seed else "no seed"
            raise UserError(
                f"{other.title} and {cube.title} are the same cube: z {cube.z:g}, f_esc "
                f"{cube.f_esc:g}, {seed}. Remove one, or add their seeds to cubes.csv."
            )


def _selected(cubes: list[Cube], options: IonizationOptions) -> tuple[list[Cube], list[str]]:
    """Returns the cubes that the options select, and a note on the others."""
    selected = cubes
    for name in ("z", "f_esc"):
        text = getattr(options, name)
        try:
            values = [float(value) for value in names(text)]
        except ValueError:
            raise UserError(f"Option {name} is {text!r}, expected numbers with commas.") from None
        if values:
            selected = [
                cube
                for cube in selected
                if any(abs(getattr(cube, name) - value) <= TOLERANCE for value in values)
            ]
    if not selected:
        raise UserError(
            f"No cube has z {options.z or 'any'} and f_esc {options.f_esc or 'any'}. Give other "
            "values of --option z or f_esc."
        )
    unused = len(cubes) - len(selected)
    if not unused:
        return selected, []
    return selected, [LeftOut(f"{unused} cubes have another z or f_esc than the options select.")]


def _completed(
    cubes: list[Cube], options: IonizationOptions
) -> tuple[IonizationOptions, list[str]]:
    """Returns the options with side and cell size, and a note if the cubes' cell sizes differ."""
    cell_mpc = options.cell_mpc or CELL_MPC
    cell_sizes = [cube.cell_mpc(cell_mpc) for cube in cubes]
    side = options.side or min(cube.side for cube in cubes)
    smallest = min(cubes, key=lambda cube: cube.side)
    if side > smallest.side or side < 8:
        raise UserError(
            f"{smallest.title} has {smallest.side} cells a side, but images of {side} px are to be "
            "cut, at least 8 px. Give another --option side."
        )
    notes = []
    if max(cell_sizes) > min(cell_sizes) * (1 + TOLERANCE):
        notes.append(
            f"Cells have {min(cell_sizes):.3g} to {max(cell_sizes):.3g} Mpc, so the same bubble "
            "has different sizes in pixels. Simulate with one cell size, or use one kind of cube."
        )
    return replace(options, side=side, cell_mpc=options.cell_mpc or cell_sizes[0]), notes


def _sources(
    slabs: list[tuple[Cube, Slab]], label_of: Callable[[Cube], int], options: IonizationOptions
) -> list[Source]:
    """Returns sources of at most `MAX_BYTES`; an empty slab is an error."""
    order = {cube.path: number for number, (cube, _) in enumerate(reversed(slabs))}
    ranked = sorted(slabs, key=lambda pair: (-order[pair[0].path], pair[1].begin, pair[1].group))
    sources = []
    for (path, slab), pairs in groupby(ranked, key=lambda pair: (pair[0].path, pair[1])):
        cubes = sorted((cube for cube, _ in pairs), key=lambda cube: cube.number)
        n_images = _count_images(cubes[0], slab, options)
        cubes_a_source = max(1, MAX_BYTES // (n_images * options.side**2 * 4))
        for begin in range(0, len(cubes), cubes_a_source):
            some = tuple(cubes[begin : begin + cubes_a_source])
            name = some[0].name
            if len(some) > 1:
                name += f", cubes {some[0].number} to {some[-1].number}"
            elif len(cubes) > cubes_a_source == 1:
                name += f", cube {some[0].number}"
            if slab.end - slab.begin < 1:
                name += f", {slab.split} slab {slab.begin:g}"
            batch = CubeBatch(some, tuple(label_of(cube) for cube in some), slab)
            sources.append(Source(name, slab.group, path, batch, split=slab.split))
    return sources


def _count_images(cube: Cube, slab: Slab, options: IonizationOptions) -> int:
    """Returns the number of images that a slab of a cube gives."""
    slices = len(slice_indices(cube, slab, options))
    if not slices:
        raise UserError(
            f"{cube.title}: between {slab.begin:g} and {slab.end:g} of the box, "
            f"{options.gap_mpc:g} Mpc from the next slab, there is no slice. Give a smaller "
            "--option gap_mpc or every."
        )
    return slices * len(options.axes) * (cube.side // options.side) ** 2


def slice_indices(cube: Cube, slab: Slab, options: IonizationOptions) -> np.ndarray:
    """Returns the indices of a cube's stored slices that are used along each axis, [n] int."""
    step = max(1, round(options.every * cube.slices / cube.side))
    box_mpc = cube.side * cube.cell_mpc(options.cell_mpc)
    inside = slab.slices(cube.slices, gap=options.gap_mpc / box_mpc)
    return inside[::step]
