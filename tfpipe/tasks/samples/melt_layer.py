"""Draws a melt-layer data set in its raw format: line scans of ice-core sections, a depth table."""

import csv
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from tfpipe.base import tables
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.base.resources import cores
from tfpipe.tasks.samples import eastgrip, ice
from tfpipe.tasks.samples.output_folder import whole, write_encoded

FIRST_TOP_M = 120.0
PITCH_M = 1.65
BAG_M = 0.55
MAX_SHIFT_MM = 30.0
NOT_TABLED = ("crack", "break", "none")

PHOTO_HEADINGS = ("photo", "top_m", "bottom_m")
LAYER_HEADINGS = ("bag", "depth from", "depth to", "age (b2k)", "age (CE)", "type of feature")
TRUTH_HEADINGS = (
    "photo",
    "feature",
    "tabled",
    "depth_from_m",
    "depth_to_m",
    "row_top_px",
    "row_bottom_px",
    "shift_mm",
    "shift_px",
    "core_top_px",
    "core_bottom_px",
    "core_left_px",
    "core_right_px",
)


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


def draw(
    folder: Path,
    *,
    photos: int = 24,
    seed: int = 0,
    px_per_m: float = 2000.0,
    format: str = "csv",
) -> dict:
    """Draws core sections from 120 m downwards, their depth table, and the truth beside them.

    Args:
      folder: to be made; must not hold anything yet.
      photos: core sections of 1.65 m, one photo each.
      seed: photo i is a function of `seed`, i and `px_per_m` alone.
      px_per_m: photo pixels per metre of core.
      format: "csv", or "eastgrip": photos of 186 px/cm enlarged from `px_per_m`, a PANGAEA table of
        them and an .xlsx of features, under the names of that core's files.

    Returns:
      {"photos": how many, "layers": rows of the depth table, "truth": path of truth.csv}.

    Raises:
      UserError: a folder that holds something, or a number out of range.
    """
    if photos < 1 or seed < 0:
        raise UserError(f"Expected photos >= 1 and seed >= 0, got {photos} and {seed}.")
    if not 500 <= px_per_m <= 20000:
        raise UserError(f"Expected px_per_m between 500 and 20000, got {px_per_m}.")
    choose(format, ("csv", "eastgrip"), noun="format")
    folder = Path(folder).resolve()
    with whole(folder) as draft:
        (draft / "photos").mkdir()
        # A photo in the making takes 5 GB at 20000 px/m, so large ones are drawn one by one.
        with ThreadPoolExecutor(min(cores(), max(1, int(8000 / px_per_m)))) as pool:
            one = partial(draw_photo, draft / "photos", seed=seed, px_per_m=px_per_m)
            sections, truths = zip(*pool.map(one, range(photos)), strict=True)
        rows_of_photos = []
        if format == "eastgrip":
            for index, (section, rows) in enumerate(zip(sections, truths, strict=True)):
                rows_of_photos += eastgrip.enlarge(
                    draft / "photos", section, rows, index=index, px_per_m=px_per_m
                )
        truth = [row for rows in truths for row in rows]
        layers = [layer_row(row) for row in truth if row["tabled"]]
        if format == "eastgrip":
            eastgrip.write_photo_table(draft / eastgrip.PHOTO_TABLE, rows_of_photos)
            eastgrip.write_feature_table(draft / eastgrip.FEATURE_TABLE, layers)
        else:
            write_table(draft / "photos.csv", sections, headings=PHOTO_HEADINGS)
            write_table(draft / "layers.csv", layers, headings=LAYER_HEADINGS)
        write_table(draft / "truth.csv", truth, headings=TRUTH_HEADINGS)
    return {"photos": photos, "layers": len(layers), "truth": str(folder / "truth.csv")}


def draw_photo(folder: Path, index: int, *, seed: int, px_per_m: float) -> tuple[dict, list[dict]]:
    """Writes one section's photo; returns its row of photos.csv and its rows of truth.csv."""
    rng = np.random.default_rng([seed, index])
    top_m = FIRST_TOP_M + PITCH_M * index
    length_mm = float(np.round(1650 - rng.uniform(2, 6), 1))
    shift_mm = float(np.round(rng.uniform(-MAX_SHIFT_MM, MAX_SHIFT_MM), 1))
    features = ice.draw_features(rng, length_mm=length_mm)
    place = lay(rng, length_mm=length_mm, px_per_m=px_per_m)
    frame = place.frame()
    light, cover = ice.core_light(rng, features, frame=frame)
    light = tray_light(rng, frame, place=place) * (1 - cover) + light * cover
    stem = f"core_{index + 1:03d}"
    photo = write_image(folder / stem, expose(rng, light, place=place), index=index)

    half_px = ice.EDGE_MM * place.px_per_mm / np.cos(place.tilt_rad)
    about = {
        "photo": photo,
        "shift_mm": f"{shift_mm:.1f}",
        "shift_px": f"{shift_mm * place.px_per_mm:.2f}",
        "core_top_px": f"{place.row(0):.2f}",
        "core_bottom_px": f"{place.row(length_mm):.2f}",
        "core_left_px": f"{place.centre_column - half_px:.2f}",
        "core_right_px": f"{place.centre_column + half_px:.2f}",
    }
    truth = [about | {"feature": "none", "tabled": 0}] if not features else []
    for feature in features:
        from_mm, to_mm = (feature.centre_mm + s * feature.half_span_mm for s in (-1, 1))
        depths = {
            "feature": feature.kind,
            "tabled": int(feature.kind not in NOT_TABLED),
            "depth_from_m": f"{top_m + from_mm / 1000:.4f}",
            "depth_to_m": f"{top_m + to_mm / 1000:.4f}",
            "row_top_px": f"{place.row(from_mm):.2f}",
            "row_bottom_px": f"{place.row(to_mm):.2f}",
        }
        truth.append(about | depths)
    bottom_m = top_m + length_mm / 1000
    return {"photo": photo, "top_m": f"{top_m:.4f}", "bottom_m": f"{bottom_m:.4f}"}, truth


