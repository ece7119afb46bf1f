"""EcoTaxa tables, in and out: a row an image of an object, with its class and measured fields.

The format is that of EcoTaxa's importer (ecotaxa_back, BO/TSVFile.py): an image's file and its
object are required; a second line may have the types, [t] for text and [f] for numbers; a status
is predicted, dubious or validated. Exports of projects, PlanktoScope's and ZooProcess's tables have
the same fields.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfpipe.base import files, problems, tables
from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import (
    derived_columns,
    ecotaxa_fields,
    flowcam_table,
    particle_table,
)
from tfpipe.tasks.insolubles.image_table import check_unique
from tfpipe.tasks.insolubles.particle_table import Particles
from tfpipe.tasks.task import LeftOut

if TYPE_CHECKING:
    import pandas as pd

MAX_LETTERS = 250  # of a text in EcoTaxa
_STATUSES = {"v": "validated", "p": "predicted", "d": "dubious"}
_TYPES = ("[t]", "[f]")


def read(folder: Path, table: Path) -> Particles:
    """Returns the particles of an EcoTaxa table; only validated objects have a label.

    An object with several images counts once, with the image of the smallest rank. Without a
    column of statuses each class counts as validated.

    Args:
      folder: its images are in or under it.
      table: the table. The sample is the run, or the folder if there is no sample.

    Raises:
      UserError: naming file and line, where it is no such table, an image is absent, a status is
        not one of EcoTaxa's, or the images of one object differ in class.
    """
    import pandas as pd

    objects, heading_of, types = _open(table, "img_file_name", "object_id")
    notes: list[str] = []

    def text(name: str, default: str = "") -> pd.Series:
        if name not in heading_of:
            return pd.Series([default] * len(objects.frame), dtype="str")
        cleaned = objects.frame[heading_of[name]].str.split().str.join(" ")
        return cleaned.mask(cleaned == "", default)

    statuses = _statuses(text("object_annotation_status"), objects)
    labels = text("object_annotation_category")
    if "object_annotation_status" in heading_of:
        labels = labels.where(statuses == "validated", "")
    elif (labels != "").any():
        notes.append(
            f"{objects.name} has no column object_annotation_status, so each class counts as "
            "validated."
        )
    images = pd.DataFrame(
        {
            "run": text("sample_id", folder.name),
            "particle": text("object_id"),
            "file": text("img_file_name"),
            "label": labels,
            "status": statuses,
            "instrument": text("acq_instrument"),
        }
    )
    first, more = _first_images(images, objects, heading_of)
    notes += more
    images = images.iloc[first].reset_index(drop=True)
    chosen = objects.frame.iloc[first].reset_index(drop=True)
    objects = replace(objects, frame=chosen, lines=objects.lines[first])
    paths = particle_table.match_images(images["file"], folder, lines=objects.lines, table=table)
    check_unique(paths, objects.lines, table=table)
    numbers, um_per_px, more = _numbers(objects, heading_of, types, images["instrument"])
    rows = particle_table.rows(
        len(images),
        run=images["run"],
        particle=images["particle"],
        file=paths,
        um_per_px=um_per_px,
        label=images["label"],
        status=images["status"],
        line=objects.lines,
    )
    return Particles(folder, table, rows, numbers, (table,), (*notes, *more))


def read_labels(table: Path) -> pd.DataFrame:
    """Returns object, label and status of each row of an EcoTaxa table; "" where there is none.

    Raises:
      UserError: naming file and line, where it is no such table, or a status is not EcoTaxa's.
    """
    import pandas as pd

    needed = ("object_id", "object_annotation_category", "object_annotation_status")
    objects, heading_of, _ = _open(table, *needed)
    ids, labels, statuses = (objects.frame[heading_of[name]] for name in needed)
    statuses = _statuses(statuses, objects)
    return pd.DataFrame({"object": ids, "label": labels, "status": statuses})


def _statuses(cells: pd.Series, objects: tables.Table) -> pd.Series:
    """Returns statuses as EcoTaxa writes them in full."""
    statuses = cells.str.lower().replace(_STATUSES)
    is_wrong = ~statuses.isin(["", *_STATUSES.values()]).to_numpy()
    for row in np.flatnonzero(is_wrong).tolist():
        problems.add(
            f"{objects.where(row)}: the status is {statuses[row]!r}, expected "
            "validated, predicted, dubious or nothing. Correct the cell."
        )
    return statuses


def _open(table: Path, *needs: str) -> tuple[tables.Table, dict[str, str], pd.Series | None]:
    """Returns a table without its line of types, EcoTaxa's name -> heading, and those types."""
    objects = flowcam_table.cells_of(table)
    heading_of = ecotaxa_fields.match(objects.headings, where=f"{objects.name} line 1")
    for needed in needs:
        if needed not in heading_of:
            raise UserError(
                f"{objects.name} has no column {needed}, expected one as in all "
                "EcoTaxa tables. Export it from EcoTaxa again."
            )
    types = objects.frame.iloc[0]
    others = types[~types.isin(_TYPES)]
    if len(others) == len(types):
        return objects, heading_of, None
    if len(others):
        raise UserError(
            f"{objects.name} line {objects.lines[0]}: expected the types, [t] or [f] for each "
            f"column, came {others.iloc[0][:40]!r}. Export it from EcoTaxa."
        )
    cells = objects.frame.iloc[1:].reset_index(drop=True)
    if not len(cells):
        raise UserError(
            f"{objects.name} has types but no objects, expected one row or more. Export it again."
        )
    return replace(objects, frame=cells, lines=objects.lines[1:]), heading_of, types


