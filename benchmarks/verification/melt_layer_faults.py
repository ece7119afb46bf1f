"""Melt layers where they are hardest to see: dark bands in no table, neighbours, rulers, cards."""

import cv2
import numpy as np
import tensorflow as tf

from tfpipe.base import images
from tfpipe.data import augmentation
from tfpipe.tasks.melt_layer import (
    alignment,
    core_detection,
    layer_detection,
    layer_metrics,
    windows,
)
from tfpipe.tasks.melt_layer.tables import Feature
from verification.row import Row

PX_PER_M, HEIGHT_PX = 2000.0, 2000
TABLES, NEIGHBOURS, PHOTOS = 30, 120, 40
RIGHT_PX = 5


def check() -> list[Row]:
    """Returns the rows of the table."""
    return [*_untabled_bands(), _neighbours(), _tilt(), _card(), _moved_windows()]


def _bands(rng: np.random.Generator, places_px: np.ndarray) -> list[tuple[int, int, float]]:
    """Returns (first row, one past the last, grey levels below the ice) of a band at each place."""
    return [(int(t), int(t + rng.integers(6, 24)), rng.uniform(20, 70)) for t in places_px]


def _core(rng: np.random.Generator, bands) -> np.ndarray:
    """Returns a core [height, 200, 3] uint8 with the dark bands."""
    rows = 150 + rng.normal(0, 4, HEIGHT_PX)
    for top, bottom, depth in bands:
        rows[top:bottom] -= depth
    grey = rows[:, None, None] + rng.normal(0, 6, (HEIGHT_PX, 200, 3))
    return np.clip(grey, 0, 255).astype(np.uint8)


def _layer(top_px: float, bottom_px: float) -> Feature:
    return Feature(top_px / PX_PER_M, bottom_px / PX_PER_M, "meltLayer")


def _untabled_bands() -> list[Row]:
    """Cores of five dark bands, of which a table has one to three, or none of its layers."""
    rng = np.random.default_rng(7)
    believed = {"in": 0, "out": 0, "absent": 0}
    n_wrong = 0
    for n_tabled in np.repeat([1, 2, 3], TABLES):
        places_px = rng.choice(np.arange(40, HEIGHT_PX - 60, 40), 5 + n_tabled, replace=False)
        bands = _bands(rng, places_px)
        core = _core(rng, bands[:5])
        for kind in believed:
            shift_px = round(rng.choice([-1, 1]) * PX_PER_M * rng.uniform(0, 0.05))
            if kind == "out":
                shift_px = round(rng.choice([-1, 1]) * PX_PER_M * rng.uniform(0.08, 0.15))
            tabled = bands[5:] if kind == "absent" else bands[:n_tabled]
            features = [_layer(top - shift_px, bottom - shift_px) for top, bottom, _ in tabled]
            aligned = alignment.align(
                core, features, top_m=0.0, px_per_m=PX_PER_M, max_shift_mm=60.0
            )
            believed[kind] += aligned.status == "aligned"
            if kind == "in" and aligned.status == "aligned":
                n_wrong += abs(aligned.shift_px - shift_px) > RIGHT_PX
    how = f"{3 * TABLES} drawn cores of 1 m with 5 dark bands, 1 to 3 of them tabled"
    n_not = believed["out"] + believed["absent"]
    return [
        Row(
            "shift of labels beside dark bands in no table",
            how,
            "within 2.5 mm",
            f"{believed['in'] - n_wrong} of {believed['in']} right; "
            f"{3 * TABLES - believed['in']} set aside",
            n_wrong <= 0.05 * believed["in"] and believed["in"] > TABLES,
        ),
        Row(
            "the same, shift out of range, or no tabled layer in the core",
            how,
            "set aside",
            f"{believed['out']} and {believed['absent']} of {3 * TABLES} believed",
            n_not <= 0.05 * 6 * TABLES,
        ),
    ]


def _neighbours() -> Row:
    """A layer 4 to 42 mm beside one two to four times as dark, and noisy windows.

    The noise of a row is up to a fifth of the layer's depth, so that one row of a layer in a
    hundred or so is brighter than half of it, which must not cut the layer in two.
    """
    rng = np.random.default_rng(8)
    counts = None
    for _ in range(NEIGHBOURS):
        gap_px, depth = round(PX_PER_M * rng.uniform(0.004, 0.042)), rng.uniform(20, 30)
        tops = 900, 900 + 16 + gap_px
        spans = np.array([(tops[0], tops[0] + 16), (tops[1], tops[1] + rng.integers(6, 20))])
        depths = (depth * rng.uniform(2, 4), depth)[:: rng.choice([-1, 1])]
        core = _core(rng, [(*span, d) for span, d in zip(spans.tolist(), depths, strict=True)])
        tops_px = windows.tops(HEIGHT_PX, stride_px=10)
        labels = windows.labels(tops_px, layers=spans, uncertain=np.zeros((0, 2), int), guard_px=0)
        logits = np.where(labels == windows.LAYER, 2.5, -4.0) + rng.normal(0, 1, len(labels))
        detected = layer_detection.merge(
            layer_detection.trace(tops_px, 1 / (1 + np.exp(-logits)), height_px=HEIGHT_PX),
            brightness=alignment.profile(core, px_per_m=PX_PER_M),
            threshold=0.5,
            px_per_m=PX_PER_M,
        )
        features = [_layer(*span) for span in spans]
        one = layer_metrics.count_layers(detected, features, spans, px_per_m=PX_PER_M)
        counts = one if counts is None else counts + one
    scores = counts.scores
    return Row(
        "layer beside a darker one (layer F1)",
        f"{NEIGHBOURS} pairs 4 to 42 mm apart, one 2 to 4 times as dark, noisy probabilities",
        "1",
        f"{scores['layer_f1']:.3f}; {counts.misses} of {scores['layers_tabled']} missed, "
        f"{counts.false} false",
        scores["layer_f1"] >= 0.97,
    )


