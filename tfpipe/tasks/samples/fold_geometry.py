"""Draws outcrops of folded layers: box, chevron and rounded hinges, several images of each."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from tfpipe.base import images, tables
from tfpipe.base.errors import UserError
from tfpipe.tasks.samples.output_folder import whole

SIDE, OUTCROP_PX = 128, 288  # of an image, and of the outcrop that it is cut from
ROCKS = np.array([(182, 160, 130), (120, 104, 92), (205, 196, 178), (96, 90, 96), (158, 118, 88)])


def hinges(phase: np.ndarray, kind: str) -> np.ndarray:
    """Returns the height of a layer, -1..1, along a train of folds.

    Args:
      phase: [...] float, one fold a unit.
      kind: "chevron" (straight limbs, sharp hinges), "box" (flat hinges, steep limbs), "rounded".
    """
    straight = 4 * np.abs(phase - np.floor(phase + 0.5)) - 1
    if kind == "chevron":
        return straight
    return np.clip(2.4 * straight, -1, 1) if kind == "box" else -np.cos(2 * np.pi * phase)


def draw(folder: Path, *, outcrops: int = 30, crops: int = 4, seed: int = 0) -> dict:
    """Draws outcrops, and images of each from near and far, in class folders.

    An image is called outcrop003_2.png: images of one outcrop share layers, faults and colour,
    so that a split through outcrops is rewarded.

    Args:
      folder: to be made; must not hold anything yet.
      outcrops: of each class.
      crops: images of each outcrop.
      seed: an outcrop is a function of `seed` and its number alone.

    Returns:
      {"outcrops": in all, "images": in all, "truth": path}.

    Raises:
      UserError: a folder that holds something, or a number out of range.
    """
    if not 1 <= outcrops <= 300 or not 1 <= crops <= 99 or seed < 0:
        raise UserError(
            "Expected outcrops between 1 and 300, crops between 1 and 99, and seed >= 0, got "
            f"{outcrops}, {crops} and {seed}."
        )
    folder = Path(folder).resolve()
    kinds, rows = ("box", "chevron", "rounded"), []
    with whole(folder) as draft:
        for number in range(len(kinds) * outcrops):
            kind, rng = kinds[number % len(kinds)], np.random.default_rng([seed, number])
            about = _about(rng)
            outcrop = _outcrop(rng, kind, **about)
            for crop in range(crops):
                name = f"outcrop{number:03d}_{crop}.png"
                images.write_png(_photo(rng, outcrop), draft / kind / name)
                rows.append({"file": f"{kind}/{name}", "class": kind, "outcrop": number, **about})
        tables.write_csv(pd.DataFrame(rows), draft / "truth.csv")
    return {
        "outcrops": len(kinds) * outcrops,
        "images": len(rows),
        "truth": str(folder / "truth.csv"),
    }


def _about(rng: np.random.Generator) -> dict[str, float]:
    """Returns what an outcrop is like: lengths in px, the dip of its axial planes in degrees."""
    return {
        "wavelength_px": round(float(rng.uniform(80, 150)), 1),
        "tightness": round(float(rng.uniform(0.22, 0.45)), 3),  # amplitude over wavelength
        "dip_deg": round(float(rng.normal(0, 12)), 1),
        "faults": int(rng.integers(0, 3)),
    }


def _outcrop(
    rng: np.random.Generator, kind: str, *, wavelength_px, tightness, dip_deg, faults
) -> np.ndarray:
    """Returns an outcrop, [OUTCROP_PX, OUTCROP_PX, 3] float32 in 0..255."""
    y, x = np.mgrid[:OUTCROP_PX, :OUTCROP_PX].astype(np.float32) - OUTCROP_PX / 2
    for _ in range(faults):
        way, at, slip = rng.uniform(0.6, 2.5), rng.uniform(-90, 90), rng.normal(0, 12)
        beyond = x * np.sin(way) + y * np.cos(way) > at
        x, y = x + beyond * slip * np.cos(way), y - beyond * slip * np.sin(way)
    dip = np.deg2rad(dip_deg)
    along, up = x * np.cos(dip) + y * np.sin(dip), y * np.cos(dip) - x * np.sin(dip)
    along = along + 5 * _soft(rng, 60)
    amplitude = wavelength_px * tightness
    depth = up + amplitude * hinges(along / wavelength_px + rng.random(), kind)
    depth = depth + 1.5 * _soft(rng, 25) + OUTCROP_PX
    edges = np.cumsum(rng.uniform(4, 16, 120))
    layer = np.searchsorted(edges, depth)
    colours = ROCKS[rng.integers(0, len(ROCKS), len(edges) + 1)]
    colours = colours * rng.uniform(0.75, 1.2, (len(colours), 1))
    near_edge = np.abs(depth[..., None] - edges).min(axis=-1)
    drawn = colours[layer] * (1 - 0.4 * np.exp(-((near_edge / 0.8) ** 2)))[..., None]
    grain = 9 * _soft(rng, 2) + 14 * _soft(rng, 12)
    return (drawn + grain[..., None]).astype(np.float32)


def _photo(rng: np.random.Generator, outcrop: np.ndarray) -> np.ndarray:
    """Returns an image of a part of an outcrop in its own light, [SIDE, SIDE, 3] uint8."""
    side = int(rng.integers(190, OUTCROP_PX))
    top, left = rng.integers(0, OUTCROP_PX - side + 1, 2)
    cut = cv2.resize(
        outcrop[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA
    )
    slope = np.linspace(-1, 1, SIDE) * rng.uniform(-0.2, 0.2)
    light = rng.uniform(0.75, 1.15) * (1 + slope[:, None] + np.zeros(SIDE))
    noisy = cut * light[..., None] + rng.normal(0, 3, cut.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _soft(rng: np.random.Generator, scale_px: float) -> np.ndarray:
    """Returns soft noise [OUTCROP_PX, OUTCROP_PX] float32 of variance near 1."""
    size = max(3, round(OUTCROP_PX / scale_px))
    coarse = rng.normal(size=(size, size)).astype(np.float32)
    return cv2.resize(coarse, (OUTCROP_PX, OUTCROP_PX), interpolation=cv2.INTER_CUBIC)
