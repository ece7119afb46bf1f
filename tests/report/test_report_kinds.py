"""Reports of what is no two-class model: autoencoders, and classifiers of many classes."""

import dataclasses
import json
import re
import shutil

import cv2
import four_class_task
import keras
import numpy as np
import pandas as pd
import pytest
from page_parser import Page

from tfpipe.base import files, images, tables
from tfpipe.base.errors import UserError
from tfpipe.evaluation import evaluate, group_intervals, metric_names
from tfpipe.registry import store
from tfpipe.report import autoencoder, notebook, plots
from tfpipe.report import write as report_write

pytestmark = pytest.mark.slow  # what they share are reports

TOLD = {"seconds": 3.0, "worker": "chief", "message": None}
FOLDS = {"fold_scores": [0.4, 0.6], "spread": 0.1}
TRIALS = [
    {"trial": "0", "status": "COMPLETED", "score": 0.6, "epochs": 2, **TOLD, **FOLDS, "units": 8},
    {"trial": "1", "status": "FAILED", "score": None, "epochs": 2, **TOLD, "units": 9},
    {"trial": "2", "status": "COMPLETED", "score": 0.5, "epochs": 6, **TOLD, **FOLDS, "depth": 1},
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return four_class_task.packed(tmp_path_factory.mktemp("kinds"), files=24)


def published(folder, data, build, *, claimed=None):
    """Writes what a report is made of, of an untrained model; returns the version's folder."""
    keras.utils.set_random_seed(1)
    model = build(four_class_task.spec_of(data))
    known = evaluate.evaluate(
        four_class_task.TASK,
        data.folder.parent / "raw",
        data,
        model,
        options=four_class_task.TASK.options,
    )
    is_autoencoder = build is four_class_task.autoencoder
    extra = folder / "3" / "assets.extra"
    extra.mkdir(parents=True)
    model.save(extra / "model.keras")
    card = {
        "version": 3,
        "kind": "autoencoder" if is_autoencoder else "classifier",
        "inputs": list(model.input),
        "task": "kinds",
        "model": "conv-autoencoder" if is_autoencoder else "columns-mlp",
        "hyperparameters": {"units": 16},
        "training": {"optimizer": "nadam", "schedule": "constant"},
        "classes": four_class_task.CLASSES,
        "parameters": model.count_params(),
        "options": {},
        "data": dataclasses.asdict(data.manifest.summary),
        "thresholds": known.thresholds,
        "scores": known.metrics,
        "by_class": known.class_metrics,
        "random_split_scores": claimed,
        "false_findings": known.false_positive_kinds,
        "history": {"loss": [0.9, 0.5], "val_loss": [0.8, 0.6]},
        "search": {
            "model": {"units": 16},
            "training": {},
            "score": 0.5,
            "objective": "val_loss",
            "direction": "min",
            "trials": TRIALS,
        },
        "parity": {"max_difference": 0.0, "tolerance": 1e-5, "pictures": 24},
        "packages": {},
        "sha256": {"assets.extra/model.keras": files.sha256(extra / "model.keras")},
    }
    (extra / "card.json").write_text(json.dumps(card))
    tables.write_csv(known.predictions, extra / "predictions.csv")
    return folder / "3"


@pytest.fixture
def changed(data, many, tmp_path, monkeypatch):
    """Returns a function from changes of the card of many classes to the report's text."""
    monkeypatch.setattr(plots, "svg", lambda draw, **_: "data:image/png;base64,")

    def write(**changes):
        shutil.copytree(many, tmp_path / "3")
        card = tmp_path / "3" / "assets.extra" / "card.json"
        card.write_text(json.dumps(json.loads(card.read_text()) | changes))
        return Page(report_write.write(tmp_path / "3", data.folder).read_text()).text

    return write


@pytest.fixture(scope="module")
def rebuilt(data, tmp_path_factory):
    made = published(tmp_path_factory.mktemp("autoencoder"), data, four_class_task.autoencoder)
    report_write.write(made, data.folder)
    return made


@pytest.fixture(scope="module")
def rebuilt_text(rebuilt):
    return (rebuilt / "assets.extra" / "report.html").read_text()


@pytest.fixture(scope="module")
def table(rebuilt):
    frame = pd.read_csv(rebuilt / "assets.extra" / "predictions.csv")
    return frame[frame["split"] == "test"]


def sections_of(text):
    return re.findall(r"<h2>(.*?)</h2>", text)


def test_a_notebook_shows_the_scores_and_figures_of_a_classifier(many, rebuilt):
    card = store.read_card(many)
    shown = Page(notebook.summary(many, name="kinds/3")).text
    assert f"Accuracy, test split {card.metrics['test']['accuracy']:.3f} report " in shown
    assert "none, few, some, many" in shown and "report.html" in shown
    cells = [text.get_text().split("\n")[0] for text in notebook.confusion(many).axes[0].texts]
    counts = [int(cell.replace(",", "")) for cell in cells]
    tested = pd.read_csv(many / "assets.extra" / "predictions.csv").query("split == 'test'")
    assert len(counts) == 16 and sum(counts) == (tested["label"] >= 0).sum()
    with pytest.raises(UserError, match="was not calibrated"):
        notebook.reliability(many)
    with pytest.raises(UserError, match="is a network. SHAP values are of boosted trees"):
        notebook.shap(many, None)
    shown, error = Page(notebook.summary(rebuilt, name="a")).text, store.read_card(rebuilt).metrics
    error = error["test"]["mean_squared_error"]
    assert f"Mean squared error, test split {error:.5f} (95 % interval for new groups: " in shown
    with pytest.raises(UserError, match="Version 3 of .* is an autoencoder"):
        notebook.confusion(rebuilt)


def test_a_summary_without_predictions_has_no_interval(many, tmp_path):
    shutil.copytree(many, tmp_path / "3")
    (tmp_path / "3" / "assets.extra" / "predictions.csv").unlink()
    shown = Page(notebook.summary(tmp_path / "3", name="kinds/3")).text
    assert "kinds/3" in shown and "interval" not in shown


def test_an_autoencoder_is_told_of_as_one(rebuilt, rebuilt_text, table):
    assert sections_of(rebuilt_text) == [
        "Score of a random split",
        "Data",
        "Training",
        "Errors of reconstruction",
        "Originals beside reconstructions of test images",
        "Search",
        "Card",
    ]
    told, error = Page(rebuilt_text).text, table["error"].mean()
    variance = table["error_of_mean_image"].mean()
    groups = table["group"].nunique()
    assert groups >= group_intervals.MIN_GROUPS
    assert (
        f"On {groups} new groups, it reconstructs {len(table)} images with a mean "
        f"squared error of {error:.5f}" in told
    )
    assert f"has an error of {variance:.5f}" in told
    assert "an autoencoder of images." in told
    assert len(Page(rebuilt_text).of_kind("svg+xml")) == 3 + 4
    between = re.search(r"Mean squared error: (0\.\d+) to (0\.\d+) is the 95 % interval", told)
    assert float(between[1]) <= error <= float(between[2])


def test_tables_of_an_autoencoder_are_those_of_its_predictions(rebuilt_text, table):
    told = Page(rebuilt_text).text
    for label, name in [*enumerate(four_class_task.CLASSES), (-1, "(unlabelled)")]:
        own = table[table["label"] == label]
        expected = f"{name} {own['error'].mean():.5f} {own['error_of_mean_image'].mean():.5f}"
        assert expected in told
    means = table.groupby("group")["error"].mean().sort_values(ascending=False)
    assert f"worst first error variance images {means.index[0]} {means.iloc[0]:.5f}" in told


def test_the_lowest_loss_is_the_best_trial(rebuilt_text):
    told = Page(rebuilt_text).text
    assert "Best: units 16, with a validation loss of 0.5000." in told
    assert (
        "trial validation loss epochs spread units depth 2 0.5000 6 0.1 1 0 0.6000 2 0.1 8" in told
    )
    assert "1 failed 2 9" in told and "chief" not in told


def test_originals_stand_beside_what_was_made_of_them(rebuilt, rebuilt_text, data, table):
    shown = Page(rebuilt_text).of_kind("png")
    assert len(shown) == 3 * 8
    pictures = [cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE) for png in shown]
    gap = 1
    assert {picture.shape for picture in pictures} == {(16, 16 + gap + 16)}
    part = rebuilt_text[rebuilt_text.index("<h3>Worst</h3>") :]
    worst = table.nlargest(1, "error").iloc[0]
    assert Page(part[part.index("<figcaption>") : part.index("</figcaption>") + 13]).text == (
        f"{worst['key']} error {worst['error']:.5f} is {four_class_task.CLASSES[worst['label']]}"
    )
    raw = data.folder.parent / "raw"
    (source,) = [
        s for s in four_class_task.TASK.survey(raw, None).sources if s.group == worst["group"]
    ]
    examples = four_class_task.read(source, four_class_task.TASK.options).examples
    (image,) = [example.image for example in examples if example.key == worst["key"]]
    model = keras.models.load_model(rebuilt / "assets.extra" / "model.keras")
    made = model.predict_on_batch({"image": image[None]})[0]
    np.testing.assert_array_equal(pictures[16][:, :16], image[:, :, 0])
    np.testing.assert_array_equal(pictures[16][:, 17:], np.rint(255 * made[:, :, 0]))


