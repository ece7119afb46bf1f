"""Labels are moved by the deck's cost, and only where the photo tells by how much."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpipe.tasks.melt_layer import layer_detection
from tfpipe.tasks.melt_layer.alignment import align, profile, rows_of
from tfpipe.tasks.melt_layer.options import MeltLayerOptions
from tfpipe.tasks.melt_layer.reader import omissions, read
from tfpipe.tasks.melt_layer.survey import survey
from tfpipe.tasks.melt_layer.tables import Feature
from tfpipe.tasks.samples.melt_layer import draw

TOP_M = 120.0
PX_PER_M = 2000.0
PLACE = {"top_m": TOP_M, "px_per_m": PX_PER_M, "max_shift_mm": 30.0}


def features_at(*rows, kind="meltLayer", top_m=TOP_M):
    """Returns features whose edges are rows of the core."""
    return [Feature(top_m + a / PX_PER_M, top_m + b / PX_PER_M, kind) for a, b in rows]


def core_with(*dark, height_px=1200, seed=0, noise=6):
    """Returns a core [height, 200, 3] of bright noisy ice, dark in the rows [from, to) given."""
    rng = np.random.default_rng(seed)
    light = 150 + noise * rng.standard_normal((height_px, 1, 1))
    light = light + 10 * rng.standard_normal((height_px, 200, 3))
    for top, bottom in dark:
        light[top:bottom] -= 60
    return np.clip(light, 0, 255).astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    height_px=st.integers(30, 500),
    layers=st.lists(
        st.tuples(st.floats(-0.05, 0.3), st.floats(0, 0.02)), min_size=1, max_size=6
    ),
    max_shift_mm=st.sampled_from([1.0, 7.5, 60.0]),
)  # fmt: skip
def test_the_cost_is_the_decks_formula(seed, height_px, layers, max_shift_mm):
    ice = np.random.default_rng(seed).integers(0, 256, (height_px, 200, 3), dtype=np.uint8)
    features = [Feature(TOP_M + at, TOP_M + at + thick, "meltLayer") for at, thick in layers]
    place = {"top_m": TOP_M, "px_per_m": PX_PER_M}
    found = align(ice, features, max_shift_mm=max_shift_mm, **place)

    intensity = profile(ice, px_per_m=PX_PER_M)
    rows = rows_of(features, **place)
    most = min(round(max_shift_mm * 2), height_px)
    assert found.shifts_px.tolist() == list(range(-most, most + 1))
    for shift, cost in zip(found.shifts_px, found.cost, strict=True):
        expected = 0.0
        for top, bottom in rows:
            inside = [
                intensity[r] for r in range(top + shift, bottom + shift) if 0 <= r < height_px
            ]
            expected += sum(inside) / (bottom - top)
        assert cost == pytest.approx(expected, abs=1e-9)


def test_features_lie_on_the_rows_of_their_depths():
    features = [Feature(120.1, 120.104, "meltLayer"), Feature(120.2, 120.2, "meltLens")]
    rows = rows_of(features, top_m=TOP_M, px_per_m=PX_PER_M)
    assert rows.tolist() == [[200, 208], [398, 402]]  # one without thickness is taken for 2 mm
    assert rows_of(features, top_m=TOP_M, px_per_m=PX_PER_M, shift_px=-7).tolist() == [
        [193, 201],
        [391, 395],
    ]
    assert rows_of(features, top_m=TOP_M, px_per_m=100).tolist() == [[10, 11], [20, 21]]
    assert rows_of([], top_m=TOP_M, px_per_m=PX_PER_M).shape == (0, 2)


@pytest.mark.parametrize("off_px", [-55, -37, -5, 0, 12, 50])
@pytest.mark.parametrize("dark", [[(400, 408)], [(300, 306), (420, 440), (900, 903)]])
def test_a_known_shift_is_recovered_within_a_pixel(dark, off_px):
    labels = features_at(*((a + off_px, b + off_px) for a, b in dark))
    found = align(core_with(*dark), labels, **PLACE)
    assert found.status == "aligned" and found.why == ""
    assert abs(found.shift_px - -off_px) <= 1
    assert found.shift_px == found.shifts_px[found.cost.argmin()]
    assert found.confidence > 1.5


@pytest.mark.parametrize("drift_px", [-6, 0, 6])
def test_a_shift_that_drifts_along_the_photo_is_followed(drift_px):
    """The labels of four layers lie 20 px too deep in the photo's middle, and drift by 3 mm."""
    dark = [(100, 108), (420, 426), (800, 808), (1100, 1110)]
    off_px = [20 - round(drift_px * ((a + b) / 2 / 1200 - 0.5)) for a, b in dark]
    labels = features_at(*((a + n, b + n) for (a, b), n in zip(dark, off_px, strict=True)))
    ice = core_with(*dark, noise=3)
    result = align(ice, labels, **PLACE)
    assert result.status == "aligned"
    assert result.shift_px == pytest.approx(-20, abs=1)
    assert result.drift_px == pytest.approx(drift_px, abs=1.5 if drift_px else 0)
    assert align(ice, labels[:2], **PLACE).drift_px == 0  # two layers could follow noise


