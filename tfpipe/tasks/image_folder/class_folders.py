"""Class folders: the images of a folder, with classes and splits by their folders."""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfpipe.base import files, images
from tfpipe.base.choose import listed
from tfpipe.base.errors import UserError
from tfpipe.tasks.task import LeftOut

if TYPE_CHECKING:
    import pandas as pd

# fmt: off
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".pgm", ".ppm", ".pnm",
    ".avif",
)
# fmt: on
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation"), "validation"),
    **dict.fromkeys(("test", "testing", "holdout"), "test"),
}
_WITH_SET = re.compile(r"(.+?)[ _-]?(set|data|split|images)")
# Formats that cameras write and that are not read; HEIC is, where pillow-heif is installed.
HEIC = {".heic": "HEIC", ".heif": "HEIC", ".hif": "HEIC"}
UNREAD = {**HEIC, ".jxl": "JPEG XL", ".cr2": "raw", ".nef": "raw", ".dng": "raw"}


@dataclass(frozen=True, eq=False)
class ImageList:
    """The images of a folder.

    Attributes:
      folder: the files are relative to it.
      rows: [images, ...] str: file, label ("" for unlabelled), group ("" for the image alone),
        split ("" where the user chose none).
      numbers: [images, columns] float64, finite.
      tables: files that list them.
      notes: what is left out and why.
    """

    folder: Path
    rows: pd.DataFrame
    numbers: pd.DataFrame
    tables: tuple[Path, ...] = ()
    notes: Sequence[str] = field(default_factory=list)


def list_class_folders(folder: Path) -> ImageList:
    """Returns the images in class folders, in one tree or under train/, val/ and test/.

    Folders of splits may be called train_set, eval and the like. A single folder that only holds
    folders is a wrapper. Notes say what was taken for what.

    Raises:
      UserError: there is no class folder, or one without an image.
    """
    import pandas as pd

    around = unwrapped(folder)
    wrappers = [files.shown(path.name) for path in around[1:]]
    tops = folders_in(around[-1])
    notes: list[str] = []
    splits = {top: split for top in tops if (split := split_of(top.name))}
    if len({*splits.values()}) > 1 or (splits and len(splits) == len(tops) and _hold_folders(tops)):
        taken = ", ".join(f"{files.shown(top.name)} ({split})" for top, split in splits.items())
        notes.append(f"Folders of splits: {taken}; the folders in them are the classes.")
        unused = [files.shown(top.name) for top in tops if top not in splits]
        if unused:
            notes.append(LeftOut(f"{listed(unused, most=5)}: unused, beside folders of splits."))
        places = [(split, inner) for top, split in splits.items() for inner in folders_in(top)]
    else:
        places = [("", top) for top in tops]
        splits = {}
    if wrappers:
        names = sorted({class_name(place.name) for _, place in places})
        notes.insert(
            0,
            f"{'/'.join(wrappers)}/ only holds the other folders, so it is no class: the classes "
            f"are {listed(names, most=5)}.",
        )
    around = [*around, *splits]
    if not places:
        kinds = unread_kinds(path.name for path in _images_here(around[-1]))
        only = f", and only {kinds} that cannot be read" if kinds else ""
        raise UserError(
            f"{files.shown(folder)} holds no class folders{only}, expected one for each class, "
            "with its images; or a table with the columns path and label."
        )
    rows: list[tuple[str, str, str, str]] = []
    others: list[str] = []
    for split, place in places:
        names, more = images_in(place)
        inside = files.shown(place.relative_to(folder))
        if not names and (kinds := unread_kinds(more)):
            raise UserError(
                f"The class folder {inside} holds {kinds}, which cannot be read. {remedy(more)}"
            )
        if not names:
            raise UserError(
                f"The class folder {inside} holds no image ({', '.join(image_suffixes())}). Put "
                "its images there, or remove the folder."
            )
        others += [f"{inside}/{name}" for name in more]
        rows += [
            (os.path.relpath(place / name, folder), class_name(place.name), "", split)
            for name in names
        ]
    no_images = [name for name in others if not unread_kinds([name])]
    if no_images:
        notes.append(
            LeftOut(
                f"{len(no_images)} files in class folders are no images: "
                f"{listed(no_images, most=5)}."
            )
        )
    loose = [str(path.relative_to(folder)) for place in around for path in _images_here(place)]
    unread = [name for name in [*others, *loose] if unread_kinds([name])]
    if unread:
        notes.append(unread_note(unread))
    notes += twin_notes({class_name(place.name) for _, place in places})
    loose = [name for name in loose if name not in unread]
    if loose:
        lie = "image lies" if len(loose) == 1 else "images lie"
        notes.append(LeftOut(f"{len(loose)} {lie} in no class folder: {listed(loose, most=5)}."))
    return ImageList(folder, as_rows(rows), pd.DataFrame(index=range(len(rows))), (), notes)