def test_best_and_worst_are_in_order(rebuilt_text, table):
    errors = [float(e) for e in re.findall(r"error (0\.\d+)<br>", rebuilt_text)]
    best, middle, worst = errors[:8], errors[8:16], errors[16:]
    assert best == sorted(best) and worst == sorted(worst, reverse=True)
    assert best[0] == round(table["error"].min(), 5)
    assert middle[0] == pytest.approx(table["error"].median(), abs=0.01)


def test_a_changed_network_is_not_shown(rebuilt, data, tmp_path):
    shutil.copytree(rebuilt, tmp_path / "3")
    path = tmp_path / "3" / "assets.extra" / "model.keras"
    path.write_bytes(path.read_bytes() + b"0")
    with pytest.raises(UserError, match="not what was exported"):
        report_write.write(tmp_path / "3", data.folder)


@pytest.fixture(scope="module")
def many(data, tmp_path_factory):
    claimed = {"macro_average_precision": 0.999, "accuracy": 0.9}
    made = published(
        tmp_path_factory.mktemp("many"), data, four_class_task.of_columns, claimed=claimed
    )
    report_write.write(made, data.folder)
    return made


@pytest.fixture(scope="module")
def many_text(many):
    return (many / "assets.extra" / "report.html").read_text()


def test_many_classes_have_their_scores_each(many, many_text):
    assert sections_of(many_text) == [
        "Score of a random split",
        "Data",
        "Training",
        "Scores of single images",
        "Scores of each class",
        "Scores of each group",
        "Recall by rarity of the class",
        "Counts of each group",
        "Worst images",
        "Search",
        "Card",
    ]
    told, card = Page(many_text).text, store.read_card(many)
    assert "a classifier of columns into none, few, some, many." in told
    for name, each in card.class_metrics["test"].items():
        values = [each["precision"], each["recall"], each["f1"]]
        shown = ["— (never predicted)" if v is None else f"{v:.3f}" for v in values]
        assert f"{name} {' '.join(shown)} {each['support']}" in told
    for metric in card.metrics["test"]:
        assert metric_names.METRICS[metric][0] in told
    scores = card.metrics["test"]
    gain = 0.999 - scores["macro_average_precision"]
    assert f"average precision, mean of the classes is {gain:.3f} higher." in told
    # After one epoch the network may score alike in all groups; then there is no interval.
    assert re.search(r"Accuracy: 0\.\d+ to \d\.\d+ is the 95 %|groups cannot tell how far", told)


