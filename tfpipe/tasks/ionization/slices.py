"""Reads the slices of some cubes of one file."""

import numpy as np

from tfpipe.base.errors import UserError
from tfpipe.tasks.ionization import cube_io, power_spectrum
from tfpipe.tasks.ionization.cubes import Cube
from tfpipe.tasks.ionization.options import Options
from tfpipe.tasks.ionization.survey import bounds, taken
from tfpipe.tasks.task import Example, Reading, Source

METADATA = {
    **{"file": "str", "cube": "int64", "axis": "int64", "index": "int64"},
    **{"row": "int64", "column": "int64", "z": "float64", "f_esc": "float64", "seed": "str"},
    "no_signal": "int64",
}


def read(source: Source, options: Options) -> Reading:
    """Reads a source's slices.

    The group is the seed of the simulation: all its cubes share their initial conditions. Where
    there is one seed only, `survey` gives the slab of the box instead and says so.

    Args:
      source: as `survey` found it.
      options: settled, as `survey` gave them back.

    Returns:
      One example a slice, or a part of one, [side, side, 1] float32 in mK. Its columns are the mean
      (mK) and the power spectrum, see `spectrum.measured`; its metadata has the place in px of the
      cube, and whether there is no signal: 0 mK everywhere, as after reionization.

    Raises:
      UserError: the file is damaged, a value is not finite, or axes are asked for that a bank of
        slices does not have.
    """
    batch, edges = source.about, bounds(options)
    examples = []
    first, count = batch.cubes[0].number, batch.cubes[-1].number - batch.cubes[0].number + 1
    wanted = {
        cube.number: (cube, label) for cube, label in zip(batch.cubes, batch.labels, strict=True)
    }
    for number, cells in enumerate(cube_io.cubes(source.path, first, count), start=first):
        if number in wanted:
            cube, label = wanted[number]
            for axis in map(int, options.axes):
                examples += _along(cells, axis, cube, label, source, options, edges)
    return Reading(examples)


def _along(cells, axis: int, cube: Cube, label: int, source: Source, options, edges) -> list:
    """Returns the examples of a cube [slices, height, width] along one axis."""
    if axis and len(cells) < cube.side:
        raise UserError(
            f"{cube.about} has {len(cells)} slices of {cube.side} x {cube.side}, so it can be "
            "sliced along axis 0 only. Give --option axes=0."
        )
    indices = taken(cube, source.about.part, options)
    slices = np.moveaxis(cells, axis, 0)[indices]
    examples = []
    for row in range(0, cube.side - options.side + 1, options.side):
        for column in range(0, cube.side - options.side + 1, options.side):
            own = slices[:, row : row + options.side, column : column + options.side]
            numbers = power_spectrum.measured(own, edges, cell_mpc=cube.cell_mpc(options.cell_mpc))
            for index, image, measured in zip(indices.tolist(), own, numbers, strict=True):
                about = {
                    **{"file": cube.name, "cube": cube.number, "axis": axis, "index": index},
                    **{"row": row, "column": column, "z": cube.z, "f_esc": cube.f_esc},
                    **{"seed": cube.seed, "no_signal": int(not image.any())},
                }
                key = f"{cube.name}@{cube.number:04d}-{axis}-{index:04d}-{row}-{column}"
                examples.append(
                    Example(key, source.group, image[..., None], label, measured, about)
                )
    return examples
