"""The drawn melt-layer data: its files, its tables, and photos that show what the truth says."""

import cv2
import numpy as np
import pandas as pd
import pytest

from tfpipe.tasks.samples import table_mistakes
from tfpipe.tasks.samples.ice_features import CLEARANCE_MM, END_CLEARANCE_MM, draw_features
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


def test_depth_table_keeps_its_rules(layers, truth):
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
    right = layers[truth[truth.tabled == 1].mistake.isna().to_numpy()]
    assert right["depth from"].is_monotonic_increasing
    assert right["age (b2k)"].is_monotonic_increasing
    np.testing.assert_allclose(layers["age (b2k)"] + layers["age (CE)"], 2000, atol=0.06)


def test_label_minus_truth_is_the_photos_shift_and_the_mistake_of_the_row(truth, layers):
    tabled = truth[truth.tabled == 1].reset_index(drop=True)
    assert list(tabled.feature) == list(layers["type of feature"])
    wanted_mm = tabled.shift_mm + tabled.row_off_mm.fillna(0)
    off_mm = (layers["depth from"] - tabled.depth_from_m) * 1000
    np.testing.assert_allclose(off_mm, wanted_mm, atol=0.01)
    thick = tabled.feature == "meltLayer"
    off_mm = (layers["depth to"] - tabled.depth_to_m)[thick] * 1000
    np.testing.assert_allclose(off_mm, wanted_mm[thick], atol=0.01)
    assert (tabled.row_off_mm.notna() == tabled.mistake.notna()).all()
    np.testing.assert_allclose(truth.shift_px, truth.shift_mm * PX_PER_M / 1000, atol=0.01)
    assert (truth.groupby("photo").shift_mm.nunique() == 1).all()
    assert truth.shift_mm.abs().max() <= 30 and truth.shift_mm.nunique() > PHOTOS / 2


def test_truth_holds_every_photo_and_what_is_not_tabled(raw, truth):
    assert set(truth.photo) == {path.name for path in (raw / "photos").iterdir()}
    assert set(truth.feature[truth.mistake == "missing layer"]) <= {"meltLayer"}
    others = set(truth.feature[(truth.tabled == 0) & truth.mistake.isna()])
    assert {"crack", "break"} <= others <= {"crack", "break", "patch", "glare", "card", "none"}
    top_m = truth.photo.map(pd.read_csv(raw / "photos.csv").set_index("photo").top_m)
    for end in ("from", "to"):
        depth_m = top_m + truth[f"{end}_mm"] / 1000
        np.testing.assert_allclose(depth_m, truth[f"depth_{end}_m"], atol=2e-4)


def test_a_photo_without_features_has_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr("tfpipe.tasks.samples.melt_layer.draw_features", lambda rng, length_mm: [])
    assert draw(tmp_path / "bare", photos=1, px_per_m=500)["layers"] == 0
    (row,) = pd.read_csv(tmp_path / "bare" / "truth.csv").itertuples()
    assert (row.feature, row.tabled) == ("none", 0)
    assert list(pd.read_csv(tmp_path / "bare" / "layers.csv")) == HEADINGS


def test_features_keep_clear_of_ends_and_of_one_another(raw, truth):
    ends = pd.read_csv(raw / "photos.csv").set_index("photo")
    inside = truth[~truth.feature.isin(["none", "glare", "card"])]
    for photo, here in inside.groupby("photo"):
        assert here.depth_from_m.min() - ends.top_m[photo] >= END_CLEARANCE_MM / 1000 - 2e-4
        assert ends.bottom_m[photo] - here.depth_to_m.max() >= END_CLEARANCE_MM / 1000 - 2e-4
        gaps_m = here.depth_from_m.to_numpy()[1:] - here.depth_to_m.to_numpy()[:-1]
        assert (gaps_m >= CLEARANCE_MM / 1000 - 2e-4).all()


