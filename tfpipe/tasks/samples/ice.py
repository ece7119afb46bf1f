"""The light of an ice core: stratified ice, rounded sides, and what lies in it.

Lengths are millimetres in the core's own frame, so that one photo looks alike at every resolution:
`depth` runs down from the core's top edge, `across` from the centre line (-50) to (+50).
"""

from typing import NamedTuple

import cv2
import numpy as np

from tfpipe.tasks.samples import ice_drawing
from tfpipe.tasks.samples.ice_features import EDGE_MM, IceFeature
from tfpipe.tasks.samples.textures import clouds, jags, wave

GRID_PER_MM = 10
# Standard deviation of the light along a core, as a part of it; where a diffuse layer lies, more.
STRATIFICATION = {"usual": (0.03, 0.06), "diffuse layer": (0.05, 0.08)}


class Frame(NamedTuple):
    """Where every pixel lies in the core, [rows, columns] float32 in mm, and the sizes of both."""

    depth: np.ndarray
    across: np.ndarray
    length_mm: float
    px_per_mm: float


def core_light(
    rng: np.random.Generator, features: list[IceFeature], *, frame: Frame
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the light of an evenly lit core and its cover, 0..1, as `frame` float32."""
    depth, across, length_mm, px_per_mm = frame
    column_mm = across[len(across) // 2]
    dip = np.tan(np.deg2rad(rng.uniform(-0.3, 0.3)))
    bed = depth + (dip * column_mm + wave(rng, column_mm, amplitude_mm=0.5)).astype(np.float32)
    grid = np.arange(-80, length_mm + 80, 1 / GRID_PER_MM)
    causes = {feature.cause for feature in features}
    bounds = STRATIFICATION["diffuse layer" if "diffuse layer" in causes else "usual"]
    profile = stratigraphy(rng, grid, strength=rng.uniform(*bounds))
    light = np.interp(bed, grid, profile).astype(np.float32)
    for scale_mm in (4, 17):
        light *= 1 + 0.03 * clouds(rng, depth.shape, scale_px=scale_mm * px_per_mm)

    bubbles = rng.standard_normal(depth.shape, dtype=np.float32)
    blurred = cv2.GaussianBlur(bubbles, (0, 0), max(0.3 * px_per_mm, 0.3))
    bubbles = np.asarray(blurred, np.float32)
    bubbles /= bubbles[::7, ::3].std()
    light *= 1 + rng.uniform(0.05, 0.11) * (bubbles + 0.3 * bubbles * bubbles - 0.3)

    ends = [jags(rng, column_mm, amplitude_mm=0.7) for _ in range(2)]
    inside_mm = np.minimum(depth - ends[0], length_mm + ends[1] - depth)
    inside_mm = np.minimum(inside_mm, EDGE_MM - np.abs(across)).astype(np.float32)
    cover = np.clip(0.5 + inside_mm * px_per_mm, 0, 1)
    rounding, power = rng.uniform(0.1, 0.35), rng.uniform(5, 12)
    light *= 1 - rounding * np.abs(column_mm / EDGE_MM).clip(0, 1) ** power
    row_mm = depth[:, depth.shape[1] // 2]
    for feature in sorted(features, key=lambda feature: feature.kind == "glare"):
        reach_mm = (feature.half_span_mm + 8) * np.array([-1, 1])
        rows = slice(*np.searchsorted(row_mm, feature.centre_mm + reach_mm))
        arrays = (light, cover, bed, across, bubbles)
        ice_drawing.draw(feature, ice_drawing.Window(*(a[rows] for a in arrays)), rng=rng)
    return light, cover


def stratigraphy(rng: np.random.Generator, grid_mm: np.ndarray, *, strength: float) -> np.ndarray:
    """Returns the light [n] of undisturbed ice: annual bands, noise, and cloudy bands.

    Args:
      rng: of it.
      grid_mm: [n] even depths in mm.
      strength: standard deviation of bands and noise, as a part of the light.
    """

    def noise(scale_mm: float) -> np.ndarray:
        return clouds(rng, (len(grid_mm), 1), scale_px=2 * scale_mm * GRID_PER_MM)[:, 0] * 1.4

    band_mm = np.clip(17 + 4 * noise(40), 10, 25)
    phase = np.cumsum(2 * np.pi / (band_mm * GRID_PER_MM)) + noise(8)
    profile = 0.04 * np.sin(phase) * (0.7 + 0.4 * noise(30)) + 0.03 * noise(60)
    profile += 0.02 * noise(2.5) + 0.015 * noise(0.6)
    profile *= strength / profile.std()
    for _ in range(rng.poisson(5)):
        middle_mm, half_mm = rng.uniform(0, grid_mm[-1]), rng.uniform(5, 20)
        cloudy = rng.uniform(0.04, 0.11) * rng.choice([1, 1, -0.8])
        profile += cloudy * np.exp(-((np.abs(grid_mm - middle_mm) / half_mm) ** 3))
    return 0.6 * (1 + profile)
