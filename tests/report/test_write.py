"""The report: whole, self-contained, safe to open whatever files and classes are called."""

import dataclasses
import json
import re
import shutil

import browser
import cv2
import numpy as np
import pandas as pd
import pytest
from page_parser import Page

from tfpipe.base import html as base_html
from tfpipe.base import images, tables
from tfpipe.base.errors import UserError
from tfpipe.data import manifest as data_manifest
from tfpipe.data import pack
from tfpipe.evaluation.metrics import class_metrics, classification_metrics
from tfpipe.report import gallery, plots, write
from tfpipe.tasks.melt_layer import TASK
from tfpipe.tasks.splits import SplitConfig
from tfpipe.tasks.task import Example, Reading, Source, Survey

EVIL = "<script>alert(1)</script>"
PHOTOS, WINDOWS, KEPT_SHARE = 30, 8, (0.4, 0.2, 0.4)
HISTORY = {
    "loss": [0.7, 0.4, 0.3],
    "val_loss": [0.6, 0.5, 0.55],
    "val_average_precision": [0.4, 0.8, 0.7],
    "seconds": [2.0, 1.0, 1.0],
}
TRIALS = [
    {"trial": "0", "status": "COMPLETED", "score": 0.6, "epochs": 2, "filters": 8, "rate": 1e-3},
    {"trial": "1", "status": "FAILED", "score": None, "epochs": 2, "filters": 9, "rate": 1e-2},
    {"trial": "2", "status": "COMPLETED", "score": 0.8, "epochs": 6, "filters": 16, "rate": 1e-4},
]


def packed(folder, *, shape=(12, 40, 3), metadata=None, dtype="uint8"):
    """Packs pictures of noise from oddly named photos; returns the records' folder."""

    def read(source, options):
        rng = np.random.default_rng(source.about)
        examples = []
        for i in range(WINDOWS):
            kind = ("meltLayer", "", "meltLens", EVIL)[i % 4]
            about = {
                "photo": source.name,
                "depth_top_m": 120 + source.about + i / 10,
                "depth_bottom_m": 120.025 + source.about + i / 10,
                "type_of_feature": kind,
                "shift_mm": 1.5,
                "layer_top_px": -1,
                "layer_bottom_px": -1,
            }
            examples.append(
                Example(
                    key=f"{source.name}@{i:06d}",
                    group=source.group,
                    image=(rng.random(shape) * 255).astype(dtype),
                    label=int(i % 4 == 0),
                    columns=np.zeros(0, np.float32),
                    metadata={name: about[name] for name in task.metadata},
                )
            )
        status = "not identifiable" if source.about == 3 else "aligned"
        why = f"the curve is {EVIL}" if source.about == 3 else ""
        row = {"photo": source.name, "status": status, "why": why, "shift_mm": source.about - 4.5}
        return Reading(examples, row)

    raw = folder / "raw"
    raw.mkdir()
    sources = []
    for i in range(PHOTOS):
        (raw / f"{i}.png").write_bytes(bytes([i]))
        name = f"{EVIL}{i}.png" if i % 2 else f"{'=' * (i % 4 == 2)}NA{i}.png"
        sources.append(Source(name, name, raw / f"{i}.png", i))
    survey = Survey(tuple(sources), notes=(f"photos/{EVIL} is unused.",))
    task = dataclasses.replace(
        TASK,
        image_shape=shape,
        image_dtype=dtype,
        metadata=TASK.metadata if metadata is None else metadata,
        survey=lambda raw, options: survey,
        read=read,
    )
    at = folder / "records"
    pack.pack(task, raw, at, options=task.options, split=SplitConfig(KEPT_SHARE))
    return at