def _first_images(
    images: pd.DataFrame, objects: tables.Table, heading_of: dict[str, str]
) -> tuple[np.ndarray, list[str]]:
    """Returns the row of each object's image of the smallest rank, in order; and a note."""
    rank = np.zeros(len(images))
    if "img_rank" in heading_of:
        rank = np.nan_to_num(objects.numbers(heading_of["img_rank"], missing_ok=True), nan=np.inf)
    by_object = images.assign(rank=rank).groupby(["run", "particle"], sort=False)
    if by_object.ngroups == len(images):
        return np.arange(len(images)), []
    differs = (images["label"] != by_object["label"].transform("first")).to_numpy()
    for row in np.flatnonzero(differs).tolist():
        problems.add(
            f"{objects.where(row)}: the object {images['particle'][row]!r} is of the class "
            f"{images['label'][row]!r} here and of another above, expected one class an object. "
            "Correct one of the rows."
        )
    first = np.sort(by_object["rank"].idxmin().to_numpy())
    count = len(images) - len(first)
    return first, [
        LeftOut(
            f"{objects.name}: {count} further images of objects that have several are unused. Each "
            "object counts once, with its first image."
        )
    ]


def _numbers(
    objects: tables.Table,
    heading_of: dict[str, str],
    types: pd.Series | None,
    instrument: pd.Series,
) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """Returns the measured columns, the µm per px [objects], and notes."""
    import pandas as pd

    def values(name: str) -> np.ndarray | None:
        heading = heading_of[name]
        if types is not None:
            is_number = types[heading] == "[f]"
            return objects.numbers(heading, missing_ok=True, finite=False) if is_number else None
        try:
            numbers = objects.numbers(heading, missing_ok=True, finite=False)
        except UserError:
            return None  # without types, a column with other cells is text
        return numbers if np.isfinite(numbers).any() else None

    of_image = {
        name: numbers
        for name in heading_of
        if name.startswith(("acq_", "process_")) and "pixel" in name
        if (numbers := values(name)) is not None
    }
    um_per_px, notes = ecotaxa_fields.pixel_size(of_image, instrument, where=objects.name)
    fields = {
        short: numbers
        for name, short in ecotaxa_fields.measured(heading_of).items()
        if (numbers := values(name)) is not None
    }
    unknown = np.full(len(objects.lines), np.nan)
    columns = ecotaxa_fields.columns(
        fields,
        um_per_px=unknown if um_per_px is None else um_per_px,
        where=f"{objects.name} line 1",
    )
    if um_per_px is not None:
        columns.setdefault("calibration_factor_um", um_per_px)
    frame = pd.DataFrame(columns, index=range(len(objects.lines)))
    frame = frame.assign(**derived_columns.derive(frame))
    return frame, columns.get("calibration_factor_um", unknown), notes


def write_predictions(table: pd.DataFrame, path: Path) -> list[str]:
    """Writes predictions as a table for EcoTaxa: proposals for the objects that are not validated.

    An object of an EcoTaxa table has its own id, so that EcoTaxa knows it again.

    Args:
      table: as `write` takes it, with metadata of the particles.
      path: the .tsv; the images must lie beside it when it is imported.

    Returns:
      A note on validated objects, which are left out.

    Raises:
      UserError: the folder cannot be written to or is full.
    """
    proposals, notes = _proposals(table)
    write(proposals, path)
    return notes


def write_predictions_zip(table: pd.DataFrame, path: Path) -> list[str]:
    """Writes predictions as `write_predictions` does, as the .zip that EcoTaxa imports."""
    proposals, notes = _proposals(table)
    write_zip(proposals, path)
    return notes


