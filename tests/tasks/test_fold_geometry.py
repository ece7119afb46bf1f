"""Folds: the sample, the task, and its commands one after the other."""

import cv2
import numpy as np
import pandas as pd
import pytest
from run_command import run

from tfpipe.base.errors import UserError
from tfpipe.tasks import catalog
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.samples import fold_geometry

TASK = catalog.TASKS["folds"]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds") / "raw"
    told = fold_geometry.draw(folder, outcrops=2, crops=3, seed=5)
    assert (told["outcrops"], told["images"]) == (6, 18)
    return folder


def test_the_sample_has_class_folders_and_the_truth(raw):
    truth = pd.read_csv(raw / "truth.csv")
    assert truth["class"].value_counts().to_dict() == {"box": 6, "chevron": 6, "rounded": 6}
    for file in truth["file"]:
        image = cv2.imread(str(raw / file))
        assert image.shape == (fold_geometry.SIDE, fold_geometry.SIDE, 3) and image.std() > 10


def test_hinges_are_what_their_names_say():
    phase = np.linspace(0, 1, 4001)
    slope = {kind: np.gradient(fold_geometry.hinges(phase, kind), phase) for kind in folds_kinds()}
    for kind in folds_kinds():
        height = fold_geometry.hinges(phase, kind)
        assert height.min() == pytest.approx(-1) and height.max() == pytest.approx(1)
    inner = slice(5, -5)
    flat = {kind: (np.abs(slope[kind][inner]) < 0.1).mean() for kind in slope}
    assert (
        flat["box"] > 0.5 > 0.05 > flat["rounded"] > flat["chevron"] == pytest.approx(0, abs=1e-3)
    )
    # Straight limbs: the slope changes at the hinges only.
    bends = {kind: (np.abs(np.diff(slope[kind][inner])) > 1e-3).mean() for kind in slope}
    assert bends["rounded"] > 0.9 > 0.01 > bends["chevron"]


def folds_kinds():
    return ("box", "chevron", "rounded")


def test_pictures_of_an_outcrop_are_one_group_and_other_names_their_own(raw):
    found = TASK.survey(raw, TASK.options)
    assert found.classes == folds_kinds() and found.merge_near_duplicates
    assert not found.columns  # what the truth tells is for nobody to learn from
    assert len({source.group for source in found.sources}) == 6
    options = parse_options(TASK, [r"group-from=(_\d)"])
    assert {source.group for source in TASK.survey(raw, options).sources} == {"_0", "_1", "_2"}


def test_other_classes_and_tables_without_pictures_are_told_apart(raw, tmp_path):
    (tmp_path / "odd" / "kink").mkdir(parents=True)
    source = next((raw / "box").iterdir())
    (tmp_path / "odd" / "kink" / "a.png").write_bytes(source.read_bytes())
    with pytest.raises(UserError, match="has the classes kink, expected box, chevron, rounded"):
        TASK.survey(tmp_path / "odd", TASK.options)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "features_train.csv").write_text("label,a\nbox,1\n")
    with pytest.raises(UserError, match="tables of features and no images.*shallow folds"):
        TASK.survey(tmp_path / "tables", TASK.options)


@pytest.mark.slow
def test_folds_end_to_end_in_the_smallest_form(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shares = ("--split", "40/30/30", "-o", "size=32")
    run("sample", "folds", "--outcrops", "8", "--crops", "2", "--seed", "1")
    quick = ("--quick", "--algorithm", "random", "--trials", "1", "--trial-epochs", "1")
    told = run("tune", "folds", *quick, "--epochs", "1", "--no-random-split", *shares)
    assert (told["model"], told["version"]) == ("resnet9", 1)
    page = tmp_path / run("report", "folds")["path"]
    assert "Grad-CAM" in page.read_text()
    box = "data/raw/folds/box"
    assert run("predict", "folds", box, "--out", "new.csv")["rows"] == 16
    assert {"p_box", "p_chevron", "p_rounded"} <= set(pd.read_csv(tmp_path / "new.csv"))
