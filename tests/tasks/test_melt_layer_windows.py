"""Windows are cut and labelled by one rule, and put together again to layers and scores."""

import itertools
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpipe.tasks.melt_layer import layer_detection, windows
from tfpipe.tasks.melt_layer.layer_detection import Layer
from tfpipe.tasks.melt_layer.layer_metrics import LayerCounts, count_layers
from tfpipe.tasks.melt_layer.options import MeltLayerOptions
from tfpipe.tasks.melt_layer.reader import read
from tfpipe.tasks.melt_layer.survey import Section
from tfpipe.tasks.melt_layer.tables import Feature, Photo
from tfpipe.tasks.task import Source

HEIGHT_PX = 400
NONE = np.zeros((0, 2), int)


def labels(*tops, layers=NONE, uncertain=NONE, guard_px=10):
    return windows.labels(
        np.array(tops),
        layers=np.array(layers).reshape(-1, 2),
        uncertain=np.array(uncertain).reshape(-1, 2),
        guard_px=guard_px,
    ).tolist()


@pytest.mark.parametrize(
    ("height_px", "stride_px", "expected"),
    [
        (100, 10, [0, 10, 20, 30, 40, 50]),
        (107, 20, [0, 20, 40, 57]),
        (107, 57, [0, 57]),
        (107, 10**30, [0, 57]),
        (50, 10, [0]),
        (51, 10, [0, 1]),
        (49, 10, []),
        (1, 1, []),
    ],
)
def test_windows_begin_a_stride_apart_and_the_last_ends_flush(height_px, stride_px, expected):
    assert windows.tops(height_px, stride_px=stride_px).tolist() == expected


def test_windows_are_exact_crops():
    ice = np.random.default_rng(0).integers(0, 256, (173, 200, 3), dtype=np.uint8)
    tops = windows.tops(len(ice), stride_px=17)
    cut = windows.windows(ice, tops)
    assert cut.shape == (len(tops), 50, 200, 3)
    assert cut.dtype == np.uint8 and cut.flags.c_contiguous
    for top, window in zip(tops, cut, strict=True):
        np.testing.assert_array_equal(window, ice[top : top + 50])


@pytest.mark.parametrize("height_px", [1, 49])
def test_a_core_shorter_than_a_window_has_none(height_px):
    ice = np.zeros((height_px, 200, 3), np.uint8)
    cut = windows.windows(ice, windows.tops(height_px, stride_px=10))
    assert cut.shape == (0, 50, 200, 3) and cut.dtype == np.uint8


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        (100, windows.LAYER),  # 120..140 lies inside
        (85, windows.LAYER),  # holds 15 of its 20 rows
        (84, windows.NEITHER),  # holds 14
        (125, windows.LAYER),
        (126, windows.NEITHER),
        (70, windows.NEITHER),  # ends where it begins, inside the guard
        (61, windows.NEITHER),  # ends one row inside the guard
        (60, windows.NO_LAYER),  # ends where the guard begins
        (149, windows.NEITHER),
        (150, windows.NO_LAYER),
        (0, windows.NO_LAYER),
    ],
)
def test_a_window_shows_three_quarters_of_a_layer_or_nothing_near_it(top, expected):
    assert labels(top, layers=[(120, 140)]) == [expected]


def test_a_window_in_a_thick_layer_shows_it():
    # 160 rows of layer: what counts is how much of the window is layer, 38 of its 50 rows.
    thick = [(100, 260)]
    assert labels(87, 88, 150, 222, 223, layers=thick) == [-1, 1, 1, 1, -1]


def test_the_guard_is_as_wide_as_asked():
    assert labels(69, 70, 71, layers=[(120, 140)], guard_px=0) == [0, 0, -1]
    assert labels(29, 30, 31, layers=[(120, 140)], guard_px=40) == [0, 0, -1]


def test_a_window_that_touches_something_doubtful_shows_neither_unless_it_shows_a_layer():
    doubtful = [(200, 204)]
    assert labels(149, 150, 151, 203, 204, uncertain=doubtful) == [0, 0, -1, -1, 0]
    assert labels(170, layers=[(180, 190)], uncertain=doubtful) == [1]
    assert labels(0, 50) == [0, 0]