@pytest.mark.parametrize(("cause", "darkest", "least"), [("sharp", 0.2, 10), ("diffuse", 0.55, 3)])
def test_layers_are_dark_at_the_rows_of_the_truth(raw, truth, cause, darkest, least):
    """The bounds are those of the light, a little wider for cameras and bands of the ice around."""
    layers = truth[truth.cause == f"{cause} layer"]
    assert len(layers) >= least
    for one in layers.itertuples():
        means = row_means(raw, one)
        top, bottom = round(one.row_top_px), round(one.row_bottom_px)
        around = np.r_[means[top - 8 : top - 3], means[bottom + 4 : bottom + 9]].mean()
        middle = round((one.row_top_px + one.row_bottom_px) / 2)
        assert darkest * around < means[middle] < 0.87 * around, f"{one.photo} row {top}"


def test_the_core_lies_where_the_truth_says(raw, truth):
    with_card = set(truth.photo[truth.feature == "card"])  # which has edges of its own
    for one in truth[~truth.photo.isin(with_card)].drop_duplicates("photo").itertuples():
        means = row_means(raw, one)
        for edge, sign in ((one.core_top_px, 1), (one.core_bottom_px, -1)):
            start = round(edge) - 10
            steps = sign * np.diff(means[start : start + 20])
            assert abs(start + np.argmax(steps) + 0.5 - edge) <= 2, one.photo
        px_per_m = (one.core_bottom_px - one.core_top_px) / 1.646
        assert px_per_m == pytest.approx(PX_PER_M, rel=0.003)


@pytest.fixture(scope="module")
def many():
    """What lies in 300 cores."""
    rng = np.random.default_rng(1)
    return [feature for _ in range(300) for feature in draw_features(rng, length_mm=1650.0)]


def test_cores_have_what_real_ones_have(many):
    causes = pd.Series([feature.cause for feature in many]).value_counts()
    assert causes[["sharp layer", "thin layer", "diffuse layer", "lens"]].min() > 50
    looks_like_melt = ["break", "missing ice", "chip", "open crack", "refrozen crack"]
    assert causes[[*looks_like_melt, "bubble-free patch", "glare"]].min() > 20
    diffuse = [feature for feature in many if feature.cause == "diffuse layer"]
    assert all(0.62 <= 1 - feature.contrast <= 0.75 for feature in diffuse)
    assert all(2.9 <= 2.2 * feature.softness_mm <= 4.1 for feature in diffuse)
    lenses = [feature for feature in many if feature.cause == "lens"]
    assert all(20 <= feature.right_mm - feature.left_mm <= 80 for feature in lenses)


def rows_of_a_photo(rng):
    """Returns rows of truth.csv of a photo with up to five layers and lenses, and a crack."""
    kinds = rng.choice(["meltLayer", "meltLens"], rng.integers(0, 6)).tolist()
    depths_m = 120 + np.sort(rng.uniform(0, 1.6, len(kinds)))
    rows = [
        {"feature": kind, "tabled": 1, "depth_from_m": f"{depth_m:.4f}"}
        for kind, depth_m in zip(kinds, depths_m, strict=True)
    ]
    return [*rows, {"feature": "crack", "tabled": 0, "depth_from_m": "121.7"}]


def test_mistakes_of_the_table_are_few_and_written_down():
    rng, mistakes = np.random.default_rng(2), []
    for _ in range(1500):
        rows = rows_of_a_photo(rng)
        before = [dict(row) for row in rows]
        table_mistakes.make(rng, rows)
        changed = [row for row, old in zip(rows, before, strict=True) if row != old]
        mistakes += [row["mistake"] for row in changed]
        if not changed:
            continue
        off_mm = [float(row.get("row_off_mm", 0)) for row in changed]
        match changed[0]["mistake"]:
            case "missing layer":
                assert [(row["feature"], row["tabled"]) for row in changed] == [("meltLayer", 0)]
            case "shifted row":
                assert len(changed) == 1 and 8 <= abs(off_mm[0]) <= 25
            case "swapped depth":
                first, second = (float(row["depth_from_m"]) for row in changed)
                np.testing.assert_allclose(
                    off_mm, np.array([1, -1]) * 1000 * (second - first), atol=0.06
                )
        sound = [row for row in rows if "mistake" not in row and row["tabled"]]
        assert len(sound) >= 2
    assert {mistake: mistakes.count(mistake) > 10 for mistake in mistakes} == dict.fromkeys(
        ("missing layer", "shifted row", "swapped depth"), True
    )
    assert len(mistakes) < 0.15 * 1500
