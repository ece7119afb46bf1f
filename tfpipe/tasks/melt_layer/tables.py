"""The two tables of a melt-layer folder: depths of the photos, and features with their depths."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tfpipe.base import files, problems, tables
from tfpipe.base.errors import UserError
from tfpipe.tasks.task import LeftOut

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
NO_TABLES = ("truth", "labels", "alignment")  # names of files that are no tables of the folder
SAME_SHARE = 0.1  # two photos that share more of their depth than this show the same ice
DUBIOUS = "dubious"  # kind of a feature that a reviewer could not decide about
CROP = ("crop top px", "crop bottom px", "crop left px", "crop right px")

# Column names that mean the same, each with or without a unit of length.
PHOTO = ("photo", "file", "filename", "file name", "image", "image name", "photo name")
TOP = ("top", "depth top", "top depth", "depth from", "from")
BOTTOM = ("bottom", "bot", "depth bottom", "depth bot", "bottom depth", "depth to", "to")
FEATURE_TOP = ("depth from", "depth top", "top depth", "top", "from", "depth")
FEATURE_BOTTOM = ("depth to", "depth bottom", "depth bot", "bottom depth", "bottom", "bot", "to")
KIND = ("type of feature", "type", "feature", "feature type")
PREDICTED = ("probability",)  # in a table that `tfpipe predict` wrote beside the photos
LENGTHS = ("nm", "µm", "um", "mm", "cm", "m", "km")
PHOTO_TABLE = (PHOTO, TOP, BOTTOM)
FEATURE_TABLE = (FEATURE_TOP, KIND)


Crop = tuple[int | None, int | None, int | None, int | None]


@dataclass(frozen=True)
class Photo:
    """One row of the table of photos: a core section.

    Attributes:
      name: file name inside `photos/`.
      path: the file.
      top_m: depth of the core's upper edge in the photo.
      bottom_m: depth of its lower edge.
      crop_px: (top, bottom, left, right) of the core in the photo, a side is None where it is to
        be found; None to find them all.
      group: near-copies (the same section taken twice) share one.
    """

    name: str
    path: Path
    top_m: float
    bottom_m: float
    crop_px: Crop | None
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

    @property
    def is_lens(self) -> bool:
        """Whether it is a lens, which does not cross the core, beyond doubt."""
        return "lens" in self.kind.lower() and not self.is_uncertain


def find_photo_table(folder: Path) -> Path | None:
    """Returns the table of photos in a folder, photos.* or any with its columns; None without one.

    Raises:
      UserError: there are several.
    """
    return tables.find(
        folder,
        *PHOTO_TABLE,
        noun="table of photos",
        lacks=(*KIND, *PREDICTED),
        prefer="photos",
        but=NO_TABLES,
    ) or _named(folder, "photos")


def find_feature_table(folder: Path) -> Path:
    """Returns the table of features in a raw folder, layers.* or any with its columns.

    Raises:
      UserError: there is none, or there are several.
    """
    path = tables.find(
        folder,
        *FEATURE_TABLE,
        noun="table of features",
        prefer="layers",
        but=NO_TABLES,
    ) or _named(folder, "layers")
    if path is None:
        raise UserError(
            f"{folder} holds no table of features, expected one (.csv, .xlsx, .ods, .tab, ...) "
            "with a depth such as 'depth from', and 'type of feature'. Put it there."
        )
    return path


def source_notes(photo_table: Path, layer_table: Path) -> list[str]:
    """Returns a note that says which files and sheets were read, where their names do not."""
    sources = [
        tables.read(photo_table, *PHOTO_TABLE).source,
        tables.read(layer_table, *FEATURE_TABLE).source,
    ]
    if (
        photo_table.stem == "photos"
        and layer_table.stem == "layers"
        and sources
        == [
            files.shown(photo_table.name),
            files.shown(layer_table.name),
        ]
    ):
        return []
    return [f"Depths of photos are from {sources[0]}; features are from {sources[1]}."]


def _named(folder: Path, stem: str) -> Path | None:
    """Returns the table of a name whatever its columns are, so that reading says what is wrong."""
    paths = [folder / f"{stem}{suffix}" for suffix in tables.SUFFIXES]
    return next((path for path in paths if path.is_file()), None)


def read_photos(path: Path, *, folder: Path) -> tuple[list[Photo], list[str]]:
    """Reads the table of photos.

    Photos are named with or without the ending of their files. Without a column `group`, photos
    that show the same ice by their depths are one group.

    Args:
      path: the table.
      folder: of the photos.

    Returns:
      The photos in the table's order, and a sentence for each row whose file is missing.

    Raises:
      UserError: naming file and line, where a row contradicts itself or another.
    """
    table = tables.read(path, *PHOTO_TABLE)
    names = table.frame[table.need(*PHOTO)]
    top_m = _depths(table, TOP)
    bottom_m = _depths(table, BOTTOM)
    photo_files = _PhotoFiles(folder)
    crop_px = _crops(table)
    groups = table.frame[table.column("group")] if table.column("group") else names
    photos: list[Photo] = []
    notes: list[str] = []
    line_of: dict[str, int] = {}
    for row, name in enumerate(names):
        with problems.contained():
            where = table.where(row)
            if not name:
                raise UserError(f"{where}: no photo is named. Name its file, or remove the row.")
            file = photo_files.path(name, where=where)
            if name.casefold() in line_of:
                raise UserError(
                    f"{where}: photo {name!r} is already named on line {line_of[name.casefold()]}. "
                    "Keep one of the two rows."
                )
            line_of[name.casefold()] = table.lines[row]
            if np.isnan(bottom_m[row] - top_m[row]):
                continue  # named as a problem
            if bottom_m[row] <= top_m[row]:
                raise UserError(
                    f"{where}: bottom_m {bottom_m[row]:g} m is not below top_m {top_m[row]:g} m. "
                    "Swap them, or correct the row."
                )
            if not file.is_file():
                notes.append(
                    LeftOut(
                        f"{where}: photo {name!r} is not in {folder.name}/, so its row is unused."
                    )
                )
                continue
            photos.append(
                Photo(
                    file.name if name == file.stem else name,
                    file,
                    top_m[row],
                    bottom_m[row],
                    crop_px[row],
                    groups.iloc[row] or name,
                )
            )
    if not table.column("group"):
        photos, shared = group_same_ice(photos)
        notes += shared
    return photos, notes


class _PhotoFiles:
    """The files of a folder of photos by their names with and without ending."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by_stem: dict[str, list[Path]] = {}
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.suffix.lower() in PHOTO_SUFFIXES:
                self.by_stem.setdefault(path.stem, []).append(path)

    def path(self, name: str, *, where: str) -> Path:
        """Returns the file that a cell of the table names; it need not exist."""
        path = files.inside(self.folder, name, where=where)
        matches = self.by_stem.get(name, [])
        if path.is_file() or not matches:
            return path
        if len(matches) > 1:
            raise UserError(
                f"{where}: photo {name!r} may be {matches[0].name} or {matches[1].name}. Write "
                "its name with the ending."
            )
        return files.inside(self.folder, matches[0].name, where=where)


