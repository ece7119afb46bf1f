"""Sample of ionization: small 21 cm cubes with bubbles that grow as redshift falls."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from scipy import special

from tfpipe.base.errors import UserError
from tfpipe.base.resources import cores
from tfpipe.tasks.ionization.survey import REDSHIFTS
from tfpipe.tasks.samples.output_folder import whole

BOX_MPC = 150.0
ESCAPE_FRACTIONS = (0.07, 0.1, 0.13)
SLOPE = -2.0  # of the power law, as matter has it on lengths of some Mpc
SIGMA_CELLS = 1.2  # deviation of the density in cells today
SIGMA_HALOES = 6.5  # and on the scale of the smallest haloes that shine (1e8 solar masses)
COLLAPSE = 1.686  # density beyond which a sphere collapses (Press & Schechter 1974)
PHOTONS = 500.0  # ionizing ones that a baryon in stars sends out, times the share in stars
RADII = 10  # on which bubbles are looked for, from a third of the box to a cell


def draw(folder: Path, *, simulations: int = 3, cells: int = 40, seed: int = 0) -> dict:
    """Draws simulations of other seeds, each at 17 redshifts and three escape fractions.

    All cubes of a simulation share their density, so that a split through it is rewarded. At low
    redshifts and high escape fractions everything is ionized, and nothing is to be seen.

    Args:
      folder: is made; it must be empty or absent.
      simulations: how many seeds.
      cells: a side of 150 Mpc.
      seed: simulation i is a function of `seed` and i alone.

    Returns:
      {"simulations": how many, "cubes": in all, "truth": where it stands}.

    Raises:
      UserError: a folder that holds something, or a number out of range.
    """
    if not 1 <= simulations <= 100 or not 16 <= cells <= 400 or seed < 0:
        raise UserError(
            "Expected 1 to 100 simulations, 16 to 400 cells and seed >= 0, got "
            f"{simulations}, {cells} and {seed}."
        )
    folder = Path(folder).resolve()
    with whole(folder) as draft, ThreadPoolExecutor(cores()) as pool:
        write_simulation = partial(_write, draft, cells=cells, seed=seed)
        cubes = sum(pool.map(write_simulation, range(simulations)))
    return {"simulations": simulations, "cubes": cubes, "truth": "in the names of the files"}


def density(rng: np.random.Generator, *, cells: int) -> np.ndarray:
    """Returns a Gaussian field of power k ** SLOPE, mean 0, deviation 1, periodic.

    Returns:
      [cells, cells, cells] float64.
    """
    k = _wave_numbers(cells)
    k[0, 0, 0] = np.inf  # the mean is 0
    waves = np.fft.rfftn(rng.standard_normal((cells,) * 3)) * k ** (SLOPE / 2)
    field = np.fft.irfftn(waves, s=(cells,) * 3, axes=(0, 1, 2))
    return field / field.std()


def brightness(field: np.ndarray, *, z: float, f_esc: float) -> np.ndarray:
    """Returns the brightness temperature of a universe of this density, 0 where it is ionized.

    By the excursion set of Furlanetto, Zaldarriaga & Hernquist (2004, astro-ph/0403697): a cell is
    ionized where in a sphere around it, of any radius, stars sent out a photon for each atom.

    Args:
      field: [n, n, n] float, density contrast of deviation 1.
      z: redshift.
      f_esc: share of photons that leave their galaxies.

    Returns:
      [n, n, n] float32, mK (Furlanetto, Oh & Briggs 2006, eq. 22, spins much hotter than the sky).
    """
    growth = 1 / (1 + z)
    k = _wave_numbers(len(field)) * 2 * np.pi / BOX_MPC
    waves = np.fft.rfftn(field * SIGMA_CELLS)
    ionized = np.zeros(field.shape, bool)
    for radius in np.geomspace(BOX_MPC / 3, BOX_MPC / len(field), RADII):
        smoothed = waves * np.exp(-((k * radius) ** 2) / 2)
        smooth = np.fft.irfftn(smoothed, s=field.shape, axes=(0, 1, 2))
        spread = growth * np.sqrt(SIGMA_HALOES**2 - smooth.var())
        collapsed = special.erfc((COLLAPSE - growth * smooth) / (np.sqrt(2) * spread))
        ionized |= PHOTONS * f_esc * collapsed >= 1
    contrast = np.maximum(1 + growth * SIGMA_CELLS * field, 0)
    temperature = 27 * contrast * np.sqrt((1 + z) / 10)
    return np.where(ionized, 0, temperature).astype(np.float32)


def _write(folder: Path, number: int, *, cells: int, seed: int) -> int:
    """Writes the cubes of a simulation; returns how many."""
    field = density(np.random.default_rng([seed, number]), cells=cells)
    for z in REDSHIFTS:
        for f_esc in ESCAPE_FRACTIONS:
            cube = brightness(field, z=z, f_esc=f_esc)
            name = f"delta_T_z{z:06.2f}_fesc{f_esc:.3f}_seed{number + 1}_{cells}_{BOX_MPC:g}Mpc"
            np.save(folder / f"{name}.npy", cube.astype(np.float16))
    return len(REDSHIFTS) * len(ESCAPE_FRACTIONS)


def _wave_numbers(cells: int) -> np.ndarray:
    """Returns |k| [cells, cells, cells // 2 + 1], in waves a side, as rfftn orders them."""
    whole_axis, half_axis = np.fft.fftfreq(cells, 1 / cells), np.arange(cells // 2 + 1)
    return np.sqrt(
        whole_axis[:, None, None] ** 2 + whole_axis[:, None] ** 2 + half_axis.astype(float) ** 2
    )