def test_groups_have_their_scores_and_counts_each(many, many_text):
    frame = pd.read_csv(many / "assets.extra" / "predictions.csv")
    frame = frame[(frame["split"] == "test") & (frame["label"] >= 0)]
    names = [f"p_{name}" for name in four_class_task.CLASSES]
    predicted = frame[names].to_numpy().argmax(axis=1)
    by_group = (predicted == frame["label"]).groupby(frame["group"]).mean()
    told = Page(many_text).text
    assert (
        f"The accuracy of {len(by_group)} test groups has a mean of {by_group.mean():.3f}" in told
    )
    assert f"The lowest is {by_group.min():.3f}" in told
    assert "nominal: images split at random 0.900" in told, "what a random split had claimed"
    true = [np.bincount(g["label"], minlength=4) for _, g in frame.groupby("group")]
    said = frame.assign(label=predicted).groupby("group")["label"]
    said = [np.bincount(labels, minlength=4) for _, labels in said]
    errors = [np.abs(a - b).sum() / (a + b).sum() for a, b in zip(true, said, strict=True)]
    # Of as many predictions as images, the errors of counts and of shares are one.
    assert f"predicted {np.mean(errors):.3f} {np.mean(errors):.3f}" in told
    over = [np.maximum(b - a, 0).sum() / a.sum() for a, b in zip(true, said, strict=True)]
    assert f"{np.mean(over):.3f} {np.mean(over):.3f}" in told, "too much and too little are equal"
    assert "by the validation groups" in told or "in the validation groups" in told


