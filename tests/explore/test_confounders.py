"""What a nuisance explains and what it does not, and how nuisances are measured."""

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tfpipe.explore import confounders

COUNT = 600


@pytest.fixture(scope="module")
def tested():
    """Cluster 0 is bright, 1 middling in size, 2 of one run, 3 of a shape; 4 is drawn by lot."""
    rng = np.random.default_rng(7)
    clusters = rng.permutation(np.arange(COUNT) % 6 - 1)
    brightness = rng.normal(100, 10, COUNT) + 40 * (clusters == 0)
    size = np.where(clusters == 1, 30 + rng.normal(0, 1, COUNT), rng.uniform(5, 55, COUNT))
    run = np.where(clusters == 2, "run7", rng.choice(["run1", "run2", "run3", "run7"], COUNT))
    nuisances = {"brightness": brightness, "size": size, "group": run.astype(str)}
    return confounders.of_clusters(clusters, nuisances), clusters, nuisances


@pytest.mark.parametrize(
    ("cluster", "name"),
    [("cluster 0", "brightness"), ("cluster 1", "size"), ("cluster 2", "group")],
)
def test_what_makes_a_cluster_is_said_to(tested, cluster, name):
    frame = tested[0]
    explained = frame[frame["explained"] & (frame["what"] == cluster)]
    assert explained["nuisance"].tolist() == [name]
    assert explained["value"].iat[0] > 0.8 and explained["p"].iat[0] < 0.001
    sentence = confounders.in_words(frame)[cluster]
    assert sentence.startswith(f"{cluster.capitalize()} may be no more than {name} (AUROC ")


@pytest.mark.parametrize("cluster", ["cluster 3", "cluster 4"])
def test_a_cluster_by_something_else_is_not_explained(tested, cluster):
    frame = tested[0]
    rows = frame[frame["what"] == cluster]
    assert not rows["explained"].any() and (rows["value"] < 0.65).all()
    assert "explained by none of these" in confounders.in_words(frame)[cluster]


def test_by_lot_nothing_is_explained_or_sure(tested):
    _, clusters, nuisances = tested
    lots = np.random.default_rng(8).permutation(clusters)
    frame = confounders.of_clusters(lots, nuisances)
    assert not frame["explained"].any()
    assert (frame["p"] < 0.05).sum() <= 1  # of all tests together, one time in twenty
    assert abs(frame["value"].mean() - 0.5) < 0.05


def test_many_small_groups_explain_nothing_by_their_number():
    rng = np.random.default_rng(0)
    groups = np.array([f"g{i}" for i in rng.integers(0, 200, COUNT)])
    frame = confounders.of_clusters(np.arange(COUNT) % 3, {"group": groups})
    assert (frame["value"] < 0.6).all()
    scores = confounders.of_scores({"energy": rng.normal(size=COUNT)}, {"group": groups})
    assert scores["value"].iat[0] < 0.1


def test_a_score_that_follows_light_or_run_is_said_to():
    rng = np.random.default_rng(0)
    light, run = rng.normal(size=COUNT), rng.choice(["a", "b"], COUNT).astype(str)
    scores = {
        "dark": -light + rng.normal(0, 0.3, COUNT),
        "of_run": (run == "b") + rng.normal(0, 0.3, COUNT),
        "free": rng.normal(size=COUNT),
        "flat": np.zeros(COUNT),
    }
    light[3] = np.nan
    frame = confounders.of_scores(scores, {"light": light, "group": run})
    explained = frame[frame["explained"]]
    assert list(zip(explained["what"], explained["nuisance"], strict=True)) == [
        ("dark", "light"),
        ("of_run", "group"),
    ]
    assert explained["value"].iat[0] < -0.8
    assert confounders.in_words(frame)["of_run"].startswith(
        "Of run may be no more than group (eta "
    )


def test_without_a_cluster_there_is_an_empty_table():
    frame = confounders.of_clusters(np.full(20, -1), {"light": np.arange(20.0)})
    assert len(frame) == 0 and "explained" in frame
    assert confounders.in_words(frame) == {}


@given(arrays.arrays(np.float64, st.integers(1, 20), elements=st.floats(0, 1)))
def test_holm_is_between_one_test_and_bonferroni(p):
    adjusted = confounders.holm(p)
    assert (adjusted >= p - 1e-12).all() and (adjusted <= np.minimum(p * len(p), 1) + 1e-12).all()
    assert adjusted.min() == pytest.approx(min(p.min() * len(p), 1))
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()


@given(
    arrays.arrays(np.float64, st.integers(1, 50), elements=st.floats(-5, 5) | st.just(float("nan")))
)
def test_every_value_has_a_bin_and_missing_ones_their_own(values):
    result = confounders.bins(values)
    missing = np.isnan(values)
    assert result.shape == values.shape and result.min() >= 0
    assert not set(result[missing]) & set(result[~missing])
    order = np.argsort(values[~missing], kind="stable")
    assert (np.diff(result[~missing][order]) >= 0).all()


# Measures.


def disc(*, side=64, radius=10, light=200, dark=80, centre=None, pad=0) -> np.ndarray:
    """Returns a dark disc on a light ground with noise of one level, padded all round."""
    inner = side - 2 * pad
    image = np.random.default_rng(0).integers(light - 1, light + 2, (inner, inner), np.uint8)
    cv2.circle(image, centre or (inner // 2, inner // 2), radius, dark, -1)
    padded = np.full((side, side), light, np.uint8)
    padded[pad : side - pad, pad : side - pad] = image
    return padded[..., None]


def measured(image: np.ndarray) -> confounders.Nuisances:
    return confounders.Nuisances(*confounders.measure_nuisances(image[None])[0])


def test_a_disc_is_measured_as_it_was_drawn():
    result = measured(disc(radius=10))
    assert result.brightness == pytest.approx(200, abs=1)
    assert result.contrast == pytest.approx(120, abs=2)
    assert result.size == pytest.approx(21, abs=1)  # a radius of 10 px around the middle one
    assert result.border_contact == 0


def test_light_moves_brightness_and_nothing_else():
    dim, bright = measured(disc(light=150, dark=30)), measured(disc(light=200, dark=80))
    assert bright.brightness - dim.brightness == pytest.approx(50)
    assert bright[1:] == pytest.approx(dim[1:], rel=0.01)


def test_focus_moves_sharpness_and_not_size():
    sharp = disc()
    blurred = measured(cv2.GaussianBlur(sharp, (0, 0), 2)[..., None])
    assert measured(sharp).sharpness > 1.8 * blurred.sharpness
    assert measured(sharp).size == pytest.approx(blurred.size, rel=0.1)


def test_padding_and_what_the_crop_cuts_are_seen():
    padded = measured(disc(radius=6, pad=16))
    assert padded.padding == pytest.approx(0.75, abs=0.03)
    assert padded.size == pytest.approx(12.5, abs=1)
    cut = measured(disc(centre=(0, 32)))
    assert cut.border_contact == pytest.approx(21 / (4 * 63), abs=0.02)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_flat_image_has_no_particle(dtype):
    result = measured(np.full((9, 9, 3), 7, dtype))
    assert result == (7, 0, 0, 0, 0, 0)


def test_places_and_group_are_nuisances_too():
    frame = pd.DataFrame({"group": ["a", "b"], "image_x": [1, 2], "depth_m": [1.0, 2.0]})
    result = confounders.nuisance_columns(
        confounders.measure_nuisances(np.zeros((2, 4, 4, 1))), frame
    )
    assert list(result) == [*confounders.Nuisances._fields, "image_x", "group"]
    assert result["group"].dtype.kind == "U"
