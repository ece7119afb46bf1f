"""Survey of a melt-layer folder: its photos, their depths, and what is left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfpipe.base.errors import UserError
from tfpipe.tasks.melt_layer import tables as melt_layer_tables
from tfpipe.tasks.melt_layer.options import MeltLayerOptions
from tfpipe.tasks.source_names import unique_names
from tfpipe.tasks.task import LeftOut, Source, Survey


@dataclass(frozen=True)
class Section:
    """A photo's part of the tables: `Source.about`.

    Attributes:
      photo: its row of photos.csv, or None for a photo without depths.
      features: the table's features that overlap its depths; one on a border is in both photos.
    """

    photo: melt_layer_tables.Photo | None
    features: tuple[melt_layer_tables.Feature, ...] = ()


def survey(folder: Path, options: MeltLayerOptions) -> Survey:
    """Reads the two tables and the names of the photos; decodes nothing.

    Args:
      folder: holds photos/, photos.csv and layers.csv (or .xlsx, .tab).
      options: not used.

    Returns:
      The sections by photo name; notes name photos in no table and features in no photo.

    Raises:
      UserError: naming file and line, if a table is missing or contradicts itself.
    """
    photo_folder = folder / "photos"
    if not photo_folder.is_dir():
        raise UserError(
            f"{photo_folder} is missing: expected a folder of photos. `tfpipe tasks melt-layer` "
            "says what goes where."
        )
    photo_table = melt_layer_tables.find_photo_table(folder)
    if photo_table is None:
        raise UserError(
            f"{folder} holds no table of photos, expected one with columns such as 'photo', "
            "'top_m' and 'bottom_m', or a .tab of PANGAEA. `tfpipe tasks melt-layer` says what "
            "goes where."
        )
    photos, left_out = melt_layer_tables.read_photos(photo_table, folder=photo_folder)
    notes: list[str] = [*left_out]
    layer_table = melt_layer_tables.find_feature_table(folder)
    features, lines, other_types = melt_layer_tables.read_features(layer_table)
    notes += other_types
    notes += melt_layer_tables.source_notes(photo_table, layer_table)
    tabled = {photo.path.name for photo in photos}
    notes += [
        LeftOut(f"photos/{path.name} is not in {photo_table.name}, so it is unused.")
        for path in sorted(photo_folder.iterdir())
        if path.suffix.lower() in melt_layer_tables.PHOTO_SUFFIXES and path.name not in tabled
    ]
    sources = []
    used: set[int] = set()
    for photo in sorted(photos, key=lambda photo: photo.name):
        inside = _inside(features, photo)
        used.update(inside)
        section = Section(photo, tuple(features[i] for i in inside))
        stratum = "with layer" if any(f.is_layer for f in section.features) else "without"
        sources.append(Source(photo.name, photo.group, photo.path, section, strata=(stratum,)))
    unused = [str(lines[i]) for i in range(len(features)) if i not in used]
    if unused:
        notes.append(
            LeftOut(
                f"{layer_table.name}: {len(unused)} features lie in no photo's depths "
                f"(line {', '.join(unused)}), so they are unused."
            )
        )
    return Survey(tuple(sources), (photo_table, layer_table), tuple(notes), _duplicates(photos))


def _inside(
    features: Sequence[melt_layer_tables.Feature], photo: melt_layer_tables.Photo
) -> list[int]:
    """Returns which features overlap the depths of a photo."""
    return [
        i
        for i, feature in enumerate(features)
        if feature.depth_from_m < photo.bottom_m
        and (feature.depth_to_m > photo.top_m or feature.depth_from_m >= photo.top_m)
    ]


def _duplicates(photos: list[melt_layer_tables.Photo]) -> tuple[tuple[str, str, str], ...]:
    """Returns the pairs of photos that show the same depths by more than a tenth of the shorter."""
    ordered = sorted(photos, key=lambda photo: photo.top_m)
    pairs = []
    for i, upper in enumerate(ordered):
        for lower in ordered[i + 1 :]:
            if lower.top_m >= upper.bottom_m:
                break
            if upper.group != lower.group and melt_layer_tables.shares_ice(upper, lower):
                shared_m = min(upper.bottom_m, lower.bottom_m) - lower.top_m
                why = (
                    f"both show {lower.top_m:g} to {lower.top_m + shared_m:g} m by photos.csv; "
                    "give both the same name in a column 'group' there"
                )
                pairs.append((upper.name, lower.name, why))
    return tuple(pairs)


def survey_new(paths: list[Path], table: Path | None, options: MeltLayerOptions) -> Survey:
    """Finds the depths of photos, and their labels where a table of features is beside them.

    Args:
      paths: photos, or folders of photos.
      table: photos.csv; without it the one beside the photos or in the folder above is used.
      options: of the task; the width of the core scales photos without depths.

    Returns:
      The sections by unique names: photos of two folders that are called alike have their folders
      in their names. A note for each photo without depths, and for a table of features that cannot
      be read.

    Raises:
      UserError: if a path does not exist or a folder has no photo.
    """
    every: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} does not exist. Give photos, or folders of photos.")
        inside = [path]
        if path.is_dir():
            inside = [
                p
                for p in sorted(path.iterdir())
                if p.suffix.lower() in melt_layer_tables.PHOTO_SUFFIXES
            ]
            if not inside:
                inner = f" {path / 'photos'} does." if (path / "photos").is_dir() else ""
                raise UserError(
                    f"{path} holds no photo ({', '.join(melt_layer_tables.PHOTO_SUFFIXES)}).{inner}"
                )
        every += inside
    by_name: dict[tuple[Path, Path], dict[str, melt_layer_tables.Photo]] = {}
    features_of: dict[Path, tuple[melt_layer_tables.Feature, ...]] = {}
    label_tables: list[Path] = []
    tables_of: dict[Path, Path | None] = {}
    sources: list[Source] = []
    notes: list[str] = []
    for path, name in unique_names((path, path.name) for path in every).items():
        if path.parent not in tables_of:
            tables_of[path.parent] = table or _table_beside(path.parent)
        photo_table = tables_of[path.parent]
        if photo_table and (photo_table, path.parent) not in by_name:
            photos, _ = melt_layer_tables.read_photos(photo_table, folder=path.parent)
            by_name[photo_table, path.parent] = {photo.path.name: photo for photo in photos}
            if photo_table not in features_of:
                features_of[photo_table], used, more = _features_beside(photo_table)
                label_tables += used
                notes += more
        photo = by_name[photo_table, path.parent].get(path.name) if photo_table else None
        if photo is None:
            notes.append(
                f"{name}: no table gives its depths, so mm from its top are given, for a core "
                f"{options.core_width_mm:g} mm wide. Put the table of photos beside it, or give "
                "the width by --option core_width_mm=MM."
            )
        features: tuple[melt_layer_tables.Feature, ...] = ()
        if photo and photo_table:
            every_feature = features_of[photo_table]
            features = tuple(every_feature[i] for i in _inside(every_feature, photo))
        sources.append(Source(name, name, path, Section(photo, features)))
    tables = tuple(dict.fromkeys(path for path, _ in by_name))
    notes += [f"Depths of photos are from {path.name}." for path in tables if path.stem != "photos"]
    return Survey(tuple(sources), (*tables, *label_tables), tuple(notes))


def _features_beside(
    photo_table: Path,
) -> tuple[tuple[melt_layer_tables.Feature, ...], list[Path], list[str]]:
    """Returns the features tabled beside a table of photos, that table if any, and notes."""
    try:
        path = melt_layer_tables.find_feature_table(photo_table.parent)
    except UserError:
        return (), [], []  # none, or several of which nobody said which
    try:
        return tuple(melt_layer_tables.read_features(path)[0]), [path], []
    except UserError as error:
        return (), [], [f"Overlays are without the labels of the table: {error}"]


def _table_beside(folder: Path) -> Path | None:
    """Returns the table of photos in a folder of photos, or in the folder above it."""
    for place in (folder, folder.parent):
        if path := melt_layer_tables.find_photo_table(place):
            return path
    return None
