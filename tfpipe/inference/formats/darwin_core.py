"""Darwin Core: counts of predicted classes as occurrences, as OBIS and GBIF take them.

Terms are those of https://dwc.tdwg.org/terms/; the required ones and the word for predictions by a
machine are those of the OBIS manual (https://manual.obis.org, "Images" and "Required terms").
"""

import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import files, problems, tables
from tfpipe.base.errors import UserError
from tfpipe.base.tables import Table

SITE_COLUMNS = (  # names that mean the same
    ("group", "run", "sample", "eventid", "event id"),
    ("latitude", "lat", "decimallatitude", "decimal latitude"),
    ("longitude", "lon", "decimallongitude", "decimal longitude"),
    ("date", "eventdate", "event date"),
)
DEPTHS = (
    ("depth from", "depth top", "depth min", "minimumdepthinmeters"),
    ("depth to", "depth bottom", "depth bot", "depth max", "maximumdepthinmeters"),
)
MILLILITRES = {"ml": 1, "millilitre": 1, "milliliter": 1, "l": 1000, "litre": 1000, "liter": 1000}
_VOLUME = re.compile(r"volume(?: (?:in )?([a-zµ³0-9^]{1,3}|\S*lit(?:re|er)s?)| ?[\[(](.*)[\])])?")
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2}(T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:?\d{2})?)?)?)?")
WORMS = "urn:lsid:marinespecies.org:taxname:"  # before an AphiaID


def write(
    predictions: pd.DataFrame, out: Path, *, sites: Path | None, names: Path | None
) -> tuple[int, tuple[str, ...]]:
    """Writes a row for each group and class: how many were predicted, where and when.

    Images where the model abstains, and blurred ones, are not counted. A class has a row as absent
    where none of a group's counted images is of it; a group without counted images has no rows.

    Args:
      predictions: a row an image: group, label, abstain, perhaps blurred.
      out: the .csv.
      sites: table of the groups.
      names: table of the classes' scientific names; None for the classes' own names.

    Returns:
      The number of rows, and notes.

    Raises:
      UserError: a group has no site, no image is counted, or a cell is wrong.
    """
    if sites is None:
        raise UserError(
            "--to darwin-core needs positions and dates. Give --sites, a table with the columns "
            "group, latitude, longitude, date, and perhaps depth from, depth to and volume ml."
        )
    places = _sites(sites)
    groups = predictions["group"].astype(str)
    if missing := sorted(set(groups) - set(places.index)):
        raise UserError(
            f"{files.shown(sites.name)} has no row for the group {missing[0]!r} of the predictions"
            f"{_more(len(missing) - 1)}. Add it; its groups are {', '.join(places.index[:5])}."
        )
    classes = [name.removeprefix("p_") for name in predictions if str(name).startswith("p_")]
    classes = classes or sorted(set(predictions["label"]))
    named, notes = _named(classes, names)
    is_counted = ~predictions["abstain"].astype(bool)
    if "blurred" in predictions:
        is_counted &= ~predictions["blurred"].astype(bool)
    if n_left := int((~is_counted).sum()):
        notes += (
            f"{n_left:,} of {len(predictions):,} images are not counted: the model abstains, or "
            "they are blurred.",
        )
    counts = pd.crosstab(groups[is_counted], predictions["label"][is_counted])
    if empty := sorted(set(groups) - set(counts.index)):
        more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
        notes += (f"Groups without a counted image, left out: {', '.join(empty[:5])}{more}.",)
    if not len(counts):
        raise UserError(
            "No image is counted: the model abstains on each, or they are blurred. Predict with a "
            "lower --min-precision or --min-sharpness."
        )
    counts = counts.reindex(columns=classes, fill_value=0)
    rows = [
        _occurrence(group, name, int(counts.loc[group, name]), places.loc[group], scientific)
        for group in counts.index
        for name, scientific in named.items()
    ]
    frame = pd.DataFrame(rows)
    frame = frame.loc[:, (frame != "").any()]  # no column of empty cells
    files.replace(out, frame.to_csv(index=False, lineterminator="\n").encode())
    return len(frame), notes


def _occurrence(
    group: str, name: str, count: int, place: pd.Series, scientific: tuple[str, str]
) -> dict[str, object]:
    has_volume = bool(place["volume_ml"])
    return {
        "occurrenceID": f"{group}:{name}".replace(" ", "_"),
        "eventID": group,
        "eventDate": place["date"],
        "decimalLatitude": place["latitude"],
        "decimalLongitude": place["longitude"],
        "minimumDepthInMeters": place["depth_from_m"],
        "maximumDepthInMeters": place["depth_to_m"],
        "scientificName": scientific[0],
        "scientificNameID": scientific[1],
        "verbatimIdentification": name,
        "occurrenceStatus": "present" if count else "absent",
        "individualCount": count,
        "sampleSizeValue": place["volume_ml"],
        "sampleSizeUnit": "millilitre" if has_volume else "",
        "basisOfRecord": "MachineObservation",
        "identificationVerificationStatus": "PredictedByMachine",
        "identificationRemarks": "predicted from images by tfpipe",
    }