def published(folder, at, *, classes=TASK.classes, **changes):
    """Writes a fake version, of a model that is often right; returns its folder."""
    manifest = data_manifest.read(at)
    rng = np.random.default_rng(0)
    frames, scores, each = [], {}, {}
    for split in ("validation", "test"):
        names = [name for name in manifest.sources[split] for _ in range(WINDOWS)]
        i = np.arange(len(names))
        label = (i % WINDOWS % 4 == 0).astype(int)
        positive = np.clip(0.3 + 0.3 * label + rng.normal(0, 0.2, len(i)), 0.001, 0.999)
        said = np.stack([1 - positive, positive], axis=1)
        if len(classes) > 2:
            label = i % len(classes)
            said = rng.dirichlet(np.ones(len(classes)), len(i)) + 0.5 * np.eye(len(classes))[label]
            said /= said.sum(axis=1, keepdims=True)
        keys = [f"{name}@{j % WINDOWS:06d}" for j, name in enumerate(names)]
        frame = pd.DataFrame({"split": split, "key": keys, "group": names})
        if manifest.metadata:
            frame["photo"] = names
            frame["depth_top_m"], frame["depth_bottom_m"] = 120 + i / 10, 120.025 + i / 10
            kinds = np.array(["meltLayer", "", "meltLens", EVIL])
            frame["type_of_feature"] = kinds[i % WINDOWS % 4]
        frame["label"] = label
        frame[[f"p_{name}" for name in classes]] = said
        frames.append(frame)
        scores[split] = classification_metrics(label, said, thresholds={"decision": 0.5})
        each[split] = class_metrics(label, said.argmax(axis=1), classes=classes)
    layered = {"layer_precision": 0.75, "layer_recall": 0.6, "layer_f1": 2 / 3}
    layered |= {"layer_depth_error_mm": 0.144, "layers_tabled": 10, "layers_found": 8}
    if len(classes) == 2 and manifest.metadata:
        scores["validation"] |= layered | {"layer_depth_error_mm": float("nan")}
        scores["test"] |= layered
    card = {
        "version": 7,
        "task": "melt-layer",
        "model": "simple-cnn",
        "hyperparameters": {"filters": 16, "dropout": 0.25},
        "training": {"optimizer": "nadam", "epochs": 3},
        "classes": classes,
        "parameters": 2551105,
        "options": {"stride_px": 25},
        "data": dataclasses.asdict(manifest.summary),
        "thresholds": {"decision": 0.5, "confident": 0.9},
        "scores": scores,
        "by_class": each,
        "random_split_scores": {"average_precision": 0.987, "f1": 0.95, "accuracy": 0.99},
        "false_findings": {EVIL: 2, "meltLens": 1},
        "history": HISTORY,
        "search": {
            "model": {"filters": 16},
            "training": {"rate": 1e-4},
            "score": 0.8,
            "objective": "val_average_precision",
            "algorithm": "hyperband",
            "trials": TRIALS,
        },
        "parity": {"max_difference": 1.2e-7, "tolerance": 1e-5, "pictures": 64},
        "packages": {"tensorflow": "2.21.0"},
    }
    version = folder / "7"
    (version / "assets.extra").mkdir(parents=True)
    (version / "assets.extra" / "card.json").write_text(json.dumps(card | changes))
    table = pd.concat(frames, ignore_index=True)
    tables.write_csv(table, version / "assets.extra" / "predictions.csv")
    return version


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """Records of thirty photos, half of them called like a script, others like a formula."""
    return packed(tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module")
def version(at, tmp_path_factory):
    made = published(tmp_path_factory.mktemp("models"), at)
    assert write.write(made, at) == made / "assets.extra" / "report.html"
    return made


@pytest.fixture(scope="module")
def text(version):
    return (version / "assets.extra" / "report.html").read_text()


@pytest.fixture(scope="module")
def test_frame(version):
    frame = pd.read_csv(version / "assets.extra" / "predictions.csv", keep_default_na=False)
    return frame[frame["split"] == "test"]


def test_it_is_one_small_page_that_asks_for_nothing(text):
    told = Page(text)
    assert len(text) < 3_000_000
    assert not {"script", "iframe", "object", "link", "base", "form"} & set(told.tags)
    assert told.addresses
    assert all(address.startswith(("data:image/", "#part-")) for address in told.addresses)
    assert "url(" not in text and "@import" not in text


def test_names_of_photos_features_and_reasons_are_text(text):
    told = Page(text)
    assert "<script" not in text
    assert f"{EVIL}3.png the curve is {EVIL}" in told.text
    assert f"photos/{EVIL} is unused." in told.text
    assert re.search(r"NA\d+\.png", told.text)


def test_it_has_every_section_and_links_to_it(text):
    told = Page(text)
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert titles == [
        "Score of a random split",
        "Data",
        "Alignment of the labels",
        "Training",
        "Scores of single windows",
        "Scores of each photo",
        "Scores of whole layers",
        "Mistakes by what the window shows",
        "Worst windows",
        "Search",
        "Card",
    ]
    anchors = re.findall(r'<section id="(.*?)"', text)
    assert [f"#{anchor}" for anchor in anchors] == [a for a in told.addresses if a[0] == "#"]
    assert len(told.of_kind("svg+xml")) == 3 + 8, "three pictures open the report"


def test_the_headline_says_it_in_plain_words(text, test_frame):
    photos = test_frame["photo"].nunique()
    told = Page(text).text
    assert f"On {photos} new photos, it detected 6 of the 10 layers in the table" in told
    assert "half of them within 0.15 mm of their aligned depth" in told  # 0.14 would be too few
    assert "2 more detections match no certain layer of the table." in told
    assert "Version 7, 2,551,105 parameters" in told
    assert "— (no layer of the table was found)" in told


def test_counts_are_those_of_the_predictions(text, test_frame):
    said = test_frame["p_melt-layer"] >= 0.5
    right = (said == (test_frame["label"] == 1)).sum()
    told = Page(text).text
    assert f"{right} of {len(test_frame)} test windows are classified rightly" in told
    lenses = test_frame["type_of_feature"] == "meltLens"
    assert f"meltLens {(said & lenses).sum()} of {lenses.sum()}" in told
    manifest_row = f"test {test_frame['photo'].nunique()}"
    label = test_frame["label"]
    assert f"{manifest_row} {(label == 0).sum()} {label.sum()} {len(label)}" in told


def test_the_gallery_shows_the_most_wrong_and_never_four_of_one_photo(text, test_frame):
    said, is_positive = test_frame["p_melt-layer"] >= 0.5, test_frame["label"] == 1
    expected = 0
    for where, most in (
        (said & ~is_positive, gallery.MAX_WRONG),
        (~said & is_positive, gallery.MAX_WRONG),
        (said & is_positive, gallery.MAX_RIGHT),
    ):
        of_each = test_frame[where].groupby("photo").size().clip(upper=gallery.MAX_PER_GROUP)
        expected += min(most, of_each.sum())
    shown = Page(text).of_kind("png")
    assert len(shown) == expected > 12
    assert all(cv2.imdecode(np.frombuffer(p, np.uint8), 1).shape == (12, 40, 3) for p in shown)
    worst = test_frame[said & ~is_positive].nlargest(1, "p_melt-layer").iloc[0]
    first = text[text.index("False positives: ") :]
    caption = Page(first[first.index("<figcaption>") : first.index("</figcaption>") + 13]).text
    assert caption.startswith(worst["photo"])
    assert f"p(melt-layer) = {worst['p_melt-layer']:.3f}" in caption


def test_the_gallery_shows_the_records_own_pixels(at, text, test_frame):
    manifest = data_manifest.read(at)
    key = test_frame["key"].iloc[5]
    found = gallery.pixels(at, {key}, manifest=manifest)[key]
    name, _, number = key.rpartition("@")
    index = int(re.search(r"(\d+)\.png$", name)[1])
    rng = np.random.default_rng(index)
    images = [(rng.random((12, 40, 3)) * 255).astype(np.uint8) for _ in range(WINDOWS)]
    np.testing.assert_array_equal(found, images[int(number)])


@pytest.mark.slow
def test_the_same_files_give_the_same_bytes(version, at, text):
    assert write.write(version, at).read_text() == text


def test_without_search_or_second_training_it_says_so_or_is_silent(at, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "svg", lambda draw, **_: "data:image/png;base64,")
    made = published(tmp_path, at, search=None, random_split_scores=None, history={})
    told = Page(write.write(made, at).read_text())
    assert "— (not measured)" in told.text
    assert "The second training, with a random split, was left out." in told.text
    assert "Search" not in told.text and "epochs" not in told.text.split("Card")[0]


@pytest.mark.slow
def test_a_task_of_many_classes_and_no_metadata(tmp_path):
    bare = packed(tmp_path, shape=(9, 11, 1), metadata={}, dtype="float32")
    classes = ("$x", "<b>bold</b>", "c")
    made = published(tmp_path, bare, classes=classes, task="none-of-ours", false_findings={})
    told = Page(write.write(made, bare).read_text())
    assert re.search(r"On \d+ new groups, it classified \d+ of \d+ images right", told.text)
    assert "Most confident mistakes" in told.text
    assert "Alignment" not in told.text and "whole layers" not in told.text
    assert "b" not in told.tags[told.tags.index("main") :]
    shown = told.of_kind("png")
    assert all(cv2.imdecode(np.frombuffer(p, np.uint8), -1).shape[:2] == (9, 11) for p in shown)


def test_large_and_deep_pictures_become_small_ones():
    deep = np.random.default_rng(0).integers(0, 4096, (900, 1200, 3)).astype(np.uint16)
    seen = images.to_display(deep)
    assert seen.dtype == np.uint8 and seen.shape[0] * seen.shape[1] <= images.DISPLAY_PX * 1.02
    grey = images.to_display(np.full((5, 6, 1), np.nan, np.float32))
    assert grey.shape == (5, 6)


def test_missing_predictions_are_told_of(version, at, tmp_path):
    bare = tmp_path / "1"
    shutil.copytree(version, bare)
    (bare / "assets.extra" / "predictions.csv").unlink()
    with pytest.raises(UserError, match="predictions.csv is missing"):
        write.write(bare, at)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_is_no_number_is_a_dash_with_its_reason(value):
    assert base_html.number(value, why="<none>").startswith("\N{EM DASH} ")
    assert "(&lt;none&gt;)" in base_html.number(value, why="<none>")


@pytest.mark.slow
@pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no chromium here")
@pytest.mark.parametrize("width_px", [1200, 500])
def test_a_browser_shows_it_down_to_its_end(version, tmp_path, width_px):
    height_px = 9000
    folded = (version / "assets.extra" / "report.html").read_text()
    page = tmp_path / "unfolded.html"
    page.write_text(folded.replace("<details>", "<details open>"))
    shot = browser.screenshot(
        page, tmp_path, "--virtual-time-budget=2000", width_px=width_px, height_px=height_px
    )
    assert shot.shape == (height_px, width_px, 3)
    inked = (shot < 200).any(axis=2)
    assert all(part.mean() > 0.005 for part in np.split(inked[:4000], 8))
    saturated = np.ptp(shot.astype(int), axis=2) > 60
    assert saturated.mean() > 0.002, "no figure is drawn in colour"
    assert not inked[:, -5:].any(), "the page is wider than its window"
