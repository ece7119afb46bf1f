"""How melt, cracks, breaks and glare look in dark field: bubbles are bright, melt is dark."""

from typing import NamedTuple

import numpy as np

from tfpipe.tasks.samples.ice_features import CORE_WIDTH_MM, EDGE_MM, IceFeature
from tfpipe.tasks.samples.textures import fade, jags, wave


class Window(NamedTuple):
    """Some rows of a photo, [rows, columns] float32 each; drawers change light and cover in place.

    Attributes:
      light: of the ice.
      cover: 1 where there is ice, 0 where the tray shows.
      depth: in mm along the beds, which undulate.
      across: in mm from the centre line.
      bubbles: noise of variance 1.
    """

    light: np.ndarray
    cover: np.ndarray
    depth: np.ndarray
    across: np.ndarray
    bubbles: np.ndarray


def draw(feature: IceFeature, window: Window, *, rng: np.random.Generator) -> None:
    """Draws one thing into the rows around it."""
    drawers = {
        "open crack": draw_crack,
        "refrozen crack": draw_refrozen,
        "break": draw_break,
        "missing ice": draw_gap,
        "chip": draw_chip,
        "bubble-free patch": draw_patch,
        "glare": draw_glare,
    }
    drawers.get(feature.cause, draw_melt)(feature, window, rng=rng)


def draw_melt(feature: IceFeature, window: Window, *, rng: np.random.Generator) -> None:
    """Darkens a melt layer or a lens, for want of bubbles."""
    depth, across = window.depth, window.across
    whole = feature.right_mm - feature.left_mm > CORE_WIDTH_MM
    u = np.clip(np.abs(_line(feature, across)[1]), 0, 1)
    half_mm = feature.thickness_mm / 2 * (1 if whole else np.sqrt(1 - u**2))
    ripple_mm = 0.06 * feature.thickness_mm + 0.1
    upper = feature.centre_mm - half_mm + wave(rng, across, amplitude_mm=ripple_mm)
    lower = feature.centre_mm + half_mm + wave(rng, across, amplitude_mm=ripple_mm)
    inside = fade(depth - upper, feature.softness_mm) * fade(lower - depth, feature.softness_mm)
    # Soft edges reach the middle of a thin layer, where the contrast is to be what it is.
    inside /= fade(np.array(feature.thickness_mm / 2), feature.softness_mm) ** 2
    inside *= 1 if whole else 1 - u**6
    _darken(feature, window, inside, rng=rng)


def draw_patch(feature: IceFeature, window: Window, *, rng: np.random.Generator) -> None:
    """Darkens a lump of any outline, which is no layer."""
    _, u = _line(feature, window.across)
    v = (window.depth - feature.centre_mm) / (feature.thickness_mm / 2)
    lumps = wave(rng, window.depth, amplitude_mm=0.25) + jags(rng, window.across, amplitude_mm=0.1)
    inside_mm = (1 - np.hypot(u, v) + lumps) * feature.thickness_mm / 2
    _darken(feature, window, fade(inside_mm, feature.softness_mm), rng=rng)


def _darken(
    feature: IceFeature, window: Window, inside: np.ndarray, *, rng: np.random.Generator
) -> None:
    """Takes the light of ice without bubbles away, `inside` [rows, columns] 0..1."""
    unevenness = 1 + wave(rng, window.across, amplitude_mm=0.06)
    left_over = np.where(window.bubbles > rng.uniform(2.0, 2.8), 0.3, 1.0)
    dark = np.clip(feature.contrast * unevenness * left_over, 0, 0.85) * inside
    window.light[:] *= 1 - np.clip(dark, 0, 0.9)


def draw_crack(feature: IceFeature, window: Window, *, rng: np.random.Generator) -> None:
    """Draws a bright line with a dark side."""
    light, across = window.light, window.across
    distance, there = _crack(feature, window, rng=rng)
    there = there * np.clip(0.75 + wave(rng, across, amplitude_mm=0.3), 0, 1)
    width_mm = feature.thickness_mm / 2
    side_mm = rng.choice([-1, 1]) * width_mm * rng.uniform(1.2, 2.2)
    dark = np.exp(-(((distance - side_mm) / width_mm) ** 2))
    bright = np.exp(-((distance / width_mm) ** 2))
    light *= 1 - feature.contrast * there * dark
    light += rng.choice([0.06, 0.3, 0.5]) * there * bright * (1 + 0.2 * window.bubbles)


