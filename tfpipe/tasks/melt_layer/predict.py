"""Says where the melt layers of a new photo are, and how well that agrees with the table."""

from typing import NamedTuple

import numpy as np

from tfpipe.base import images
from tfpipe.tasks.melt_layer import (
    alignment,
    core_detection,
    figures,
    layer_detection,
    review_overrides,
)
from tfpipe.tasks.melt_layer import windows as melt_layer_windows
from tfpipe.tasks.melt_layer.options import Options
from tfpipe.tasks.task import Classify, FilePrediction, Source

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
      ends_px: [windows, 2] float, where in the core its layer begins and ends, as a model that
        tells it says; None for other models.
    """

    source: Source
    ice: np.ndarray
    top_m: float
    px_per_m: float
    top_px: np.ndarray
    probability: np.ndarray
    brightness: np.ndarray
    ends_px: np.ndarray | None = None


def infer(source: Source, classify: Classify, options: Options) -> Seen:
    """Finds the core of one photo and shows its windows to a model (seed 002, "Using the Model").

    Args:
      source: a photo as `survey` or `survey_new` found it.
      classify: takes windows [n, 50, 200, 3] uint8, returns probabilities [n, 2]; or answers for
        windows along the core itself, see `WholeFile.sliding_window`.
      options: the user's; `predict_stride_px` and `vote` are used here.

    Returns:
      The core and its windows' probabilities.

    Raises:
      UserError: if the photo cannot be decoded or shows no core.
    """
    photo = source.about.photo
    raw = core_detection.upright(images.read(source.path), top_is=options.top_is)
    ice = core_detection.cut(raw, crop_px=photo.crop_px if photo else None, name=source.name).image
    if photo:
        top_m, px_per_m = photo.top_m, len(ice) / (photo.bottom_m - photo.top_m)
    else:
        top_m, px_per_m = 0.0, core_detection.WIDTH_PX / (options.core_width_mm / 1000)
    top_px = melt_layer_windows.tops(len(ice), stride_px=options.predict_stride_px)
    said = _of_flips(ice, top_px, classify)
    likely = said["probabilities"][..., 1]
    ends_px = _ends_px(top_px, likely, said["interval"]) if "interval" in said else None
    brightness = alignment.profile(ice, px_per_m=px_per_m)
    probability = _voted(likely, vote=options.vote)
    return Seen(source, ice, top_m, px_per_m, top_px, probability, brightness, ends_px)


def predict(seen: Seen, thresholds: dict[str, float]) -> FilePrediction:
    """Says which layers a core holds.

    Args:
      seen: by `infer`.
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
            **_depths_m(seen, top, top + melt_layer_windows.HEIGHT_PX, known=known),
            "from_top_mm": round(1000 * top / seen.px_per_m, 2),
            "probability": round(float(likely), 6),
        }
        for top, likely in zip(seen.top_px, seen.probability, strict=True)
    ]
    return FilePrediction(rows, windows)


def overlay(seen: Seen, thresholds: dict[str, float]) -> np.ndarray:
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
    return figures.overlay(
        seen.ice,
        layer_detection.trace(seen.top_px, seen.probability, height_px=len(seen.ice)),
        spans,
        name=seen.source.name,
        threshold=thresholds["decision"],
        top_m=seen.top_m,
        px_per_m=seen.px_per_m,
    )


def _layers(seen: Seen, thresholds: dict[str, float]) -> list[layer_detection.Layer]:
    if seen.ends_px is not None:
        return layer_detection.merge_intervals(
            seen.top_px,
            seen.probability,
            seen.ends_px,
            height_px=len(seen.ice),
            threshold=thresholds["decision"],
        )
    likely = layer_detection.trace(seen.top_px, seen.probability, height_px=len(seen.ice))
    return layer_detection.merge(
        likely, brightness=seen.brightness, threshold=thresholds["decision"]
    )


def _depths_m(seen: Seen, top_px: int, bottom_px: int, *, known: bool) -> dict[str, float | None]:
    if not known:
        return {"depth_from_m": None, "depth_to_m": None}
    return {
        "depth_from_m": round(seen.top_m + top_px / seen.px_per_m, 5),
        "depth_to_m": round(seen.top_m + bottom_px / seen.px_per_m, 5),
    }


def _of_flips(ice: np.ndarray, top_px: np.ndarray, classify: Classify) -> dict[str, np.ndarray]:
    """Returns what is said of the windows of the core's four flips, each [4, windows, ...]."""
    along = getattr(classify, "along", None) or melt_layer_windows.one_by_one(classify)
    cores, tops = [], []
    for rows, columns in FLIPS:
        turned = ice[::-1] if rows else ice
        cores.append(turned[:, ::-1] if columns else turned)
        tops.append(len(ice) - melt_layer_windows.HEIGHT_PX - top_px if rows else top_px)
    if not len(top_px):  # a core shorter than a window
        return {"probabilities": np.zeros((len(FLIPS), 0, 2))}
    return along(np.stack(cores), np.stack(tops))


def _voted(likely: np.ndarray, *, vote: str) -> np.ndarray:
    """Returns the probability [windows] of a layer, from those of its flips [4, windows].

    The deck's majority vote ("Most common prediction"; two against two is no majority) passes a
    threshold exactly where the second lowest of the four does, so that one is returned.
    """
    return np.mean(likely, axis=0) if vote == "mean" else np.sort(likely, axis=0)[1]


def _ends_px(top_px: np.ndarray, likely: np.ndarray, interval: np.ndarray) -> np.ndarray:
    """Returns the rows [windows, 2] float at which layers begin and end, the flips together.

    Args:
      top_px: [windows] int.
      likely: [4, windows] float; the surer a flip is, the more it counts.
      interval: [4, windows, 2] float, in shares of the window's height, as each flip has it.
    """
    upright = [
        1 - one[:, ::-1] if rows else one for (rows, _), one in zip(FLIPS, interval, strict=True)
    ]
    weights = np.broadcast_to(likely[..., None] + 1e-6, interval.shape)
    return top_px[:, None] + melt_layer_windows.HEIGHT_PX * np.average(
        upright, axis=0, weights=weights
    )


def evaluate(source: Source, row: dict, said: FilePrediction) -> layer_detection.Match | None:
    """Compares the layers found in a photo with the table's, moved by the photo's shift.

    Args:
      source: a photo of the raw folder.
      row: its row of alignment.csv.
      said: what `predict` gave for it.

    Returns:
      The counts; None for a photo whose shift is not identifiable: nobody knows its truth.
    """
    if row["status"] == "not identifiable":
        return None
    top_m, px_per_m = source.about.photo.top_m, 1e5  # 0.01 mm, finer than any photo
    features = review_overrides.settled(source, shift_m=row["shift_mm"] / 1000)
    shift_px = round(row["shift_mm"] / 1000 * px_per_m)
    rows = alignment.rows_of(features, top_m=top_m, px_per_m=px_per_m, shift_px=shift_px)
    found = [
        layer_detection.Layer(
            round((layer["depth_from_m"] - top_m) * px_per_m),
            round((layer["depth_to_m"] - top_m) * px_per_m),
            layer["probability"],
        )
        for layer in said.rows
    ]
    return layer_detection.match(found, features, rows, px_per_m=px_per_m)