def test_uncertain_features_are_moved_but_not_asked():
    dark, other = (400, 408), (700, 708)
    labels = features_at((410, 418)) + features_at((690, 698), kind="meltLayer uncertain")
    assert align(core_with(dark, other), labels, **PLACE).shift_px == -10


@pytest.mark.parametrize("level", [0, 150, 255])
def test_a_core_without_any_structure_tells_no_shift(level):
    found = align(np.full((1200, 200, 3), level, np.uint8), features_at((400, 408)), **PLACE)
    assert found.status == "not identifiable"


def test_a_core_of_noise_tells_no_shift():
    found = [align(core_with(seed=seed), features_at((400, 440)), **PLACE) for seed in range(8)]
    assert {one.status for one in found} == {"not identifiable"}
    assert "the cost curve is flat" in {one.why for one in found}


@pytest.mark.parametrize("off_px", [-63, -64, 63, 64])
def test_a_best_shift_on_the_edge_of_the_range_is_not_believed(off_px):
    found = align(core_with((400, 420)), features_at((400 + off_px, 420 + off_px)), **PLACE)
    assert found.status == "not identifiable"
    assert found.why == "the lowest cost lies on the edge of the range of shifts"


def test_two_shifts_that_cost_alike_are_not_believed():
    ice = core_with((380, 390))
    ice[410:440] = ice[370:400]
    found = align(ice, features_at((400, 410)), **PLACE)
    assert found.status == "not identifiable"
    assert found.why == "another shift costs nearly as little"


def test_without_sure_features_no_shift_is_told():
    doubtful = features_at((400, 408), kind="meltLayer uncertain")
    found = align(core_with((410, 418)), doubtful, **PLACE)
    assert (found.status, found.shift_px) == ("not identifiable", 0)
    assert found.why == "only uncertain features"
    found = align(core_with((410, 418)), [], **PLACE)
    assert (found.status, found.why, found.shift_px) == ("no layers", "", 0)


@pytest.mark.parametrize("max_shift_mm", [1.0, 1e12, float("inf")])
def test_no_range_of_shifts_is_longer_than_the_core(max_shift_mm):
    place = PLACE | {"max_shift_mm": max_shift_mm}
    found = align(core_with((400, 408)), features_at((401, 409)), **place)
    assert len(found.shifts_px) == 2 * min(2 * max_shift_mm, 1200) + 1
    assert found.shift_px == -1


@pytest.mark.parametrize("thickness_mm", [50, 80, 150, 180])
def test_a_thick_layer_is_aligned_and_found_whole(thickness_mm):
    """A layer is not taken for a slow change of the light, and comes out as one."""
    thick = 2 * thickness_mm
    ice = core_with((1200, 1200 + thick), height_px=3300)
    aligned = align(ice, features_at((1240, 1240 + thick)), **PLACE)
    assert (aligned.status, aligned.shift_px) == ("aligned", pytest.approx(-40, abs=1))
    brightness = profile(ice, px_per_m=PX_PER_M)
    likely = np.zeros(3300)
    likely[1190 : 1210 + thick] = 0.9
    (layer,) = layer_detection.merge(likely, brightness=brightness, threshold=0.5, px_per_m=2000.0)
    assert layer.top_px == pytest.approx(1200, abs=2)
    assert layer.bottom_px == pytest.approx(1200 + thick, abs=2)


def test_a_layer_that_is_not_dark_at_the_best_shift_is_named():
    """Two of three layers are there; the third one's place is bright."""
    ice = core_with((300, 306), (600, 610))
    found = align(ice, features_at((310, 316), (610, 620), (900, 906)), **PLACE)
    assert found.status == "not identifiable"
    assert found.why == "the layer at 120.450 m is not dark at the best shift"


