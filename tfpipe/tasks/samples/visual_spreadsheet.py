"""A FlowCam run in the files of VisualSpreadsheet 4.0: `.lst`, collages, `.cla` and `.ctx`."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from tfpipe.tasks.samples.output_folder import write_encoded

COLLAGE = (964, 1292)  # height and width in px
GAP_PX = 2
LZW = [cv2.IMWRITE_TIFF_COMPRESSION, 5]

FIELDS = {
    name: kind
    for kind, names in (
        ("int32", "id image_x image_y image_w image_h src_x src_y src_image cal_image ppc camera"),
        ("double", "cal_const fringe_size"),
        ("int32", "sphere_count"),
        ("double", "raw_sphere_volume raw_sphere_complement raw_sphere_unknown raw_area"),
        ("double", "raw_feret_max raw_feret_min raw_feret_mean raw_perimeter"),
        ("double", "raw_convex_perimeter raw_legendre_major raw_legendre_minor abd_area"),
        ("double", "abd_diameter length width esd_diameter perimeter convex_perimeter intensity"),
        ("double", "sigma_intensity sum_intensity compactness elongation roughness edge_gradient"),
        ("double", "elapsed_time circle_fit symmetry circularity_hu intensity_calimage"),
        ("double", "raw_convex_hull_area raw_filled_area filled_area feret_max_angle"),
        ("double", "feret_min_angle avg_red avg_green avg_blue ch1_peak ch1_width ch1_area"),
        ("double", "ch2_peak ch2_width ch2_area ch3_peak ch3_width ch3_area"),
        ("timestamp", "timestamp"),
        ("string", "collage_file"),
        ("guid", "image_id"),
    )
    for name in names.split()
}
# What this instrument has not: spheres, a second camera, fluorescence.
ABSENT = dict.fromkeys(FIELDS, 0)


def write_run(
    folder: Path,
    *,
    crops: list[np.ndarray],
    rows: list[dict],
    classes: dict[str, list[int]],
    settings: dict[str, dict[str, object]],
) -> None:
    """Writes a run, called as its folder.

    Args:
      folder: to be made.
      crops: of each particle [height, width, 3] uint8, blue first.
      rows: of each particle, some of FIELDS.
      classes: name -> ids of the particles that somebody has given it.
      settings: section of the `.ctx` -> name -> value.
    """
    folder.mkdir()
    stem = folder / folder.name
    placed = write_collages(stem, crops)
    lines = ["017", f"num-fields|{len(FIELDS)}", *(f"{n}|{kind}" for n, kind in FIELDS.items())]
    for row, place in zip(rows, placed, strict=True):
        cells = ABSENT | row | place
        lines.append("|".join(text(cells[name], kind=kind) for name, kind in FIELDS.items()))
    write(stem, ".lst", lines)
    lines = ["v3", "1", f"{folder.name}_Class", str(len(classes))]
    for name, ids in classes.items():
        lines += [name, "OR", "0", str(len(ids)), *map(str, ids)]
    write(stem, ".cla", lines)
    lines = []
    for section, values in settings.items():
        lines += [f"[{section}]", *(f"{name}={value}" for name, value in values.items())]
    write(stem, ".ctx", lines)


def write_collages(stem: Path, crops: list[np.ndarray]) -> list[dict]:
    """Packs crops into collages, row by row from the left; returns where each lies."""
    number, x, y, tallest = 1, 0, 0, 0
    collage, placed = np.zeros((*COLLAGE, 3), np.uint8), []
    for crop in crops:
        height, width = crop.shape[:2]
        if x + width > COLLAGE[1]:
            x, y, tallest = 0, y + tallest + GAP_PX, 0
        if y + height > COLLAGE[0]:
            write_collage(stem, number, collage)
            number, x, y, tallest = number + 1, 0, 0, 0
            collage = np.zeros_like(collage)
        collage[y : y + height, x : x + width] = crop
        place = {"image_x": x, "image_y": y, "image_w": width, "image_h": height}
        placed.append(place | {"collage_file": collage_of(stem, number).name})
        x, tallest = x + width + GAP_PX, max(tallest, height)
    write_collage(stem, number, collage)
    return placed


def write_collage(stem: Path, number: int, collage: np.ndarray) -> None:
    """Writes one collage [height, width, 3] uint8, blue first."""
    write_encoded(collage_of(stem, number), collage, LZW)


def collage_of(stem: Path, number: int) -> Path:
    """Returns the path of a run's collage, numbered from 1."""
    return stem.with_name(f"{stem.name}_{number:06d}.tif")


def text(value: object, *, kind: str) -> str:
    """Returns a cell as the instrument writes it."""
    return f"{value:.4f}" if kind == "double" else str(value)


def write(stem: Path, ending: str, lines: Iterable[str]) -> None:
    """Writes lines beside the collages."""
    file = stem.with_name(stem.name + ending)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