@pytest.fixture
def source(tmp_path):
    """A photo whose core is given, 1000 rows a metre: a row of the core is a millimetre."""
    ice = np.random.default_rng(0).integers(90, 110, (HEIGHT_PX, 200, 3), dtype=np.uint8)
    ice[150:160] = 30
    cv2.imwrite(str(tmp_path / "a.png"), ice)
    crop_px = (0, HEIGHT_PX, 0, 200)
    photo = Photo("a.png", tmp_path / "a.png", 10.0, 10.4, crop_px, "section 7")
    features = (
        Feature(10.145, 10.155, "meltLayer"),
        Feature(10.295, 10.300, "meltLayer uncertain"),
    )
    return Source("a.png", "section 7", tmp_path / "a.png", Section(photo, features))


def test_examples_know_their_depths_photo_group_and_feature(source):
    reading = read(source, MeltLayerOptions())
    assert (reading.row["status"], reading.row["shift_px"]) == ("aligned", 5)
    examples = reading.examples
    ice = cv2.imread(str(source.path))[..., ::-1]
    tops_m = np.array([e.metadata["depth_top_m"] for e in examples])
    bottoms_m = np.array([e.metadata["depth_bottom_m"] for e in examples])
    assert (np.diff(tops_m) > 0).all()
    np.testing.assert_allclose(bottoms_m - tops_m, 0.05)
    assert tops_m[0] == pytest.approx(10.01)  # the labels, moved by 5 rows, say nothing of 0..5
    assert bottoms_m[-1] == pytest.approx(10.4)
    for example, top_m in zip(examples, tops_m, strict=True):
        row = round((top_m - 10.0) * 1000)
        assert example.key == f"a.png@{row:06d}" and example.group == "section 7"
        np.testing.assert_array_equal(example.image, ice[row : row + 50])
        assert example.metadata["photo"] == "a.png"
        assert example.metadata["shift_mm"] == pytest.approx(5.0)
        held = min(row + 50, 160) - max(row, 150)
        assert example.label == (held >= 7.5)
        assert (example.metadata["type_of_feature"] == "meltLayer") == (held > 0)
    assert reading.row["windows"] == len(examples)
    assert reading.row["layer_windows"] == sum(e.label for e in examples) == 5


def test_windows_cover_a_core_without_features_from_end_to_end(source):
    bare = Section(source.about.photo)
    examples = read(
        Source(source.name, source.group, source.path, bare), MeltLayerOptions()
    ).examples
    edges_m = [(e.metadata["depth_top_m"], e.metadata["depth_bottom_m"]) for e in examples]
    assert edges_m[0][0] == 10.0 and edges_m[-1][1] == pytest.approx(10.4)
    assert all(after[0] < before[1] for before, after in zip(edges_m, edges_m[1:], strict=False))
    assert {e.label for e in examples} == {0}


def test_doubtful_features_are_left_out_or_learnt_as_asked(source):
    def on_doubtful(**options):
        examples = read(source, MeltLayerOptions(**options)).examples
        rows = [int(example.key[-6:]) for example in examples]  # 295..300 as tabled, moved by 5
        return [e.label for e, row in zip(examples, rows, strict=True) if 255 <= row <= 300]

    assert on_doubtful() == []
    assert set(on_doubtful(uncertain="include")) == {1}


def test_a_doubtful_lens_is_never_learnt_as_a_layer(source):
    photo, (sure, doubtful) = source.about.photo, source.about.features
    lens = Feature(doubtful.depth_from_m, doubtful.depth_to_m, "meltLens uncertain")
    other = Source(source.name, source.group, source.path, Section(photo, (sure, lens)))
    one, both = (read(s, MeltLayerOptions(uncertain="include")).examples for s in (other, source))
    assert sum(e.label for e in both) > sum(e.label for e in one) == 5


def test_photos_whose_shift_is_unknown_are_set_aside_unless_asked_for(source):
    doubtful = source.about.features[1:]
    other = Source("a.png", "a.png", source.path, Section(source.about.photo, doubtful))
    reading = read(other, MeltLayerOptions())
    assert reading.row["status"] == "not identifiable" and reading.examples == []
    assert len(read(other, MeltLayerOptions(unaligned="use")).examples) > 20


