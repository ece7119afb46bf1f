"""Prediction of core photos by the classes of their rows: layers and lenses, overlay."""

from typing import Any, NamedTuple

import numpy as np

from tfpipe.tasks.melt_layer import core_detection, figures, row_detection, strips
from tfpipe.tasks.melt_layer.options import MeltLayerOptions
from tfpipe.tasks.melt_layer.predict import FLIPS, LAYER, LENS, tabled
from tfpipe.tasks.melt_layer.row_detection import Melt
from tfpipe.tasks.task import Classify, FilePrediction, Source

OVERLAP_PX = strips.HEIGHT_PX // 2  # of neighbouring strips


class StripOutputs(NamedTuple):
    """A model's outputs for the rows of one core.

    Attributes:
      source: the photo.
      ice: [height, 200, 3] uint8, the scaled core.
      top_m: depth of its first row; 0 where unknown.
      px_per_m: rows of `ice` per metre.
      core: [n_rows, 64, 1] uint8, the core at the scale of strips.
      rows: [n_rows, 3] float, probabilities of `strips.ROW_CLASSES`.
      top_px: [strips] int, first row of each strip.
      probability: [strips] float, that it shows a layer.
    """

    source: Source
    ice: np.ndarray
    top_m: float
    px_per_m: float
    core: np.ndarray
    rows: np.ndarray
    top_px: np.ndarray
    probability: np.ndarray

    @property
    def rows_per_m(self) -> float:
        """Rows of `core` per metre."""
        return self.px_per_m * len(self.core) / len(self.ice)


def infer(source: Source, classify: Classify, options: MeltLayerOptions) -> StripOutputs:
    """Finds the core of one photo and classifies its rows.

    Strips overlap by half. Each row's probabilities are those of its strips and their four flips,
    averaged with less weight at a strip's ends.

    Args:
      source: a photo as `survey` or `survey_new` lists it.
      classify: slides along the core and returns "rows", see `WholeFile.sliding_window`.
      options: the user's.

    Returns:
      The core and its rows' probabilities.

    Raises:
      UserError: if the photo cannot be decoded or shows no core.
    """
    photo = source.about.photo
    crop_px = photo.crop_px if photo else None
    ice = core_detection.read(
        source.path, top_is=options.top_is, crop_px=crop_px, name=source.name
    ).image
    top_m, px_per_m = 0.0, core_detection.WIDTH_PX / (options.core_width_mm / 1000)
    if photo:
        top_m, px_per_m = photo.top_m, len(ice) / (photo.bottom_m - photo.top_m)
    core = strips.resampled(ice, px_per_m=px_per_m)
    whole = strips.padded(core)
    top_px = strips.tops(len(core), stride_px=OVERLAP_PX)
    cores, tops = [], []
    for turned, mirrored in FLIPS:
        flipped = whole[::-1] if turned else whole
        cores.append(flipped[:, ::-1] if mirrored else flipped)
        tops.append(len(whole) - strips.HEIGHT_PX - top_px if turned else top_px)
    outputs = classify.along(np.stack(cores), np.stack(tops))  # type: ignore[attr-defined]
    upright = [
        strip[:, ::-1] if turned else strip
        for (turned, _), strip in zip(FLIPS, outputs["rows"], strict=True)
    ]
    rows = row_detection.stitched(np.mean(upright, axis=0), top_px, n_rows=len(core))
    probability = outputs["probabilities"][..., 1].mean(axis=0)
    return StripOutputs(source, ice, top_m, px_per_m, core, rows, top_px, probability)


def predict(outputs: StripOutputs, thresholds: dict[str, float]) -> FilePrediction:
    """Returns the layers and lenses of a core.

    Args:
      outputs: of `infer`.
      thresholds: "decision": layers below it are left out; "confident": those below it are marked
        uncertain; "lens" and "lens_confident": the same of lenses, whose thresholds are those of
        layers in versions without them.

    Returns:
      A row for each layer and lens: kind, depths in m (empty where the photo's are unknown), mm
      from the core's top, thickness in mm, darkness; and a row for each strip.
    """
    name, per_mm = outputs.source.name, outputs.rows_per_m / 1000
    rows = [
        {
            "photo": name,
            "kind": melt.kind,
            **_depths_m(outputs, melt.top_px, melt.bottom_px),
            "thickness_mm": round((melt.bottom_px - melt.top_px) / per_mm, 2),
            "darkness": None if np.isnan(melt.darkness) else round(melt.darkness, 3),
            "probability": round(melt.probability, 4),
            "uncertain": melt.probability < _confident(melt, thresholds),
            "from_top_mm": round(melt.top_px / per_mm, 2),
        }
        for melt in _detected(outputs, thresholds)
    ]
    windows = [
        {
            "photo": name,
            **_depths_m(outputs, top, min(top + strips.HEIGHT_PX, len(outputs.core))),
            "from_top_mm": round(top / per_mm, 2),
            "probability": round(float(probability), 6),
        }
        for top, probability in zip(outputs.top_px.tolist(), outputs.probability, strict=True)
    ]
    return FilePrediction(rows, windows)


def overlay(outputs: StripOutputs, thresholds: dict[str, float]) -> np.ndarray:
    """Returns the overlay of a core, [height, width, 3] uint8: probabilities, what is found."""
    scale = len(outputs.ice) / len(outputs.core)
    findings = [
        figures.LayerMark(
            round(melt.top_px * scale),
            round(melt.bottom_px * scale),
            melt.probability,
            melt.probability < _confident(melt, thresholds),
            is_lens=melt.kind == LENS,
        )
        for melt in _detected(outputs, thresholds)
    ]
    place = (np.arange(len(outputs.ice)) + 0.5) / scale - 0.5
    melt_probability = 1 - outputs.rows[:, strips.NONE]
    return figures.overlay(
        outputs.ice,
        np.interp(place, np.arange(len(outputs.core)), melt_probability),
        findings,
        tabled(outputs.source, outputs.ice, px_per_m=outputs.px_per_m),
        name=outputs.source.name,
        threshold=thresholds["decision"],
        lens_threshold=thresholds.get(LENS),
        top_m=outputs.top_m if outputs.source.about.photo else None,
        px_per_m=outputs.px_per_m,
    )


def _detected(outputs: StripOutputs, thresholds: dict[str, float]) -> list[Melt]:
    candidates = row_detection.detect(outputs.rows, outputs.core)
    lens = thresholds.get(LENS, thresholds["decision"])
    least = {LAYER: thresholds["decision"], LENS: lens}
    return [melt for melt in candidates if melt.probability >= least[melt.kind]]


def _confident(melt: Melt, thresholds: dict[str, float]) -> float:
    """Returns the probability from which a detection of its kind is certain."""
    confident = thresholds["confident"]
    return thresholds.get(f"{LENS}_confident", confident) if melt.kind == LENS else confident


def _depths_m(outputs: StripOutputs, top_px: int, bottom_px: int) -> dict[str, Any]:
    if outputs.source.about.photo is None:
        return {"depth_from_m": None, "depth_to_m": None}
    return {
        "depth_from_m": round(outputs.top_m + top_px / outputs.rows_per_m, 5),
        "depth_to_m": round(outputs.top_m + bottom_px / outputs.rows_per_m, 5),
    }
