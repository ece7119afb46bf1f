"""The two tables of a melt-layer folder: depths of the photos, and features with their depths."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfpipe.base import files, tables
from tfpipe.base.errors import UserError
from tfpipe.tasks.task import LeftOut

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
LAYER_TABLES = ("layers.csv", "layers.xlsx", "layers.tab", "layers.txt", "layers.tsv")
DUBIOUS = "dubious"  # kind of a feature that a reviewer could not decide about
CROP = ("crop top px", "crop bottom px", "crop left px", "crop right px")


@dataclass(frozen=True)
class Photo:
    """One row of photos.csv: a core section.

    Attributes:
      name: file name inside `photos/`.
      path: the file.
      top_m: depth of the core's upper edge in the photo.
      bottom_m: depth of its lower edge.
      crop_px: (top, bottom, left, right) of the core in the photo, or None to find it.
      group: near-copies (the same section taken twice) share one.
    """

    name: str
    path: Path
    top_m: float
    bottom_m: float
    crop_px: tuple[int, int, int, int] | None
    group: str


@dataclass(frozen=True)
class Feature:
    """One row of the table of features.

    Attributes:
      depth_from_m: upper edge, as tabled.
      depth_to_m: lower edge; equal to the upper one for a thin feature without thickness.
      kind: type of feature, in the table's words.
    """

    depth_from_m: float
    depth_to_m: float
    kind: str

    @property
    def is_uncertain(self) -> bool:
        """Whether its author was uncertain: "uncertain", "indication of bubble free ...", "?"."""
        words = ("uncertain", "indication", "bubble", "?", DUBIOUS)
        return any(word in self.kind.lower() for word in words)

    @property
    def is_layer(self) -> bool:
        """Whether it is a melt layer, full width and beyond doubt."""
        return "layer" in self.kind.lower().replace(" ", "") and not self.is_uncertain


def read_photos(path: Path, *, folder: Path) -> tuple[list[Photo], list[LeftOut]]:
    """Reads photos.csv.

    Args:
      path: the table.
      folder: of the photos.

    Returns:
      The photos in the table's order, and a sentence for each row whose file is missing.

    Raises:
      UserError: naming file and line, where a row contradicts itself or another.
    """
    table = tables.read(path)
    names = table.frame[table.need("photo", "file", "filename", "image")]
    top_m = table.numbers(table.need("top m", "top", "depth top"), unit="m", missing_ok=False)
    bottom_m = table.numbers(
        table.need("bottom m", "bottom", "depth bottom"), unit="m", missing_ok=False
    )
    crop_px = _crops(table)
    groups = table.frame[table.column("group")] if table.column("group") else names
    photos: list[Photo] = []
    notes: list[LeftOut] = []
    line_of: dict[str, int] = {}
    for row, name in enumerate(names):
        where = table.where(row)
        if not name:
            raise UserError(f"{where}: no photo is named. Name its file, or remove the row.")
        file = files.inside(folder, name, where=where)
        if name.casefold() in line_of:
            raise UserError(
                f"{where}: photo {name!r} is already named on line {line_of[name.casefold()]}. "
                "Keep one of the two rows."
            )
        line_of[name.casefold()] = table.lines[row]
        if bottom_m[row] <= top_m[row]:
            raise UserError(
                f"{where}: bottom_m {bottom_m[row]:g} m is not below top_m {top_m[row]:g} m. "
                "Swap them, or correct the row."
            )
        if not file.is_file():
            notes.append(
                LeftOut(f"{where}: photo {name!r} is not in {folder.name}/, so its row is unused.")
            )
            continue
        photos.append(
            Photo(name, file, top_m[row], bottom_m[row], crop_px[row], groups.iloc[row] or name)
        )
    return photos, notes


def _crops(table: tables.Table) -> list[tuple[int, int, int, int] | None]:
    """Returns each row's crop, or None where the four cells are empty."""
    columns = [column for name in CROP if (column := table.column(name))]
    if not columns:
        return [None] * len(table.frame)
    if len(columns) < len(CROP):
        raise UserError(
            f"{table.path.name} has some but not all of crop_top_px, crop_bottom_px, crop_left_px, "
            "crop_right_px. Give all four, or none so that the core is found."
        )
    cells = np.stack([table.numbers(column, missing_ok=True) for column in columns], axis=1).round()
    crops: list[tuple[int, int, int, int] | None] = []
    for row, values in enumerate(cells):
        if np.isnan(values).all():
            crops.append(None)
            continue
        if np.isnan(values).any() or values[0] >= values[1] or values[2] >= values[3]:
            raise UserError(
                f"{table.where(row)}: the crop is {', '.join(f'{v:g}' for v in values)}, expected "
                "top < bottom and left < right. Correct the four cells, or empty them all."
            )
        top, bottom, left, right = (int(value) for value in values)
        crops.append((top, bottom, left, right))
    return crops


def find_layer_table(folder: Path) -> Path:
    """Returns the table of features in a raw folder."""
    paths = [folder / name for name in LAYER_TABLES if (folder / name).is_file()]
    if len(paths) != 1:
        came = " and ".join(path.name for path in paths) or "none"
        raise UserError(
            f"{folder} must hold one table of features ({', '.join(LAYER_TABLES)}), it holds "
            f"{came}."
        )
    return paths[0]


def read_features(path: Path) -> tuple[list[Feature], np.ndarray]:
    """Reads the table of features (seed 002, "Preprocessing": bag, depths, ages, type).

    Args:
      path: CSV, XLSX or PANGAEA .tab.

    Returns:
      The features sorted by depth, and the line number of each, [features] int.

    Raises:
      UserError: naming file and line, where a depth is text or the wrong way round.
    """
    table = tables.read(path)
    top_m = table.numbers(
        table.need("depth from", "depth top", "depth from m", "from", "depth"),
        unit="m",
        missing_ok=False,
    )
    to_column = table.column("depth to", "depth bottom", "depth bot", "depth to m", "to")
    bottom_m = table.numbers(to_column, unit="m", missing_ok=True) if to_column else top_m
    bottom_m = np.where(np.isnan(bottom_m), top_m, bottom_m)
    kinds = table.frame[table.need("type of feature", "type", "feature", "feature type")]
    reversed_rows = np.flatnonzero(bottom_m < top_m)
    if len(reversed_rows):
        row = reversed_rows[0]
        raise UserError(
            f"{table.where(row)}: depth_to {bottom_m[row]:g} m is above depth_from "
            f"{top_m[row]:g} m. Swap them, or remove the row."
        )
    unnamed = np.flatnonzero(kinds == "")
    if len(unnamed):
        raise UserError(
            f"{table.where(unnamed[0])}: the type of feature is empty, expected a word such as "
            "meltLayer or meltLens. Fill it in, or remove the row."
        )
    unknown = np.flatnonzero(~kinds.str.lower().str.contains("melt|bubble", regex=True))
    if len(unknown):
        row = unknown[0]
        raise UserError(
            f"{table.where(row)}: the type of feature is {kinds.iloc[row]!r}, expected meltLayer, "
            "meltLens, one of these with 'uncertain', or an indication of a bubble free layer. "
            "Correct the word, or remove the row."
        )
    order = np.lexsort((bottom_m, top_m))
    features = [Feature(top_m[row], bottom_m[row], kinds.iloc[row]) for row in order]
    return features, np.asarray(table.lines)[order]
