"""Shapes of particles: a canvas in micrometres, and outlines, edges and textures on it."""

from typing import NamedTuple

import cv2
import numpy as np

SHIFT = 4  # binary places of a corner's position that OpenCV keeps
TURN = np.linspace(0, 2 * np.pi, 120, endpoint=False)


class Canvas(NamedTuple):
    """A particle's own frame: [n, n] float32 in µm along and across it, its turn, its fineness."""

    along: np.ndarray
    across: np.ndarray
    angle_rad: float
    per_um: float

    def place(self, points_um: np.ndarray) -> np.ndarray:
        """Returns the column and row [..., 2] of points [..., (along, across)]."""
        cos, sin = np.cos(self.angle_rad), np.sin(self.angle_rad)
        turned = points_um @ np.array([[cos, sin], [-sin, cos]])
        return turned * self.per_um + (len(self.along) - 1) / 2

    def fill(self, points_um: np.ndarray) -> np.ndarray:
        """Returns the cover [n, n] float32, 0..1, of a polygon [corners, (along, across)]."""
        corners = np.rint(self.place(points_um) * 2**SHIFT).astype(np.int32)
        cover = np.zeros(self.along.shape, np.uint8)
        cv2.fillPoly(cover, [corners], 255, cv2.LINE_AA, SHIFT)
        return cover.astype(np.float32) / 255

    def depth(self, cover: np.ndarray) -> np.ndarray:
        """Returns how far inside [n, n] float32 in µm, 0 beside the particle."""
        inside = (cover > 0.5).astype(np.uint8)
        return cv2.distanceTransform(inside, cv2.DIST_L2, 3) / np.float32(self.per_um)

    def mottle(self, rng: np.random.Generator, *, scale_um: float) -> np.ndarray:
        """Returns soft noise [n, n] float32 of variance near 1, with lumps of `scale_um`."""
        size = max(3, round(len(self.along) / (scale_um * self.per_um)))
        noise = rng.standard_normal((size, size), dtype=np.float32) * np.float32(1.2)
        return cv2.resize(noise, self.along.shape, interpolation=cv2.INTER_CUBIC)

    def stamp(
        self, dark: np.ndarray, centre_um: np.ndarray, *, radius_um: float, disc: float, edge: float
    ) -> None:
        """Adds a disc and its edge, of these strengths, to `dark` [n, n] in place."""
        reach = (radius_um + 1) * self.per_um
        middle = self.place(centre_um)
        left, top = np.maximum(middle - reach, 0).astype(int)
        right, bottom = np.maximum(middle + reach + 2, 0).astype(int)
        window = np.s_[top:bottom, left:right]
        off = (self.along[window] - np.float32(centre_um[0])) ** 2
        off += (self.across[window] - np.float32(centre_um[1])) ** 2
        off = np.sqrt(off) - np.float32(radius_um)
        dark[window] += np.float32(disc) * np.clip(0.5 - off * np.float32(self.per_um), 0, 1)
        dark[window] += np.float32(edge) * band(off, width_um=0.45)


def band(off_um: np.ndarray, *, width_um: float) -> np.ndarray:
    """Returns 1 where a distance is 0, falling to 0.44 at the width and to 0 at 1.7 widths."""
    return np.maximum(1 - off_um**2 * np.float32(1 / (3 * width_um**2)), 0) ** 2


def outline(radius_um: np.ndarray, *, squash: float) -> np.ndarray:
    """Returns the polygon [120, 2] of a radius [120] as a function of TURN."""
    return np.stack([radius_um * np.cos(TURN), squash * radius_um * np.sin(TURN)], axis=1)


def rough(rng: np.random.Generator, *, amount: float, falling: float) -> np.ndarray:
    """Returns a random radius [120] around 1; harmonic n has the size `amount / n**falling`."""
    n = np.arange(2, 16)
    waves = np.cos(n * TURN[:, None] + rng.uniform(0, 2 * np.pi, n.size))
    return np.clip(1 + waves @ (rng.standard_normal(n.size) * amount / n**falling), 0.35, 1.3)


def shard(rng: np.random.Generator, *, corners: int, hollow: tuple[float, float]) -> np.ndarray:
    """Returns a polygon of radius 1 or so whose sides are arcs: the walls of burst bubbles."""
    turn = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * 2 * np.pi / corners
    ends = np.stack([np.cos(turn), np.sin(turn)], axis=1) * rng.uniform(0.65, 1.2, (corners, 1))
    after = np.roll(ends, -1, axis=0)
    middles = (ends + after) / 2 * (1 - rng.uniform(*hollow, (corners, 1)))
    t = np.linspace(0, 1, 10, endpoint=False)[:, None, None]
    sides = (1 - t) ** 2 * ends + 2 * t * (1 - t) * middles + t**2 * after
    return sides.transpose(1, 0, 2).reshape(-1, 2)
