"""Draws a melt-layer data set in its raw format: line scans of ice-core sections, a depth table."""

import csv
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from tfpipe.base import tables
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.base.resources import cores
from tfpipe.tasks.samples import eastgrip, ice, line_scan, table_mistakes
from tfpipe.tasks.samples.ice_features import EDGE_MM, IceFeature, draw_features
from tfpipe.tasks.samples.output_folder import whole

FIRST_TOP_M = 120.0
PITCH_M = 1.65
BAG_M = 0.55
MAX_SHIFT_MM = 30.0

PHOTO_HEADINGS = ("photo", "top_m", "bottom_m")
LAYER_HEADINGS = ("bag", "depth from", "depth to", "age (b2k)", "age (CE)", "type of feature")
TRUTH_HEADINGS = (
    "photo",
    "feature",
    "cause",
    "tabled",
    "depth_from_m",
    "depth_to_m",
    "from_mm",
    "to_mm",
    "row_top_px",
    "row_bottom_px",
    "mistake",
    "row_off_mm",
    "shift_mm",
    "shift_px",
    "core_top_px",
    "core_bottom_px",
    "core_left_px",
    "core_right_px",
    "camera",
    "tray",
)


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
    features = draw_features(rng, length_mm=length_mm)
    in_colour = line_scan.is_in_colour(index)
    place = line_scan.lay(rng, length_mm=length_mm, px_per_m=px_per_m, in_colour=in_colour)
    camera = str(rng.choice(list(line_scan.CAMERAS), p=line_scan.CAMERA_SHARES))
    is_uneven = rng.random() < line_scan.UNEVEN_SHARE
    frame = place.frame()
    light, cover = ice.core_light(rng, features, frame=frame)
    tray = line_scan.tray_light(rng, frame, place=place, is_uneven=is_uneven)
    light = tray * (1 - cover) + light * cover
    image = line_scan.expose(rng, light, place=place, camera=line_scan.CAMERAS[camera])
    photo = line_scan.write_image(folder / f"core_{index + 1:03d}", image, index=index)

    half_px = EDGE_MM * place.px_per_mm / np.cos(place.tilt_rad)
    about = {
        "photo": photo,
        "shift_mm": f"{shift_mm:.1f}",
        "shift_px": f"{shift_mm * place.px_per_mm:.2f}",
        "core_top_px": f"{place.row(0):.2f}",
        "core_bottom_px": f"{place.row(length_mm):.2f}",
        "core_left_px": f"{place.centre_column - half_px:.2f}",
        "core_right_px": f"{place.centre_column + half_px:.2f}",
        "camera": camera,
        "tray": "uneven" if is_uneven else "even",
    }
    spans = [(f, f.centre_mm - f.half_span_mm, f.centre_mm + f.half_span_mm) for f in features]
    if place.card:
        card = IceFeature("card", "colour card", 0, 0)
        spans.insert(0 if place.card.from_mm < 0 else len(spans), (card, *place.card[:2]))
    truth = [about | {"feature": "none", "tabled": 0}] if not features else []
    for feature, from_mm, to_mm in spans:
        depths = {
            "feature": feature.kind,
            "cause": feature.cause,
            "tabled": int(feature.is_tabled),
            "depth_from_m": f"{top_m + from_mm / 1000:.4f}",
            "depth_to_m": f"{top_m + to_mm / 1000:.4f}",
            "from_mm": f"{from_mm:.1f}",
            "to_mm": f"{to_mm:.1f}",
            "row_top_px": f"{place.row(from_mm):.2f}",
            "row_bottom_px": f"{place.row(to_mm):.2f}",
        }
        truth.append(about | depths)
    table_mistakes.make(rng, truth)
    bottom_m = top_m + length_mm / 1000
    return {"photo": photo, "top_m": f"{top_m:.4f}", "bottom_m": f"{bottom_m:.4f}"}, truth


def layer_row(truth: dict) -> dict:
    """Returns the row of the depth table for a row of truth.csv: what its label says."""
    kind = truth["feature"]
    off_m = (float(truth["shift_mm"]) + float(truth.get("row_off_mm", 0))) / 1000
    from_m, to_m = (float(truth[end]) + off_m for end in ("depth_from_m", "depth_to_m"))
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


def write_table(path: Path, rows: Iterable[dict], *, headings: tuple[str, ...]) -> None:
    """Writes a CSV file; a heading that a row lacks is left empty there."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, headings, lineterminator="\n")
        table.writeheader()
        for row in rows:
            text = {k: tables.escaped(v) for k, v in row.items() if isinstance(v, str)}
            table.writerow(row | text)
