"""PANGAEA: layers as a tab-delimited table below a description, as the archive gives data out."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfpipe.base import files
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError

FIELDS = (
    "event", "latitude", "longitude", "title", "author", "date", "device", "project", "comment",
    "license",
)  # fmt: skip
HEADINGS = {  # column of predictions -> (heading, parameter of the description)
    "depth_m": ("Depth ice/snow [m]", "DEPTH, ice/snow [m] (Depth ice/snow) * GEOCODE"),
    "depth_from_m": ("Depth top [m]", "DEPTH, ice/snow, top/minimum [m] (Depth top) * GEOCODE"),
    "depth_to_m": ("Depth bot [m]", "DEPTH, ice/snow, bottom/maximum [m] (Depth bot) * GEOCODE"),
    "thickness_mm": ("Thick [mm]", "Thickness [mm] (Thick)"),
    "kind": ("Layer", "Layer description (Layer)"),
    "probability": ("Prob", "Probability (Prob) * METHOD/DEVICE: neural network, tfpipe"),
    "uncertain": ("Comment", "Comment (Comment)"),
    "photo": ("File name", "File name (File name)"),
}
_DIGITS = {"depth_m": 5, "depth_from_m": 5, "depth_to_m": 5, "thickness_mm": 2, "probability": 4}


def write(
    predictions: pd.DataFrame, out: Path, *, about: Mapping[str, str]
) -> tuple[int, tuple[str, ...]]:
    """Writes layers by depth.

    Args:
      predictions: a row a layer: photo, depth_from_m, depth_to_m, and others of `HEADINGS`.
      out: the .tab.
      about: name of `FIELDS` -> value; "event" is needed.

    Returns:
      The number of layers, and notes.

    Raises:
      UserError: a field is unknown, a position is wrong, there is no event, or no layer has a
        depth.
    """
    for name in about:
        choose(name, FIELDS, noun="field of --about")
    if not about.get("event", "").strip():
        raise UserError(
            "--to pangaea needs the label of the event, such as --about event=EGRIP. Others are "
            f"{', '.join(FIELDS[1:])}."
        )
    _check_position(about)
    has_depth = predictions[["depth_from_m", "depth_to_m"]].notna().all(axis=1)
    if not has_depth.any():
        raise UserError(
            "No layer has a depth. Predict with --photos-table, the table of the photos' depths."
        )
    layers = predictions[has_depth].sort_values(["depth_from_m", "depth_to_m"], ignore_index=True)
    layers = layers.assign(depth_m=(layers["depth_from_m"] + layers["depth_to_m"]) / 2)
    if "uncertain" in layers:
        is_uncertain = layers["uncertain"].astype(str) == "True"
        layers["uncertain"] = np.where(is_uncertain, "uncertain", "")
    columns = [name for name in HEADINGS if name in layers]
    event = _cell(about["event"])
    lines = ["\t".join(["Event", *(HEADINGS[name][0] for name in columns)])]
    for row in layers[columns].itertuples(index=False):
        cells = [_value(name, value) for name, value in zip(columns, row, strict=True)]
        lines.append("\t".join([event, *cells]))
    text = "\n".join([*_description(about, layers, columns), *lines]) + "\n"
    files.replace(out, text.encode())
    left = int((~has_depth).sum())
    note = (
        "Layers of photos that are in no table of photos have no depth and are left out: "
        f"{left} of {len(predictions)}."
    )
    return len(layers), (note,) if left else ()


def _description(
    about: Mapping[str, str], layers: pd.DataFrame, columns: list[str]
) -> Iterator[str]:
    about = {name: _cell(value) for name, value in about.items()}
    top, bottom = layers["depth_from_m"].min(), layers["depth_to_m"].max()
    coordinates = " * ".join(
        f"{name.upper()}: {about[name]}" for name in ("latitude", "longitude") if name in about
    )
    author, title = about.get("author", ""), about.get("title", "Melt layers")
    event = [about["event"], coordinates]
    event += [f"DATE/TIME: {about['date']}"] if "date" in about else []
    event += [f"METHOD/DEVICE: {about['device']}"] if "device" in about else []
    yield "/* DATA DESCRIPTION:"
    yield f"Citation:\t{author}: {title}" if author else f"Citation:\t{title}"
    if "project" in about:
        yield f"Project(s):\t{about['project']}"
    coverage = f"{coordinates}\n\t" if coordinates else ""
    yield (
        f"Coverage:\t{coverage}MINIMUM DEPTH, ice/snow: {top:.5f} m * "
        f"MAXIMUM DEPTH, ice/snow: {bottom:.5f} m"
    )
    yield f"Event(s):\t{' * '.join(filter(None, event))}"
    if "comment" in about:
        yield f"Comment:\t{about['comment']}"
    parameters = ["Event label (Event)", *(HEADINGS[name][1] for name in columns)]
    yield "Parameter(s):\t" + "\n\t".join(parameters)
    if "license" in about:
        yield f"License:\t{about['license']}"
    yield f"Size:\t{len(layers) * len(columns)} data points"
    yield "*/"


def _cell(text: str) -> str:
    """Returns a text without tabs and ends of lines, and without the end of a description."""
    return " ".join(str(text).split()).replace("*/", "* /")


def _check_position(about: Mapping[str, str]) -> None:
    """Raises a UserError if latitude or longitude are no decimal degrees."""
    for name, limit in (("latitude", 90), ("longitude", 180)):
        text = about.get(name, "0")
        try:
            is_right = abs(float(text)) <= limit
        except ValueError:
            is_right = False
        if not is_right:
            raise UserError(
                f"--about {name}={text[:40]} is no {name}, expected decimal degrees from {-limit} "
                f"to {limit}, such as --about latitude=75.63."
            )


def _value(name: str, value: Any) -> str:
    if name in _DIGITS:
        return "" if pd.isna(value) else f"{float(str(value)):.{_DIGITS[name]}f}"
    return "" if pd.isna(value) else _cell(str(value))
