"""Features of texture against what is known by hand, and the leaderboard on tables of them."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from skimage import feature
from typer.testing import CliRunner

from tfpipe import cli
from tfpipe.base.errors import UserError
from tfpipe.baselines import feature_tables, leaderboard, texture
from tfpipe.baselines.feature_tables import Features, FeatureSplit
from tfpipe.data import near_duplicates

REALDATA = os.environ.get("TFPIPE_REALDATA")
NAMES = [
    f"{kind}_{what}"
    for kind in ("original", "gabor", "edge")
    for what in ("noise", "mean", "std", *(f"h_{i}" for i in range(1, 14)))
]
# The 4 x 4 picture of Haralick, Shanmugam & Dinstein (1973), figure 3.
PAPER = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 2, 2], [2, 2, 3, 3]], np.uint8)


def test_the_papers_picture_gives_what_is_counted_by_hand():
    p = feature.graycomatrix(PAPER, [1], [0], 4, symmetric=True, normed=True)[:, :, 0, 0]
    counted = np.array([[4, 2, 1, 0], [2, 4, 0, 0], [1, 0, 6, 1], [0, 0, 1, 2]])  # the paper's P_H
    np.testing.assert_allclose(p, counted / 24)
    features = texture.haralick_of_matrix(p)
    mean, square, product = 31 / 24, 65 / 24, 58 / 24
    assert features[0] == pytest.approx(84 / 576)  # angular second moment
    assert features[1] == pytest.approx(14 / 24)  # contrast
    assert features[2] == pytest.approx((product - mean**2) / (square - mean**2))  # correlation
    assert features[3] == pytest.approx(square - mean**2)
    assert features[4] == pytest.approx((16 + 6 / 2 + 2 / 5) / 24)  # inverse difference moment
    assert features[5] == pytest.approx(2 * mean)
    assert features[8] == pytest.approx(
        -sum(c / 24 * np.log2(c / 24) for c in counted.ravel() if c)
    )


def test_haralick_of_nothing_and_of_one_level_is_finite():
    features = texture.haralick(np.full((9, 9), 7, np.uint8))
    assert np.isfinite(features).all()
    assert features[0] == 1 and features[1] == 0 and features[5] == 14 and features[8] == 0


def test_columns_have_the_names_of_the_seeds_tables():
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), np.uint8)
    assert list(texture.table(images).columns) == NAMES
    every = texture.table(images, kinds=texture.KINDS)
    assert every.shape == (2, 48 + 36 + 10) and np.isfinite(every.to_numpy()).all()
    assert texture.table(images[..., :1]).shape == (2, 48)


@pytest.mark.parametrize("sigma", [3, 12])
def test_noise_is_what_was_added(sigma):
    y, x = np.mgrid[:200, :200]
    smooth = 120 + 40 * np.sin(x / 30) + 0.1 * y
    noisy = smooth + np.random.default_rng(1).normal(0, sigma, smooth.shape)
    assert texture.noise(np.rint(noisy).astype(np.uint8)) == pytest.approx(sigma, rel=0.06)
    assert np.isnan(texture.noise(np.full((20, 20), 9, np.uint8)))


def test_lines_are_told_by_gradients_and_patterns():
    rows = np.zeros((64, 64, 1), np.uint8)
    rows[::8] = rows[1::8] = rows[2::8] = rows[3::8] = 200
    features = texture.table(np.stack([rows, rows.swapaxes(0, 1)]), kinds=("hog",)).to_numpy()
    assert {*features.argmax(axis=1) % 9} == {0, 4}  # across and along, of nine directions


# Tables.


def write(folder, *, rows=(60, 20, 20), seed=0, **more):
    """Writes tables of two features, of which one tells three classes, as the seed names them."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for name, count in zip(("train", "val", "test"), rows, strict=True):
        label = np.arange(count) % 3
        told = {"label": np.array(["box", "chevron", "rounded"])[label]}
        told |= {"good_h_1": label + rng.normal(0, 0.2, count), "idle_h_1": rng.normal(size=count)}
        pd.DataFrame(told).to_csv(folder / f"features_{name}.csv", index=False)
    return folder


def test_ready_tables_are_read_and_selected(tmp_path):
    raw = write(tmp_path)
    features = feature_tables.read(raw)
    assert features.classes == ("box", "chevron", "rounded") and features.names == (
        "good_h_1",
        "idle_h_1",
    )
    assert [len(part.labels) for part in features.splits.values()] == [60, 20, 20]
    assert features.notes == ()
    (raw / "selected_features.json").write_text(json.dumps(["idle_h_1"]))
    assert feature_tables.read(raw).splits["test"].values.shape == (20, 1)
    (raw / "selected_features.json").write_text(json.dumps(["other"]))
    with pytest.raises(UserError, match="selected_features.json names 'other'"):
        feature_tables.read(raw)


def test_a_missing_table_and_an_unknown_label_are_said(tmp_path):
    raw = write(tmp_path)
    path = raw / "features_val.csv"
    path.write_text(path.read_text().replace("rounded", "round", 1))
    with pytest.raises(UserError, match="features_val.csv line 4: label is 'round'"):
        feature_tables.read(raw)
    path.unlink()
    with pytest.raises(UserError, match="has no features_val.csv"):
        feature_tables.read(raw)