@settings(max_examples=50, deadline=None)
@given(
    height_px=st.integers(50, 300),
    stride_px=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_rows_probability_is_the_mean_over_the_windows_that_hold_it(height_px, stride_px, seed):
    tops = windows.tops(height_px, stride_px=stride_px)
    likely = np.random.default_rng(seed).random(len(tops)).round(1)
    traced = layer_detection.trace(tops, likely, height_px=height_px)
    assert traced.shape == (height_px,)
    assert (traced >= 0).all() and (traced <= 1).all()
    for row in range(height_px):
        held = [p for top, p in zip(tops, likely, strict=True) if top <= row < top + 50]
        assert traced[row] == pytest.approx(np.mean(held) if held else 0.0, abs=1e-9)


def test_a_core_without_windows_has_no_probability_anywhere():
    assert layer_detection.trace(np.zeros(0, int), np.zeros(0), height_px=30).tolist() == [0] * 30


def found_in(*spans, seen=None, threshold=0.5, depth=5.0):
    """Returns the layers merged from a perfect model: windows that hold three quarters of a layer.

    Args:
      spans: first and one-past-last row of each dark run.
      seen: those that are layers; all by default.
      threshold: of the decision.
      depth: how dark, in deviations.
    """
    tops = windows.tops(HEIGHT_PX, stride_px=10)
    seen = np.array(spans if seen is None else seen).reshape(-1, 2)
    truth = windows.labels(tops, layers=seen, uncertain=NONE, guard_px=0)
    brightness = 0.3 * np.sin(np.arange(HEIGHT_PX))
    for top, bottom in spans:
        brightness[top:bottom] = -depth
    likely = layer_detection.trace(
        tops, (truth == windows.LAYER) * 0.96 + 0.02, height_px=HEIGHT_PX
    )
    merged = layer_detection.merge(
        likely, brightness=brightness, threshold=threshold, px_per_m=2000.0
    )
    for layer in merged:
        assert layer.probability == likely[layer.top_px : layer.bottom_px].max() >= threshold
    return [(layer.top_px, layer.bottom_px) for layer in merged]


@pytest.mark.parametrize("thickness_px", [1, 4, 9, 20])
def test_one_thin_layer_is_found_as_thick_as_it_is_dark(thickness_px):
    assert found_in((180, 180 + thickness_px)) == [(180, 180 + thickness_px)]


def test_two_layers_30_px_apart_are_two():
    assert found_in((150, 156), (186, 194)) == [(150, 156), (186, 194)]


@pytest.mark.parametrize("thickness_px", [51, 80, 160])
def test_a_thick_layer_is_one(thickness_px):
    assert found_in((120, 120 + thickness_px)) == [(120, 120 + thickness_px)]


@pytest.mark.parametrize("threshold", [0.1, 0.2, 0.5, 0.7])
@pytest.mark.parametrize("lens", [(121, 127), (193, 199)])
def test_a_lens_30_px_from_a_layer_is_left_out(lens, threshold):
    layer = (157, 163)
    assert found_in(lens, layer, seen=[layer], threshold=threshold) == [layer]
    assert found_in(lens, layer, threshold=threshold) == sorted([lens, layer])


@pytest.mark.parametrize("between_px", [8, 20, 38])
def test_a_layer_beside_a_darker_one_is_found_whole(between_px):
    """Each ends at half of its own depth; 38 px of 0.5 mm are 19 mm."""
    brightness = 0.3 * np.sin(np.arange(HEIGHT_PX))
    first, second = (150, 158), (158 + between_px, 164 + between_px)
    brightness[slice(*first)], brightness[slice(*second)] = -12, -5
    likely = np.zeros(HEIGHT_PX)
    likely[120:240] = 0.9
    merged = layer_detection.merge(likely, brightness=brightness, threshold=0.5, px_per_m=2000.0)
    assert [(layer.top_px, layer.bottom_px) for layer in merged] == [first, second]


@pytest.mark.parametrize(("gap_px", "n_layers"), [(1, 1), (2, 1), (3, 2), (8, 2)])
def test_bright_rows_of_a_millimetre_do_not_cut_a_layer_in_two(gap_px, n_layers):
    """2 rows are a millimetre; farther apart there are two layers."""
    brightness, likely = np.zeros(HEIGHT_PX), np.full(HEIGHT_PX, 0.9)
    brightness[150:156] = -7
    brightness[156 + gap_px : 162 + gap_px] = -6
    merged = layer_detection.merge(likely, brightness=brightness, threshold=0.5, px_per_m=2000.0)
    assert len(merged) == n_layers
    assert (merged[0].top_px, merged[-1].bottom_px) == (150, 162 + gap_px)


def test_the_flank_of_a_layer_is_no_layer_of_its_own():
    brightness = np.zeros(HEIGHT_PX)
    brightness[150:170] = [-4.5] * 6 + [-12] * 8 + [-4.5] * 6
    likely = np.full(HEIGHT_PX, 0.9)
    merged = layer_detection.merge(likely, brightness=brightness, threshold=0.5, px_per_m=2000.0)
    assert [(layer.top_px, layer.bottom_px) for layer in merged] == [(156, 164)]


def test_a_break_of_low_probability_does_not_hide_the_layer_beside_it():
    brightness, likely = np.zeros(HEIGHT_PX), np.full(HEIGHT_PX, 0.5)
    brightness[150:160], brightness[200:206] = -30, -5
    likely[190:220] = 0.9
    merged = layer_detection.merge(likely, brightness=brightness, threshold=0.4, px_per_m=2000.0)
    assert [(layer.top_px, layer.bottom_px) for layer in merged] == [(200, 206)]


def test_a_layer_that_two_likely_zones_reach_is_one():
    likely = np.zeros(200)
    likely[60:80] = likely[100:120] = 0.9
    brightness = np.r_[np.zeros(50), np.full(80, -5.0), np.zeros(70)]
    assert layer_detection.merge(likely, brightness=brightness, threshold=0.5, px_per_m=2000.0) == [
        Layer(50, 130, 0.9)
    ]


def test_layers_at_both_ends_are_found():
    assert found_in((0, 5), (395, 400)) == [(0, 5), (395, 400)]


def test_nothing_is_found_where_nothing_is_likely():
    assert found_in((150, 156), seen=[]) == []
    assert (
        layer_detection.merge(np.zeros(90), brightness=np.zeros(90), threshold=0.5, px_per_m=2000.0)
        == []
    )


def test_where_no_row_is_dark_over_the_whole_width_there_is_no_layer():
    likely = np.r_[np.zeros(40), np.full(10, 0.9), np.zeros(40)]
    faint, dark = np.zeros(90), np.zeros(90)
    faint[45], dark[45] = -1.9, -2.1
    assert layer_detection.merge(likely, brightness=faint, threshold=0.5, px_per_m=2000.0) == []
    assert layer_detection.merge(likely, brightness=dark, threshold=0.5, px_per_m=2000.0) == [
        Layer(45, 46, 0.9)
    ]


def test_a_row_at_the_threshold_belongs_to_a_layer():
    likely = np.full(90, 0.5)
    brightness = np.r_[np.zeros(40), [-5] * 3, np.zeros(47)]
    assert layer_detection.merge(likely, brightness=brightness, threshold=0.5, px_per_m=2000.0) == [
        Layer(40, 43, 0.5)
    ]


SURE = Feature(1.0, 1.01, "meltLayer")
DOUBTFUL = Feature(1.1, 1.11, "meltLayer uncertain")
LENS = Feature(1.2, 1.2, "meltLens")
ROWS = np.array([(100, 110), (200, 210), (300, 302)])


def matched(*spans, features=(SURE, DOUBTFUL, LENS), rows=ROWS, px_per_m=1000.0):
    found = [Layer(top, bottom, 0.9) for top, bottom in spans]
    return count_layers(found, list(features), rows, px_per_m=px_per_m)


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], LayerCounts(0, 1, 0, (), (), 0)),
        ([(100, 110)], LayerCounts(1, 0, 0, (0.0,), (), 1)),
        ([(109, 115)], LayerCounts(1, 0, 0, (7.0,), (), 1)),
        ([(110, 115)], LayerCounts(0, 1, 1, (), ("other",), 1)),  # side by side is not shared
        ([(95, 100)], LayerCounts(0, 1, 1, (), ("other",), 1)),
        # Of three pieces the one that shares most is the layer, the others are false.
        (
            [(98, 102), (104, 108), (109, 130)],
            LayerCounts(1, 0, 2, (1.0,), ("meltLayer", "meltLayer"), 3),
        ),
        ([(204, 205)], LayerCounts(0, 1, 0, (), (), 1)),
        ([(299, 303)], LayerCounts(0, 1, 1, (), ("meltLens",), 1)),
        (
            [(100, 110), (150, 160), (301, 305)],
            LayerCounts(1, 0, 2, (0.0,), ("other", "meltLens"), 3),
        ),
        ([(100, 205)], LayerCounts(1, 0, 0, (47.5,), (), 1)),
    ],
)
def test_found_layers_are_matched_with_tabled_ones(spans, expected):
    assert matched(*spans) == expected


