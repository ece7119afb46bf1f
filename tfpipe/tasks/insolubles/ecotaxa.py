"""EcoTaxa tables: TSV whose second line has the types, [t] for text and [f] for numbers.

The format is that of EcoTaxa's importer (ecotaxa_back, BO/TSVFile.py): headings are table_field
with the tables object, sample, acq, process and img; img_file_name and object_id are required; a
status is predicted, dubious or validated.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import column_names, derived_columns, flowcam_table, particle_table
from tfpipe.tasks.insolubles.image_table import check_unique
from tfpipe.tasks.insolubles.particle_table import Particles

_STATUSES = ("validated", "predicted", "dubious", "")
# Fields of an object's place, time and annotation, and those that `write` adds for predictions.
_NOT_MEASURED = re.compile(
    r"object_(id|label|lat|lon|lat_end|lon_end|date|time|link|depth_.*|annotation_.*"
    r"|x|y|xm|ym|bx|by|xstart|ystart|tag|p_.*|abstain|unsure)"
)


def read(folder: Path, table: Path) -> Particles:
    """Returns the particles of an EcoTaxa table; only validated objects have a label.

    Args:
      folder: its images are in or under it.
      table: the TSV. The sample is the run, or the folder if there is no sample.

    Raises:
      UserError: naming file and line, where it is no such table, an image is absent, or a status
        is not one of EcoTaxa's.
    """
    objects = flowcam_table.cells_of(table)
    heading_of = {heading.lower(): heading for heading in objects.headings}
    for needed in ("img_file_name", "object_id"):
        if needed not in heading_of:
            raise UserError(
                f"{objects.name} has no column {needed}, expected one as in all "
                "EcoTaxa tables. Export it from EcoTaxa again."
            )
    types = objects.frame.iloc[0]
    others = types[~types.isin(["[t]", "[f]"])]
    if len(others):
        raise UserError(
            f"{objects.name} line {objects.lines[0]}: expected the types, [t] or [f] for each "
            f"column, came {others.iloc[0][:40]!r}. Export it from EcoTaxa."
        )
    cells = objects.frame.iloc[1:].reset_index(drop=True)
    objects = replace(objects, frame=cells, lines=objects.lines[1:])
    lines = objects.lines
    if not len(cells):
        raise UserError(
            f"{objects.name} has types but no objects, expected one row or more. Export it again."
        )

    def text(heading: str, default: str) -> pd.Series:
        if heading not in heading_of:
            return pd.Series([default] * len(cells), dtype="str")
        cleaned = cells[heading_of[heading]].str.split().str.join(" ")
        return cleaned.mask(cleaned == "", default)

    statuses = text("object_annotation_status", "").str.lower()
    is_wrong = ~statuses.isin(_STATUSES).to_numpy()
    if is_wrong.any():
        row = int(is_wrong.argmax())
        raise UserError(
            f"{objects.name} line {lines[row]}: the status is {statuses[row]!r}, expected "
            "validated, predicted, dubious or nothing. Correct the cell."
        )
    paths = particle_table.match_images(text("img_file_name", ""), folder, lines=lines, table=table)
    check_unique(paths, lines, table=table)
    measured = [
        h for low, h in heading_of.items() if types[h] == "[f]" and low.startswith("object_")
    ]
    measured = [h for h in measured if not _NOT_MEASURED.fullmatch(h.lower())]
    without_prefix = {h: h.lower().removeprefix("object_") for h in measured}
    meanings = column_names.match_csv_headings(
        without_prefix.values(), where=f"{objects.name} line 1"
    )
    ours = {written: name for name, written in meanings.items()}
    numbers = pd.DataFrame(
        {
            ours.get(name, name): objects.numbers(heading, missing_ok=True, finite=False)
            for heading, name in without_prefix.items()
            if ours.get(name, name) not in column_names.TEXT
        },
        index=range(len(cells)),
    )
    numbers = numbers.assign(**derived_columns.derive(numbers))
    labels = text("object_annotation_category", "")
    rows = particle_table.rows(
        len(cells),
        run=text("sample_id", folder.name),
        particle=text("object_id", ""),
        file=paths,
        um_per_px=numbers.get("calibration_factor_um", np.nan),
        label=labels.where(statuses == "validated", ""),
        status=statuses,
        line=lines,
    )
    return Particles(folder, table, rows, numbers, (table,))


def write(table: pd.DataFrame, path: Path) -> None:
    """Writes predictions as a table for EcoTaxa: a proposal for each object, to be validated.

    Args:
      table: a row a particle: key, run, label ("" where the model abstains), and more columns:
        status ("predicted" without it), image (the file to import, named after the key without
        it), p_<class> and measured columns, which become fields of the object.
      path: the .tsv; the images must lie beside it when it is imported.

    Raises:
      UserError: the folder cannot be written to or is full.
    """
    labels = table["label"].fillna("").astype("str")
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
    lines = ["\t".join(columns)]
    lines.append("\t".join("[f]" if _is_number(column) else "[t]" for column in columns.values()))
    cells = [_written(column) for column in columns.values()]
    lines += ["\t".join(row) for row in zip(*cells, strict=True)]
    files.replace(path, ("\n".join(lines) + "\n").encode())


def _file_name(key: str) -> str:
    return re.sub(r"[^0-9A-Za-z._-]+", "_", key) + ".png"


def _is_number(column: pd.Series) -> bool:
    return column.dtype.kind in "iuf"


def _written(column: pd.Series) -> list[str]:
    """Returns cells without tabs and ends of lines; empty where a number is none."""
    if _is_number(column):
        return ["" if not np.isfinite(value) else f"{value:.9g}" for value in column]
    return [" ".join(str(value).split()) for value in column.fillna("")]
