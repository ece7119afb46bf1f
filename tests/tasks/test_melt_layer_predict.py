"""What a model says of windows becomes layers in metres, a table, a picture and counts."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

from tfpipe.base import images
from tfpipe.base.errors import UserError
from tfpipe.tasks.melt_layer import figures, tables
from tfpipe.tasks.melt_layer.layer_metrics import LayerCounts
from tfpipe.tasks.melt_layer.options import MeltLayerOptions
from tfpipe.tasks.melt_layer.predict import evaluate, infer, overlay, predict
from tfpipe.tasks.melt_layer.survey import Section, survey, survey_new
from tfpipe.tasks.samples.melt_layer import draw as draw_sample
from tfpipe.tasks.task import FilePrediction

THRESHOLDS = {"decision": 0.5, "confident": 0.7}
FLIPS = [(1, 1), (1, -1), (-1, 1), (-1, -1)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Two photos; the first holds four melt layers, a lens and cracks."""
    folder = tmp_path_factory.mktemp("answer") / "melt-layer"
    draw_sample(folder, photos=2, px_per_m=2000, seed=353)
    return folder


@pytest.fixture(scope="module")
def source(raw):
    return survey(raw, MeltLayerOptions()).sources[0]


@pytest.fixture(scope="module")
def tabled(raw):
    truth = pd.read_csv(raw / "truth.csv")
    return truth[(truth.photo == "core_001.png") & (truth.feature == "meltLayer")]


def dark_aware(windows):
    """Returns probabilities [n, 2] by how dark a window's darkest row is across all of it."""
    rows = windows[..., 1].reshape(len(windows), 50, 8, 25).mean(axis=-1)[:, :, 1:-1]
    dark = 1 - rows.max(axis=2) / np.median(rows, axis=(1, 2))[:, None]
    layer = 1 / (1 + np.exp(-60 * (dark.max(axis=1) - 0.12)))
    return np.stack([1 - layer, layer], axis=1)


def always(*answers):
    """Returns a model that gives each call one answer for all windows, and what it was shown."""
    shown, left = [], list(answers)

    def classify(windows):
        shown.append(windows.copy())
        likely = left.pop(0)
        return np.tile([[1 - likely, likely]], (len(windows), 1))

    return classify, shown


@pytest.fixture(scope="module")
def seen(source):
    return infer(source, dark_aware, MeltLayerOptions())


def test_layers_are_found_near_their_true_depths(seen, tabled):
    rows = pd.DataFrame(predict(seen, THRESHOLDS).rows)
    assert len(tabled) == 4 and len(rows) <= 8
    for one in tabled.itertuples():
        middle_m = (one.depth_from_m + one.depth_to_m) / 2
        off_mm = 1000 * ((rows.depth_from_m + rows.depth_to_m) / 2 - middle_m).abs()
        near = rows.loc[off_mm.idxmin()]
        assert off_mm.min() < 1.5
        span_mm = 1000 * (one.depth_to_m - one.depth_from_m)
        assert 0.3 * span_mm < near.thickness_mm < 1.5 * span_mm + 2
    assert (rows.photo == "core_001.png").all()
    np.testing.assert_allclose(
        rows.thickness_mm, 1000 * (rows.depth_to_m - rows.depth_from_m), atol=0.02
    )
    np.testing.assert_allclose(rows.from_top_mm, 1000 * (rows.depth_from_m - 120.0), atol=0.02)
    assert rows.depth_from_m.is_monotonic_increasing


def test_every_window_is_told_with_its_depths(seen):
    windows = pd.DataFrame(predict(seen, THRESHOLDS).windows)
    assert len(windows) == len(seen.top_px) == len(seen.probability)
    assert windows.depth_from_m.iloc[0] == 120.0
    bottom_m = seen.source.about.photo.bottom_m
    assert windows.depth_to_m.iloc[-1] == pytest.approx(bottom_m, abs=1e-5)
    assert (windows.depth_from_m.diff().iloc[1:] > 0).all()
    assert (
        windows.depth_from_m.iloc[1:].to_numpy() < windows.depth_to_m.iloc[:-1].to_numpy()
    ).all()
    np.testing.assert_allclose(windows.probability, seen.probability, atol=1e-6)


