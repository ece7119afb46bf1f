"""What lies in an ice core: melt layers and lenses, and what looks like them.

Lengths are millimetres in the core's own frame: depth runs down from its upper edge, and across
runs from -50 to 50 about its centre line.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

CORE_WIDTH_MM = 100.0
EDGE_MM = CORE_WIDTH_MM / 2
END_CLEARANCE_MM = 45.0
CLEARANCE_MM = 12.0
RAGGED_MM = {"crack": 1.0, "break": 2.0}
PATCH = "indication of bubble free layer or patch"
NOT_TABLED = ("crack", "break", "patch", "glare", "card", "none")

# Lower and upper bounds of (thickness in mm, contrast in the middle, softness of the edges in mm).
# A diffuse layer has .62 to .75 of the light around, and fades over 3 to 4 mm: from a tenth to
# nine tenths are 2.2 times the softness.
LAYERS = {
    "sharp": ([2, 0.35, 0.15], [9, 0.75, 0.4]),
    "thin": ([0.8, 0.4, 0.1], [2, 0.75, 0.25]),
    "diffuse": ([5, 0.25, 1.36], [13, 0.38, 1.82]),
}
CRACKS = {"fine": ([0.7, 0.2], [1.5, 0.6]), "wide": ([1.5, 0.6], [2.5, 0.85])}


class IceFeature(NamedTuple):
    """One thing in the ice.

    Attributes:
      kind: a type of the depth table, or "crack", "break", "patch" or "glare".
      cause: what it is more precisely, such as "diffuse layer" or "refrozen crack".
      centre_mm: depth of its middle.
      thickness_mm: across its own direction.
      left_mm, right_mm: its extent across the core.
      angle_deg: of its direction to the horizontal.
      sag_mm: how far its middle hangs below the line between its ends.
      contrast: part of the light taken away in its middle, 0..1; for glare the light it adds.
      softness_mm: over which its edges fade.
    """

    kind: str
    cause: str
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

    @property
    def is_tabled(self) -> bool:
        """Whether its kind has rows in the depth table."""
        return self.kind not in NOT_TABLED


def draw_features(rng: np.random.Generator, *, length_mm: float) -> list[IceFeature]:
    """Returns what lies in one core, by depth.

    All but glare, which lies on the surface, is clear of the core's ends and of one another.
    """
    placed: list[IceFeature] = []
    for feature in _draw_unplaced(rng):
        room_mm, free_mm = (feature.half_span_mm + c for c in (END_CLEARANCE_MM, CLEARANCE_MM))
        for at_mm in np.round(rng.uniform(room_mm, length_mm - room_mm, size=100), 1).tolist():
            if all(abs(at_mm - o.centre_mm) >= free_mm + o.half_span_mm for o in placed):
                placed.append(feature._replace(centre_mm=at_mm))
                break
    placed += list(_draw_glare(rng, length_mm=length_mm))
    return sorted(placed, key=lambda feature: feature.centre_mm)


def _part(rng: np.random.Generator, width_mm: float) -> dict[str, float]:
    """Returns the extent of something that does not reach across the core."""
    left_mm = rng.uniform(-EDGE_MM, EDGE_MM - width_mm)
    return {"left_mm": left_mm, "right_mm": left_mm + width_mm}


def _draw_unplaced(rng: np.random.Generator) -> Iterator[IceFeature]:
    """Yields features still without a depth, those that need most room first."""
    yield from _draw_breaks(rng)
    yield from _draw_cracks(rng)
    for _ in range(min(rng.poisson(2.2), 5)):
        edges = str(rng.choice(list(LAYERS), p=(0.55, 0.15, 0.3)))
        thickness_mm, contrast, softness_mm = rng.uniform(*LAYERS[edges])
        yield IceFeature(
            "meltLayer",
            f"{edges} layer",
            0,
            float(np.round(thickness_mm, 1)),
            contrast=contrast,
            softness_mm=softness_mm,
        )
    for _ in range(rng.integers(0, 4)):
        sure = rng.random() < 0.75
        contrasts = (0.35, 0.7) if sure else (0.18, 0.3)
        look = {"contrast": rng.uniform(*contrasts)} | _part(rng, rng.uniform(20, 80))
        kind, cause = ("meltLens", "lens") if sure else ("meltLens uncertain", "faint lens")
        yield IceFeature(kind, cause, 0, np.round(rng.uniform(1, 4), 1), **look)
    if rng.random() < 0.5:
        look = {"contrast": rng.uniform(0.15, 0.25), "softness_mm": rng.choice([0.4, 1.5])}
        is_patch = look["softness_mm"] > 1
        thickness_mm = np.round(rng.uniform(*((5, 16) if is_patch else (1, 3))), 1)
        look |= _part(rng, rng.uniform(20, 70)) if is_patch else {}
        kind = PATCH if is_patch else "meltLayer uncertain"
        cause = "faint patch" if is_patch else "faint layer"
        yield IceFeature(kind, cause, 0, thickness_mm, **look)


def _draw_breaks(rng: np.random.Generator) -> Iterator[IceFeature]:
    """Yields a clean break, one where ice is missing, or a chip of the core's side."""
    if rng.random() < 0.25:
        angles_deg = (0, 3) if rng.random() < 0.2 else (3, 15)
        angle_deg = rng.uniform(*angles_deg) * rng.choice([-1, 1])
        thickness_mm = rng.uniform(2, 6)
        yield IceFeature("break", "break", 0, thickness_mm, angle_deg=angle_deg, contrast=0.85)
    if rng.random() < 0.1:
        angle_deg, thickness_mm = rng.uniform(-10, 10), rng.uniform(7, 25)
        yield IceFeature("break", "missing ice", 0, thickness_mm, angle_deg=angle_deg)
    if rng.random() < 0.1:
        deep_mm, side = rng.uniform(6, 25), rng.choice([-1, 1])
        ends_mm = sorted((side * EDGE_MM, side * (EDGE_MM - deep_mm)))
        look = {"left_mm": ends_mm[0], "right_mm": ends_mm[1]}
        yield IceFeature("break", "chip", 0, rng.uniform(15, 60), **look)


