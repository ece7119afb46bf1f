"""Splits of ionization cubes: by the seed of the simulation, or by slabs of the box.

Cubes of one seed share their initial conditions: at every redshift and escape fraction the same
peaks ionize first. So the seed is the group, and the test split has other seeds than training.
With one seed, or unknown seeds, slabs of the box are the groups, the same ones in all cubes.
"""

from dataclasses import dataclass

import numpy as np

from tfpipe.base.errors import UserError
from tfpipe.tasks.ionization.cubes import Cube
from tfpipe.tasks.ionization.options import IonizationOptions, names
from tfpipe.tasks.task import LeftOut

MIN_SEEDS = 10  # with fewer, a split by hash of the seeds may be empty
OF_ONE_SEED = ("train", "train", "train", "validation", "test")
VALIDATION_BEGIN = 0.8  # share of the box where the validation slab of a training seed begins


@dataclass(frozen=True)
class Slab:
    """A slab of the box that goes to one split, or the whole box.

    Attributes:
      group: name of the group of its examples.
      split: "train", "validation" or "test"; "" for the split by hash of the group.
      begin: where the slab begins, a share of the box along the axis sliced.
      end: where it ends.
    """

    group: str
    split: str = ""
    begin: float = 0.0
    end: float = 1.0

    def slices(self, count: int, *, gap: float) -> np.ndarray:
        """Returns the indices of slices inside, at least half a gap from both ends of the slab.

        Args:
          count: evenly spaced slices of the whole box.
          gap: between slabs, a share of the box.

        Returns:
          [n] int.
        """
        if self.end - self.begin >= 1:
            return np.arange(count)
        place = np.arange(count) / count
        inside = (place >= self.begin + gap / 2 - 1e-9) & (place <= self.end - gap / 2 + 1e-9)
        return np.flatnonzero(inside)


def split_cubes(
    cubes: list[Cube], options: IonizationOptions
) -> tuple[list[tuple[Cube, Slab]], list[str]]:
    """Returns each cube with each of its slabs, and notes.

    Raises:
      UserError: test_seeds has seeds that no cube has, or all of them; or slices along several
        axes would cross the slabs.
    """
    seeds = sorted({cube.seed for cube in cubes if cube.seed}, key=_number)
    test_seeds = names(options.test_seeds)
    unknown = [seed for seed in test_seeds if seed not in seeds]
    if unknown or (test_seeds and len(set(test_seeds)) == len(seeds)):
        raise UserError(
            f"Option test_seeds is {options.test_seeds!r}, but the cubes' seeds are "
            f"{', '.join(seeds) or 'unknown'}. Name some of these, and leave one or more for "
            "training."
        )
    if len(seeds) < 2:
        return _slabs(cubes, options)
    notes: list[str] = []
    without_seed = [cube for cube in cubes if not cube.seed]
    if without_seed:
        notes.append(
            LeftOut(
                f"{len(without_seed)} cubes, such as {without_seed[0].title}, have no seed while "
                "others have one. They may share their structure with any of these, so they are "
                "left out. Add their seeds to cubes.csv."
            )
        )
    if not test_seeds and len(seeds) >= MIN_SEEDS:
        return [(cube, Slab(f"seed {cube.seed}")) for cube in cubes if cube.seed], notes
    if not test_seeds:
        test_seeds = (seeds[-1],)
        notes.append(
            f"With only {len(seeds)} seeds, the last one, {test_seeds[0]}, is the test split. Give "
            f"--option test_seeds={test_seeds[0]} to keep it when seeds are added."
        )
    notes.append(
        f"Seed {', '.join(test_seeds)} is the test split. The others train, and a slab of each (a "
        f"fifth of the box, after a gap of {options.gap_mpc:g} Mpc) validates. Slabs are more "
        "alike than seeds, so validation scores are slightly optimistic; test scores are not."
    )
    if len(options.axes) > 1:
        notes.append(
            "Slices along several axes cross the validation slabs, so validation scores are more "
            "optimistic."
        )
    slabs = []
    for cube in cubes:
        group = f"seed {cube.seed}"
        if cube.seed in test_seeds:
            slabs.append((cube, Slab(group, "test")))
        elif cube.seed:
            slabs.append((cube, Slab(group, "train", 0.0, VALIDATION_BEGIN)))
            slabs.append((cube, Slab(group, "validation", VALIDATION_BEGIN, 1.0)))
    return slabs, notes


def _slabs(
    cubes: list[Cube], options: IonizationOptions
) -> tuple[list[tuple[Cube, Slab]], list[str]]:
    """Returns the slabs of cubes of one simulation, and a note."""
    if len(options.axes) > 1:
        raise UserError(
            "Slices along several axes cross the slabs that separate the splits of one simulation. "
            "Give one axis by --option axes=0, or cubes of several seeds."
        )
    count = len(OF_ONE_SEED)
    slabs = [
        Slab(f"slab {i + 1} of {count}", split, i / count, (i + 1) / count)
        for i, split in enumerate(OF_ONE_SEED)
    ]
    note = (
        f"The cubes have {'only one seed' if any(c.seed for c in cubes) else 'no seed'}, so slabs "
        f"of the box, {options.gap_mpc:g} Mpc apart, are the groups, the same in all cubes. Slabs "
        "are more alike than seeds, since bubbles reach further. Scores on another simulation may "
        "be lower."
    )
    return [(cube, slab) for cube in cubes for slab in slabs], [note]


def _number(seed: str) -> tuple[int, str]:
    """Returns the key by which seeds are sorted."""
    return (int(seed) if seed.isdecimal() else -1, seed)
