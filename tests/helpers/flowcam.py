"""A small FlowCam run in VisualSpreadsheet's format: speckled discs on a grey ground."""

from pathlib import Path

import cv2
import numpy as np

from tfpipe.tasks.insolubles.options import InsolublesOptions
from tfpipe.tasks.insolubles.survey import survey

FIELDS = {
    "id": "int32",
    "image_x": "int32",
    "image_y": "int32",
    "image_w": "int32",
    "image_h": "int32",
    "cal_const": "double",
    "fringe_size": "double",
    "ppc": "int32",
    "abd_area": "double",
    "length": "double",
    "raw_perimeter": "double",
    "raw_filled_area": "double",
    "elapsed_time": "double",
    "timestamp": "timestamp",
    "collage_file": "string",
}
HEADINGS = {
    "id": "Particle ID",
    "image_x": "Image X",
    "image_y": "Image Y",
    "image_w": "Image Width",
    "image_h": "Image Height",
    "cal_const": "Calibration Factor",
    "abd_area": "Area (ABD)",
    "length": "Length",
    "elapsed_time": "Elapsed Time",
    "timestamp": "Timestamp",
    "collage_file": "Image File",
}
BOX = 20  # px of collage a particle
GROUND = 150


def particles(count: int = 12, *, per_collage: int = 6, stem: str = "run") -> list[dict]:
    """Returns the fields of some particles, in rows of boxes on their collages."""
    return [
        {
            "id": i + 1,
            "image_x": BOX * (i % per_collage),
            "image_y": 0,
            "image_w": BOX - i % 3,
            "image_h": BOX,
            "cal_const": 0.5,
            "fringe_size": 4.5,
            "ppc": 1,
            "abd_area": 30.0 + i,
            "length": 8.0 + i / 2,
            "raw_perimeter": 60.0 + i,
            "raw_filled_area": 190.0 + 3 * i,
            "elapsed_time": i / 10,
            "timestamp": f"2017-02-01T00:00:{i:02d}.513",
            "collage_file": f"{stem}_{1 + i // per_collage:06d}.tif",
        }
        for i in range(count)
    ]


def lst(rows: list[dict], *, fields: dict[str, str] = FIELDS) -> str:
    """Returns the text of a list."""
    head = [
        "017",
        f"num-fields|{len(fields)}",
        *(f"{name}|{kind}" for name, kind in fields.items()),
    ]
    return "\n".join([*head, *("|".join(str(row[name]) for name in fields) for row in rows)]) + "\n"


def csv(rows: list[dict], *, extra: dict[str, list] | None = None) -> str:
    """Returns the text of an export, with more columns if wanted."""
    extra = extra or {}
    lines = [",".join([*HEADINGS.values(), *extra])]
    for i, row in enumerate(rows):
        more = [values[i] for values in extra.values()]
        lines.append(",".join(str(cell) for cell in [*(row[f] for f in HEADINGS), *more]))
    return "\n".join(lines) + "\n"


def cla(classes: dict[str, list[int]]) -> str:
    """Returns the text of a class file."""
    lines = ["v3", "1", "a title", str(len(classes))]
    for name, ids in classes.items():
        lines += [name, "OR", "0", str(len(ids)), *map(str, ids)]
    return "\n".join(lines) + "\n"


def run(
    folder: Path, rows: list[dict] | None = None, *, classes: dict[str, list[int]] | None = None
) -> Path:
    """Writes a whole run and returns its folder."""
    rows = particles() if rows is None else rows
    folder.mkdir(parents=True)
    (folder / "run.lst").write_text(lst(rows))
    collages(folder, rows)
    if classes is not None:
        (folder / "run.cla").write_text(cla(classes))
    return folder


def collages(folder: Path, rows: list[dict]) -> None:
    """Writes the collages that some particles lie on."""
    for name in {row["collage_file"] for row in rows}:
        inside = [row for row in rows if row["collage_file"] == name]
        collage = np.full((BOX, BOX * len(inside), 3), GROUND, np.uint8)
        for row in inside:
            centre = (row["image_x"] + 9, row["image_y"] + 9)
            cv2.circle(collage, centre, 4 + row["id"] % 4, (60, 80, 100), -1)
        cv2.imwrite(str(folder / name), collage)


def noise(folder: Path, rng: np.random.Generator) -> None:
    """Draws over a run's collages, so that no two of its particles are near-copies."""
    for path in folder.glob("*.tif"):
        shape = cv2.imread(str(path)).shape
        cv2.imwrite(str(path), rng.integers(0, 255, shape, dtype=np.uint8))


def surveyed(folder: Path, **options):
    """Returns the survey of a raw folder; one particle is enough for a class unless told."""
    return survey(folder, InsolublesOptions(**{"min_class": 1, **options}))


def labels_of(found) -> dict[str, str]:
    """Returns key -> class, "" for none, of all particles of a survey."""
    return {
        key: found.classes[label] if label >= 0 else ""
        for source in found.sources
        for key, label in zip(source.about.rows["key"], source.about.labels, strict=True)
    }


def column_of(found, name: str) -> np.ndarray:
    """Returns a column [particles] of all sources in order."""
    at = found.columns.index(name)
    return np.concatenate([source.about.columns[:, at] for source in found.sources])
