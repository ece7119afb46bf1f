"""A line scan: the core on its tray beside a ruler, some with a colour card, by three cameras."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from tfpipe.tasks.samples import ice
from tfpipe.tasks.samples.ice_features import CORE_WIDTH_MM, EDGE_MM
from tfpipe.tasks.samples.output_folder import write_encoded
from tfpipe.tasks.samples.textures import clouds

UNEVEN_SHARE = 0.25  # of the trays
CARD_SHARE = 0.15  # of the photos in colour
CARD_COLOURS = (
    (0.75, 0.1, 0.12), (0.12, 0.6, 0.2), (0.1, 0.2, 0.7), (0.9, 0.8, 0.1), (0.3, 0.3, 0.3),
    (0.9, 0.9, 0.9),
)  # fmt: skip


class Camera(NamedTuple):
    """Lower and upper bounds of a camera's settings.

    Attributes:
      gain: of the light.
      focus_mm: deviation of the blur.
      power: of the light, its gamma.
      noise: deviation of the pixels, where the light is 1.
    """

    gain: tuple[float, float]
    focus_mm: tuple[float, float]
    power: tuple[float, float]
    noise: tuple[float, float]


# Source 002: "not all with the same camera settings (focus, illumination, etc.)".
CAMERAS = {
    "usual": Camera((0.75, 1.2), (0.1, 0.55), (0.8, 1.25), (0.006, 0.02)),
    "dim and soft": Camera((0.4, 0.65), (0.5, 1.0), (0.8, 1.1), (0.015, 0.03)),
    "bright and sharp": Camera((1.2, 1.4), (0.08, 0.2), (0.85, 1.0), (0.004, 0.012)),
}
CAMERA_SHARES = (0.7, 0.15, 0.15)


class Card(NamedTuple):
    """A colour card beyond one end of the core, in mm of its frame."""

    from_mm: float
    to_mm: float
    half_width_mm: float


class Geometry(NamedTuple):
    """Where the core lies in its photo; pixel centres have whole-numbered rows and columns."""

    rows: int
    columns: int
    centre_row: float
    centre_column: float
    tilt_rad: float
    length_mm: float
    px_per_mm: float
    ruler_mm: tuple[float, float]
    card: Card | None

    def row(self, depth_mm: float) -> float:
        """Returns the photo row of a depth below the core's top edge, on its centre line."""
        along_px = (depth_mm - self.length_mm / 2) * self.px_per_mm
        return self.centre_row + along_px * np.cos(self.tilt_rad)

    def column(self, across_mm: float, *, row: float) -> float:
        """Returns the photo column of a distance from the core's centre line, at a row."""
        drift_px = (row - self.centre_row) * np.tan(self.tilt_rad)
        return self.centre_column + across_mm * self.px_per_mm / np.cos(self.tilt_rad) - drift_px

    def frame(self) -> ice.Frame:
        """Returns where every pixel lies in the core."""
        y = ((np.arange(self.rows) - self.centre_row) / self.px_per_mm)[:, None]
        x = ((np.arange(self.columns) - self.centre_column) / self.px_per_mm)[None]
        cos, sin = np.cos(self.tilt_rad), np.sin(self.tilt_rad)
        depth = (y * cos - x * sin + self.length_mm / 2).astype(np.float32)
        across = (x * cos + y * sin).astype(np.float32)
        return ice.Frame(depth, across, self.length_mm, self.px_per_mm)


def lay(
    rng: np.random.Generator, *, length_mm: float, px_per_m: float, in_colour: bool
) -> Geometry:
    """Lays a core on its tray beside a ruler, tilted by up to 0.4 degrees; some beside a card."""
    px_per_mm = px_per_m / 1000
    above_mm, below_mm = rng.uniform(20, 75, size=2)
    gap_mm, ruler_mm = rng.uniform(12, 17), rng.uniform(14, 20)
    near_mm, far_mm = gap_mm + ruler_mm + rng.uniform(9, 14), rng.uniform(16, 28)
    inner_mm = EDGE_MM + gap_mm
    side = int(rng.choice([-1, 1]))
    left_mm = near_mm if side < 0 else far_mm
    card = None
    beside_mm, long_mm, ground_mm = rng.uniform((6, 60, 3), (12, 95, 10))
    half_width_mm, is_above = rng.uniform(0.7, 1) * EDGE_MM, rng.random() < 0.5
    if rng.random() < CARD_SHARE and in_colour:
        if is_above:
            card = Card(-beside_mm - long_mm, -beside_mm, half_width_mm)
            above_mm = beside_mm + long_mm + ground_mm
        else:
            first_mm = length_mm + beside_mm
            card = Card(first_mm, first_mm + long_mm, half_width_mm)
            below_mm = beside_mm + long_mm + ground_mm
    return Geometry(
        rows=round((above_mm + length_mm + below_mm) * px_per_mm),
        columns=round((near_mm + CORE_WIDTH_MM + far_mm) * px_per_mm),
        centre_row=(above_mm + length_mm / 2) * px_per_mm,
        centre_column=(left_mm + EDGE_MM) * px_per_mm,
        tilt_rad=np.deg2rad(rng.uniform(-0.4, 0.4)),
        length_mm=length_mm,
        px_per_mm=px_per_mm,
        ruler_mm=(side * inner_mm, side * (inner_mm + ruler_mm)),
        card=card,
    )


