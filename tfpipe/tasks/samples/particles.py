"""Drawing of insoluble particles: glass, pollen, dust, contamination and diatoms.

A drawer returns what part of the light passes, 1 beside the particle. Lengths are micrometres in
the particle's own frame, so that it looks alike at every magnification and angle. Looks and sizes
follow seed document 000 and its images.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from tfpipe.tasks.samples.shapes import TURN, Canvas, band, outline, rough, shard

FINER = 2  # times as many rows and columns as the camera has, averaged at the end
MARGIN_UM = 8.0
THIRDS = np.arange(3) * 2 * np.pi / 3

Drawer = Callable[[np.random.Generator, Canvas, float], np.ndarray]


def draw(
    kind: str, rng: np.random.Generator, *, size_um: float, angle_rad: float, px_per_um: float
) -> np.ndarray:
    """Returns the part of the light [n, n] float32 that passes a particle and what is around it.

    Args:
      kind: one of KINDS.
      rng: decides on everything else of the particle.
      size_um: its diameter, or the length of what is long.
      angle_rad: by which it is turned.
      px_per_um: pixels of the camera.
    """
    side = int(np.ceil((1.3 * size_um + 4) * px_per_um))
    per_um = FINER * px_per_um
    grid = ((np.arange(FINER * side) - (FINER * side - 1) / 2) / per_um).astype(np.float32)
    cos, sin = np.float32(np.cos(angle_rad)), np.float32(np.sin(angle_rad))
    along = grid[None] * cos + grid[:, None] * sin
    across = grid[:, None] * cos - grid[None] * sin
    light = KINDS[kind].draw(rng, Canvas(along, across, angle_rad, per_um), size_um / 2)
    small = cv2.resize(light, (side, side), interpolation=cv2.INTER_AREA)
    return np.pad(np.clip(small, 0.04, 1.3), int(MARGIN_UM * px_per_um), constant_values=1)


def campanian(rng: np.random.Generator, canvas: Canvas, radius_um: float) -> np.ndarray:
    """Draws a shard of clear glass: thin dark edges, concave sides, small vesicles."""
    points = shard(rng, corners=int(rng.integers(3, 7)), hollow=(-0.1, 0.45))
    cover = canvas.fill(points * radius_um * np.array([1, rng.uniform(0.5, 1)]))
    dark = rng.uniform(0.08, 0.4) + 0.05 * canvas.mottle(rng, scale_um=6)
    dark += rng.uniform(0.35, 0.6) * band(canvas.depth(cover), width_um=rng.uniform(0.8, 1.5))
    for _ in range(rng.poisson(0.5 * radius_um)):
        centre = rng.uniform(-0.8, 0.8, 2) * radius_um
        size, edge = rng.uniform(0.2, 0.07 * radius_um + 0.3), rng.uniform(0.15, 0.5)
        canvas.stamp(dark, centre, radius_um=size, disc=-0.1, edge=edge)
    return 1 - cover * np.clip(dark, 0, 0.93)


def grimsvotn(rng: np.random.Generator, canvas: Canvas, radius_um: float) -> np.ndarray:
    """Draws a block of dark glass with worn corners, clear facets and a bright vesicle or two."""
    if rng.random() < 0.5:
        points = outline(rough(rng, amount=0.3, falling=1.2), squash=1)
    else:
        points = shard(rng, corners=int(rng.integers(5, 9)), hollow=(-0.25, 0.25))
    cover = canvas.fill(points * radius_um * np.array([1, rng.uniform(0.6, 1)]))
    dark = rng.uniform(0.5, 0.8) + 0.14 * canvas.mottle(rng, scale_um=rng.uniform(2, 5))
    for _ in range(rng.integers(0, 3)):
        centre = rng.uniform(-0.6, 0.6, 2) * radius_um
        facet = shard(rng, corners=int(rng.integers(3, 6)), hollow=(-0.2, 0.2))
        inner = canvas.fill(facet * radius_um * rng.uniform(0.2, 0.5) + centre)
        dark -= inner * (dark - np.float32(rng.uniform(0.1, 0.35)))
    for _ in range(rng.poisson(0.25 * radius_um)):
        centre = rng.uniform(-0.7, 0.7, 2) * radius_um
        size = rng.uniform(0.05, 0.16) * radius_um
        canvas.stamp(dark, centre, radius_um=size, disc=-0.25, edge=0.2)
    dark += rng.uniform(0.05, 0.3) * band(canvas.depth(cover), width_um=1.4)
    return 1 - cover * np.clip(dark, 0, 0.93)


def corylus(rng: np.random.Generator, canvas: Canvas, radius_um: float) -> np.ndarray:
    """Draws hazel pollen: a rounded triangle with a thin wall and a pore in each corner."""
    squash = rng.uniform(0.78, 1)
    radius = 1 + rng.uniform(0.02, 0.08) * np.cos(3 * TURN)
    radius *= radius_um * rough(rng, amount=0.03, falling=1)
    cover = canvas.fill(outline(radius, squash=squash))
    depth = canvas.depth(cover)
    dark = rng.uniform(0.2, 0.45) + 0.07 * canvas.mottle(rng, scale_um=2)
    dark += rng.uniform(0.3, 0.5) * band(depth, width_um=1.1)
    dark += 0.12 * band(depth - 2.4, width_um=0.8)
    for turn in THIRDS:
        centre = 0.6 * radius_um * np.array([np.cos(turn), squash * np.sin(turn)])
        size, disc, edge = rng.uniform((0.25, -0.1, 0.15), (0.36, 0.1, 0.35))
        canvas.stamp(dark, centre, radius_um=size * radius_um, disc=disc, edge=edge)
    return 1 - cover * np.clip(dark, 0, 0.9)


def quercus(
    rng: np.random.Generator, canvas: Canvas, radius_um: float, *, wart_um: float, cleft: float
) -> np.ndarray:
    """Draws oak pollen: dark and warty, with three furrows seen from the pole or from the side."""
    polar = rng.random() < 0.6
    squash = rng.uniform(0.9, 1) if polar else rng.uniform(0.76, 0.92)
    radius = radius_um * rough(rng, amount=0.04, falling=1)
    if polar:
        away = np.abs((TURN[:, None] - THIRDS + np.pi) % (2 * np.pi) - np.pi)
        radius *= 1 - cleft * rng.uniform(0.5, 1.5) * band(away, width_um=0.3).sum(axis=1)
    cover = canvas.fill(outline(radius, squash=squash))
    depth = canvas.depth(cover)
    warts = canvas.mottle(rng, scale_um=wart_um * rng.uniform(0.85, 1.15))
    dark = rng.uniform(0.45, 0.65) + rng.uniform(0.06, 0.12) * warts
    dark += 0.2 * band(depth, width_um=0.7) - 0.12 * band(depth - 1.5, width_um=0.6)
    if polar:
        cap = np.array([0.85 * radius_um, 0])
        canvas.stamp(dark, cap, radius_um=0.2 * radius_um, disc=-rng.uniform(0, 0.3), edge=0)
    else:
        for at in (rng.uniform(-0.5, 0), rng.uniform(0.1, 0.6)):
            bow = canvas.across - at * radius_um * (1 - (canvas.along / radius_um) ** 2)
            dark -= 2.5 * cleft * band(bow, width_um=0.8)
    return 1 - cover * np.clip(dark, 0, 0.92)


def dust(rng: np.random.Generator, canvas: Canvas, radius_um: float) -> np.ndarray:
    """Draws a mineral grain, or some that stick together."""
    light = np.ones_like(canvas.along)
    pieces = 1 + int(rng.random() < 0.35) * int(rng.integers(1, 4))
    for piece in range(pieces):
        points = outline(rough(rng, amount=0.4, falling=1.2), squash=rng.uniform(0.5, 1))
        centre = rng.uniform(-0.5, 0.5, 2) * radius_um if piece else 0
        cover = canvas.fill(points * radius_um * (rng.uniform(0.35, 0.7) if piece else 1) + centre)
        dark = rng.uniform(0.25, 0.75) + 0.16 * canvas.mottle(rng, scale_um=1.8)
        dark += 0.25 * band(canvas.depth(cover), width_um=0.8)
        light *= 1 - cover * np.clip(dark, 0, 0.9)
    return light


def fibre(rng: np.random.Generator, canvas: Canvas, radius_um: float) -> np.ndarray:
    """Draws a bent thread with dark sides."""
    half_um, bend = rng.uniform(0.8, 2.2), rng.uniform(-0.45, 0.45)
    u = canvas.along * np.float32(1 / radius_um)
    middle = (bend * (u**2 - 0.33) + rng.uniform(0, 0.08) * np.sin(7 * u)) * radius_um
    off = np.abs(canvas.across - middle)
    long = np.clip((1 - np.abs(u)) * radius_um * canvas.per_um, 0, 1)
    dark = rng.uniform(0.1, 0.4) * (off < half_um)
    return 1 - long * (dark + rng.uniform(0.3, 0.5) * band(off - half_um, width_um=0.7))


def flake(rng: np.random.Generator, canvas: Canvas, radius_um: float) -> np.ndarray:
    """Draws a thin sheet of plastic with straight sides and scratches."""
    points = shard(rng, corners=int(rng.integers(4, 7)), hollow=(-0.03, 0.03)) * radius_um
    cover = canvas.fill(points * np.array([1, rng.uniform(0.45, 1)]))
    dark = rng.uniform(0.1, 0.35) + 0.4 * band(canvas.depth(cover), width_um=1)
    scratches = np.sin(canvas.across * rng.uniform(0.6, 1.6) + canvas.mottle(rng, scale_um=12))
    return 1 - cover * np.clip(dark + rng.uniform(0, 0.12) * scratches, 0, 0.9)


def bubble(rng: np.random.Generator, canvas: Canvas, radius_um: float) -> np.ndarray:
    """Draws a gas bubble: a broad black ring around a bright middle."""
    cover = canvas.fill(outline(radius_um * rough(rng, amount=0.015, falling=1), squash=1))
    ring = band(canvas.depth(cover), width_um=radius_um * rng.uniform(0.25, 0.5))
    middle = band(np.hypot(canvas.along, canvas.across), width_um=2)
    return 1 - cover * (0.9 * ring - 0.2 * middle)


def speck(rng: np.random.Generator, canvas: Canvas, radius_um: float) -> np.ndarray:
    """Draws a small grain far out of focus."""
    grain = dust(rng, canvas, radius_um)
    return cv2.GaussianBlur(grain, (0, 0), rng.uniform(1.2, 2.4) * canvas.per_um)


def contamination(rng: np.random.Generator, canvas: Canvas, radius_um: float) -> np.ndarray:
    """Draws what came with the laboratory: a fibre, a flake, a bubble, or a speck."""
    which = rng.choice(4, p=(0.44, 0.18, 0.28, 0.1))
    return (fibre, flake, bubble, speck)[which](
        rng, canvas, radius_um * (1.1, 0.9, 0.55, 0.6)[which]
    )


def diatom(rng: np.random.Generator, canvas: Canvas, radius_um: float) -> np.ndarray:
    """Draws a valve of a pennate diatom: clear, pointed, striped across, with a line along it."""
    slim, blunt = rng.uniform(0.16, 0.32), rng.uniform(0.5, 1)
    half = slim * radius_um * np.abs(np.sin(TURN)) ** blunt * np.sign(np.sin(TURN))
    cover = canvas.fill(np.stack([radius_um * np.cos(TURN), half], axis=1))
    stripes = np.sin(canvas.along * np.float32(2 * np.pi / rng.uniform(2.2, 3)))
    dark = rng.uniform(0.12, 0.28) + rng.uniform(0.1, 0.16) * stripes
    dark += 0.4 * band(canvas.depth(cover), width_um=0.8) + 0.2 * band(canvas.across, width_um=0.5)
    canvas.stamp(dark, np.zeros(2), radius_um=0.35 * slim * radius_um, disc=-0.2, edge=0)
    return 1 - cover * np.clip(dark, 0, 0.9)


class ParticleKind(NamedTuple):
    """One kind of particle: how it is drawn, its median size in µm, and the spread of its log."""

    draw: Drawer
    size_um: float
    spread: float


# The first seven are the classes of seed document 000; the eighth has no labels.
KINDS = {
    "Campanian": ParticleKind(campanian, 30.0, 0.32),
    "Corylus": ParticleKind(corylus, 24.0, 0.06),
    "Dust": ParticleKind(dust, 7.5, 0.33),
    "Grimsvotn": ParticleKind(grimsvotn, 20.0, 0.26),
    "Qrobur": ParticleKind(partial(quercus, wart_um=2.0, cleft=0.08), 31.5, 0.06),
    "Qsuber": ParticleKind(partial(quercus, wart_um=1.2, cleft=0.03), 26.5, 0.06),
    "Contamination": ParticleKind(contamination, 22.0, 0.5),
    "Diatom": ParticleKind(diatom, 38.0, 0.3),
}
