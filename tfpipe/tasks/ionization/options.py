"""What a user may set about ionization cubes: `--option name=value`."""

from dataclasses import dataclass

from tfpipe.tasks.options import option


@dataclass(frozen=True)
class Options:
    """The options and their defaults; each field's metadata holds its help."""

    axes: str = option(
        "0",
        "axes that cubes are sliced along",
        choices=("0", "1", "2", "01", "02", "12", "012"),
    )
    every: int = option(4, "a slice every so many cells", least=1)
    side: int = option(
        0,
        "side of the pictures, px; larger slices are cut into several (seed 003: 50); 0 for that "
        "of the smallest cube",
        least=0,
    )
    z: str = option("", "redshifts taken, with commas; empty for all")
    f_esc: str = option("", "escape fractions taken, with commas; empty for all")
    test_seeds: str = option(
        "", "seeds that test, with commas; the others teach, and validate by a slab each"
    )
    gap_mpc: float = option(10.0, "between slabs of one simulation, Mpc", least=0)
    cell_mpc: float = option(
        0.0, "size of a cell where nothing tells it, Mpc; 0 for 1.5 (seed 003)", least=0
    )
    bins: int = option(8, "bins of k of the power spectrum", least=1)


def names(text: str) -> tuple[str, ...]:
    """Returns the names in a list with commas."""
    return tuple(cleaned for part in text.split(",") if (cleaned := part.strip()))
