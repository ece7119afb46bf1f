"""Columns that VisualSpreadsheet computes and a .lst does not store.

The definitions are those of the FlowCam manual (Fluid Imaging Technologies), pages 118-119, and for
circularity, convexity, aspect ratio, biovolumes, geodesic and fiber columns those of the
VisualSpreadsheet user guide, which models a particle as a rectangle: area = length x thickness,
perimeter = 2 (length + thickness).

The diameters and lengths in µm of a .lst are smaller than its raw ones in px: the instrument
subtracts the diffraction fringe from each, or half the length if that is less, before it multiplies
by µm per px. Perimeter, compactness, elongation and the rectangle's sides are of the raw particle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def derive(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Returns the measured columns that a table lacks and that follow from its others.

    Args:
      frame: [particles, columns] float64, under our names.

    Returns:
      Name -> [particles] float64; NaN or infinite where the formula has no answer.
    """
    values = {name: frame[name].to_numpy() for name in frame.columns}
    derived = {}
    with np.errstate(all="ignore"):
        for name, (needs, formula) in _FORMULAS.items():
            if name not in values and {*needs} <= values.keys():
                derived[name] = values[name] = formula(*(values[need] for need in needs))
    return derived


def _sphere(diameter_um: np.ndarray) -> np.ndarray:
    return np.pi / 6 * diameter_um**3


def _spheroid(major_px, minor_px, fringe_px, um_per_px) -> np.ndarray:
    """Returns the volume, µm³, of the Legendre ellipse turned about its long axis."""
    major_px, minor_px = (np.maximum(d - fringe_px, d / 2) for d in (major_px, minor_px))
    return np.pi / 6 * major_px * minor_px**2 * um_per_px**3


def _length(perimeter_px, area_px2, um_per_px) -> np.ndarray:
    """Returns the longer side, µm, of the rectangle of that perimeter and area.

    Round particles have more area than any rectangle of their perimeter: they count as squares.
    """
    half = perimeter_px / 2
    return (half + np.sqrt(np.maximum(half**2 - 4 * area_px2, 0))) / 2 * um_per_px


def _thickness(perimeter_px, area_px2, um_per_px) -> np.ndarray:
    return perimeter_px / 2 * um_per_px - _length(perimeter_px, area_px2, um_per_px)


_AXES = ("raw_legendre_major_px", "raw_legendre_minor_px")
_RAW = ("raw_perimeter_px", "raw_filled_area_px2", "calibration_factor_um")
_GEODESIC = ("geodesic_length_um", "geodesic_thickness_um")

# name: (columns it needs, formula); each stands below the columns it needs
_FORMULAS: dict[str, tuple[tuple[str, ...], Callable]] = {
    "diameter_abd_um": (("area_abd_um2",), lambda area: 2 * np.sqrt(area / np.pi)),
    "volume_abd_um3": (("diameter_abd_um",), _sphere),
    "volume_esd_um3": (("diameter_esd_um",), _sphere),
    "transparency": (("diameter_abd_um", "diameter_esd_um"), lambda abd, esd: 1 - abd / esd),
    # 4 pi A / P² and P² / (4 pi A), both of the raw filled particle
    "circularity": (("compactness",), lambda compactness: 1 / compactness),
    "convexity": (("raw_filled_area_px2", "raw_convex_hull_area_px2"), np.divide),
    "aspect_ratio": (_AXES, lambda major, minor: minor / major),
    "biovolume_p_spheroid_um3": (
        (*_AXES, "fringe_size_px", "calibration_factor_um"),
        _spheroid,
    ),
    "geodesic_length_um": (_RAW, _length),
    "geodesic_thickness_um": (_RAW, _thickness),
    "geodesic_aspect_ratio": (_GEODESIC, lambda length, thickness: thickness / length),
    "biovolume_cylinder_um3": (
        _GEODESIC,
        lambda length, thickness: np.pi / 4 * thickness**2 * length,
    ),
    "fiber_straightness": (
        ("length_um", "geodesic_length_um"),
        lambda length, geodesic: length / geodesic,
    ),
    "fiber_curl": (
        ("length_um", "geodesic_length_um"),
        lambda length, geodesic: geodesic / length - 1,
    ),
}