def test_the_surest_mistakes_come_first(many, many_text):
    frame = pd.read_csv(many / "assets.extra" / "predictions.csv")
    frame = frame[(frame["split"] == "test") & (frame["label"] >= 0)]
    likely = frame[[f"p_{name}" for name in four_class_task.CLASSES]].to_numpy()
    wrong = likely.argmax(axis=1) != frame["label"].to_numpy()
    worst = np.flatnonzero(wrong)[likely.max(axis=1)[wrong].argmax()]
    part = many_text[many_text.index("<h3>Most confident mistakes</h3>") :]
    assert Page(part[part.index("<figcaption>") : part.index("</figcaption>") + 13]).text == (
        f"{frame['key'].iloc[worst]} p({four_class_task.CLASSES[likely[worst].argmax()]}) = "
        f"{likely[worst].max():.3f} is {four_class_task.CLASSES[frame['label'].iloc[worst]]}"
    )
    right = int((~wrong).sum())
    assert f"{right} of {len(frame)} test images are classified rightly." in Page(many_text).text


def test_a_class_that_is_not_there_is_said_to_count_in_no_mean(many, changed):
    each = store.read_card(many).class_metrics["test"]
    each["few"] = {"precision": 0.0, "recall": None, "f1": 0.0, "support": 0}
    told = changed(by_class={"test": each})
    assert "few 0.000 — (no examples) 0.000 0" in told
    assert "No test image is of class few, so the means leave this out." in told


def test_a_metric_of_the_tasks_own_is_called_by_its_name(many, changed):
    scores = store.read_card(many).metrics
    scores["test"]["tracks_found"] = 12
    assert "Tracks found — (not measured) 12" in changed(scores=scores)


def test_the_best_epoch_is_told_where_the_rate_does_not_fall_to_zero(changed):
    history = {"loss": [3, 2, 1], "val_loss": [3, 2, 1], "val_accuracy": [0.1, 0.75, 0.5]}
    assert (
        "Validation accuracy: 0.750 after epoch 2, the best, whose weights are saved."
        in changed(history=history)
    )


def test_wide_pictures_stand_one_above_the_other():
    wide = np.zeros((10, 40, 3), np.float32)
    png = cv2.imdecode(
        np.frombuffer(autoencoder.pair_png(wide, wide + 0.5), np.uint8), cv2.IMREAD_COLOR
    )
    assert png.shape == (10 + 1 + 10, 40, 3)
    assert (png[0].max(), png[10].min(), png[11].max()) == (0, 255, 128)
    large = np.zeros((800, 500, 1), np.float32)
    shape = cv2.imdecode(np.frombuffer(autoencoder.pair_png(large, large), np.uint8), -1).shape
    assert shape[0] * shape[1] < 3 * images.DISPLAY_PX