def test_one_found_layer_over_three_tabled_ones_finds_one():
    rows = np.array([(100, 110), (120, 130), (140, 150)])
    result = matched((95, 155), features=(SURE, SURE, SURE), rows=rows, px_per_m=500.0)
    assert (result.hits, result.misses, result.false, result.detected) == (1, 2, 0, 1)


@pytest.mark.parametrize("seed", range(20))
def test_matching_is_the_largest_of_all(seed):
    """Against every pairing of up to four detected with up to four tabled layers."""
    rng = np.random.default_rng(seed)
    tops = [np.sort(rng.choice(np.arange(0, 60, 6), rng.integers(1, 5), False)) for _ in range(2)]
    spans, rows = (np.stack([t, t + rng.integers(2, 9, len(t))], axis=1) for t in tops)
    shared = np.maximum(
        np.minimum(spans[:, None, 1], rows[:, 1]) - np.maximum(spans[:, None, 0], rows[:, 0]), 0
    )
    size = max(shared.shape)
    square = np.zeros((size, size), int)
    square[: shared.shape[0], : shared.shape[1]] = shared
    best = max(itertools.permutations(range(size)), key=lambda p: sum(square[range(size), p]))
    result = matched(*spans.tolist(), features=(SURE,) * len(rows), rows=rows)
    assert result.hits + result.misses == len(rows)
    assert result.hits + result.false == len(spans) == result.detected
    matched_rows = sum(square[range(size), best])
    assert (result.hits > 0) == (matched_rows > 0)


