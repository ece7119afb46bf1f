"""What lies in an ice core, and how it looks in dark field: bubbles are bright, melt is dark.

Lengths are millimetres in the core's own frame, so that one photo looks alike at every resolution:
`depth` runs down from the core's top edge, `across` from the centre line (-50) to (+50).
"""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

CORE_WIDTH_MM = 100.0
END_CLEARANCE_MM = 45.0
CLEARANCE_MM = 12.0
EDGE_MM = CORE_WIDTH_MM / 2
GRID_PER_MM = 10
RAGGED_MM = {"crack": 1.0, "break": 2.0}
PATCH = "indication of bubble free layer or patch"

# Lower and upper bounds of (thickness in mm, contrast), and of how an edge fades: in mm where
# sharp, as a part of the thickness where diffuse.
CRACKS = {"fine": ([0.7, 0.2], [1.5, 0.6]), "wide": ([1.5, 0.6], [2.5, 0.85])}
LAYERS = {"sharp": ([2, 0.35, 0.15], [9, 0.75, 0.4]), "diffuse": ([3.5, 0.2, 0.15], [9, 0.4, 0.3])}


class Frame(NamedTuple):
    """Where every pixel lies in the core, [rows, columns] float32 in mm, and the sizes of both."""

    depth: np.ndarray
    across: np.ndarray
    length_mm: float
    px_per_mm: float


class IceFeature(NamedTuple):
    """One thing in the ice.

    Attributes:
      kind: a type of the depth table, or "crack" or "break".
      centre_mm: depth of its middle.
      thickness_mm: across its own direction.
      left_mm, right_mm: its extent across the core.
      angle_deg: of its direction to the horizontal.
      sag_mm: how far its middle hangs below the line between its ends.
      contrast: part of the light taken away, 0..1.
      softness_mm: over which its edges fade.
    """

    kind: str
    centre_mm: float
    thickness_mm: float
    left_mm: float = -CORE_WIDTH_MM
    right_mm: float = CORE_WIDTH_MM
    angle_deg: float = 0.0
    sag_mm: float = 0.0
    contrast: float = 0.5
    softness_mm: float = 0.2

    @property
    def half_span_mm(self) -> float:
        """Half of the depth range that it touches inside the core."""
        width_mm = min(self.right_mm, EDGE_MM) - max(self.left_mm, -EDGE_MM)
        rise_mm = abs(np.tan(np.deg2rad(self.angle_deg))) * width_mm
        return (self.thickness_mm + rise_mm + abs(self.sag_mm)) / 2 + RAGGED_MM.get(self.kind, 0)


def draw_features(rng: np.random.Generator, *, length_mm: float) -> list[IceFeature]:
    """Returns what lies in one core, by depth: clear of its ends and of one another."""
    placed: list[IceFeature] = []
    for feature in _draw_unplaced(rng):
        room_mm, free_mm = (feature.half_span_mm + c for c in (END_CLEARANCE_MM, CLEARANCE_MM))
        for at_mm in np.round(rng.uniform(room_mm, length_mm - room_mm, size=100), 1).tolist():
            if all(abs(at_mm - o.centre_mm) >= free_mm + o.half_span_mm for o in placed):
                placed.append(feature._replace(centre_mm=at_mm))
                break
    return sorted(placed, key=lambda feature: feature.centre_mm)


def _draw_unplaced(rng: np.random.Generator) -> Iterator[IceFeature]:
    """Yields features still without a depth, those that need most room first."""

    def part(width_mm: float) -> dict[str, float]:
        left_mm = rng.uniform(-EDGE_MM, EDGE_MM - width_mm)
        return {"left_mm": left_mm, "right_mm": left_mm + width_mm}

    if rng.random() < 0.25:
        angles_deg = (0, 3) if rng.random() < 0.2 else (3, 15)
        angle_deg = rng.uniform(*angles_deg) * rng.choice([-1, 1])
        yield IceFeature("break", 0, rng.uniform(2, 6), angle_deg=angle_deg, contrast=0.85)
    for _ in range(rng.integers(0, 4)):
        look = part(min(rng.uniform(25, 140), CORE_WIDTH_MM))
        look["angle_deg"] = np.exp(rng.uniform(np.log(5), np.log(45))) * rng.choice([-1, 1])
        look["sag_mm"] = rng.choice([0, rng.uniform(-8, 8)])
        wide = rng.random() < 0.3
        thickness_mm, look["contrast"] = rng.uniform(*CRACKS["wide" if wide else "fine"])
        yield IceFeature("crack", 0, thickness_mm, **look)
    for _ in range(min(rng.poisson(2.2), 5)):
        diffuse = rng.random() < 0.25
        thickness_mm, contrast, fading = rng.uniform(*LAYERS["diffuse" if diffuse else "sharp"])
        look = {"contrast": contrast, "softness_mm": fading * (thickness_mm if diffuse else 1)}
        yield IceFeature("meltLayer", 0, np.round(thickness_mm, 1), **look)
    for _ in range(rng.integers(0, 4)):
        sure = rng.random() < 0.75
        contrasts = (0.35, 0.7) if sure else (0.18, 0.3)
        look = {"contrast": rng.uniform(*contrasts)}
        look |= part(rng.uniform(20, 65))
        kind = "meltLens" if sure else "meltLens uncertain"
        yield IceFeature(kind, 0, np.round(rng.uniform(1, 4), 1), **look)
    if rng.random() < 0.5:
        look = {"contrast": rng.uniform(0.15, 0.25), "softness_mm": rng.choice([0.4, 1.5])}
        patch = look["softness_mm"] > 1
        thicknesses_mm = (5, 16) if patch else (1, 3)
        thickness_mm = np.round(rng.uniform(*thicknesses_mm), 1)
        look |= part(rng.uniform(20, 70)) if patch else {}
        yield IceFeature(PATCH if patch else "meltLayer uncertain", 0, thickness_mm, **look)