def test_layers_below_the_confident_threshold_are_uncertain(seen):
    fading = seen._replace(probability=seen.probability * np.linspace(1, 0.4, len(seen.top_px)))
    rows = predict(fading, {"decision": 0.3, "confident": 0.6}).rows
    assert {row["uncertain"] for row in rows} == {True, False}
    assert all(row["uncertain"] == (row["probability"] < 0.6) for row in rows)
    assert all(row["probability"] >= 0.3 for row in rows)
    assert predict(seen, {"decision": 1.01, "confident": 1.01}).rows == []


def test_the_model_is_shown_every_window_in_its_four_flips(source):
    classify, shown = always(0.1, 0.1, 0.1, 0.1)
    seen = infer(source, classify, MeltLayerOptions(predict_stride_px=100))
    upright = np.stack([seen.ice[top : top + 50] for top in seen.top_px])
    assert len(shown) == 4
    for rows, columns in FLIPS:
        turned = upright[:, ::rows, ::columns]
        assert sum(np.array_equal(turned, one) for one in shown) == 1
    assert all(one.dtype == np.uint8 and one.shape == (len(upright), 50, 200, 3) for one in shown)


def test_the_stride_between_windows_is_the_options(source):
    for stride_px in (10, 25):
        classify, _ = always(0.1, 0.1, 0.1, 0.1)
        seen = infer(source, classify, MeltLayerOptions(predict_stride_px=stride_px))
        assert set(np.diff(seen.top_px)[:-1]) == {stride_px}
        assert seen.top_px[-1] == len(seen.ice) - 50


def test_flips_are_combined_by_their_mean(source):
    classify, _ = always(0.9, 0.8, 0.7, 0.2)
    seen = infer(source, classify, MeltLayerOptions(predict_stride_px=500))
    np.testing.assert_allclose(seen.probability, 0.65)


@pytest.mark.parametrize(
    ("flips", "is_layer"),
    [
        ((0.9, 0.9, 0.9, 0.9), True),
        ((0.9, 0.1, 0.9, 0.9), True),
        ((0.1, 0.51, 0.52, 0.53), True),  # though their mean is under a half
        ((0.9, 0.1, 0.9, 0.1), False),  # two against two is no majority
        ((0.99, 0.4, 0.4, 0.99), False),  # though their mean is over a half
        ((0.1, 0.1, 0.1, 0.9), False),
        ((0.1, 0.1, 0.1, 0.1), False),
    ],
)
def test_flips_are_combined_by_the_most_common_prediction(source, flips, is_layer):
    classify, _ = always(*flips)
    seen = infer(source, classify, MeltLayerOptions(predict_stride_px=500, vote="majority"))
    assert set(seen.probability >= 0.5) == {is_layer}
    for threshold in (0.15, 0.45, 0.515, 0.95):
        is_common = sum(one >= threshold for one in flips) >= 3
        assert set(seen.probability >= threshold) == {is_common}


def test_a_photo_without_depths_gives_mm_from_its_top(raw, source, seen):
    with_depths = predict(seen, THRESHOLDS).rows
    unknown = dataclasses.replace(source, about=Section(None))
    said = predict(infer(unknown, dark_aware, MeltLayerOptions()), THRESHOLDS)
    assert len(said.rows) == len(with_depths)
    for row, other in zip(said.rows, with_depths, strict=True):
        assert row["depth_from_m"] is None and row["depth_to_m"] is None
        assert row["from_top_mm"] == pytest.approx(other["from_top_mm"], rel=0.02)
        assert row["thickness_mm"] == pytest.approx(other["thickness_mm"], rel=0.02)
    assert all(row["depth_from_m"] is None for row in said.windows)
    narrow = predict(infer(unknown, dark_aware, MeltLayerOptions(core_width_mm=50)), THRESHOLDS)
    for row, other in zip(narrow.rows, said.rows, strict=True):
        assert row["from_top_mm"] == pytest.approx(other["from_top_mm"] / 2, abs=0.01)


@pytest.mark.parametrize("place", ["photos' own folder", "folder above", "given", "given, off"])
def test_depths_come_from_the_table_beside_above_or_given(raw, tmp_path, place):
    photos = tmp_path / "photos"
    shutil.copytree(raw / "photos", photos)
    where = {"photos' own folder": photos, "folder above": tmp_path}.get(place, tmp_path / "my")
    where.mkdir(exist_ok=True)
    shutil.copy(raw / "photos.csv", where / "photos.csv")
    table = where / "photos.csv" if place.startswith("given") else None
    if place == "given, off":  # a given table wins over the one beside the photos
        (photos / "photos.csv").write_text("photo,top_m,bottom_m\ncore_001.png,5,6\n")
    found = survey_new([photos / "core_002.png", photos], table, MeltLayerOptions())
    assert [source.name for source in found.sources] == ["core_002.png", "core_001.png"]
    assert [source.about.photo.top_m for source in found.sources] == [121.65, 120.0]
    assert found.notes == ()