@pytest.mark.parametrize(("judged", "expected"), [(None, (1, 1, 1)), ((105, 400), (0, 1, 0))])
def test_only_rows_that_the_table_speaks_of_are_judged(judged, expected):
    """A layer that the shift moves out of view is no miss, one that comes into view not false."""
    rows = np.array([(90, 110), (300, 310)])
    detected = [Layer(20, 30, 0.9), Layer(95, 110, 0.9)]
    result = count_layers(detected, [SURE, SURE], rows, px_per_m=1000.0, scored_rows=judged)
    assert (result.hits, result.misses, result.false) == expected


def test_a_photo_without_features_has_only_false_ones():
    assert matched((5, 9), features=(), rows=NONE) == LayerCounts(0, 0, 1, (), ("other",), 1)
    assert matched(features=(), rows=NONE) == LayerCounts(0, 0, 0, (), (), 0)


@pytest.mark.parametrize(
    ("hits", "false", "is_sure"), [(31, 0, False), (32, 0, True), (60, 1, True)]
)
def test_layers_are_sure_only_by_a_bound_of_their_precision(hits, false, is_sure):
    """0.2 ** (1 / 32) is 0.951, the bound of 32 of 32 (Clopper & Pearson 1934)."""
    counts = LayerCounts(hits, 0, false, (0.0,) * hits, ("other",) * false, hits + false)
    assert (counts.precision_bound >= 0.95) == is_sure
    assert LayerCounts(0, 0, 0, (), (), 0).precision_bound == 0


def test_scores_of_several_photos_add_up():
    both = LayerCounts(2, 1, 0, (1.0, 3.0), (), 3) + LayerCounts(
        1, 0, 2, (8.0,), ("other", "meltLens"), 3
    )
    assert both.scores == {
        "layer_precision": 3 / 5,
        "layer_recall": 3 / 4,
        "layer_f1": pytest.approx(6 / 9),
        "layer_depth_error_mm": 3.0,
        "layers_tabled": 4,
        "layers_found": 6,
    }
    assert both.false_positive_kinds == ("other", "meltLens")


@pytest.mark.parametrize(
    ("counts", "missing", "f1"),
    [
        ((0, 0, 0), {"layer_precision", "layer_recall", "layer_f1", "layer_depth_error_mm"}, None),
        ((0, 2, 0), {"layer_precision", "layer_depth_error_mm"}, 0.0),
        ((0, 0, 2), {"layer_recall", "layer_depth_error_mm"}, 0.0),
        ((0, 1, 1), {"layer_depth_error_mm"}, 0.0),
    ],
)
def test_scores_of_nothing_are_nan_not_zero(counts, missing, f1):
    scores = LayerCounts(*counts, (), (), 0).scores
    assert {name for name, value in scores.items() if math.isnan(value)} == missing
    assert f1 is None or scores["layer_f1"] == f1
