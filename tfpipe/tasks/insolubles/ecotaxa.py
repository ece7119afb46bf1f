"""EcoTaxa's tables: TSV whose second line has the types, [t] for text and [f] for numbers.

As its importer reads them (ecotaxa_back, BO/TSVFile.py): headings are table_field with the tables
object, sample, acq, process and img; img_file_name and object_id must be there; a status is
predicted, dubious or validated.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import column_names, derived_columns, flowcam_table, particle_table
from tfpipe.tasks.insolubles.particle_table import Particles
from tfpipe.tasks.insolubles.picture_table import refuse_twice

_STATUSES = ("validated", "predicted", "dubious", "")
# What fields say of an object's place, time and annotation, and what `write` says of a prediction.
_NOT_MEASURED = re.compile(
    r"object_(id|label|lat|lon|lat_end|lon_end|date|time|link|depth_.*|annotation_.*"
    r"|x|y|xm|ym|bx|by|xstart|ystart|tag|p_.*|abstain|unsure)"
)


def read(folder: Path, table: Path) -> Particles:
    """Returns the particles of a table for EcoTaxa; only what somebody validated has a label.

    Args:
      folder: its pictures are in or under it.
      table: the TSV. The sample is the run, or the folder where there is none.

    Raises:
      UserError: naming file and line, where it is no such table, a picture is absent, or a status
        is none of EcoTaxa's.
    """
    found = flowcam_table.cells_of(table)
    named = {heading.lower(): heading for heading in found.headings}
    for needed in ("img_file_name", "object_id"):
        if needed not in named:
            raise UserError(f"{found.name} has no column {needed}, as EcoTaxa's tables have.")
    types = found.frame.iloc[0]
    if not types.isin(["[t]", "[f]"]).all():
        raise UserError(
            f"{found.name} line {found.lines[0]}: expected the types, [t] or [f] for each column, "
            f"came {types[~types.isin(['[t]', '[f]'])].iloc[0][:40]!r}. Export it from EcoTaxa."
        )
    cells = found.frame.iloc[1:].reset_index(drop=True)
    found = replace(found, frame=cells, lines=found.lines[1:])
    lines = found.lines
    if not len(cells):
        raise UserError(f"{found.name} has types but no objects. Export it again.")

    def text(heading: str, otherwise: str) -> pd.Series:
        if heading not in named:
            return pd.Series([otherwise] * len(cells), dtype="str")
        cleaned = cells[named[heading]].str.split().str.join(" ")
        return cleaned.mask(cleaned == "", otherwise)

    statuses = text("object_annotation_status", "").str.lower()
    odd = ~statuses.isin(_STATUSES).to_numpy()
    if odd.any():
        row = int(odd.argmax())
        raise UserError(
            f"{found.name} line {lines[row]}: the status is {statuses[row]!r}, expected "
            "validated, predicted, dubious or nothing. Correct the cell."
        )
    paths = particle_table.pictures_meant(
        text("img_file_name", ""), folder, lines=lines, table=table
    )
    refuse_twice(paths, lines, table=table)
    measured = [h for low, h in named.items() if types[h] == "[f]" and low.startswith("object_")]
    measured = [h for h in measured if not _NOT_MEASURED.fullmatch(h.lower())]
    without = {h: h.lower().removeprefix("object_") for h in measured}
    known = column_names.of_csv(without.values(), where=f"{found.name} line 1")
    ours = {written: name for name, written in known.items()}
    numbers = pd.DataFrame(
        {
            ours.get(name, name): found.numbers(heading, missing_ok=True, finite=False)
            for heading, name in without.items()
            if ours.get(name, name) not in column_names.TEXT
        },
        index=range(len(cells)),
    )
    numbers = numbers.assign(**derived_columns.derived(numbers))
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
    """Writes predictions as a table that EcoTaxa imports: a proposal for each object, to validate.

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
