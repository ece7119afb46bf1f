"""Charge that particles leave in a CCD, track by track."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

PIXEL_UM, THICK_UM = 15.0, 250.0
E_PER_KEV = 1000 / 3.62  # one pair in silicon takes 3.62 eV
LINES_KEV = (17.5, 22.2, 59.5)  # molybdenum, silver, americium
MUON_E_PER_UM = 76.0  # most probable, of a minimum ionizing particle
STRAGGLING = 0.35  # share of a step's charge that is left to the long tail of its distribution
NEAR_PX, FAR_PX = 0.35, 1.1  # deviation of diffused charge, from the front and from the back
PARTS, STEP_PX = 16, 0.25  # packets that a step's charge diffuses in, and length of a step


class ParticleTruth(NamedTuple):
    """The particle that left a charge.

    Attributes:
      energy_kev: that it left.
      angle_deg: its direction as seen, 0 along the rows to 180, counter-clockwise; NaN for none.
    """

    energy_kev: float
    angle_deg: float


def x_ray(rng: np.random.Generator) -> tuple[np.ndarray, ParticleTruth]:
    """Returns the charge [height, width] of an x-ray in electrons: one point, diffused."""
    energy = rng.choice(LINES_KEV, p=(0.3, 0.3, 0.4)) * rng.normal(1, 0.01)
    depth = rng.uniform(0.4, 1)
    charge = np.full(PARTS, energy * E_PER_KEV / PARTS)
    return _landed(rng, np.zeros((PARTS, 2)), charge, np.full(PARTS, depth)), ParticleTruth(
        energy, float("nan")
    )


def muon(rng: np.random.Generator) -> tuple[np.ndarray, ParticleTruth]:
    """Returns the charge of a muon: straight through all of the silicon, wider towards the back."""
    slant = np.arccos(np.sqrt(rng.uniform(0.02, 0.75)))  # cosine squared, as at sea level
    angle = rng.uniform(0, np.pi)
    length = np.tan(slant) * THICK_UM / PIXEL_UM
    count = max(2, int(length / STEP_PX))
    along = np.linspace(0, length, count)
    points = along[:, None] * [-np.sin(angle), np.cos(angle)]
    path_um = THICK_UM / np.cos(slant) / count
    charge = _straggled(rng, np.full(count, MUON_E_PER_UM * path_um))
    made = ParticleTruth(charge.sum() / E_PER_KEV, np.degrees(angle) % 180)
    return _landed(rng, points, charge, np.linspace(0, 1, count)), made


def electron(rng: np.random.Generator) -> tuple[np.ndarray, ParticleTruth]:
    """Returns the charge of an electron: scattered many times, the more the slower it is."""
    energy = rng.uniform(150, 600)
    left, at, angle, depth = energy, np.zeros(2), rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8)
    points, charges, depths = [], [], []
    while left > 0:
        # As 1/v^2 grows: about as a muon when fast, five times that at its end.
        lost = min(left, MUON_E_PER_UM * PIXEL_UM * STEP_PX / E_PER_KEV * (1 + 250 / (left + 40)))
        left -= lost
        angle += rng.normal(0, 0.06 + 12 / (left + 60))
        depth = float(np.clip(depth + rng.normal(0, 0.02), 0, 1))
        at = at + STEP_PX * np.array([np.sin(angle), np.cos(angle)])
        points.append(at)
        charges.append(lost * E_PER_KEV)
        depths.append(depth)
    charge = _straggled(rng, np.array(charges))
    return _landed(rng, np.array(points), charge, np.array(depths)), ParticleTruth(
        energy, float("nan")
    )


def alpha(rng: np.random.Generator) -> tuple[np.ndarray, ParticleTruth]:
    """Returns the charge of an alpha: so dense that it drives itself apart into a round drop."""
    energy, radius = rng.uniform(3000, 5500), rng.uniform(4, 7)
    points = rng.normal(0, 1, (4000, 2))
    points *= (radius * rng.random(4000) ** 0.5 / np.linalg.norm(points, axis=1))[:, None]
    charge = np.full(len(points), energy * E_PER_KEV / len(points))
    return _landed(rng, points, charge, np.full(len(points), 0.5)), ParticleTruth(
        energy, float("nan")
    )


KINDS: dict[str, Callable[[np.random.Generator], tuple[np.ndarray, ParticleTruth]]] = {
    "x-ray": x_ray,
    "muon": muon,
    "electron": electron,
    "other": alpha,
}


def _straggled(rng: np.random.Generator, charge: np.ndarray) -> np.ndarray:
    """Returns charges [n] of which a share varies with a long tail, as Landau's does."""
    return charge * (1 - STRAGGLING + STRAGGLING * rng.exponential(1, len(charge)))


def _landed(rng, points: np.ndarray, charge: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Returns the charge of each pixel around points [n, 2] (row, column) once it has diffused.

    Args:
      rng: of it.
      points: in px, anywhere.
      charge: [n] electrons.
      depth: [n], where in the silicon: 0 in front to 1 at the back, from where it diffuses longest.
    """
    deviation = np.sqrt(NEAR_PX**2 + (FAR_PX**2 - NEAR_PX**2) * depth)
    packets = max(PARTS, 4000 // len(points))
    spread = rng.normal(0, 1, (len(points), packets, 2)) * deviation[:, None, None]
    places = (points[:, None] + rng.random(2) + spread).reshape(-1, 2)
    places -= np.floor(places.min(axis=0))
    rows, columns = places.astype(int).T
    shape = (rows.max() + 1, columns.max() + 1)
    charge_each = np.repeat(charge / packets, packets)
    flat = np.bincount(
        rows * shape[1] + columns, weights=charge_each, minlength=shape[0] * shape[1]
    )
    return flat.reshape(shape)