def group_same_ice(photos: list[Photo]) -> tuple[list[Photo], list[str]]:
    """Returns photos with one group for all that show the same ice, and a note about them.

    Photos show the same ice where they share more than a tenth of the shorter one's depth.
    """
    group_of = {photo.name: photo.group for photo in photos}
    ordered = sorted(photos, key=lambda photo: (photo.top_m, photo.name))
    for i, upper in enumerate(ordered):
        for lower in ordered[i + 1 :]:
            if lower.top_m >= upper.bottom_m:
                break
            if shares_ice(upper, lower):
                old, new = group_of[lower.name], group_of[upper.name]
                group_of = {name: new if g == old else g for name, g in group_of.items()}
    sizes = Counter(group_of.values())
    shared = [photo.name for photo in ordered if sizes[group_of[photo.name]] > 1]
    notes = []
    if shared:
        notes.append(
            f"{len(shared)} photos show ice that others show too by their depths, such as "
            f"{shared[0]} and {shared[1]}: each such group stays in one split."
        )
    return [replace(photo, group=group_of[photo.name]) for photo in photos], notes


def shares_ice(upper: Photo, lower: Photo) -> bool:
    """Returns whether two photos share more than a tenth of the shorter one's depth."""
    shared_m = min(upper.bottom_m, lower.bottom_m) - max(upper.top_m, lower.top_m)
    return shared_m > SAME_SHARE * min(upper.bottom_m - upper.top_m, lower.bottom_m - lower.top_m)


def _depths(table: tables.Table, names: tuple[str, ...], *, missing_ok: bool = False) -> np.ndarray:
    """Returns a column of depths [rows] float64 in m.

    Raises:
      UserError: there is none, a cell is no number, or the table has the column in two units.
    """
    column = table.need(*names)
    name = next(name for name in names if table.column(name) == column)
    same = [table.headings[c] for c in table.headings if _is_in_a_unit(c, name)]
    if len(same) > 1:
        raise UserError(
            f"{table.source} has the columns {same[0]!r} and {same[1]!r}, expected this depth in "
            "one unit. Remove one of the two columns."
        )
    return table.numbers(column, unit="m", missing_ok=missing_ok)