def _tilt() -> Row:
    """Cores of 300 x 1800 px with a ruler 5 to 25 px beside them, upright itself."""
    rng = np.random.default_rng(9)
    errors_deg = []
    for _ in range(PHOTOS):
        tilt_deg = rng.uniform(-1.5, 1.5)
        core = np.zeros((2000, 700), np.uint8)
        core[100:1900, 200:500] = 180
        turn = cv2.getRotationMatrix2D((350, 1000), tilt_deg, 1.0)
        photo = np.maximum(20, cv2.warpAffine(core, turn, (700, 2000)))
        reach_px = round(900 * np.tan(np.deg2rad(abs(tilt_deg))))
        left = 500 + reach_px + rng.integers(5, 25)
        photo[:, left : left + 20] = 250
        box = core_detection.find(images.to_rgb(photo), name="drawn.png")
        errors_deg.append(abs(abs(box.tilt_deg) - abs(tilt_deg)))
    return Row(
        "tilt of a core beside a ruler",
        f"{PHOTOS} drawn cores leaning by up to 1.5 degrees, ruler 5 to 25 px away",
        "within 0.1 degrees",
        f"median {np.median(errors_deg):.3f}, largest {max(errors_deg):.3f} degrees off",
        max(errors_deg) <= 0.1,
    )


def _card() -> Row:
    """Cards of three saturated and two grey patches beyond the core's end."""
    rng = np.random.default_rng(10)
    errors_px = []
    for _ in range(PHOTOS):
        photo = np.full((2400, 500, 3), 25, np.uint8)
        end = int(rng.integers(1500, 1900))
        photo[60:end, 100:400] = rng.normal(170, 8, (end - 60, 300, 3)).astype(np.uint8)
        colours = [(200, 30, 40), (40, 160, 60), (40, 60, 190), (120, 120, 120), (230, 230, 230)]
        for i, colour in enumerate(rng.permutation(colours)):
            top = end + 16 + 70 * i
            photo[top : top + 60, 100:400] = colour
        box = core_detection.find(photo, name="drawn.png")
        errors_px.append(abs(box.bottom - end))
    return Row(
        "end of a core before a colour card",
        f"{PHOTOS} drawn cores of 300 px across, cards of 5 patches in any order",
        "within 10 px",
        f"{sum(error <= 10 for error in errors_px)} of {PHOTOS}, largest {max(errors_px)} px off",
        max(errors_px) <= 10,
    )


def _moved_windows() -> Row:
    """Windows labelled by the task's rule, bright where the layer is, and counted again."""
    rng = np.random.default_rng(11)
    tops_px, rows = np.arange(0, 400, 2), []
    for thickness in rng.integers(4, 90, 40):
        top = int(rng.integers(60, 250))
        layer = np.array([(top, top + thickness)])
        labels = windows.labels(tops_px, layers=layer, uncertain=np.zeros((0, 2), int), guard_px=10)
        rows.append(windows.layer_in_window(tops_px[labels == windows.LAYER], layer))
    ends = np.concatenate(rows)
    place = np.arange(windows.HEIGHT_PX)
    inside = (place >= ends[:, :1]) & (place < ends[:, 1:])
    pixels = np.where(inside, 210, 30).astype(np.uint8)[:, :, None, None]
    share = (ends / windows.HEIGHT_PX).astype(np.float32)
    batch = {"image": tf.constant(pixels), "interval": tf.constant(share)}, tf.ones(len(ends))
    features, _ = augmentation.slice_augmentation(1)(tf.constant(0), batch)
    after = (features["image"].numpy()[:, :, 0, 0] > 100).sum(axis=1)
    n_lost = int((after < inside.sum(axis=1)).sum())
    return Row(
        "augmented windows of a layer that lose rows of it",
        f"{len(ends)} windows of 40 layers of 2 to 45 mm",
        "0",
        f"{n_lost}",
        n_lost == 0,
    )
