"""One rule names the class: scores made anew from predict's table are those of the card."""

import cv2
import numpy as np
import pandas as pd
import pytest
from run_command import run
from sklearn import metrics

from tfpipe.registry import store

pytestmark = pytest.mark.slow
HP = ("--hp", "filters=4", "--hp", "conv_layers=1", "--hp", "dense_units=8")
SMALL = ("--model", "simple-cnn", *HP)


def folder_of(folder, counts: dict[str, int]):
    """Draws squares of noise, brighter from class to class, in a folder a class."""
    rng = np.random.default_rng(0)
    for i, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            image = np.clip(rng.normal(100 + 12 * i, 30, (16, 16)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / name / f"{name}{number:03d}.png"), image)
    return folder


@pytest.mark.parametrize(
    "counts",
    [{"common": 150, "rare": 30}, {"a": 90, "b": 60, "c": 30}],
    ids=["two classes", "three classes"],
)
def test_scores_made_from_the_table_of_predict_are_those_of_the_card(tmp_path, counts):
    raw = folder_of(tmp_path / "grains", counts)
    places = ("--data", str(tmp_path / "data"), "--models", str(tmp_path / "models"))
    result = run("train", str(raw), *SMALL, "--epochs", "3", "--no-random-split", *places)
    card = store.read_card(tmp_path / result["path"])
    predictions = pd.read_csv(tmp_path / result["path"] / "assets.extra" / "predictions.csv")
    test = predictions[predictions["split"] == "test"]
    paths = [str(path) for path in sorted(raw.rglob("*.png")) if path.stem in " ".join(test["key"])]
    assert len(paths) == len(test)
    out = tmp_path / "out.csv"
    run("predict", str(raw), *paths, "--out", str(out), *places)
    table = pd.read_csv(out)
    true = table["key"].str.extract(r"([a-z]+)\d+\.png")[0]
    # To the last digit: the table's labels, and nothing else of tfpipe's, go into these.
    score = {
        "accuracy": metrics.accuracy_score(true, table["label"]),
        "balanced_accuracy": metrics.balanced_accuracy_score(true, table["label"]),
    }
    if len(counts) == 2:
        score["f1"] = metrics.f1_score(true, table["label"], pos_label="rare")
        assert card.thresholds["decision"] != 0.5
    else:
        score["macro_f1"] = metrics.f1_score(true, table["label"], average="macro")
    assert {name: card.metrics["test"][name] for name in score} == pytest.approx(score, abs=1e-12)
    counts_table = pd.read_csv(out.with_suffix("") / "counts.csv", index_col="class")
    assert counts_table["predicted"].to_dict() == {
        name: int((table["label"] == name).sum()) for name in counts
    }


def rows_of_split(path, *, split: str) -> pd.DataFrame:
    """Returns the rows of a split of a version's own predictions, by key."""
    table = pd.read_csv(path / "assets.extra" / "predictions.csv").set_index("key")
    return table[(table["split"] == split) & (table["label"] >= 0)]


def test_scores_of_trees_are_those_of_their_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("sample", "insolubles", "--runs", "8", "--field-runs", "0", "--particles", "60")
    result = run("shallow", "insolubles", "--trials", "1", "--folds", "2")
    card = store.read_card(tmp_path / result["path"])
    expected = rows_of_split(tmp_path / result["path"], split="test")
    run("predict", "insolubles", "data/raw/insolubles", "--out", "out.csv")
    table = pd.read_csv("out.csv").set_index("key").loc[expected.index]
    true = [card.classes[label] for label in expected["label"]]
    score = {
        "accuracy": metrics.accuracy_score(true, table["label"]),
        "balanced_accuracy": metrics.balanced_accuracy_score(true, table["label"]),
        "macro_f1": metrics.f1_score(true, table["label"], average="macro"),
    }
    assert {name: card.metrics["test"][name] for name in score} == pytest.approx(score, abs=1e-12)


def test_scores_of_ordered_classes_are_those_of_their_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = "ionization-escape-fraction"
    run("sample", task, "--simulations", "2", "--cells", "16")
    slices = ("-o", "every=4", "-o", "gap_mpc=2", "-o", "test_seeds=2")
    result = run("train", task, *SMALL, "--epochs", "2", "--no-random-split", *slices)
    card = store.read_card(tmp_path / result["path"])
    expected = rows_of_split(tmp_path / result["path"], split="test")
    new = [str(path) for path in (tmp_path / "data" / "raw" / task).glob("*seed2*")]
    run("predict", task, *new, "--out", "out.csv")
    table = pd.read_csv("out.csv", dtype={"label": str}).set_index("key").loc[expected.index]
    true = table["f_esc"].map("{:.3f}".format)  # from the names of the files
    score = {
        "accuracy": metrics.accuracy_score(true, table["label"]),
        "balanced_accuracy": metrics.balanced_accuracy_score(true, table["label"]),
        "mean_absolute_error": metrics.mean_absolute_error(
            table["f_esc"], table["label"].astype(float)
        ),
        "mean_absolute_error_of_expected": metrics.mean_absolute_error(
            table["f_esc"], table["expected_f_esc"]
        ),
    }
    assert {name: card.metrics["test"][name] for name in score} == pytest.approx(score, abs=1e-6)
