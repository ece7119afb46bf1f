"""Says where the melt layers of a new photo are, and how well that agrees with the table."""

from typing import NamedTuple

import numpy as np

from tfpipe import pictures
from tfpipe.task import Answer, Classify, Source
from tfpipe.tasks.melt_layer import alignment, core, drawing, layers, reviewing, slices
from tfpipe.tasks.melt_layer.options import Options

FLIPS = ((False, False), (False, True), (True, False), (True, True))  # (rows, columns) turned round


class Seen(NamedTuple):
    """A core after the model has looked at it.

    Attributes:
      source: the photo.
      ice: [height, 200, 3] uint8, the scaled core.
      top_m: depth of its first row; 0 where unknown.
      px_per_m: rows per metre.
      top_px: [windows] int, first row of each window.
      probability: [windows] float, that it shows a layer, its four flips together.
      brightness: [height] float, row profile without trend.
    """

    source: Source
    ice: np.ndarray
    top_m: float
    px_per_m: float
    top_px: np.ndarray
    probability: np.ndarray
    brightness: np.ndarray


def look(source: Source, classify: Classify, options: Options) -> Seen:
    """Finds the core of one photo and shows its windows to a model (seed 002, "Using the Model").

    Args:
      source: a photo as `survey` or `survey_new` found it.
      classify: takes windows [n, 50, 200, 3] uint8, returns probabilities [n, 2].
      options: the user's; `predict_stride_px` and `vote` are used here.

    Returns:
      The core and its windows' probabilities.

    Raises:
      UserError: if the photo cannot be decoded or shows no core.
    """
    photo = source.about.photo
    raw = core.upright(pictures.read(source.path), top_is=options.top_is)
    ice = core.cut(raw, crop_px=photo.crop_px if photo else None, name=source.name).image
    if photo:
        top_m, px_per_m = photo.top_m, len(ice) / (photo.bottom_m - photo.top_m)
    else:
        top_m, px_per_m = 0.0, core.WIDTH_PX / (options.core_width_mm / 1000)
    top_px = slices.tops(len(ice), stride_px=options.predict_stride_px)
    probability = _voted(slices.windows(ice, top_px), classify, vote=options.vote)
    brightness = alignment.profile(ice, px_per_m=px_per_m)
    return Seen(source, ice, top_m, px_per_m, top_px, probability, brightness)


def answer(seen: Seen, thresholds: dict[str, float]) -> Answer:
    """Says which layers a core holds.

    Args:
      seen: by `look`.
      thresholds: "decision": rows at or above it belong to a layer; "confident": layers below it
        are marked uncertain.

    Returns:
      A row for each layer: depths in m (empty where the photo's are unknown), mm from the core's
      top, thickness in mm; and a row for each window.
    """
    name, known = seen.source.name, seen.source.about.photo is not None
    rows = [
        {
            "photo": name,
            **_depths_m(seen, layer.top_px, layer.bottom_px, known=known),
            "thickness_mm": round(1000 * (layer.bottom_px - layer.top_px) / seen.px_per_m, 2),
            "probability": round(layer.probability, 4),
            "uncertain": layer.probability < thresholds["confident"],
            "from_top_mm": round(1000 * layer.top_px / seen.px_per_m, 2),
        }
        for layer in _layers(seen, thresholds)
    ]
    windows = [
        {
            "photo": name,
            **_depths_m(seen, top, top + slices.HEIGHT_PX, known=known),
            "from_top_mm": round(1000 * top / seen.px_per_m, 2),
            "probability": round(float(likely), 6),
        }
        for top, likely in zip(seen.top_px, seen.probability, strict=True)
    ]
    return Answer(rows, windows)


def draw(seen: Seen, thresholds: dict[str, float]) -> np.ndarray:
    """Returns the overlay of a core, [height, width, 3] uint8: probabilities, layers found."""
    spans = [
        (
            layer.top_px,
            layer.bottom_px,
            layer.probability,
            layer.probability < thresholds["confident"],
        )
        for layer in _layers(seen, thresholds)
    ]
    return drawing.overlay(
        seen.ice,
        layers.trace(seen.top_px, seen.probability, height_px=len(seen.ice)),
        spans,
        name=seen.source.name,
        threshold=thresholds["decision"],
        top_m=seen.top_m,
        px_per_m=seen.px_per_m,
    )


def _layers(seen: Seen, thresholds: dict[str, float]) -> list[layers.Layer]:
    likely = layers.trace(seen.top_px, seen.probability, height_px=len(seen.ice))
    return layers.merge(likely, brightness=seen.brightness, threshold=thresholds["decision"])


def _depths_m(seen: Seen, top_px: int, bottom_px: int, *, known: bool) -> dict[str, float | None]:
    if not known:
        return {"depth_from_m": None, "depth_to_m": None}
    return {
        "depth_from_m": round(seen.top_m + top_px / seen.px_per_m, 5),
        "depth_to_m": round(seen.top_m + bottom_px / seen.px_per_m, 5),
    }


def _voted(windows: np.ndarray, classify: Classify, *, vote: str) -> np.ndarray:
    """Returns the probability [windows] of a layer, from the four flips of each window.

    The deck's majority vote ("Most common prediction"; two against two is no majority) passes a
    threshold exactly where the second lowest of the four does, so that one is returned.
    """
    flips = []
    for rows, columns in FLIPS:
        turned = windows[:, ::-1] if rows else windows
        turned = turned[:, :, ::-1] if columns else turned
        flips.append(classify(np.ascontiguousarray(turned))[:, 1])
    return np.mean(flips, axis=0) if vote == "mean" else np.sort(flips, axis=0)[1]


def judge(source: Source, row: dict, said: Answer) -> layers.Match | None:
    """Compares the layers found in a photo with the table's, moved by the photo's shift.

    Args:
      source: a photo of the raw folder.
      row: its row of alignment.csv.
      said: what `answer` gave for it.

    Returns:
      The counts; None for a photo whose shift is not identifiable: nobody knows its truth.
    """
    if row["status"] == "not identifiable":
        return None
    top_m, px_per_m = source.about.photo.top_m, 1e5  # 0.01 mm, finer than any photo
    features = reviewing.settled(source, shift_m=row["shift_mm"] / 1000)
    shift_px = round(row["shift_mm"] / 1000 * px_per_m)
    rows = alignment.rows_of(features, top_m=top_m, px_per_m=px_per_m, shift_px=shift_px)
    found = [
        layers.Layer(
            round((layer["depth_from_m"] - top_m) * px_per_m),
            round((layer["depth_to_m"] - top_m) * px_per_m),
            layer["probability"],
        )
        for layer in said.rows
    ]
    return layers.match(found, features, rows, px_per_m=px_per_m)
