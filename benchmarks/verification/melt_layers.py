"""Shift, depth, thickness and score of melt layers, against drawn photos whose truth is known."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import images
from tfpipe.tasks.melt_layer import (
    alignment,
    core_detection,
    layer_detection,
    layer_metrics,
    windows,
)
from tfpipe.tasks.melt_layer.options import MeltLayerOptions
from tfpipe.tasks.melt_layer.survey import survey
from tfpipe.tasks.melt_layer.tables import Feature
from tfpipe.tasks.samples.melt_layer import draw
from verification.row import Row

PHOTOS, PX_PER_M, SEED = 48, 2000.0, 5
RIGHT_MM = 2.5  # 5 px


def check() -> list[Row]:
    """Returns the rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "raw")
        draw(raw, photos=PHOTOS, px_per_m=PX_PER_M, seed=SEED)
        truth = pd.read_csv(raw / "truth.csv")
        cores = list(_cores(raw))
    return [*_shifts(cores, truth), *_layers(cores, truth)]


def _cores(raw: Path):
    """Yields (photo, its features, scaled core) of each photo."""
    for source in survey(raw, MeltLayerOptions()).sources:
        photo = source.about.photo
        core = core_detection.cut(images.read(source.path), crop_px=None, name=source.name)
        yield photo, list(source.about.features), core.image


def _shifts(cores, truth: pd.DataFrame) -> list[Row]:
    true_mm = -truth.drop_duplicates("photo").set_index("photo")["shift_mm"]
    rng = np.random.default_rng(1)
    errors, n_tables, n_wrong = [], 0, {"moved": 0, "random": 0}
    for photo, features, core in cores:
        if not any(feature.is_layer for feature in features):
            continue
        n_tables += 1
        px_per_m = len(core) / (photo.bottom_m - photo.top_m)
        place = {"top_m": photo.top_m, "px_per_m": px_per_m, "max_shift_mm": 60.0}
        aligned = alignment.align(core, features, **place)
        if aligned.status == "aligned":
            errors.append(1000 * aligned.shift_px / px_per_m - true_mm[photo.name])
        by_m = rng.choice([-1, 1]) * rng.uniform(0.1, 0.3)
        moved = [_moved(feature, by_m) for feature in features]
        n_wrong["moved"] += alignment.align(core, moved, **place).status == "aligned"
        tops = rng.uniform(photo.top_m + 0.05, photo.bottom_m - 0.05, len(features))
        placed = [_moved(f, t - f.depth_from_m) for f, t in zip(features, tops, strict=True)]
        n_wrong["random"] += alignment.align(core, placed, **place).status == "aligned"
    errors = np.abs(errors)
    n_right = int((errors <= RIGHT_MM).sum())
    how = f"{n_tables} drawn photos with a layer, shifts known"
    return [
        Row(
            "shift of a photo's labels, where it is said to be identifiable",
            how,
            f"within {RIGHT_MM} mm",
            f"{n_right} of {len(errors)} right, median error {np.median(errors):.2f} mm; "
            f"{n_tables - len(errors)} set aside",
            n_right == len(errors) and len(errors) >= 0.85 * n_tables,
        ),
        Row(
            "the same, labels moved 100 to 300 mm (range 60 mm)",
            how,
            "set aside",
            f"{n_wrong['moved']} of {n_tables} believed",
            n_wrong["moved"] <= 0.05 * n_tables,
        ),
        Row(
            "the same, labels at random depths",
            how,
            "set aside",
            f"{n_wrong['random']} of {n_tables} believed",
            n_wrong["random"] <= 0.05 * n_tables,
        ),
    ]


def _moved(feature: Feature, by_m: float) -> Feature:
    return replace(
        feature,
        depth_from_m=feature.depth_from_m + by_m,
        depth_to_m=feature.depth_to_m + by_m,
    )


def _layers(cores, truth: pd.DataFrame) -> list[Row]:
    """Layers made of the windows of a model that is always right, so errors are the merging's."""
    counts, thickness_mm = None, []
    for photo, _, core in cores:
        px_per_m = len(core) / (photo.bottom_m - photo.top_m)
        mine = truth[(truth["photo"] == photo.name) & (truth["feature"] == "meltLayer")]
        layers = [
            Feature(row.depth_from_m, row.depth_to_m, row.feature) for row in mine.itertuples()
        ]
        rows = alignment.rows_of(layers, top_m=photo.top_m, px_per_m=px_per_m)
        tops = windows.tops(len(core), stride_px=10)
        shows = windows.labels(tops, layers=rows, uncertain=np.zeros((0, 2), int), guard_px=0)
        likely = np.where(shows == windows.LAYER, 0.96, 0.02)
        detected = layer_detection.merge(
            layer_detection.trace(tops, likely, height_px=len(core)),
            brightness=alignment.profile(core, px_per_m=px_per_m),
            threshold=0.5,
            px_per_m=px_per_m,
        )
        one = layer_metrics.count_layers(detected, layers, rows, px_per_m=px_per_m)
        counts = one if counts is None else counts + one
        for top, bottom in rows:
            on_it = [d for d in detected if d.top_px < bottom and d.bottom_px > top]
            if len(on_it) == 1:
                thick_px = on_it[0].bottom_px - on_it[0].top_px
                thickness_mm.append(1000 * (thick_px - (bottom - top)) / px_per_m)
    scores = counts.scores
    error = np.abs(thickness_mm)
    how = f"{scores['layers_tabled']} layers of {PHOTOS} drawn photos, windows all right"
    return [
        Row(
            "layers from windows (layer F1)",
            how,
            "1",
            f"{scores['layer_f1']:.3f}, precision {scores['layer_precision']:.3f}",
            scores["layer_f1"] >= 0.97,
        ),
        Row(
            "depth of a layer",
            how,
            "0 mm off",
            f"median {scores['layer_depth_error_mm']:.2f} mm off",
            scores["layer_depth_error_mm"] <= 0.5,
        ),
        Row(
            "thickness of a layer",
            how,
            "0 mm off",
            f"median {np.median(thickness_mm):+.2f} mm, half within {np.median(error):.2f} mm",
            float(np.median(error)) <= 1.0,
        ),
    ]