def draw_refrozen(feature: IceFeature, window: Window, *, rng: np.random.Generator) -> None:
    """Draws a crack that water has filled: a dark line, some with a row of bubbles inside."""
    light = window.light
    distance, there = _crack(feature, window, rng=rng)
    half_mm = feature.thickness_mm / 2 * (1 + wave(rng, window.across, amplitude_mm=0.2))
    inside = there * fade(half_mm - np.abs(distance), 0.15)
    light *= 1 - feature.contrast * inside
    if rng.random() < 0.4:
        middle = np.exp(-((distance / (0.2 * feature.thickness_mm + 0.1)) ** 2))
        light += 0.2 * there * middle * (window.bubbles > 0.8)


def _crack(
    feature: IceFeature, window: Window, *, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distance from a crack's line in mm, and 1 where the crack is along it."""
    line, u = _line(feature, window.across)
    line += jags(rng, window.across, amplitude_mm=0.25)
    line += wave(rng, window.across, amplitude_mm=0.5)
    distance = (window.depth - line) * np.cos(np.deg2rad(feature.angle_deg))
    return distance, np.clip((1 - np.abs(u)) * 8, 0, 1)


def draw_break(feature: IceFeature, window: Window, *, rng: np.random.Generator) -> None:
    """Draws a jagged gap to the dark tray, with bright rims."""
    line = _line(feature, window.across)[0] + jags(rng, window.across, amplitude_mm=0.8)
    half_mm = feature.thickness_mm / 2 + jags(rng, window.across, amplitude_mm=0.25)
    outside_mm = np.abs(window.depth - line) - np.maximum(half_mm, 0.5)
    _rim(window, outside_mm, rng=rng)
    window.light[:] *= 1 - feature.contrast * fade(-outside_mm, feature.softness_mm)


def draw_gap(feature: IceFeature, window: Window, *, rng: np.random.Generator) -> None:
    """Takes the ice of a gap away, whose two sides do not fit: a piece was lost."""
    line, u = _line(feature, window.across)
    taper = 1 - rng.uniform(0.1, 0.7) * (1 + rng.choice([-1, 1]) * np.clip(u, -1, 1)) / 2
    half_mm = feature.thickness_mm / 2 * taper
    upper = line - half_mm + jags(rng, window.across, amplitude_mm=0.8)
    lower = line + half_mm + jags(rng, window.across, amplitude_mm=0.8)
    _take_away(window, np.maximum(upper - window.depth, window.depth - lower), rng=rng)


def draw_chip(feature: IceFeature, window: Window, *, rng: np.random.Generator) -> None:
    """Takes a chip off the core's side."""
    side = np.sign(feature.left_mm + feature.right_mm)
    deep_mm = feature.right_mm - feature.left_mm
    u = (EDGE_MM - side * window.across) / deep_mm
    v = (window.depth - feature.centre_mm) / (feature.thickness_mm / 2)
    ragged = jags(rng, window.across, amplitude_mm=0.06) + wave(rng, window.depth, amplitude_mm=0.1)
    _take_away(window, (np.hypot(u, v) - 1 + ragged) * deep_mm, rng=rng)


def _take_away(window: Window, outside_mm: np.ndarray, *, rng: np.random.Generator) -> None:
    """Uncovers the tray where `outside_mm` [rows, columns] is negative."""
    _rim(window, outside_mm, rng=rng)
    window.cover[:] *= fade(outside_mm, 0.2)


def _rim(window: Window, outside_mm: np.ndarray, *, rng: np.random.Generator) -> None:
    """Brightens the rim of broken ice, which scatters."""
    rim = rng.uniform(0.1, 0.3) * np.exp(-(((outside_mm - 0.6) / rng.uniform(0.5, 1.2)) ** 2))
    window.light[:] += rim * (1 + 0.3 * window.bubbles)


def draw_glare(feature: IceFeature, window: Window, *, rng: np.random.Generator) -> None:
    """Adds the lamp's reflection on a wet or polished surface."""
    _, u = _line(feature, window.across + wave(rng, window.depth, amplitude_mm=0.8))
    v = (window.depth - feature.centre_mm) / (feature.thickness_mm / 2)
    window.light[:] += feature.contrast * np.exp(-2 * (u**2 + v**4))


def _line(feature: IceFeature, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a feature's depth in mm, and the place along it in -1..1 from end to end."""
    left_mm, right_mm = max(feature.left_mm, -EDGE_MM), min(feature.right_mm, EDGE_MM)
    u = (2 * across - left_mm - right_mm) / (right_mm - left_mm)
    rise_mm = np.tan(np.deg2rad(feature.angle_deg)) * (right_mm - left_mm) / 2
    return feature.centre_mm + rise_mm * u + feature.sag_mm * (0.5 - u**2), u
