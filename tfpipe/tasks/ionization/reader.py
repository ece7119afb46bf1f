"""Reader of ionization cubes: slices of some cubes of one file, as examples."""

import numpy as np

from tfpipe.base.errors import UserError
from tfpipe.tasks.ionization import cube_io, power_spectrum
from tfpipe.tasks.ionization.cubes import Cube
from tfpipe.tasks.ionization.options import IonizationOptions
from tfpipe.tasks.ionization.survey import bin_edges, slice_indices
from tfpipe.tasks.task import Example, Reading, Source

METADATA = {
    "file": "str",
    "cube": "int64",
    "axis": "int64",
    "index": "int64",
    "row": "int64",
    "column": "int64",
    "z": "float64",
    "f_esc": "float64",
    "seed": "str",
    "no_signal": "int64",
}


def read(source: Source, options: IonizationOptions) -> Reading:
    """Reads a source's slices.

    The group is the seed of the simulation, because all its cubes share their initial conditions.
    With one seed only, `survey` uses the slabs of the box as groups, and says so in a note.

    Args:
      source: from `survey`.
      options: from `survey`, which completes them.

    Returns:
      One example a slice, or a part of one, [side, side, 1] float32 in mK. Its columns are the mean
      (mK) and the power spectrum, see `power_spectrum.measure`. Its metadata has the place in px of
      the cube, and whether there is no signal: 0 mK everywhere, as after reionization.

    Raises:
      UserError: the file is damaged, a value is not finite, or a bank of slices is to be sliced
        along another axis than 0.
    """
    batch = source.about
    examples = []
    first, last = batch.cubes[0].number, batch.cubes[-1].number
    used = {
        cube.number: (cube, label) for cube, label in zip(batch.cubes, batch.labels, strict=True)
    }
    values = cube_io.read_cubes(source.path, first, last - first + 1)
    for number, cells in enumerate(values, start=first):
        if number in used:
            cube, label = used[number]
            for axis in map(int, options.axes):
                examples += _along(cells, cube, source, options, axis=axis, label=label)
    return Reading(examples)


def _along(
    cells: np.ndarray,
    cube: Cube,
    source: Source,
    options: IonizationOptions,
    *,
    axis: int,
    label: int,
) -> list[Example]:
    """Returns the examples of a cube [slices, height, width] along one axis."""
    if axis and len(cells) < cube.side:
        raise UserError(
            f"{cube.title} has {len(cells)} slices of {cube.side} x {cube.side}, so it can be "
            "sliced along axis 0 only. Give --option axes=0."
        )
    indices = slice_indices(cube, source.about.slab, options)
    slices = np.moveaxis(cells, axis, 0)[indices]
    cell_mpc, edges = cube.cell_mpc(options.cell_mpc), bin_edges(options)
    examples = []
    for row in range(0, cube.side - options.side + 1, options.side):
        for column in range(0, cube.side - options.side + 1, options.side):
            parts = slices[:, row : row + options.side, column : column + options.side]
            columns = power_spectrum.measure(parts, edges, cell_mpc=cell_mpc)
            for i, index in enumerate(indices.tolist()):
                metadata = {
                    "file": cube.name,
                    "cube": cube.number,
                    "axis": axis,
                    "index": index,
                    "row": row,
                    "column": column,
                    "z": cube.z,
                    "f_esc": cube.f_esc,
                    "seed": cube.seed,
                    "no_signal": int(not parts[i].any()),
                }
                examples.append(
                    Example(
                        key=f"{cube.name}@{cube.number:04d}-{axis}-{index:04d}-{row}-{column}",
                        group=source.group,
                        image=parts[i][..., None],
                        label=label,
                        columns=columns[i],
                        metadata=metadata,
                    )
                )
    return examples
