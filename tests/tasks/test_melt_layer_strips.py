"""Strips of a core: one scale for all cameras, a class for each row, and layers of the rows."""

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfpipe.tasks.melt_layer import TASK, row_detection, strip_prediction, strips
from tfpipe.tasks.melt_layer.options import MeltLayerOptions
from tfpipe.tasks.melt_layer.predict import evaluate
from tfpipe.tasks.melt_layer.reader import read_strips
from tfpipe.tasks.melt_layer.survey import survey
from tfpipe.tasks.melt_layer.tables import Feature
from tfpipe.tasks.samples.melt_layer import draw as draw_sample
from tfpipe.tasks.splits import SplitConfig

THRESHOLDS = {"decision": 0.5, "confident": 0.7}
STRIPS_TABLE = TASK.for_model("core-unet").whole_file.table_columns
FEATURES = [
    Feature(0.100, 0.110, "meltLayer"),
    Feature(0.200, 0.200, "meltLens"),
    Feature(0.300, 0.300, "meltLayer uncertain"),
]
ROWS = np.array([[200, 220], [398, 402], [598, 602]])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A photo with three melt layers, lenses and cracks."""
    folder = tmp_path_factory.mktemp("strips") / "melt-layer"
    draw_sample(folder, photos=1, px_per_m=2000, seed=4)
    return survey(folder, MeltLayerOptions()).sources[0]


def labels_of(**changes):
    how = {"covered": (0, 1000), "guard_px": 20} | changes
    return strips.row_labels(1000, FEATURES, ROWS, **how)


def test_cores_of_two_cameras_are_strips_of_one_scale():
    rng = np.random.default_rng(0)
    grey = cv2.GaussianBlur(rng.uniform(60, 180, (900, 200)).astype(np.float32), (0, 0), 6)
    fine = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    coarse = cv2.resize(fine, (200, 450), interpolation=cv2.INTER_AREA)
    ours = strips.resampled(fine, px_per_m=3000)
    theirs = strips.resampled(coarse, px_per_m=1500)
    assert ours.shape == theirs.shape == (600, 64, 1)
    assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_rows_have_the_classes_of_the_table_and_are_silent_elsewhere():
    labels = labels_of()
    assert set(labels[200:220]) == {strips.LAYER} and set(labels[398:402]) == {strips.LENS}
    assert labels[[199, 220]].tolist() == [strips.NONE] * 2  # its edges are in the table
    assert labels[[397, 394, 402, 405]].tolist() == [strips.SILENT] * 4  # a lens's are not
    assert labels[[393, 406]].tolist() == [strips.NONE] * 2
    assert set(labels[578:622]) == {strips.SILENT} and labels[577] == labels[622] == strips.NONE
    assert set(labels_of(includes_uncertain=True)[598:602]) == {strips.LAYER}
    moved = labels_of(covered=(30, 970))
    assert set(moved[:30]) == set(moved[970:]) == {strips.SILENT}
    assert set(labels_of(covered=(-30, 1030))[:30]) == {strips.NONE}


def test_features_above_the_core_silence_and_label_what_they_reach_of_it():
    kinds = {"uncertain": "meltLayer uncertain", "layer": "meltLayer"}
    features = {name: [Feature(0.1, 0.11, kind)] for name, kind in kinds.items()}

    def first_rows(name, first, end):
        how = {"covered": (0, 100), "guard_px": 20}
        return strips.row_labels(100, features[name], np.array([[first, end]]), **how)

    assert not first_rows("uncertain", -40, -30).any() and not first_rows("layer", -40, -30).any()
    reached = first_rows("uncertain", -30, -15)
    assert set(reached[:5]) == {strips.SILENT} and not reached[5:].any()
    reached = first_rows("layer", -10, 4)
    assert set(reached[:4]) == {strips.LAYER} and not reached[4:].any()


def test_a_strip_shows_a_layer_where_three_quarters_of_it_are_inside():
    labels = labels_of()
    assert [strips.label(labels, top) for top in (0, 200, 205, 206)] == [1, 1, 1, -1]
    assert strips.label(labels, 221) == -1  # an uncertain layer, and no other
    assert strips.label(np.zeros(600, np.uint8), 40) == 0


@given(st.integers(1, 4000), st.integers(1, strips.HEIGHT_PX))
def test_strips_hold_every_row(n_rows, stride_px):
    tops = strips.tops(n_rows, stride_px=stride_px)
    held = np.zeros(max(n_rows, strips.HEIGHT_PX), bool)
    for top in tops.tolist():
        held[top : top + strips.HEIGHT_PX] = True
    assert held.all() and tops[-1] == max(n_rows - strips.HEIGHT_PX, 0)
    core = np.arange(n_rows)[:, None, None] * np.ones((1, 2, 1))
    assert len(strips.padded(core)) == len(held)


@given(st.integers(600, 1500), st.integers(0, 2**32 - 1))
def test_strips_that_agree_are_stitched_to_what_they_say(n_rows, seed):
    rows = np.random.default_rng(seed).dirichlet((1, 1, 1), n_rows)
    tops = strips.tops(n_rows, stride_px=strip_prediction.OVERLAP_PX)
    parts = np.stack([rows[top : top + strips.HEIGHT_PX] for top in tops])
    np.testing.assert_allclose(row_detection.stitched(parts, tops, n_rows=n_rows), rows, atol=1e-9)


def test_rows_become_layers_and_lenses_with_their_darkness():
    rows = np.tile([1.0, 0.0, 0.0], (700, 1))
    rows[100:110] = [0.1, 0.9, 0.0]
    rows[112:120] = [0.2, 0.8, 0.0]  # 1 mm below: the same layer
    rows[200:204] = [0.3, 0.1, 0.6]
    rows[300:320] = [0.65, 0.35, 0.0]
    rows[295:300] = rows[320:325] = [0.88, 0.12, 0.0]  # its soft edges
    core = np.full((700, 64, 1), 150, np.uint8)
    core[100:120] = 90
    found = row_detection.detect(rows, core)
    assert [(one.top_px, one.bottom_px, one.kind) for one in found] == [
        (100, 120, "layer"),
        (200, 204, "lens"),
        (300, 320, "layer"),
    ]
    assert found[0].darkness == pytest.approx(0.6) and found[2].darkness == pytest.approx(1.0)
    assert found[0].probability == pytest.approx((10 * 0.9 + 8 * 0.8) / 20)
    assert found[1].probability == pytest.approx(0.7)


def test_lenses_have_a_threshold_of_their_own(source):
    rows = np.tile([1.0, 0.0, 0.0], (700, 1))
    rows[100:110], rows[200:210], rows[300:310] = [0.1, 0.9, 0], [0.4, 0.6, 0], [0.6, 0, 0.4]
    rows[400:410] = [0.8, 0, 0.2]
    outputs = strip_prediction.StripOutputs(
        source, np.full((700, 200, 3), 150, np.uint8), 0.0, 2000.0,
        np.full((700, 64, 1), 150, np.uint8), rows, np.array([0]), np.array([0.9]),
    )  # fmt: skip

    def predicted(**thresholds: float) -> list[tuple[str, bool]]:
        prediction = strip_prediction.predict(outputs, thresholds)
        return [(row["kind"], row["uncertain"]) for row in prediction.rows]

    layer = ("layer", False)
    assert predicted(decision=0.7, confident=0.8, lens=0.3, lens_confident=0.4) == [
        layer,
        ("lens", False),
    ]
    assert predicted(decision=0.7, confident=0.8, lens=0.1, lens_confident=0.5) == [
        layer,
        ("lens", True),
        ("lens", True),
    ]
    assert predicted(decision=0.7, confident=0.8) == [layer]  # a version without them
    both = strip_prediction.overlay(outputs, {"decision": 0.7, "confident": 0.8, "lens": 0.7})
    one = strip_prediction.overlay(outputs, {"decision": 0.7, "confident": 0.8})
    assert (both != one).any()  # the line of lenses has its text


def test_a_photo_is_read_into_strips_with_the_classes_of_its_rows(source):
    reading = read_strips(source, MeltLayerOptions())
    view = TASK.for_model("core-unet")
    tops = [int(example.key.split("@")[1]) for example in reading.examples]
    whole = np.full((tops[-1] + strips.HEIGHT_PX,), 99)
    for top, example in zip(tops, reading.examples, strict=True):
        assert example.image.shape == view.image_shape and example.image.dtype == np.uint8
        assert set(example.metadata) == set(view.metadata)
        whole[top : top + strips.HEIGHT_PX] = example.row_labels
    spans = row_detection.runs(whole == strips.LAYER)
    about = source.about
    tabled = [one for one in about.features if one.is_layer]
    assert len(spans) == len(tabled) == 3
    for (first, end), feature in zip(spans, tabled, strict=True):
        depth_mm = 1000 * (feature.depth_from_m - about.photo.top_m) + reading.row["shift_mm"]
        assert first / strips.PX_PER_MM == pytest.approx(depth_mm, abs=1)
        thickness_mm = 1000 * (feature.depth_to_m - feature.depth_from_m)
        assert (end - first) / strips.PX_PER_MM == pytest.approx(thickness_mm, abs=1)
    assert {example.label for example in reading.examples} >= {0, 1}


class DarkRows:
    """A stand-in for a network: rows that are dark across the core are a layer."""

    def along(self, images, top_px):
        rows = []
        for image, tops in zip(images, top_px, strict=True):
            parts = np.stack([image[top : top + strips.HEIGHT_PX] for top in tops]) / 255
            across = parts.reshape(*parts.shape[:2], 8, 8).mean(axis=3)[..., 1:-1]
            dark = 1 - across.max(axis=2) / np.median(across, axis=(1, 2))[:, None]
            layer = 1 / (1 + np.exp(-60 * (dark - 0.12)))
            rows.append(np.stack([1 - layer, layer, np.zeros_like(layer)], axis=2))
        rows = np.stack(rows)
        highest = rows[..., 1].max(axis=2)
        return {"rows": rows, "probabilities": np.stack([1 - highest, highest], axis=2)}


def test_layers_of_a_photo_are_found_in_metres(source):
    outputs = strip_prediction.infer(source, DarkRows(), MeltLayerOptions())
    prediction = strip_prediction.predict(outputs, THRESHOLDS)
    row = read_strips(source, MeltLayerOptions()).row
    counts = evaluate(source, row, prediction)
    assert counts.hits == 3 and np.median(counts.errors_mm) < 1
    assert all(set(one) == set(STRIPS_TABLE) for one in prediction.rows)
    layers = [one for one in prediction.rows if one["kind"] == "layer"]
    assert all(0.2 < one["darkness"] < 0.9 for one in layers)
    # A lens is no layer, right or wrong.
    relabelled = prediction._replace(rows=[one | {"kind": "lens"} for one in prediction.rows])
    assert evaluate(source, row, relabelled).scores["layers_found"] == 0
    picture = strip_prediction.overlay(outputs, THRESHOLDS)
    assert picture.ndim == 3 and picture.dtype == np.uint8
    as_lenses = strip_prediction.overlay(
        outputs._replace(rows=outputs.rows[:, [0, 2, 1]]), THRESHOLDS
    )
    assert picture.shape == as_lenses.shape and (picture != as_lenses).any()
    assert len(prediction.windows) == len(outputs.top_px)


def test_a_photo_without_depths_is_predicted_in_mm_from_its_top(source):
    bare = dataclasses.replace(source, about=dataclasses.replace(source.about, photo=None))
    outputs = strip_prediction.infer(bare, DarkRows(), MeltLayerOptions())
    rows = strip_prediction.predict(outputs, THRESHOLDS).rows
    assert rows and all(one["depth_from_m"] is None for one in rows)
    assert all(0 <= one["from_top_mm"] < 1700 for one in rows)


def test_both_views_of_a_folder_have_the_same_splits(tmp_path):
    draw_sample(tmp_path / "raw", photos=5, px_per_m=500)
    view = TASK.for_model("core-unet")
    assert view is not TASK and TASK.for_model("simple-cnn") is TASK
    assert view.name == TASK.name and view.classes == TASK.classes
    sources = [task.survey(tmp_path / "raw", task.options).sources for task in (TASK, view)]
    splits = [SplitConfig().assigned(one).by_group for one in sources]
    assert splits[0] == splits[1]
