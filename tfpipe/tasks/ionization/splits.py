"""Which cubes and slabs teach, which validate, and which test.

Cubes of one seed share their initial conditions: at every redshift and escape fraction the same
peaks shine first. So the seed is the group, and only another seed tests. Where there is one seed,
or nobody tells, slabs of the box test, the same ones in all cubes.
"""

from dataclasses import dataclass

import numpy as np

from tfpipe.base.errors import UserError
from tfpipe.tasks.ionization.cubes import Cube
from tfpipe.tasks.ionization.options import Options, names
from tfpipe.tasks.task import LeftOut

FEW = 10  # seeds, below which a draw by their names may leave a split empty
OF_ONE_SEED = ("train", "train", "train", "validation", "test")
VALIDATES = 0.8  # from this share of the box on, in seeds that teach


@dataclass(frozen=True)
class Part:
    """What goes the same way of some cubes.

    Attributes:
      group: which no split cuts, or that of the seed.
      split: "train", "validation" or "test"; "" for what the group's name draws.
      begin: where its slab begins, a share of the box along the axis sliced.
      end: where it ends.
    """

    group: str
    split: str = ""
    begin: float = 0.0
    end: float = 1.0

    def slices(self, count: int, *, gap: float) -> np.ndarray:
        """Returns which of `count` evenly spaced slices are in it, half a gap from both its ends.

        Args:
          count: slices of the whole box.
          gap: between slabs, a share of the box.
        """
        if self.end - self.begin >= 1:
            return np.arange(count)
        place = np.arange(count) / count
        inside = (place >= self.begin + gap / 2 - 1e-9) & (place <= self.end - gap / 2 + 1e-9)
        return np.flatnonzero(inside)


def parts(
    cubes: list[Cube], options: Options
) -> tuple[list[tuple[Cube, Part]], list[str], Options]:
    """Returns each cube with the parts that it is cut into, notes, and the options settled.

    Raises:
      UserError: test_seeds names others than there are or leaves none to learn from, or slices
        along several axes would cross the slabs.
    """
    seeds = sorted({cube.seed for cube in cubes if cube.seed}, key=_number)
    asked = names(options.test_seeds)
    strange = [seed for seed in asked if seed not in seeds]
    if strange or (asked and len(set(asked)) == len(seeds)):
        raise UserError(
            f"Option test_seeds is {options.test_seeds!r}, but the cubes' seeds are "
            f"{', '.join(seeds) or 'not told'}. Name some of these, and leave one or more to learn "
            "from."
        )
    if len(seeds) < 2:
        found, notes = _slabs(cubes, options)
        return found, notes, options
    notes = []
    lost = [cube for cube in cubes if not cube.seed]
    if lost:
        notes.append(
            LeftOut(
                f"{len(lost)} cubes, {lost[0].about} among them, tell no seed while others do, so "
                "they may share their structure with any of these and are left out. Name their "
                "seeds in cubes.csv."
            )
        )
    if not asked and len(seeds) >= FEW:
        return [(cube, Part(f"seed {cube.seed}")) for cube in cubes if cube.seed], notes, options
    if not asked:
        asked = (seeds[-1],)
        notes.append(
            f"With {len(seeds)} seeds only, the last one, {asked[0]}, tests. Say --option "
            f"test_seeds={asked[0]} to keep it so when more come."
        )
    notes.append(
        f"Seed {', '.join(asked)} tests. The others teach, and a slab of each (a fifth of the box, "
        f"{options.gap_mpc:g} Mpc apart) validates: that is weaker than seeds apart, so validation "
        "scores flatter a little; test scores do not."
    )
    if len(options.axes) > 1:
        notes.append("Slices along several axes cross the validating slabs, which flatters more.")
    found = []
    for cube in cubes:
        group = f"seed {cube.seed}"
        if cube.seed in asked:
            found.append((cube, Part(group, "test")))
        elif cube.seed:
            found.append((cube, Part(group, "train", 0.0, VALIDATES)))
            found.append((cube, Part(group, "validation", VALIDATES, 1.0)))
    return found, notes, options


def _slabs(cubes: list[Cube], options: Options) -> tuple[list[tuple[Cube, Part]], list[str]]:
    if len(options.axes) > 1:
        raise UserError(
            "Slices along several axes cross the slabs that keep splits of one simulation apart. "
            "Give one axis by --option axes=0, or cubes of several seeds."
        )
    count = len(OF_ONE_SEED)
    slabs = [
        Part(f"slab {i + 1} of {count}", split, i / count, (i + 1) / count)
        for i, split in enumerate(OF_ONE_SEED)
    ]
    note = (
        f"The cubes tell {'one seed only' if any(c.seed for c in cubes) else 'no seed'}, so slabs "
        f"of the box, {options.gap_mpc:g} Mpc apart, are the groups, the same in all cubes: weaker "
        "than seeds apart, since bubbles reach further. Scores on another simulation may be lower."
    )
    return [(cube, slab) for cube in cubes for slab in slabs], [note]


def _number(seed: str) -> tuple[int, str]:
    return (int(seed) if seed.isdecimal() else -1, seed)