class Window(NamedTuple):
    """Some rows of a photo, [rows, columns] float32 each; drawers change the light in place."""

    light: np.ndarray
    depth: np.ndarray
    across: np.ndarray
    bubbles: np.ndarray


def core_light(
    rng: np.random.Generator, features: list[IceFeature], *, frame: Frame
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the light of an evenly lit core and its cover, 0..1, as `frame` float32."""
    depth, across, length_mm, px_per_mm = frame
    column_mm = across[len(across) // 2]
    dip = np.tan(np.deg2rad(rng.uniform(-0.3, 0.3)))
    bed = depth + (dip * column_mm + wave(rng, column_mm, amplitude_mm=0.5)).astype(np.float32)
    grid = np.arange(-80, length_mm + 80, 1 / GRID_PER_MM)
    light = np.interp(bed, grid, stratigraphy(rng, grid)).astype(np.float32)
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
    rounding, power = rng.uniform(0.1, 0.35), rng.uniform(5, 12)
    light *= 1 - rounding * np.abs(column_mm / EDGE_MM).clip(0, 1) ** power
    row_mm = depth[:, depth.shape[1] // 2]
    for feature in features:
        reach_mm = (feature.half_span_mm + 8) * np.array([-1, 1])
        rows = slice(*np.searchsorted(row_mm, feature.centre_mm + reach_mm))
        window = Window(*(array[rows] for array in (light, bed, across, bubbles)))
        drawer = {"crack": draw_crack, "break": draw_break}.get(feature.kind, draw_melt)
        drawer(feature, window, rng=rng)
    return light, np.clip(0.5 + inside_mm * px_per_mm, 0, 1)


def stratigraphy(rng: np.random.Generator, grid_mm: np.ndarray) -> np.ndarray:
    """Returns the light [n] of undisturbed ice on an even grid of depths [n] in mm."""

    def noise(scale_mm: float) -> np.ndarray:
        return clouds(rng, (len(grid_mm), 1), scale_px=2 * scale_mm * GRID_PER_MM)[:, 0] * 1.4

    band_mm = np.clip(17 + 4 * noise(40), 10, 25)
    phase = np.cumsum(2 * np.pi / (band_mm * GRID_PER_MM)) + noise(8)
    profile = 0.04 * np.sin(phase) * (0.7 + 0.4 * noise(30)) + 0.03 * noise(60)
    profile += 0.02 * noise(2.5) + 0.015 * noise(0.6)
    for _ in range(rng.poisson(5)):
        middle_mm, half_mm = rng.uniform(0, grid_mm[-1]), rng.uniform(5, 20)
        strength = rng.uniform(0.04, 0.11) * rng.choice([1, 1, -0.8])
        profile += strength * np.exp(-((np.abs(grid_mm - middle_mm) / half_mm) ** 3))
    return 0.6 * (1 + profile)


def draw_melt(feature: IceFeature, window: Window, *, rng: np.random.Generator) -> None:
    """Darkens a melt layer, a lens or a patch, for want of bubbles."""
    light, depth, across, bubbles = window
    whole = feature.right_mm - feature.left_mm > CORE_WIDTH_MM
    u = np.clip(np.abs(_line(feature, across)[1]), 0, 1)
    half_mm = feature.thickness_mm / 2 * (1 if whole else np.sqrt(1 - u**2))
    ripple_mm = 0.06 * feature.thickness_mm + 0.1
    upper = feature.centre_mm - half_mm + wave(rng, across, amplitude_mm=ripple_mm)
    lower = feature.centre_mm + half_mm + wave(rng, across, amplitude_mm=ripple_mm)
    inside = fade(depth - upper, feature.softness_mm) * fade(lower - depth, feature.softness_mm)
    unevenness = 1 + wave(rng, across, amplitude_mm=0.06)
    left_over = np.where(bubbles > rng.uniform(2.0, 2.8), 0.3, 1.0)
    inside = inside if whole else inside * (1 - u**6)
    light *= 1 - np.clip(feature.contrast * unevenness * left_over, 0, 0.85) * inside


def draw_crack(feature: IceFeature, window: Window, *, rng: np.random.Generator) -> None:
    """Draws a bright line with a dark side."""
    light, depth, across, bubbles = window
    line, u = _line(feature, across)
    line += jags(rng, across, amplitude_mm=0.25) + wave(rng, across, amplitude_mm=0.5)
    distance = (depth - line) * np.cos(np.deg2rad(feature.angle_deg))
    there = np.clip((1 - np.abs(u)) * 8, 0, 1)
    there = there * np.clip(0.75 + wave(rng, across, amplitude_mm=0.3), 0, 1)
    width_mm = feature.thickness_mm / 2
    side_mm = rng.choice([-1, 1]) * width_mm * rng.uniform(1.2, 2.2)
    dark = np.exp(-(((distance - side_mm) / width_mm) ** 2))
    bright = np.exp(-((distance / width_mm) ** 2))
    light *= 1 - feature.contrast * there * dark
    light += rng.choice([0.06, 0.3, 0.5]) * there * bright * (1 + 0.2 * bubbles)


def draw_break(feature: IceFeature, window: Window, *, rng: np.random.Generator) -> None:
    """Draws a jagged gap to the dark tray, with bright rims."""
    light, depth, across, bubbles = window
    line = _line(feature, across)[0] + jags(rng, across, amplitude_mm=0.8)
    half_mm = feature.thickness_mm / 2 + jags(rng, across, amplitude_mm=0.25)
    outside_mm = np.abs(depth - line) - np.maximum(half_mm, 0.5)
    rim = rng.uniform(0.1, 0.3) * np.exp(-(((outside_mm - 0.6) / rng.uniform(0.5, 1.2)) ** 2))
    light += rim * (1 + 0.3 * bubbles)
    light *= 1 - feature.contrast * fade(-outside_mm, feature.softness_mm)


def _line(feature: IceFeature, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a feature's depth in mm, and the place along it in -1..1 from end to end."""
    left_mm, right_mm = max(feature.left_mm, -EDGE_MM), min(feature.right_mm, EDGE_MM)
    u = (2 * across - left_mm - right_mm) / (right_mm - left_mm)
    rise_mm = np.tan(np.deg2rad(feature.angle_deg)) * (right_mm - left_mm) / 2
    return feature.centre_mm + rise_mm * u + feature.sag_mm * (0.5 - u**2), u


def fade(distance_mm: np.ndarray, softness_mm: float) -> np.ndarray:
    """Returns 0 far outside (negative) to 1 far inside, and 0.5 on the edge."""
    return 0.5 * (1 + np.tanh(distance_mm / softness_mm))


def wave(rng: np.random.Generator, across_mm: np.ndarray, *, amplitude_mm: float) -> np.ndarray:
    """Returns a smooth random undulation across the core."""
    wavelengths_mm = rng.uniform([90, 40, 20], [200, 90, 40])
    phases = rng.uniform(0, 2 * np.pi, size=3)
    angles = 2 * np.pi * across_mm[..., None] / wavelengths_mm + phases
    return amplitude_mm * (np.sin(angles) @ np.array([1, 0.5, 0.25]))


def jags(rng: np.random.Generator, across_mm: np.ndarray, *, amplitude_mm: float) -> np.ndarray:
    """Returns a random broken line across the core, with zero mean."""
    knots_mm = np.arange(-60, 61, 4) + rng.uniform(-1.5, 1.5, size=31)
    heights = rng.standard_normal(31)
    return np.interp(across_mm, knots_mm, amplitude_mm * (heights - heights.mean()))


def clouds(rng: np.random.Generator, shape: tuple[int, int], *, scale_px: float) -> np.ndarray:
    """Returns soft noise [rows, columns] float32 of variance near 1, `scale_px` wide."""
    small = [max(2, round(n / scale_px)) for n in shape]
    noise = rng.standard_normal(small, dtype=np.float32)
    return cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_CUBIC)