def test_photos_without_depths_are_noted(raw, tmp_path):
    shutil.copy(raw / "photos" / "core_001.png", tmp_path / "alone.png")
    (tmp_path / "photos.csv").write_text("photo,top_m,bottom_m\nother.png,5,6\n")
    found = survey_new([tmp_path], None, MeltLayerOptions())
    assert [source.about.photo for source in found.sources] == [None]
    assert found.notes == (
        "alone.png: no table gives its depths, so mm from its top are given, for a core 100 mm "
        "wide. Put the table of photos beside it, or give the width by --option "
        "core_width_mm=MM.",
    )


def test_what_cannot_be_answered_is_refused(tmp_path):
    with pytest.raises(UserError) as caught:
        survey_new([tmp_path / "gone.png"], None, MeltLayerOptions())
    assert str(caught.value) == (
        f"{tmp_path / 'gone.png'} does not exist. Give photos, or folders of photos."
    )
    with pytest.raises(UserError, match=r"holds no photo \(\.png, \.jpg, "):
        survey_new([tmp_path], None, MeltLayerOptions())


def test_a_core_shorter_than_a_window_has_no_layers(source):
    photo = dataclasses.replace(source.about.photo, crop_px=(500, 530, 50, 250))
    short = dataclasses.replace(source, about=Section(photo))
    said = predict(infer(short, lambda windows: np.zeros((0, 2)), MeltLayerOptions()), THRESHOLDS)
    assert said == FilePrediction([], [])


def test_the_overlay_marks_the_layers_that_are_found(seen):
    drawn = overlay(seen, THRESHOLDS)
    assert drawn.dtype == np.uint8 and drawn.ndim == 3 and drawn.shape[2] == 3
    assert drawn.shape[0] >= 1400 and drawn.shape[1] >= 700
    rows = predict(seen, THRESHOLDS).rows
    bars = (drawn == figures.COLOURS["layer"]).all(axis=-1).sum(axis=1) >= 52
    bars |= (drawn == figures.COLOURS["uncertain"]).all(axis=-1).sum(axis=1) >= 52
    head = len(drawn) - figures.HEIGHT_PX
    shown = figures.HEIGHT_PX / (len(seen.ice) / seen.px_per_m * 1000)
    wanted = {
        y
        for row in rows
        for y in range(
            head + int(row["from_top_mm"] * shown),
            head + int((row["from_top_mm"] + row["thickness_mm"]) * shown) + 1,
        )
    }
    marked = set(np.flatnonzero(bars).tolist())
    assert wanted and all({y - 1, y, y + 1} & marked for y in wanted)
    assert all(set(range(y - 3, y + 4)) & wanted for y in marked)
    assert not np.array_equal(drawn, overlay(seen, {"decision": 1.01, "confident": 1.01}))


def test_the_overlay_has_the_labels_of_a_table_beside_the_photos(raw, tmp_path):
    shutil.copytree(raw, tmp_path / "new")
    folder = tmp_path / "new"

    def drawn():
        found = survey_new([folder / "photos"], None, MeltLayerOptions())
        first = found.sources[0]
        picture = overlay(infer(first, dark_aware, MeltLayerOptions()), THRESHOLDS)
        is_tabled = (picture == figures.TABLED).all(axis=-1)
        return (is_tabled.sum(axis=1) >= 20).sum(), picture.shape[1], found

    marked, width, found = drawn()
    assert marked >= 5 and folder / "layers.csv" in found.tables
    (folder / "layers.csv").write_text("depth_from,type of feature\n120 or so,meltLayer\n")
    unmarked, narrower, found = drawn()
    assert unmarked == 0 and narrower < width and len(found.sources) == 2
    assert "Overlays are without the labels of the table" in " ".join(found.notes)


@pytest.mark.parametrize(("count", "lines"), [(5, 5), (93, 93), (200, 93)])
def test_texts_at_the_lower_edge_of_an_overlay_stay_on_it(count, lines):
    core = np.random.default_rng(0).integers(0, 255, (4000, 200, 3)).astype(np.uint8)
    marks = [figures.LayerMark(3990, 4000, 0.88, False)] * count
    drawn = figures.overlay(
        core, np.zeros(4000), marks, figures.Tabled(),
        name="core", threshold=0.5, top_m=0.0, px_per_m=4000,
    )  # fmt: skip
    texts = drawn[-figures.HEIGHT_PX :, 18 - figures.LABELS_PX :]
    is_inked = (texts < 250).any(axis=(1, 2))
    assert int(np.diff(is_inked.astype(int), prepend=0).clip(0).sum()) == lines
    assert not is_inked[-1]  # none is cut off
    has_rest = (texts[-figures.LINE_PX :] == figures.SOFT).all(axis=-1).any()
    assert has_rest == (count > lines)  # "and 108 more, see the table"


