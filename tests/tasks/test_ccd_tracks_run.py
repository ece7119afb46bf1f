"""From drawn exposures to a table of tracks, by the commands that a user types."""

import cv2
import numpy as np
import pandas as pd
import pytest
from run_command import run

from tfpipe.registry import store

pytestmark = pytest.mark.slow

TINY = ("--hp", "conv_layers=1", "--hp", "filters=4", "--hp", "kernels=3", "--hp", "dense_units=8")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ccd")
    ran(folder, "sample", "ccd-tracks", "--exposures", "8", "--tracks", "30", "--frame-px", "300")
    return folder


@pytest.fixture(scope="module")
def tuned(home):
    budget = ("--trials", "1", "--trial-epochs", "1", "--epochs", "1", "--algorithm", "random")
    return ran(
        home,
        "tune",
        "ccd-tracks",
        "--model",
        "simple-cnn",
        "--quick",
        *budget,
        *TINY,
        "--split",
        "50/25/25",
    )


def ran(folder, *words) -> dict:
    places = ("--data", str(folder / "data"), "--models", str(folder / "models"))
    return run(*words, *(places[:2] if words[0] == "sample" else places))


def test_a_search_ends_in_a_version_and_says_what_copies_would_have_claimed(home, tuned):
    assert tuned["version"] == 1
    card = store.read_card(home / tuned["path"])
    assert card.hyperparameters["kernels"] == 3
    assert 0 <= card.random_split_scores["accuracy"] <= 1
    assert ran(home, "report", "ccd-tracks")["version"] == 1


def test_predict_tells_every_track_and_draws_over_each_exposure(home, tuned, tmp_path):
    raw = home / "data" / "raw" / "ccd-tracks"
    told = ran(
        home, "predict", "ccd-tracks", str(raw / "night-1"), "--out", str(tmp_path / "t.csv")
    )
    table = pd.read_csv(tmp_path / "t.csv")
    assert (told["files"], told["rows"]) == (4, len(table))
    assert {"file", "index", "x", "y", "height", "width", "pixels", "energy", "label"} < {*table}
    np.testing.assert_allclose(table.filter(regex="^p_").sum(axis=1), 1, atol=1e-5)
    truth = pd.read_csv(raw / "truth.csv")
    truth = truth[(truth["exposure"] == "night-1/ccd_0002.fits") & (truth["pixels"] >= 12)]
    boxes = table[table["file"] == "ccd_0002.fits"]
    for row in truth.itertuples():
        inside = (boxes["left"] <= row.x) & (row.x < boxes["left"] + boxes["width"])
        assert (inside & (boxes["top"] <= row.y) & (row.y < boxes["top"] + boxes["height"])).any()
    picture = cv2.imread(str(tmp_path / "t" / "ccd_0001.fits.png"))
    assert picture.shape[0] == 300 and picture.shape[1] > 300
    assert (tmp_path / "t" / "counts.csv").is_file()


def test_an_exposure_without_tracks_has_no_rows(home, tuned, tmp_path):
    np.save(tmp_path / "dark.npy", np.full((50, 60), 900, np.uint16))
    told = ran(
        home, "predict", "ccd-tracks", str(tmp_path / "dark.npy"), "--out", str(tmp_path / "t.csv")
    )
    assert (told["files"], told["rows"], told["skipped"]) == (1, 0, {})
    assert (tmp_path / "t.csv").is_file()
