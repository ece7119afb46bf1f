"""IonizationOptions of the ionization tasks: `--option name=value`."""

from dataclasses import dataclass

from tfpipe.tasks.options import option


@dataclass(frozen=True)
class IonizationOptions:
    """The options and their defaults; each field's metadata holds its help."""

    axes: str = option(
        "0",
        "axes that cubes are sliced along",
        choices=("0", "1", "2", "01", "02", "12", "012"),
    )
    every: int = option(4, "cells between two slices", least=1)
    side: int = option(
        0,
        "side of the images, px; larger slices are cut into several (50 in Fay 2019); 0 for the "
        "side of the smallest cube",
        least=0,
    )
    z: str = option("", "redshifts to use, with commas; empty for all")
    f_esc: str = option("", "escape fractions to use, with commas; empty for all")
    test_seeds: str = option(
        "",
        "seeds of the test split, with commas; the others train, and a slab of each validates",
    )
    gap_mpc: float = option(10.0, "gap between slabs of one simulation, Mpc", least=0)
    cell_mpc: float = option(
        0.0, "size of a cell where no file has it, Mpc; 0 for 1.5 (Fay 2019)", least=0
    )
    bins: int = option(8, "bins of k of the power spectrum", least=1)


def names(text: str) -> tuple[str, ...]:
    """Returns the names in a list with commas."""
    return tuple(name for part in text.split(",") if (name := part.strip()))
