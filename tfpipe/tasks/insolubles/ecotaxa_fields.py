"""Fields of EcoTaxa's tables: their names in the different exports, and what they measure in.

EcoTaxa (ecotaxa_back, BO/TSVFile.py) calls a field table_field, with the tables object, sample,
acq, process and img. Its API says obj.orig_id, fre.area, txo.display_name. Tables made by hand have
no prefix. ImageJ measures in px, so the tables of ZooProcess, UVP and PlanktoScope do; a FlowCam
measures in µm.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import column_names

if TYPE_CHECKING:
    import pandas as pd

_PREFIXES = ("object_", "sample_", "acq_", "process_", "img_")
_API_PREFIXES = {
    "obj.": "object_",
    "fre.": "object_",
    "sam.": "sample_",
    "acq.": "acq_",
    "prc.": "process_",
    "img.": "img_",
}
_SYNONYMS = {
    "object_orig_id": "object_id",
    "object_objid": "object_id",
    "sample_orig_id": "sample_id",
    "object_sample": "sample_id",
    "object_file_name": "img_file_name",
    "object_filename": "img_file_name",
    "object_image": "img_file_name",
    "object_rank": "img_rank",
    "img_imgrank": "img_rank",
    "txo.display_name": "object_annotation_category",
    "object_category": "object_annotation_category",
    "object_taxon": "object_annotation_category",
    "object_status": "object_annotation_status",
    "object_classif_qual": "object_annotation_status",
}
# Fields of an object's place, time and annotation, and those that `ecotaxa.write` adds.
_NOT_MEASURED = re.compile(
    r"(id|orig_id|label|lat|lon|lat_end|lon_end|date|time|date_end|time_end|link|depth_.*|sunpos"
    r"|annotation_.*|classif_.*|random_value|x|y|xm|ym|bx|by|xstart|ystart|local_centroid_.*"
    r"|tag|p_.*|score|abstain|unsure|new|sharpness|blurred|group|classes|embedding_.*|file|particle"
    r"|image_[xywh])"
)
# Only programs that measure in px, as ImageJ does, write these.
_OF_IMAGEJ = {
    "area_exc",
    "%area",
    "perim.",
    "circ.",
    "circex",
    "perimareaexc",
    "intden",
    "convperim",
    "bounding_box_area",
    "skelarea",
}
# field of such programs -> power of a pixel's side
_LENGTHS = (
    "perim.",
    "major",
    "minor",
    "feret",
    "width",
    "height",
    "length",
    "convperim",
    "esd",
    "equivalent_diameter",
)
_AREAS = ("area", "area_exc", "convarea", "convex_area", "bounding_box_area", "skelarea", "areai")
_POWER = dict.fromkeys(_LENGTHS, 1) | dict.fromkeys(_AREAS, 2)
# instrument (how acq_instrument begins) -> µm in the unit of process_pixel
_UM_IN_PROCESS_PIXEL = {"planktoscope": 1.0, "flowcam": 1.0, "uvp": 1000.0, "zooscan": 1000.0}
_PIXEL_UM = re.compile(r"process_particle_pixel_size_(um|µm|μm|\?m|_m)|(process|acq)_pixel_um")
_PIXEL_MM = re.compile(r"process_particle_pixel_size_mm|(process|acq)_pixel_mm")


def match(headings: Iterable[str], *, where: str) -> dict[str, str]:
    """Returns EcoTaxa's name -> heading as written, for all headings of a table.

    Raises:
      UserError: two headings mean the same field.
    """
    heading_of: dict[str, str] = {}
    for heading in headings:
        name = field(heading)
        if name in heading_of:
            raise UserError(
                f"{where}: the headings {heading_of[name]!r} and {heading!r} both mean {name}. "
                "Rename or remove one of the columns."
            )
        heading_of[name] = heading
    return heading_of


def field(heading: str) -> str:
    """Returns EcoTaxa's name of a field: "object_area" for "object_Area", "fre.area" or "area"."""
    name = heading.strip().lower()
    for prefix, full in _API_PREFIXES.items():
        if name.startswith(prefix):
            name = full + name.removeprefix(prefix)
    if not name.startswith(_PREFIXES) and name not in _SYNONYMS:
        name = f"object_{name}"
    return _SYNONYMS.get(name, name)


