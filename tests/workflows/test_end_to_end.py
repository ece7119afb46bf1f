"""The commands one after the other, as a user types them: some as processes of their own."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import run_command
import subprocesses
import tensorflow_datasets as tfds
from scipy import optimize
from small_records import MELT_OPTIONS
from tensorflow.python.tools import saved_model_utils

from tfpipe.registry import store
from tfpipe.tasks.melt_layer import TASK

pytestmark = pytest.mark.slow

PX_PER_M = 600
SHARES = ("--split", "50/25/25", "--salt", "a")
STRIDE = ("-o", f"stride_px={MELT_OPTIONS.stride_px}", "-o", "predict_stride_px=40")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    process(
        folder, "sample", "melt-layer", "--photos", "12", "--px-per-m", str(PX_PER_M), "--seed", "4"
    )
    return folder


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.chdir(home)


def process(folder, *words, code: int = 0) -> dict:
    """Runs a command as a process in a folder and returns the JSON object it prints."""
    with contextlib.chdir(folder):
        done = subprocesses.run("tfpipe", *words, "--json")
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = done.stdout.splitlines()
    return json.loads(line)


@pytest.fixture(scope="module")
def trained(home):
    quick = ("--hp", "filters=2", "--hp", "dense_units=8", "--epochs", "2")
    return process(home, "train", "melt-layer", *quick, *SHARES, *STRIDE)


def test_train_packs_first_and_publishes_version_one(home, trained):
    assert trained["command"] == "train"
    assert (trained["task"], trained["model"], trained["version"]) == (
        "melt-layer",
        "simple-cnn",
        1,
    )
    assert set(trained["metrics"]) == {"validation", "test"}
    assert {"average_precision", "layer_f1", "accuracy"} <= set(trained["metrics"]["test"])
    version = home / trained["path"]
    assert {path.name for path in (version / "assets.extra").iterdir()} == {
        "model.keras",
        "tf_serving_warmup_requests",
        "card.json",
        "predictions.csv",
        "report.html",
        "history.csv",
        "novelty.npz",
        "MODEL_CARD.md",
        "groups.csv",
        "run.yaml",
        "sources.csv",
    }
    card = store.read_card(version)
    assert card.hyperparameters == {"filters": 2, "dense_units": 8}
    assert 0 <= card.random_split_scores["accuracy"] <= 1


def test_records_open_with_tensorflow_datasets(home, trained):
    builder = tfds.builder_from_directory(home / "data" / "records" / "melt-layer")
    manifest = json.loads((home / "data" / "records" / "melt-layer" / "manifest.json").read_text())
    for split, info in builder.info.splits.items():
        assert info.num_examples == sum(manifest["counts"][split].values())


def test_tensorflows_own_tools_see_the_three_signatures(trained):
    graph = saved_model_utils.get_meta_graph_def(trained["path"], "serve")
    assert {"serving_default", "predict_tensor", "embed"} <= set(graph.signature_def)


def test_predict_writes_the_table_the_windows_and_the_overlays(home, trained):
    photos = home / "data" / "raw" / "melt-layer" / "photos"
    two = [str(path) for path in sorted(photos.iterdir())[:2]]
    words = ("--out", "found/layers.csv", "--windows", "found/windows.csv")
    told = run_command.run("predict", "melt-layer", *two, *words)
    assert (told["files"], told["skipped"]) == (2, {})
    trust, *others = told["notes"]
    tested = store.read_card(home / trained["path"]).metrics["test"]
    precision = f"Layer precision {tested['layer_precision']:.2f}"
    assert trust.startswith(f"On files that it was tested on, this version had: {precision}, ")
    n_uncertain = pd.read_csv(home / "found" / "layers.csv")["uncertain"].sum()
    for note in others:  # the windows may be of a break, say
        assert "windows look like none" in note or f"{n_uncertain} rows are uncertain" in note
    table = pd.read_csv(home / "found" / "layers.csv")
    assert tuple(table.columns) == TASK.whole_file.table_columns
    windows = pd.read_csv(home / "found" / "windows.csv")
    assert set(windows["photo"]) == {path.rpartition("/")[2] for path in two}
    assert windows["probability"].between(0, 1).all()
    overlays = {path.name for path in (home / "found" / "layers").iterdir()}
    assert overlays == {f"{Path(path).stem}.png" for path in two}


def test_the_layers_of_the_table_have_the_scores_of_the_card(home, trained):
    version = home / trained["path"]
    predictions = pd.read_csv(version / "assets.extra" / "predictions.csv")
    names = sorted(set(predictions.loc[predictions["split"] == "test", "group"]))
    raw = home / "data" / "raw" / "melt-layer"
    photos = [str(raw / "photos" / name) for name in names]
    table_of_photos = ("--photos-table", str(raw / "photos.csv"))
    run_command.run("predict", "melt-layer", *photos, *table_of_photos, "--out", "test.csv")
    table, truth = pd.read_csv(home / "test.csv"), pd.read_csv(raw / "truth.csv")
    truth = truth[truth["feature"].str.startswith("meltLayer")]
    alignment = pd.read_csv(home / "data" / "records" / "melt-layer" / "alignment.csv")
    shifts_mm = alignment.set_index("photo")["shift_mm"]
    depths = pd.read_csv(raw / "photos.csv").set_index("photo")
    matched = tabled = false = uncertain = 0
    for name in names:
        found = table[table["photo"] == name]
        true = truth[truth["photo"] == name]
        begin = found["from_top_mm"].to_numpy()
        end = begin + found["thickness_mm"].to_numpy()
        mm = (
            true[["row_top_px", "row_bottom_px"]].sub(true["core_top_px"], axis=0) / 0.6
        ).to_numpy()
        overlap = np.minimum(end[:, None], mm[:, 1]) - np.maximum(begin[:, None], mm[:, 0])
        shared = np.clip(overlap, 0, None)
        is_sure = (true["feature"] == "meltLayer").to_numpy()
        rows, columns = optimize.linear_sum_assignment(-shared[:, is_sure])
        hits = rows[shared[:, is_sure][rows, columns] > 0]
        matched, tabled = matched + len(hits), tabled + int(is_sure.sum())
        # The table is moved by the shift: of the other end of the core it says nothing.
        length_mm = 1000 * float(depths.loc[name, "bottom_m"] - depths.loc[name, "top_m"])
        shift_mm = float(shifts_mm[name])
        middles = (begin + end) / 2
        is_other = (max(shift_mm, 0) <= middles) & (middles < min(length_mm + shift_mm, length_mm))
        is_other[hits] = False
        # What lies on an uncertain feature is neither right nor wrong.
        is_uncertain = (shared[:, ~is_sure] > 0).any(axis=1)
        false += int((is_other & ~is_uncertain).sum())
        uncertain += int((is_other & is_uncertain).sum())
    scores = trained["metrics"]["test"]
    assert scores["layers_tabled"] == tabled > 0
    assert scores["layer_recall"] == matched / tabled
    assert scores["layers_found"] == matched + false + uncertain
    assert scores["layer_precision"] == pytest.approx(matched / (matched + false))


def test_one_bad_photo_does_not_stop_the_others(home, trained, tmp_path):
    photos = home / "data" / "raw" / "melt-layer" / "photos"
    good = sorted(photos.iterdir())[0]
    (tmp_path / good.name).write_bytes(good.read_bytes())
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:2000])
    told = process(home, "predict", "melt-layer", str(tmp_path), "--out", "some.csv", code=2)
    assert told["files"] == 1
    assert list(told["skipped"]) == ["cut.png"]
    assert (home / "some.csv").is_file()


def test_a_second_training_is_version_two_and_report_can_be_written_anew(home, trained):
    quick = ("--hp", "filters=2", "--hp", "dense_units=8", "--epochs", "1", "--no-random-split")
    told = run_command.run("train", "melt-layer", *quick, *SHARES, *STRIDE)
    assert told["version"] == 2
    page = home / told["path"] / "assets.extra" / "report.html"
    whole = page.read_bytes()
    page.unlink()
    assert run_command.run("report", "melt-layer")["version"] == 2
    assert page.read_bytes() == whole


def test_a_version_is_exported_for_other_tools(trained):
    told = run_command.run(
        "export", "melt-layer", "--version", "1", "--format", "hf", "--out", "hub"
    )
    assert told["files"] == ["README.md", "card.json", "labels.txt", "model.keras"]
    assert told["max_difference"] <= 5e-5
    assert Path("hub/README.md").read_text().startswith("---\nlicense: unknown\n")


def test_verify_and_tasks_know_what_there_is(home, trained):
    assert run_command.run("verify", "melt-layer")["records"] > 0
    task = {one["task"]: one for one in run_command.run("tasks")["tasks"]}["melt-layer"]
    assert task["versions"]["simple-cnn"][0] == 1 and task["counts"]["train"]["melt-layer"] > 0