def tray_light(
    rng: np.random.Generator, frame: ice.Frame, *, place: Geometry, is_uneven: bool
) -> np.ndarray:
    """Returns the light [rows, columns] float32 of the empty tray, its rails and its ruler.

    An uneven tray is lit from one end, has a joint at which its light steps, and frost on it.
    """
    depth, across = frame.depth, frame.across
    light = 0.07 + 0.008 * clouds(rng, depth.shape, scale_px=9 * place.px_per_mm)
    if is_uneven:
        joint_mm, slope = rng.uniform(0.2, 0.8) * place.length_mm, rng.uniform(-0.5, 0.5)
        light *= 1 + slope * (2 * depth / place.length_mm - 1) + 0.6 * (depth > joint_mm)
        frost = clouds(rng, depth.shape, scale_px=25 * place.px_per_mm)
        light += np.float32(rng.uniform(0.05, 0.14)) * np.clip(frost - 0.8, 0, 1)
    rail_mm = rng.uniform(1.5, 3)
    from_core_mm = np.abs(across) - EDGE_MM
    rail_light = np.float32(rng.uniform(0.03, 0.08))
    light += rail_light * (np.abs(from_core_mm - 2.5 - rail_mm) < rail_mm)

    inner_mm, outer_mm = place.ruler_mm
    along = (across - inner_mm) / (outer_mm - inner_mm)
    there = (along > 0) & (along < 1)
    mark = np.rint(depth[there]).astype(np.int32)
    mark_length = np.select([mark % 10 == 0, mark % 5 == 0], [0.55, 0.4], 0.2)
    ink = np.zeros(depth.shape, np.uint8)
    ink[there] = (np.abs(depth[there] - mark) < 0.27) & (along[there] < mark_length)
    number_mm = inner_mm + (0.58 if inner_mm > 0 else 1.0) * (outer_mm - inner_mm)
    for cm in range(int(place.length_mm / 10) + 1):
        row = place.row(10 * cm + 1.8)
        column = place.column(number_mm, row=row)
        cv2.putText(
            ink, f"{cm % 100:02d}", (round(column), round(row)), 1, place.px_per_mm * 0.33, 1
        )
    light[there] = rng.uniform(0.65, 0.9) * (1 - 0.75 * ink[there])
    return light


def expose(
    rng: np.random.Generator, light: np.ndarray, *, place: Geometry, camera: Camera
) -> np.ndarray:
    """Returns the photo [rows, columns, 3] float32 in 0..1 that a camera takes."""
    focus_px = rng.uniform(*camera.focus_mm) * place.px_per_mm
    light = np.asarray(cv2.GaussianBlur(light, (0, 0), max(focus_px, 0.2)), np.float32)
    y, x = np.linspace(-1, 1, place.rows), np.linspace(-1, 1, place.columns)
    down = (1 + rng.uniform(-0.12, 0.12) * y) * (1 - rng.uniform(0, 0.12) * y**2)
    along = (1 + rng.uniform(-0.1, 0.1) * x) * (1 - rng.uniform(0, 0.12) * x**2)
    along *= (1 + 0.008 * rng.standard_normal(place.columns)) * rng.uniform(*camera.gain)
    light *= down.astype(np.float32)[:, None]
    light *= along.astype(np.float32)
    light = cv2.pow(np.maximum(light, 0), rng.uniform(*camera.power))
    light += np.float32(rng.uniform(0, 0.04))
    photo = rng.standard_normal((*light.shape, 3), dtype=np.float32)
    photo *= (np.float32(rng.uniform(*camera.noise)) * np.sqrt(light + np.float32(0.1)))[..., None]
    photo += light[..., None] * rng.uniform([0.88, 0.95, 0.9], 1).astype(np.float32)
    if place.card:
        _put_card(rng, photo, place.card, place=place)
    return np.clip(photo, 0, 1, out=photo)


def _put_card(rng: np.random.Generator, photo: np.ndarray, card: Card, *, place: Geometry) -> None:
    """Puts a card of colour and grey patches into a photo, on a black holder."""
    from_mm, to_mm, half_mm = card
    order = rng.permutation(len(CARD_COLOURS))
    edges_mm = np.linspace(from_mm, to_mm, len(order) + 1)
    columns = slice(
        *(max(round(place.column(s * half_mm, row=place.row(from_mm))), 0) for s in (-1, 1))
    )
    rows = slice(*(max(round(place.row(edge)), 0) for edge in (from_mm, to_mm)))
    photo[rows, columns] *= 0.3
    for i, colour in enumerate(order.tolist()):
        rows = slice(*(max(round(place.row(edges_mm[i + k] + (1, -1)[k])), 0) for k in (0, 1)))
        noise = photo[rows, columns] - photo[rows, columns].mean()
        photo[rows, columns] = (
            np.asarray(CARD_COLOURS[colour], np.float32) * rng.uniform(0.8, 1) + noise
        )


def is_in_colour(index: int) -> bool:
    """Returns whether the photo of an index is written in colour."""
    return index % 9 != 8 and (index % 5 != 3 or index % 7 == 6)


def write_image(stem: Path, image: np.ndarray, *, index: int) -> str:
    """Writes RGB [rows, columns, 3] in 0..1 in the format of its index; returns the file's name."""
    pixels: np.ndarray
    if index % 9 == 8:
        ending, options = ".tif", []
        pixels = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) * 65535 + 0.5).astype(np.uint16)
    else:
        jpeg = index % 7 == 6
        ending = ".jpg" if jpeg else ".png"
        grey = not is_in_colour(index)
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY if grey else cv2.COLOR_RGB2BGR)
        pixels = cv2.convertScaleAbs(image, alpha=255)
        options = [cv2.IMWRITE_JPEG_QUALITY, 92] if jpeg else []
    file = stem.with_name(stem.name + ending)
    write_encoded(file, pixels, options)
    return file.name