def test_rows_that_stand_in_two_splits_are_named_with_their_lines():
    train = np.array([[1.0, np.nan], [2.0, 3.0], [1.0, np.nan]])
    test = np.array([[2.0, 3.0], [1.0, np.nan], [2.0, 4.0]])
    lines = {"train": np.array([2, 3, 4]), "test": np.array([2, 3, 5])}
    assert near_duplicates.same_rows({"train": train, "test": test}, lines) == [
        "1 train rows stand in train before: lines 4 = 2.",
        "2 of 3 test rows stand in train too, 1 of them without an empty cell: lines 2 = 3, 3 = 2.",
    ]
    assert feature_tables.group_equal_rows(train).tolist() in ([0, 1, 0], [1, 0, 1])


def test_the_area_under_the_curve_of_many_classes_is_one_against_the_rest():
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert leaderboard.auc(labels, np.eye(3)[labels]) == 1
    assert leaderboard.auc(labels, np.zeros((6, 3))) == 0.5
    assert leaderboard.auc(labels[:4], np.array([-1.0, -2.0, 3.0, 0.5])) == 1


QUICK = ("KNeighborsClassifier", "DummyClassifier", "LinearSVC", "RidgeClassifier", "GaussianNB")


def test_the_leaderboard_ranks_and_has_every_score(tmp_path):
    features = feature_tables.read(write(tmp_path / "raw"))
    frame = leaderboard.run(features, tmp_path, folds=3, names=QUICK)
    assert {*frame["classifier"]} == {*QUICK}
    assert frame["classifier"].iloc[-1] == "DummyClassifier"
    assert frame["validation_accuracy"].iloc[0] > 0.9 > frame["validation_accuracy"].iloc[-1]
    scores = [f"{s}_{m}" for s in leaderboard.EVALUATED for m in leaderboard.METRICS]
    assert frame[[*scores, "fold_accuracy", "fold_accuracy_sd", "seconds"]].notna().all(axis=None)
    assert pd.read_csv(tmp_path / "leaderboard.csv").shape == frame.shape
    one = leaderboard.run(features, tmp_path, folds=0, select=1, names=QUICK[:1])
    assert one["test_accuracy"].iloc[0] > 0.9
    with pytest.raises(UserError, match="--select is 3, expected 0 to 2"):
        leaderboard.run(features, tmp_path, select=3)


def test_a_classifier_that_fails_is_named_and_the_others_go_on(tmp_path, monkeypatch):
    def broken(seed):
        raise ZeroDivisionError("no such luck\nat all")

    monkeypatch.setitem(leaderboard.CLASSIFIERS, "SVC", broken)
    features = feature_tables.read(write(tmp_path / "raw"))
    frame = leaderboard.run(features, tmp_path, folds=0, names=("SVC", "GaussianNB"))
    assert frame["classifier"].tolist() == ["GaussianNB", "SVC"]
    assert frame["note"].iloc[1] == "failed: ZeroDivisionError: no such luck"
    assert np.isnan(frame["test_accuracy"].iloc[1])


def test_folds_part_no_group():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=(30, 40)), 4, axis=0)  # each row four times
    labels = np.repeat(np.arange(30) % 3, 4)
    part = FeatureSplit(values, labels, feature_tables.group_equal_rows(values))
    known = Features(tuple(map(str, range(40))), ("a", "b", "c"), {"train": part}, ())
    for train, test in leaderboard.make_folds(known, 3):
        assert not {*part.groups[train]} & {*part.groups[test]}
    with pytest.raises(UserError, match="10 training groups only"):
        leaderboard.make_folds(known, 11)


def test_every_classifier_of_the_seeds_table_is_there():
    assert len(leaderboard.CLASSIFIERS) == 27


@pytest.mark.skipif(not REALDATA, reason="TFPIPE_REALDATA names no folder")
def test_the_real_tables_are_consistent_and_their_copies_are_found():
    folder = Path(REALDATA, "folds")
    frame = pd.read_csv(folder / "features_train.csv")
    assert list(frame.columns[1:]) == NAMES
    # What must hold between Haralick's features, whoever computes them.
    wanted = 4 * frame["original_h_4"] - frame["original_h_2"]
    np.testing.assert_allclose(frame["original_h_7"], wanted, rtol=1e-4)
    notes = " ".join(feature_tables.read(folder).notes)
    assert "90 train rows stand in train before" in notes
    assert "63 of 300 validation rows stand in train too, 12 of them without an empty cell" in notes


@pytest.mark.slow
@pytest.mark.skipif(not REALDATA, reason="TFPIPE_REALDATA names no folder")
def test_the_real_tables_give_the_published_figures(tmp_path):
    features = feature_tables.read(Path(REALDATA, "folds"))
    names = ("RandomForestClassifier", "ExtraTreesClassifier")
    frame = leaderboard.run(features, tmp_path, folds=0, names=names).set_index("classifier")
    for name, wanted in zip(names, ((0.61, 0.58), (0.63, 0.55)), strict=True):
        for split, share in zip(leaderboard.EVALUATED, wanted, strict=True):
            error = (share * (1 - share) / len(features.splits[split].labels)) ** 0.5
            assert abs(frame.loc[name, f"{split}_accuracy"] - share) < 2 * error


@pytest.mark.slow
def test_the_command_tells_every_classifier_with_its_spread_over_folds(tmp_path):
    write(tmp_path / "data" / "raw" / "folds")
    words = ["shallow", "folds", "--data", tmp_path / "data", "--models", tmp_path / "m", "--json"]
    made = CliRunner().invoke(cli.app, list(map(str, words)), catch_exceptions=False)
    rows = json.loads(made.stdout)["classifiers"]
    assert len(rows) == len(leaderboard.CLASSIFIERS) == 27
    told = [row for row in rows if not row["note"].startswith("failed")]
    assert len(told) >= 25 and all(row["fold_accuracy"] is not None for row in told)