def _is_in_a_unit(column: str, name: str) -> bool:
    """Returns whether a column is `name`, or `name` with a unit of length."""
    return column == name or column.removeprefix(f"{name} ").removeprefix("in ") in LENGTHS


def _crops(table: tables.Table) -> list[Crop | None]:
    """Returns each row's crop, or None where its cells are empty."""
    cells = np.stack(
        [
            table.numbers(name, missing_ok=True)
            if table.column(name)
            else np.full(len(table.frame), np.nan)
            for name in CROP
        ],
        axis=1,
    ).round()
    crops: list[Crop | None] = []
    for row, values in enumerate(cells):
        if np.isnan(values).all():
            crops.append(None)
            continue
        if values[0] >= values[1] or values[2] >= values[3] or (values < 0).any():
            problems.add(
                f"{table.where(row)}: the crop is {', '.join(f'{v:g}' for v in values)}, expected "
                "top < bottom and left < right. Correct the cells, or empty those that are to be "
                "found."
            )
        top, bottom, left, right = (None if np.isnan(v) else int(v) for v in values)
        crops.append((top, bottom, left, right))
    return crops


def read_features(path: Path) -> tuple[list[Feature], np.ndarray, list[str]]:
    """Reads the table of features (seed 002, "Preprocessing": bag, depths, ages, type).

    Args:
      path: a table of any format.

    Returns:
      The features of melt sorted by depth; the line number of each, [features] int; and a note
      that names the other types of features, which are no labels.

    Raises:
      UserError: naming file and line, where a depth is text or the wrong way round, or no feature
        is melt.
    """
    table = tables.read(path, *FEATURE_TABLE)
    top_m = _depths(table, FEATURE_TOP)
    has_bottom = table.column(*FEATURE_BOTTOM) is not None
    bottom_m = _depths(table, FEATURE_BOTTOM, missing_ok=True) if has_bottom else top_m
    bottom_m = np.where(np.isnan(bottom_m), top_m, bottom_m)
    kinds = table.frame[table.need(*KIND)]
    is_whole = ~np.isnan(bottom_m - top_m) & (bottom_m >= top_m)  # the others are problems
    for row in np.flatnonzero(bottom_m < top_m).tolist():
        problems.add(
            f"{table.where(row)}: depth_to {bottom_m[row]:g} m is above depth_from "
            f"{top_m[row]:g} m. Swap them, or remove the row."
        )
    for row in np.flatnonzero(kinds == "").tolist():
        problems.add(
            f"{table.where(row)}: the type of feature is empty, expected a word such as "
            "meltLayer or meltLens. Fill it in, or remove the row."
        )
    is_melt = kinds.str.lower().str.contains("melt|bubble", regex=True).to_numpy()
    others = Counter(kinds[~is_melt & (kinds != "")])
    listed = _counted(others)
    if not is_melt.any():
        raise UserError(
            f"{table.source}: no type of feature is melt, expected words such as meltLayer or "
            f"meltLens, it has {listed}. Correct the words."
        )
    notes: list[str] = []
    if others:
        notes.append(
            f"{table.source}: features of other types are no labels, so their ice counts as "
            f"free of melt layers: {listed}."
        )
    is_melt = is_melt & is_whole
    top_m, bottom_m, kinds = top_m[is_melt], bottom_m[is_melt], kinds[is_melt]
    lines = np.asarray(table.lines)[is_melt]
    order = np.lexsort((bottom_m, top_m))
    features = [Feature(top_m[row], bottom_m[row], kinds.iloc[row]) for row in order]
    small = Counter(f.kind for f in features if not f.is_layer and not f.is_uncertain)
    if small:
        notes.append(
            f"{table.source}: only full layers are melt layers. Other melt counts as free of them "
            f"for models of windows, and as a lens for core-unet: {_counted(small)}."
        )
    uncertain = Counter(f.kind for f in features if f.is_uncertain)
    if uncertain:
        notes.append(
            f"{table.source}: uncertain features are left out of training, unless --option "
            f"uncertain=include: {_counted(uncertain)}."
        )
    return features, lines[order], notes


def _counted(kinds: Counter[str]) -> str:
    """Returns the ten commonest kinds with their numbers."""
    return ", ".join(f"{kind[:40]} {count}" for kind, count in kinds.most_common(10))