def _sites(path: Path) -> pd.DataFrame:
    """Returns the sites by group: date str, numbers as text, "" where there are none."""
    table = tables.read(path, *SITE_COLUMNS)
    group, latitude, longitude, date = (table.need(*same) for same in SITE_COLUMNS)
    frame = pd.DataFrame({"group": table.frame[group], "date": table.frame[date]})
    for name, column, limit in (("latitude", latitude, 90), ("longitude", longitude, 180)):
        values = table.numbers(column, missing_ok=False)
        for row in np.flatnonzero(np.abs(values) > limit).tolist():
            problems.add(
                f"{table.where(row)}: {name} is {values[row]:g}, expected decimal degrees from "
                f"{-limit} to {limit}. Correct the cell."
            )
        frame[name] = _text(values)
    is_date = np.array([_is_date(text) for text in frame["date"]], bool)
    for row in np.flatnonzero(~is_date).tolist():
        problems.add(
            f"{table.where(row)}: date is {frame['date'][row][:40]!r}, expected an ISO 8601 date "
            "such as 2021-07-31. Correct the cell."
        )
    for name, same in zip(("depth_from_m", "depth_to_m"), DEPTHS, strict=True):
        frame[name] = _optional(table, same, unit="m")
    depths = frame[["depth_from_m", "depth_to_m"]].apply(pd.to_numeric)
    for row in np.flatnonzero(depths["depth_from_m"] > depths["depth_to_m"]).tolist():
        problems.add(
            f"{table.where(row)}: the depths are from {frame['depth_from_m'][row]} to "
            f"{frame['depth_to_m'][row]} m, expected the smaller one first. Correct the cells."
        )
    frame["volume_ml"] = _volumes_ml(table)
    repeated = frame["group"][frame["group"].duplicated()]
    for row in repeated.index:
        problems.add(
            f"{table.where(row)}: the group {frame['group'][row]!r} has a row above, expected one "
            "row a group. Remove one."
        )
    return frame.set_index("group")


def _optional(table: Table, same: tuple[str, ...], *, unit: str | None = None) -> list[str]:
    column = table.column(*same)
    if column is None:
        return [""] * len(table.frame)
    return _text(table.numbers(column, unit=unit, missing_ok=True))


def _is_date(text: str) -> bool:
    """Returns whether a text is a date of the calendar, or two with a slash between them."""
    days = []
    for part in text.split("/", 1):
        if not _DATE.fullmatch(part):
            return False
        try:
            days.append(datetime.fromisoformat(part + "-01-01"[max(len(part) - 4, 0) :]).date())
        except ValueError:
            return False
    return days == sorted(days)


def _volumes_ml(table: Table) -> list[str]:
    """Returns the volumes as text, "" where there is none."""
    found = [(name, match) for name in table.headings if (match := _VOLUME.fullmatch(name))]
    if not found:
        return [""] * len(table.frame)
    (name, match), *others = found
    unit = (match[1] or match[2] or "ml").strip().removesuffix("s")
    if others or unit not in MILLILITRES:
        headings = " and ".join(repr(table.headings[name][:40]) for name, _ in found)
        raise UserError(
            f"{table.name} has the volume {headings}, expected one in ml or l, such as "
            "'volume ml'. Convert it, or rename the heading."
        )
    values = table.numbers(name, missing_ok=True) * MILLILITRES[unit]
    for row in np.flatnonzero(values <= 0).tolist():
        problems.add(
            f"{table.where(row)}: {name} is {values[row]:g} ml, expected more than 0. Correct the "
            "cell or leave it empty."
        )
    return _text(values)


def _text(values: np.ndarray) -> list[str]:
    return ["" if np.isnan(value) else f"{value:.10g}" for value in values]


def _named(
    classes: list[str], names: Path | None
) -> tuple[dict[str, tuple[str, str]], tuple[str, ...]]:
    """Returns class -> (scientific name, its identifier), and notes."""
    if names is None:
        note = (
            "Without --names the classes' names are the scientific names. OBIS wants those of "
            "WoRMS, with their identifiers."
        )
        return {name: (name, "") for name in classes}, (note,)
    table = tables.read(names, ("class",), ("scientific name", "scientificname"))
    scientific = table.need("scientific name", "scientificname")
    classes_of_rows = table.frame[table.need("class")]
    for row in np.flatnonzero(classes_of_rows.duplicated()).tolist():
        problems.add(
            f"{table.where(row)}: the class {classes_of_rows[row]!r} has a row above, expected one "
            "row a class. Remove one."
        )
    rows = zip(classes_of_rows, table.frame[scientific], _identifiers(table), strict=True)
    named = {name: (text, number) for name, text, number in rows if text}
    unnamed = [name for name in classes if name not in named]
    if len(unnamed) == len(classes):
        raise UserError(
            f"{table.name} names none of the classes of the predictions, {', '.join(classes)}. "
            "Write them in its column class."
        )
    note = f"Classes without a scientific name are left out: {', '.join(unnamed)}."
    return {name: named[name] for name in classes if name in named}, (note,) if unnamed else ()


def _identifiers(table: Table) -> list[str]:
    """Returns the identifiers of scientific names, "" where there is none."""
    if column := table.column("scientific name id", "scientificnameid"):
        return table.frame[column].tolist()
    column = table.column("aphiaid", "aphia id")
    if column is None:
        return [""] * len(table.frame)
    numbers = table.frame[column].tolist()
    for row, number in enumerate(numbers):
        if number and not re.fullmatch("[0-9]+", number):
            problems.add(
                f"{table.where(row)}: {column} is {number[:40]!r}, expected a whole number of "
                "WoRMS. Correct the cell or leave it empty."
            )
    return [WORMS + number if number else "" for number in numbers]


def _more(count: int) -> str:
    return f" and for {count} others" if count else ""