def found_at(*spans_m):
    rows = [{"depth_from_m": a, "depth_to_m": b, "probability": 0.9} for a, b in spans_m]
    return FilePrediction(rows, [])


def test_found_layers_are_judged_against_the_table_moved_by_the_shift(source):
    features = (tables.Feature(120.5, 120.51, "meltLayer"), tables.Feature(121, 121, "meltLens"))
    one = dataclasses.replace(source, about=Section(source.about.photo, features))
    row = {"status": "aligned", "shift_mm": -20.0}
    said = found_at((120.481, 120.491), (120.98, 120.981))
    assert evaluate(one, row, said) == LayerCounts(1, 0, 1, (pytest.approx(1.0),), ("meltLens",), 2)
    assert evaluate(one, row | {"shift_mm": 20.0}, said).hits == 0
    assert evaluate(one, row, found_at()) == LayerCounts(0, 1, 0, (), (), 0)
    assert evaluate(one, {"status": "not identifiable", "shift_mm": 0.0}, said) is None


def test_lenses_are_compared_with_lenses_and_layers_with_layers(source):
    features = (
        tables.Feature(120.5, 120.51, "meltLayer"),
        tables.Feature(121, 121.002, "meltLens"),
        tables.Feature(121.2, 121.202, "meltLens"),
        tables.Feature(121.4, 121.402, "meltLens uncertain"),
    )
    one = dataclasses.replace(source, about=Section(source.about.photo, features))
    spans = ((120.5, 120.51), (121, 121.002), (121.3, 121.302), (121.4, 121.402))
    prediction = found_at((120.5, 120.51), *spans)
    for row in prediction.rows[1:]:
        row["kind"] = "lens"  # the first on a layer, the last on what nobody is certain of
    row = {"status": "aligned", "shift_mm": 0.0}
    counts = evaluate(one, row, prediction, kinds=("lens",))
    assert (counts.hits, counts.misses, counts.false) == (1, 0, 0)
    lenses = counts.kinds["lens"]
    assert (lenses.hits, lenses.misses, lenses.detected) == (1, 1, 4)
    assert lenses.false_positive_kinds == ("meltLayer", "other")
    scores = (counts + counts).scores
    assert scores["lens_f1"] == pytest.approx(2 * 1 / (2 * 1 + 2 + 1)) and scores["layer_f1"] == 1
    assert (scores["lens_tabled"], scores["lens_found"]) == (4, 8)
    assert "lens_f1" not in evaluate(one, row, prediction).scores  # of a model without kinds


def test_the_table_is_moved_by_the_drift_of_the_photos_shift_too(source):
    photo = source.about.photo
    middle_m = (photo.top_m + photo.bottom_m) / 2
    features = tuple(
        tables.Feature(depth_m - 0.001, depth_m + 0.001, "meltLayer")
        for depth_m in (photo.top_m + 0.1, middle_m, photo.bottom_m - 0.1)
    )
    one = dataclasses.replace(source, about=Section(photo, features))
    share = 0.5 - 0.1 / (photo.bottom_m - photo.top_m)
    moved_m = [
        f.depth_from_m + 0.01 + by * 0.004
        for f, by in zip(features, (-share, 0, share), strict=True)
    ]
    row = {"status": "aligned", "shift_mm": 10.0, "drift_mm": 4.0}
    counts = evaluate(one, row, found_at(*((m, m + 0.002) for m in moved_m)))
    assert counts.hits == 3 and max(counts.errors_mm) < 0.02
    for drift_mm in (0.0, float("nan")):  # of records that an older release made
        found = found_at(*((m, m + 0.002) for m in moved_m))
        assert evaluate(one, row | {"drift_mm": drift_mm}, found).errors_mm[0] > 1


def test_pictures_and_tables_take_what_was_said(seen, tmp_path):
    images.write_png(overlay(seen, THRESHOLDS), tmp_path / "overlay.png")
    assert images.probe(tmp_path / "overlay.png").height >= 1400