def test_a_true_shift_out_of_the_range_is_not_replaced_by_another():
    """The labels lie 100 mm from their layers; 20 mm from them a crack is dark."""
    ice = core_with((300, 306), (520, 530))
    found = align(ice, features_at((500, 506)), **PLACE)
    assert found.status == "not identifiable"
    assert found.why == "a shift of -100 mm, beyond those tried, costs nearly as little"


@pytest.mark.parametrize(("depth", "status"), [(24, "aligned"), (40, "not identifiable")])
def test_one_layer_is_not_aligned_where_another_place_is_half_as_dark(depth, status):
    """The layer is 60 grey levels deep; 60 px from it lies a band of `depth`, not tabled."""
    grey = np.random.default_rng(2).normal(150, 2, 1200)
    grey[300:308] -= 60
    grey[360:368] -= depth
    ice = np.clip(grey, 0, 255).astype(np.uint8)[:, None, None] * np.ones((1, 200, 3), np.uint8)
    result = align(ice, features_at((310, 318)), **PLACE)
    assert result.status == status
    assert ("only one layer" in result.why) == (status != "aligned")


@pytest.mark.slow
def test_tables_that_do_not_fit_are_not_believed():
    """Three layers at random in photos with five other dark bands; before, half were believed."""
    rng = np.random.default_rng(4)
    believed = 0
    for seed in range(40):
        tops = rng.choice(np.arange(40, 1150, 30), 8, replace=False)
        ice = core_with(*((top, top + 8) for top in tops[:5]), seed=seed)
        found = align(ice, features_at(*((top, top + 8) for top in tops[5:])), **PLACE)
        believed += found.status == "aligned"
    assert believed <= 2


def test_gain_and_offset_of_the_light_change_nothing():
    dim = core_with((400, 408), (700, 703)) // 4 + 10
    labels = features_at((385, 393), (685, 688))
    one = align(dim, labels, **PLACE)
    for gain, offset in ((1, 60), (3, 0), (2, 45)):
        assert int(dim.max()) * gain + offset <= 255
        other = align(dim * np.uint8(gain) + np.uint8(offset), labels, **PLACE)
        assert (other.status, other.shift_px) == ("aligned", one.shift_px) == ("aligned", 15)
        np.testing.assert_allclose(other.cost, one.cost, atol=1e-6)
        assert other.confidence == pytest.approx(one.confidence)


def test_slow_changes_of_the_light_change_nothing():
    ice = core_with((400, 408), (700, 703)).astype(float)
    lamp = np.linspace(0.5, 1.4, len(ice))[:, None, None]
    labels = features_at((385, 393), (685, 688))
    found = align(np.clip(ice * lamp, 0, 255).astype(np.uint8), labels, **PLACE)
    assert (found.status, found.shift_px) == ("aligned", 15)


@pytest.mark.slow
def test_drawn_photos_are_aligned_within_5_px_and_none_is_surely_wrong(tmp_path):
    """Where breaks, chips and bands are as dark as a photo's only layer, it is set aside."""
    draw(tmp_path / "raw", photos=24, px_per_m=PX_PER_M)
    truth = pd.read_csv(tmp_path / "raw" / "truth.csv")
    mistaken = set(truth.photo[truth.mistake.notna()])
    with_layer = set(truth.photo[truth.feature == "meltLayer"]) - mistaken
    # The truth's shift is label minus truth; ours says how far labels are to be moved.
    wanted_px = -truth.drop_duplicates("photo").set_index("photo").shift_px
    rows = {}
    for source in survey(tmp_path / "raw", MeltLayerOptions()).sources:
        rows[source.name] = read(source, MeltLayerOptions()).row
    aligned = {name for name, row in rows.items() if row["status"] == "aligned"}
    right = {name for name in aligned if abs(rows[name]["shift_px"] - wanted_px[name]) <= 5}
    assert len(with_layer) >= 15
    assert len(right & with_layer) >= 0.75 * len(with_layer), sorted(with_layer - right)
    assert aligned == right, sorted(aligned - right)


def test_photos_that_are_set_aside_are_named():
    def row(photo, status, windows):
        return {"photo": photo, "status": status, "windows": windows}

    aside = [row(f"{i:02d}.png", "not identifiable", 0) for i in range(12)]
    used = [row("a.png", "aligned", 9), row("b.png", "no features", 0)]
    assert omissions(used) == []
    assert omissions([row("c.png", "not identifiable", 5)]) == []  # unaligned=use
    (note,) = omissions([*aside, *used])
    assert note.startswith("12 of 14 photos are set aside") and "09.png and 2 others" in note