def _proposals(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Returns the rows that people have not validated, as EcoTaxa is to have them; and a note."""
    if "status" not in table:
        return table, []
    is_validated = table["status"] == "validated"
    proposals = table[~is_validated].assign(status="predicted")
    ids = proposals["particle"].astype("str") if "particle" in proposals else proposals["key"]
    is_own = ids.is_unique and not ids.str.fullmatch("[0-9]*").any()  # a FlowCam only counts
    notes = []
    if is_validated.any():
        notes = [
            f"{is_validated.sum():,} validated objects are not in the file, so that no prediction "
            "takes the place of a person's class."
        ]
    return proposals.assign(key=ids) if is_own else proposals, notes


def write(table: pd.DataFrame, path: Path) -> None:
    """Writes objects with their classes and statuses as a table for EcoTaxa.

    Args:
      table: a row a particle: key, run, label ("" for none), and more columns: status ("predicted"
        without it), image (the file to import, named after the key without
        it), p_<class> and measured columns, which become fields of the object.
      path: the .tsv; the images must lie beside it when it is imported.

    Raises:
      UserError: the folder cannot be written to or is full.
    """
    import pandas as pd

    labels = table["label"].fillna("").astype("str")
    table = _with_score(table, labels)
    statuses = table["status"] if "status" in table else pd.Series("predicted", table.index)
    image_files = table["image"] if "image" in table else table["key"].map(_file_name)
    runs = table["run"].astype("str")
    columns = {
        "img_file_name": image_files,
        "object_id": table["key"],
        "object_annotation_category": labels,
        "object_annotation_status": statuses.where(labels != "", ""),
        "sample_id": runs,
        "acq_id": runs,
        "process_id": pd.Series("tfpipe", table.index),
    }
    for name in table.columns.difference(["key", "run", "label", "status", "image"], sort=False):
        field = "object_" + re.sub(r"[^0-9a-z]+", "_", str(name).lower()).strip("_")
        while field in columns:
            field += "_"
        columns[field] = table[name]
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", quoting=csv.QUOTE_MINIMAL, lineterminator="\n")
    writer.writerow(columns)
    writer.writerow("[f]" if _is_number(column) else "[t]" for column in columns.values())
    writer.writerows(zip(*map(_written, columns.values()), strict=True))
    # EcoTaxa reads a table without a byte order mark as Latin-1.
    files.replace(path, text.getvalue().encode("utf-8-sig", "backslashreplace"))


def write_zip(table: pd.DataFrame, path: Path) -> None:
    """Writes predictions as the .zip that EcoTaxa imports: the table, and the images it names.

    Args:
      table: as `write` takes it; `image` is relative to the folder of the .zip.
      path: the .zip.

    Raises:
      UserError: the folder cannot be written to or is full.
    """
    images = [path.parent / image for image in table["image"]]
    named = table.assign(image=[image.name for image in images])
    with (
        files.writing_to(path, option="--out"),
        tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as beside,
    ):
        # EcoTaxa imports tables whose names begin like this.
        write(named, tsv := Path(beside) / f"ecotaxa_{path.stem}.tsv")
        draft = Path(beside) / path.name
        with zipfile.ZipFile(draft, "w") as archive:
            archive.write(tsv, tsv.name, zipfile.ZIP_DEFLATED)
            for image in images:
                archive.write(image, image.name)
        draft.replace(path)


def _file_name(key: str) -> str:
    return re.sub(r"[^0-9A-Za-z._-]+", "_", key) + ".png"


def _with_score(table: pd.DataFrame, labels: pd.Series) -> pd.DataFrame:
    """Returns a table with the probability of each label as `score`, where it has probabilities."""
    import pandas as pd

    names = [label for label in labels.unique() if f"p_{label}" in table]
    if not names:
        return table
    probabilities = table[[f"p_{name}" for name in names]].to_numpy(float)
    place = pd.Index(names).get_indexer(labels)
    scores = probabilities[np.arange(len(table)), place]
    return table.assign(score=np.where(place >= 0, scores, np.nan))


def _is_number(column: pd.Series) -> bool:
    return column.dtype.kind in "iuf"


def _written(column: pd.Series) -> list[str]:
    """Returns cells without tabs and ends of lines; empty where a number is none."""
    if _is_number(column):
        return ["" if not np.isfinite(value) else f"{value:.9g}" for value in column]
    return [_shortened(" ".join(str(value).split())) for value in column.fillna("")]


def _shortened(text: str) -> str:
    """Returns a text that EcoTaxa takes: a long one ends in its hash, so that names stay unique."""
    if len(text) <= MAX_LETTERS:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text[: MAX_LETTERS - len(digest) - 1]}_{digest}"