def split_of(name: str) -> str:
    """Returns the split that a folder is called after, "" for none: "train" of "Train_set"."""
    lower = name.lower()
    match = _WITH_SET.fullmatch(lower)
    return SPLITS.get(lower) or (SPLITS.get(match[1], "") if match else "")


def twin_notes(classes: Collection[str]) -> list[str]:
    """Returns a note for each two classes whose names differ in case or as "1" and "1.0" do."""
    first: dict[str, str] = {}
    notes = []
    for name in sorted(classes):
        plain = name.casefold()
        with contextlib.suppress(ValueError):
            plain = str(float(name.replace(",", ".")))
        if plain in first:
            notes.append(
                f"The classes {first[plain]!r} and {name!r} are two, as they are written "
                "differently. Give them one name if they are one class."
            )
        first.setdefault(plain, name)
    return notes


def unwrapped(folder: Path) -> list[Path]:
    """Returns a folder, the wrappers in it, and last the folder that holds classes or splits.

    A wrapper is the only folder beside it, holds folders and no image, and has no split's name.
    """
    places = [folder]
    while len(tops := folders_in(places[-1])) == 1 and _is_wrapper(tops[0]):
        places.append(tops[0])
    is_inner = len(tops) > 1 or bool(tops and split_of(tops[0].name))
    return places if is_inner else [folder]


def _is_wrapper(folder: Path) -> bool:
    return not split_of(folder.name) and _hold_folders([folder])


def _hold_folders(tops: list[Path]) -> bool:
    """Returns whether each folder holds folders and no image itself."""
    return all(folders_in(top) and not _images_here(top) for top in tops)


def image_suffixes() -> tuple[str, ...]:
    """Returns the endings of files that are images and can be read."""
    return SUFFIXES + (tuple(HEIC) if images.can_read_heic() else ())


def unread_kinds(names: Iterable[str]) -> str:
    """Returns how many of some files are images that cannot be read: "12 HEIC images"."""
    suffixes = Counter(Path(name).suffix.lower() for name in names)
    kinds = Counter[str]()
    for suffix, count in suffixes.items():
        if suffix in UNREAD and suffix not in image_suffixes():
            kinds[UNREAD[suffix]] += count
    return " and ".join(
        f"{count} {kind} image{'s' if count > 1 else ''}" for kind, count in sorted(kinds.items())
    )


def unread_note(names: list[str]) -> LeftOut:
    """Returns the note on images that cannot be read and are left out."""
    return LeftOut(
        f"{unread_kinds(names)} cannot be read: {listed(names, most=5)}. {remedy(names)}"
    )


def remedy(names: Iterable[str]) -> str:
    """Returns what to do about images that cannot be read, in a sentence."""
    if any(Path(name).suffix.lower() in HEIC for name in names):
        return "Run `pip install pillow-heif`, or convert them to PNG or JPEG."
    return "Convert them to PNG or JPEG."


def as_rows(rows: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    """Returns `ImageList.rows`, from (file, label, group, split) of each image."""
    import pandas as pd

    return pd.DataFrame(rows, columns=["file", "label", "group", "split"], dtype=object)


def images_in(folder: Path) -> tuple[list[str], list[str]]:
    """Returns the images in and under a folder, relative to it, and all other files, sorted.

    Raises:
      UserError: one of them is a link that leads outside.
    """
    inside: list[str] = []
    others: list[str] = []
    suffixes = image_suffixes()
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if _is_visible(name))
        for name in filter(_is_visible, names):
            path = os.path.relpath(os.path.join(root, name), folder)
            if os.path.islink(os.path.join(root, name)):
                files.inside(folder, path, where=files.shown(folder))
            (inside if name.lower().endswith(suffixes) else others).append(path)
    return sorted(inside), sorted(others)


def class_name(text: str) -> str:
    """Returns a class's name on one line, letters with accents in one way of writing them."""
    return " ".join(unicodedata.normalize("NFC", files.shown(text)).split())


def labels_of(rows: pd.DataFrame) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the classes, sorted, and the label [images] int of each image, -1 for none."""
    classes = tuple(sorted({*rows["label"]} - {""}))
    numbers = {name: i for i, name in enumerate(classes)} | {"": -1}
    return classes, rows["label"].map(numbers).to_numpy(int)


def folders_in(folder: Path) -> list[Path]:
    """Returns the folders in a folder, sorted, but hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and _is_visible(path.name))


def _images_here(folder: Path) -> list[Path]:
    """Returns the images in a folder itself, those that cannot be read among them."""
    suffixes = (*SUFFIXES, *UNREAD)
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in suffixes and _is_visible(path.name) and path.is_file()
    ]


def _is_visible(name: str) -> bool:
    """Returns whether a name is neither hidden nor left by an archiver."""
    return not name.startswith((".", "__"))
