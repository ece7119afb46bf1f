"""Prediction of core photos: layers in metres of depth, overlay, agreement with the table."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tfpipe.tasks.melt_layer import (
    alignment,
    core_detection,
    figures,
    layer_detection,
    layer_metrics,
    review_overrides,
)
from tfpipe.tasks.melt_layer import windows as melt_layer_windows
from tfpipe.tasks.melt_layer.options import MeltLayerOptions
from tfpipe.tasks.task import Classify, FilePrediction, Source

LAYER, LENS = "layer", "lens"  # kinds of detections
TABLE_SHIFT_MM = MeltLayerOptions().max_shift_mm  # of labels in an overlay
FLIPS = ((False, False), (False, True), (True, False), (True, True))  # of (rows, columns)


class CoreOutputs(NamedTuple):
    """A model's outputs for the windows of one core.

    Attributes:
      source: the photo.
      ice: [height, 200, 3] uint8, the scaled core.
      top_m: depth of its first row; 0 where unknown.
      px_per_m: rows per metre.
      top_px: [windows] int, first row of each window.
      probability: [windows] float, that it shows a layer, its four flips together; of the first
        alone where that is far below the threshold.
      brightness: [height] float, row profile without trend.
      ends_px: [windows, 2] float, rows of the core at which its layer begins and ends; None for
        models without an interval head.
    """

    source: Source
    ice: np.ndarray
    top_m: float
    px_per_m: float
    top_px: np.ndarray
    probability: np.ndarray
    brightness: np.ndarray
    ends_px: np.ndarray | None = None


def infer(source: Source, classify: Classify, options: MeltLayerOptions) -> CoreOutputs:
    """Finds the core of one photo and classifies its windows.

    Seed document 002, "Using the Model".

    Args:
      source: a photo as `survey` or `survey_new` lists it.
      classify: takes windows [n, 50, 200, 3] uint8, returns probabilities [n, 2]; or slides along
        the core itself, see `WholeFile.sliding_window`.
      options: the user's; `predict_stride_px` and `vote` are used here.

    Returns:
      The core and its windows' probabilities.

    Raises:
      UserError: if the photo cannot be decoded or shows no core.
    """
    photo = source.about.photo
    ice = core_detection.read(
        source.path,
        top_is=options.top_is,
        crop_px=photo.crop_px if photo else None,
        name=source.name,
    ).image
    if photo:
        top_m, px_per_m = photo.top_m, len(ice) / (photo.bottom_m - photo.top_m)
    else:
        top_m, px_per_m = 0.0, core_detection.WIDTH_PX / (options.core_width_mm / 1000)
    top_px = melt_layer_windows.tops(len(ice), stride_px=options.predict_stride_px)
    flips = _classify_flips(ice, top_px, classify)
    probabilities = flips["probabilities"][..., 1]
    ends_px = None
    if "interval" in flips:
        ends_px = _ends_px(top_px, probabilities, flips["interval"])
    brightness = alignment.profile(ice, px_per_m=px_per_m)
    probability = _combine_flips(probabilities, vote=options.vote)
    return CoreOutputs(source, ice, top_m, px_per_m, top_px, probability, brightness, ends_px)


def predict(outputs: CoreOutputs, thresholds: dict[str, float]) -> FilePrediction:
    """Returns the layers of a core.

    Args:
      outputs: of `infer`.
      thresholds: "decision": rows at or above it belong to a layer; "confident": layers below it
        are marked uncertain.

    Returns:
      A row for each layer: depths in m (empty where the photo's are unknown), mm from the core's
      top, thickness in mm; and a row for each window.
    """
    name, has_depths = outputs.source.name, outputs.source.about.photo is not None
    rows = [
        {
            "photo": name,
            **_depths_m(outputs, layer.top_px, layer.bottom_px, has_depths=has_depths),
            "thickness_mm": round(1000 * (layer.bottom_px - layer.top_px) / outputs.px_per_m, 2),
            "probability": round(layer.probability, 4),
            "uncertain": layer.probability < thresholds["confident"],
            "from_top_mm": round(1000 * layer.top_px / outputs.px_per_m, 2),
        }
        for layer in _layers(outputs, thresholds)
    ]
    windows = [
        {
            "photo": name,
            **_depths_m(outputs, top, top + melt_layer_windows.HEIGHT_PX, has_depths=has_depths),
            "from_top_mm": round(1000 * top / outputs.px_per_m, 2),
            "probability": round(float(probability), 6),
        }
        for top, probability in zip(outputs.top_px, outputs.probability, strict=True)
    ]
    return FilePrediction(rows, windows)


def overlay(outputs: CoreOutputs, thresholds: dict[str, float]) -> np.ndarray:
    """Returns the overlay of a core, [height, width, 3] uint8: probabilities, layers found."""
    findings = [
        figures.LayerMark(
            layer.top_px,
            layer.bottom_px,
            layer.probability,
            layer.probability < thresholds["confident"],
        )
        for layer in _layers(outputs, thresholds)
    ]
    return figures.overlay(
        outputs.ice,
        layer_detection.trace(outputs.top_px, outputs.probability, height_px=len(outputs.ice)),
        findings,
        tabled(outputs.source, outputs.ice, px_per_m=outputs.px_per_m),
        name=outputs.source.name,
        threshold=thresholds["decision"],
        top_m=outputs.top_m if outputs.source.about.photo else None,
        px_per_m=outputs.px_per_m,
    )


def tabled(source: Source, ice: np.ndarray, *, px_per_m: float) -> figures.Tabled:
    """Returns the labels of the table for a core, moved to where they fit.

    Args:
      source: the photo; it may have no labels.
      ice: [height, 200, 3] uint8, the scaled core.
      px_per_m: rows per metre.
    """
    photo, features = source.about.photo, list(source.about.features)
    if photo is None or not features:
        return figures.Tabled()
    place = {"top_m": photo.top_m, "px_per_m": px_per_m}
    aligned = alignment.align(ice, features, max_shift_mm=TABLE_SHIFT_MM, **place)
    rows = alignment.rows_of(features, shift_px=aligned.shift_px, **place)
    note = "at the table's depths"
    if aligned.status == "aligned":
        note = f"moved by {1000 * aligned.shift_px / px_per_m:+.1f} mm to fit"
    return figures.Tabled(features, rows, note)


def _layers(outputs: CoreOutputs, thresholds: dict[str, float]) -> list[layer_detection.Layer]:
    if outputs.ends_px is not None:
        return layer_detection.merge_intervals(
            outputs.top_px,
            outputs.probability,
            outputs.ends_px,
            height_px=len(outputs.ice),
            threshold=thresholds["decision"],
        )
    probability = layer_detection.trace(
        outputs.top_px, outputs.probability, height_px=len(outputs.ice)
    )
    return layer_detection.merge(
        probability,
        brightness=outputs.brightness,
        threshold=thresholds["decision"],
        px_per_m=outputs.px_per_m,
    )


def _depths_m(
    outputs: CoreOutputs, top_px: int, bottom_px: int, *, has_depths: bool
) -> dict[str, float | None]:
    if not has_depths:
        return {"depth_from_m": None, "depth_to_m": None}
    return {
        "depth_from_m": round(outputs.top_m + top_px / outputs.px_per_m, 5),
        "depth_to_m": round(outputs.top_m + bottom_px / outputs.px_per_m, 5),
    }


def _classify_flips(
    ice: np.ndarray, top_px: np.ndarray, classify: Classify
) -> dict[str, np.ndarray]:
    """Returns a model's outputs for the windows of the four flips, [4, windows, ...] each."""
    along = getattr(classify, "along", None) or melt_layer_windows.classify_along(classify)
    cores, tops = [], []
    for rows, columns in FLIPS:
        flipped = ice[::-1] if rows else ice
        cores.append(flipped[:, ::-1] if columns else flipped)
        tops.append(len(ice) - melt_layer_windows.HEIGHT_PX - top_px if rows else top_px)
    if not len(top_px):  # a core shorter than a window
        return {"probabilities": np.zeros((len(FLIPS), 0, 2))}
    return along(np.stack(cores), np.stack(tops))


def _combine_flips(probabilities: np.ndarray, *, vote: str) -> np.ndarray:
    """Returns the probability [windows] of a layer, from those of its flips [4, windows].

    The majority vote of seed document 002 ("Most common prediction"; two against two is no
    majority) passes a threshold exactly where the second lowest of the four does.
    """
    if vote == "mean":
        return np.mean(probabilities, axis=0)
    return np.sort(probabilities, axis=0)[1]


def _ends_px(top_px: np.ndarray, probabilities: np.ndarray, interval: np.ndarray) -> np.ndarray:
    """Returns the rows [windows, 2] float at which layers begin and end, averaged over flips.

    Args:
      top_px: [windows] int.
      probabilities: [4, windows] float, the weights of the flips.
      interval: [4, windows, 2] float, in shares of the window's height, in each flip.
    """
    upright = [
        1 - one[:, ::-1] if rows else one for (rows, _), one in zip(FLIPS, interval, strict=True)
    ]
    weights = np.broadcast_to(probabilities[..., None] + 1e-6, interval.shape)
    return top_px[:, None] + melt_layer_windows.HEIGHT_PX * np.average(
        upright, axis=0, weights=weights
    )


def evaluate(
    source: Source,
    row: dict[str, Any],
    prediction: FilePrediction,
    *,
    kinds: tuple[str, ...] = (),
) -> layer_metrics.LayerCounts | None:
    """Compares the predicted layers of a photo with the table's, moved by the photo's shift.

    The table speaks of the photo's depths. Moved by the shift, these are fewer of the photo's rows,
    and only those are judged.

    Args:
      source: a photo of the raw folder.
      row: its row of alignment.csv.
      prediction: of `predict`.
      kinds: what the model names besides layers, such as "lens".

    Returns:
      The counts; None for a photo whose shift is not identifiable, as its ground truth is unknown.
    """
    if row["status"] == "not identifiable":
        return None
    photo, px_per_m = source.about.photo, 1e5  # 0.01 mm, finer than any photo
    top_m, height_px = photo.top_m, round((photo.bottom_m - photo.top_m) * px_per_m)
    drift_mm = float(np.nan_to_num(row.get("drift_mm", 0.0)))  # not in rows of older releases
    features = review_overrides.reviewed_features(
        source, shift_m=row["shift_mm"] / 1000, drift_m=drift_mm / 1000
    )
    shift_px = round(row["shift_mm"] / 1000 * px_per_m)
    rows = alignment.rows_of(features, top_m=top_m, px_per_m=px_per_m, shift_px=shift_px)
    scored_rows = (max(shift_px, 0), min(height_px + shift_px, height_px))
    is_whole = review_overrides.is_fully_reviewed(source)

    def count(kind: str) -> layer_metrics.LayerCounts:
        detected = [
            layer_detection.Layer(
                round((layer["depth_from_m"] - top_m) * px_per_m),
                round((layer["depth_to_m"] - top_m) * px_per_m),
                layer["probability"],
            )
            for layer in prediction.rows
            if layer.get("kind", LAYER) == kind
        ]
        return layer_metrics.count_layers(
            detected,
            features,
            rows,
            px_per_m=px_per_m,
            scored_rows=None if is_whole else scored_rows,
            is_lens=kind == LENS,
        )

    return replace(count(LAYER), kinds={kind: count(kind) for kind in kinds})