def layer_row(truth: dict) -> dict:
    """Returns the row of the depth table for a row of truth.csv: what its label says."""
    kind, shift_m = truth["feature"], float(truth["shift_mm"]) / 1000
    from_m, to_m = (float(truth[end]) + shift_m for end in ("depth_from_m", "depth_to_m"))
    exact = kind in ("meltLayer", "meltLens")
    # Seed 002's table: bag 218 holds 120.57 m, which is 858.0 a b2k, and a metre is 8.9 a.
    age_a = 858.0 + 8.9 * (from_m - 120.565) + 0.01 * (from_m - 120.0) ** 2
    return {
        "bag": int(from_m / BAG_M) - 1 if exact else "",
        "depth from": f"{from_m:.4f}",
        "depth to": f"{to_m if kind == 'meltLayer' else from_m:.4f}" if exact else "",
        "age (b2k)": f"{age_a:.3f}",
        "age (CE)": f"{2000 - age_a:.1f}",
        "type of feature": kind,
    }


def lay(rng: np.random.Generator, *, length_mm: float, px_per_m: float) -> Geometry:
    """Lays a core on its tray beside a ruler, tilted by up to 0.4 degrees."""
    px_per_mm = px_per_m / 1000
    above_mm, below_mm = rng.uniform(20, 75, size=2)
    gap_mm, ruler_mm = rng.uniform(12, 17), rng.uniform(14, 20)
    near_mm, far_mm = gap_mm + ruler_mm + rng.uniform(9, 14), rng.uniform(16, 28)
    inner_mm = ice.EDGE_MM + gap_mm
    side = int(rng.choice([-1, 1]))
    left_mm = near_mm if side < 0 else far_mm
    return Geometry(
        rows=round((above_mm + length_mm + below_mm) * px_per_mm),
        columns=round((near_mm + ice.CORE_WIDTH_MM + far_mm) * px_per_mm),
        centre_row=(above_mm + length_mm / 2) * px_per_mm,
        centre_column=(left_mm + ice.EDGE_MM) * px_per_mm,
        tilt_rad=np.deg2rad(rng.uniform(-0.4, 0.4)),
        length_mm=length_mm,
        px_per_mm=px_per_mm,
        ruler_mm=(side * inner_mm, side * (inner_mm + ruler_mm)),
    )


def tray_light(rng: np.random.Generator, frame: ice.Frame, *, place: Geometry) -> np.ndarray:
    """Returns the light [rows, columns] float32 of the empty tray, its rails and its ruler."""
    depth, across = frame.depth, frame.across
    light = 0.07 + 0.008 * ice.clouds(rng, depth.shape, scale_px=9 * place.px_per_mm)
    rail_mm = rng.uniform(1.5, 3)
    from_core_mm = np.abs(across) - ice.EDGE_MM
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


def expose(rng: np.random.Generator, light: np.ndarray, *, place: Geometry) -> np.ndarray:
    """Returns the photo [rows, columns, 3] float32 in 0..1 that this day's camera takes."""
    focus_px = rng.uniform(0.1, 0.55) * place.px_per_mm
    light = np.asarray(cv2.GaussianBlur(light, (0, 0), max(focus_px, 0.2)), np.float32)
    y, x = np.linspace(-1, 1, place.rows), np.linspace(-1, 1, place.columns)
    down = (1 + rng.uniform(-0.12, 0.12) * y) * (1 - rng.uniform(0, 0.12) * y**2)
    along = (1 + rng.uniform(-0.1, 0.1) * x) * (1 - rng.uniform(0, 0.12) * x**2)
    along *= (1 + 0.008 * rng.standard_normal(place.columns)) * rng.uniform(0.75, 1.2)
    light *= down.astype(np.float32)[:, None]
    light *= along.astype(np.float32)
    light = cv2.pow(np.maximum(light, 0), rng.uniform(0.8, 1.25)) + np.float32(rng.uniform(0, 0.04))
    photo = rng.standard_normal((*light.shape, 3), dtype=np.float32)
    photo *= (np.float32(rng.uniform(0.006, 0.02)) * np.sqrt(light + np.float32(0.1)))[..., None]
    photo += light[..., None] * rng.uniform([0.88, 0.95, 0.9], 1).astype(np.float32)
    return np.clip(photo, 0, 1, out=photo)


def write_image(stem: Path, image: np.ndarray, *, index: int) -> str:
    """Writes RGB [rows, columns, 3] in 0..1 in the format of its index; returns the file's name."""
    pixels: np.ndarray
    if index % 9 == 8:
        ending, options = ".tif", []
        pixels = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) * 65535 + 0.5).astype(np.uint16)
    else:
        jpeg = index % 7 == 6
        ending = ".jpg" if jpeg else ".png"
        grey = index % 5 == 3 and not jpeg
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY if grey else cv2.COLOR_RGB2BGR)
        pixels = cv2.convertScaleAbs(image, alpha=255)
        options = [cv2.IMWRITE_JPEG_QUALITY, 92] if jpeg else []
    file = stem.with_name(stem.name + ending)
    write_encoded(file, pixels, options)
    return file.name


def write_table(path: Path, rows: Iterable[dict], *, headings: tuple[str, ...]) -> None:
    """Writes a CSV file; a heading that a row lacks is left empty there."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, headings, lineterminator="\n")
        table.writeheader()
        for row in rows:
            text = {k: tables.escaped(v) for k, v in row.items() if isinstance(v, str)}
            table.writerow(row | text)