def _draw_cracks(rng: np.random.Generator) -> Iterator[IceFeature]:
    """Yields open cracks, refrozen ones, which are dark as melt is, and bubble-free patches."""
    for _ in range(rng.integers(0, 4)):
        look = _part(rng, min(rng.uniform(25, 140), CORE_WIDTH_MM))
        look["angle_deg"] = np.exp(rng.uniform(np.log(5), np.log(45))) * rng.choice([-1, 1])
        look["sag_mm"] = rng.choice([0, rng.uniform(-8, 8)])
        wide = rng.random() < 0.3
        thickness_mm, look["contrast"] = rng.uniform(*CRACKS["wide" if wide else "fine"])
        yield IceFeature("crack", "open crack", 0, thickness_mm, **look)
    if rng.random() < 0.35:
        look = _part(rng, min(rng.uniform(60, 180), CORE_WIDTH_MM))
        look["angle_deg"] = np.exp(rng.uniform(np.log(3), np.log(30))) * rng.choice([-1, 1])
        look["sag_mm"] = rng.choice([0, rng.uniform(-4, 4)])
        look["contrast"] = rng.uniform(0.3, 0.7)
        yield IceFeature("crack", "refrozen crack", 0, rng.uniform(0.6, 2.2), **look)
    if rng.random() < 0.3:
        look = {"contrast": rng.uniform(0.25, 0.5), "softness_mm": rng.uniform(0.5, 1.5)}
        look |= _part(rng, rng.uniform(12, 45))
        yield IceFeature("patch", "bubble-free patch", 0, rng.uniform(6, 25), **look)


def _draw_glare(rng: np.random.Generator, *, length_mm: float) -> Iterator[IceFeature]:
    """Yields streaks along the core and spots where its wet surface mirrors the lamp."""
    if rng.random() > 0.2:
        return
    for _ in range(rng.integers(1, 4)):
        is_streak = rng.random() < 0.5
        long_mm = rng.uniform(40, 180) if is_streak else rng.uniform(4, 15)
        wide_mm = rng.uniform(2, 6) if is_streak else rng.uniform(8, 35)
        yield IceFeature(
            "glare",
            "glare",
            float(np.round(rng.uniform(long_mm, length_mm - long_mm), 1)),
            long_mm,
            contrast=rng.uniform(0.3, 1.2),
            **_part(rng, wide_mm),
        )
