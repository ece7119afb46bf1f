"""The drawn melt-layer data: its files, its tables, and photos that show what the truth says."""

import cv2
import numpy as np
import pandas as pd
import pytest

from tfpipe.tasks.samples.ice import CLEARANCE_MM, END_CLEARANCE_MM
from tfpipe.tasks.samples.melt_layer import draw

PHOTOS = 12
PX_PER_M = 600.0
HEADINGS = ["bag", "depth from", "depth to", "age (b2k)", "age (CE)", "type of feature"]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A drawn data set that holds every format and every kind of row."""
    folder = tmp_path_factory.mktemp("raw") / "melt-layer"
    summary = draw(folder, photos=PHOTOS, seed=3, px_per_m=PX_PER_M)
    assert summary["photos"] == PHOTOS
    assert summary["layers"] == len(pd.read_csv(folder / "layers.csv"))
    assert summary["truth"] == str(folder / "truth.csv")
    return folder


@pytest.fixture(scope="module")
def truth(raw):
    return pd.read_csv(raw / "truth.csv")


@pytest.fixture(scope="module")
def layers(raw):
    return pd.read_csv(raw / "layers.csv")


def light_of(path):
    """Returns a photo's light [rows, columns] float in 0..1."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    light = pixels / np.iinfo(pixels.dtype).max
    return light if light.ndim == 2 else light.mean(axis=2)


def row_means(raw, one):
    """Returns the mean light of each row [rows], over the middle of the core's width."""
    edge = 0.15 * (one.core_right_px - one.core_left_px)
    columns = slice(int(one.core_left_px + edge), int(one.core_right_px - edge))
    return light_of(raw / "photos" / one.photo)[:, columns].mean(axis=1)


def test_sections_follow_one_another(raw):
    photos = pd.read_csv(raw / "photos.csv", dtype={"photo": str})
    assert list(photos) == ["photo", "top_m", "bottom_m"]
    assert sorted(photos.photo) == sorted(path.name for path in (raw / "photos").iterdir())
    assert photos.top_m[0] == 120.0
    assert (photos.bottom_m - photos.top_m).between(1.64, 1.65).all()
    loss_m = photos.top_m[1:].to_numpy() - photos.bottom_m[:-1].to_numpy()
    assert (loss_m >= 0.001).all() and (loss_m <= 0.01).all()


def test_every_format_is_there(raw, truth):
    kinds = set()
    for path in (raw / "photos").iterdir():
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        kinds.add((path.suffix, pixels.dtype.name, pixels.ndim))
        assert 0.02 < light_of(path).mean() < 0.9
    assert kinds == {
        (".png", "uint8", 3),
        (".png", "uint8", 2),
        (".jpg", "uint8", 3),
        (".tif", "uint16", 2),
    }


def test_depth_table_keeps_its_rules(layers):
    assert list(layers) == HEADINGS
    kinds = layers["type of feature"]
    assert (
        {"meltLayer", "meltLens"}
        < set(kinds)
        <= {
            "meltLayer",
            "meltLens",
            "meltLayer uncertain",
            "meltLens uncertain",
            "indication of bubble free layer or patch",
        }
    )
    thick, lens = kinds == "meltLayer", kinds == "meltLens"
    assert (layers["depth to"] > layers["depth from"])[thick].all()
    assert (layers["depth to"] == layers["depth from"])[lens].all()
    assert layers["depth to"][~(thick | lens)].isna().all()
    assert layers["bag"].isna().any() and layers["bag"].notna().any()
    assert layers["depth from"].is_monotonic_increasing
    assert layers["age (b2k)"].is_monotonic_increasing
    np.testing.assert_allclose(layers["age (b2k)"] + layers["age (CE)"], 2000, atol=0.06)


def test_label_minus_truth_is_the_photos_shift(truth, layers):
    tabled = truth[truth.tabled == 1].reset_index(drop=True)
    assert list(tabled.feature) == list(layers["type of feature"])
    off_mm = (layers["depth from"] - tabled.depth_from_m) * 1000
    np.testing.assert_allclose(off_mm, tabled.shift_mm, atol=0.01)
    thick = tabled.feature == "meltLayer"
    off_mm = (layers["depth to"] - tabled.depth_to_m)[thick] * 1000
    np.testing.assert_allclose(off_mm, tabled.shift_mm[thick], atol=0.01)
    np.testing.assert_allclose(truth.shift_px, truth.shift_mm * PX_PER_M / 1000, atol=0.01)
    assert (truth.groupby("photo").shift_mm.nunique() == 1).all()
    assert truth.shift_mm.abs().max() <= 30 and truth.shift_mm.nunique() > PHOTOS / 2


def test_truth_holds_every_photo_and_what_is_not_tabled(raw, truth):
    assert set(truth.photo) == {path.name for path in (raw / "photos").iterdir()}
    assert {"crack", "break"} <= set(truth.feature[truth.tabled == 0])
    assert set(truth.feature[truth.tabled == 0]) <= {"crack", "break", "none"}


def test_a_photo_without_features_has_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr("tfpipe.tasks.samples.ice.draw_features", lambda rng, length_mm: [])
    assert draw(tmp_path / "bare", photos=1, px_per_m=500)["layers"] == 0
    (row,) = pd.read_csv(tmp_path / "bare" / "truth.csv").itertuples()
    assert (row.feature, row.tabled) == ("none", 0)
    assert list(pd.read_csv(tmp_path / "bare" / "layers.csv")) == HEADINGS


def test_features_keep_clear_of_ends_and_of_one_another(raw, truth):
    ends = pd.read_csv(raw / "photos.csv").set_index("photo")
    for photo, here in truth[truth.feature != "none"].groupby("photo"):
        assert here.depth_from_m.min() - ends.top_m[photo] >= END_CLEARANCE_MM / 1000 - 2e-4
        assert ends.bottom_m[photo] - here.depth_to_m.max() >= END_CLEARANCE_MM / 1000 - 2e-4
        gaps_m = here.depth_from_m.to_numpy()[1:] - here.depth_to_m.to_numpy()[:-1]
        assert (gaps_m >= CLEARANCE_MM / 1000 - 2e-4).all()


def test_melt_layers_are_darker_at_the_rows_of_the_truth(raw, truth):
    melt = truth[truth.feature == "meltLayer"]
    assert len(melt) > 10
    for one in melt.itertuples():
        means = row_means(raw, one)
        top, bottom = round(one.row_top_px), round(one.row_bottom_px)
        around = np.r_[means[top - 6 : top - 2], means[bottom + 3 : bottom + 7]].mean()
        inside = means[top : bottom + 1].mean()
        assert inside < 0.93 * around, f"{one.photo} row {top}"


def test_the_core_lies_where_the_truth_says(raw, truth):
    for one in truth.drop_duplicates("photo").itertuples():
        means = row_means(raw, one)
        for edge, sign in ((one.core_top_px, 1), (one.core_bottom_px, -1)):
            start = round(edge) - 10
            steps = sign * np.diff(means[start : start + 20])
            assert abs(start + np.argmax(steps) + 0.5 - edge) <= 2, one.photo
        px_per_m = (one.core_bottom_px - one.core_top_px) / 1.646
        assert px_per_m == pytest.approx(PX_PER_M, rel=0.003)