def is_ecotaxa(headings: Iterable[str]) -> bool:
    """Returns whether a table names an object and its image, one of them in EcoTaxa's words."""
    written = [heading.strip().lower() for heading in headings]
    names = {field(heading) for heading in written}
    own = any(name.startswith((*_PREFIXES, *_API_PREFIXES)) for name in written)
    return own and {"img_file_name", "object_id"} <= names


def measured(names: Iterable[str]) -> dict[str, str]:
    """Returns EcoTaxa's name -> field without its table, for the fields that measure an object."""
    fields = {name: name.removeprefix("object_") for name in names if name.startswith("object_")}
    return {name: short for name, short in fields.items() if not _NOT_MEASURED.fullmatch(short)}


def columns(
    numbers: dict[str, np.ndarray], *, um_per_px: np.ndarray, where: str
) -> dict[str, np.ndarray]:
    """Returns measured fields under our column names, each with its unit.

    Pixels and micrometres never share a column: a field of a program that measures in px becomes
    "<field>_um" or "<field>_um2" where the size of each object's pixels is known, else
    "<field>_px" or "<field>_px2".

    Args:
      numbers: field -> [objects] float64.
      um_per_px: [objects] float64, NaN where it is unknown.
      where: the table and line of the headings, for messages.

    Raises:
      UserError: two fields mean the same column.
    """
    in_px = bool(_OF_IMAGEJ & numbers.keys())
    meaning = {
        heading: name
        for name, heading in column_names.match_csv_headings(numbers, where=where).items()
        if not in_px or re.search("abd|esd|_um", heading)
    }
    is_known = bool(np.isfinite(um_per_px).all())
    named: dict[str, np.ndarray] = {}
    for short, values in numbers.items():
        if short in meaning:
            if meaning[short] not in column_names.TEXT:
                named[meaning[short]] = values
        elif in_px and short in _POWER:
            unit, power = ("um" if is_known else "px"), _POWER[short]
            suffix = unit if power == 1 else f"{unit}{power}"
            named[f"{short.strip('.')}_{suffix}"] = (
                values * um_per_px**power if is_known else values
            )
        else:
            named[short] = values
    return named


def pixel_size(
    numbers: dict[str, np.ndarray], instrument: pd.Series, *, where: str
) -> tuple[np.ndarray | None, list[str]]:
    """Returns the µm per px of each object, None where the table has none; and notes.

    Args:
      numbers: name -> [objects] float64, of the tables acq and process.
      instrument: [objects] str, the field acq_instrument, "" where it is empty.
      where: the table, for notes.
    """
    for name, values in numbers.items():
        if _PIXEL_UM.fullmatch(name):
            return values, []
        if _PIXEL_MM.fullmatch(name):
            return values * 1000, []
    unitless = [name for name in ("process_pixel", "acq_pixel") if name in numbers]
    if not unitless:
        return None, []
    um = np.full(len(instrument), np.nan)
    for begin, factor in _UM_IN_PROCESS_PIXEL.items():
        um[instrument.str.lower().str.startswith(begin).to_numpy()] = factor
    if np.isnan(um).any():
        return None, [
            f"{where}: {unitless[0]} has no unit, and acq_instrument names no instrument whose "
            f"unit is known ({', '.join(_UM_IN_PROCESS_PIXEL)}), so lengths and areas stay in px. "
            f"Rename the column to {unitless[0]}_um or {unitless[0]}_mm to have them in µm."
        ]
    return numbers[unitless[0]] * um, []
