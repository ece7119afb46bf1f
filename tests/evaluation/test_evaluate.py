"""Scores of every kind of model: by hand where a hand can, and nothing unlabelled in them."""

import json
import shutil
from dataclasses import replace

import four_class_task
import keras
import numpy as np
import pandas as pd
import pytest
import tiny
from sklearn import metrics

from tfpipe.evaluation import evaluate
from tfpipe.evaluation import metrics as evaluation_metrics
from tfpipe.tasks.task import SPLITS, RawFiles
from tfpipe.training import random_split
from tfpipe.training.config import TrainingConfig

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return four_class_task.packed(tmp_path_factory.mktemp("kinds"))


@pytest.fixture(scope="module")
def spec(data):
    return four_class_task.spec_of(data)


def evaluated(data, model, *, task=four_class_task.TASK):
    """Evaluates a model on a packed task."""
    return evaluate.evaluate(task, data.folder.parent / "raw", data, model, options=task.options)


@pytest.fixture(scope="module")
def classified(data, spec):
    keras.utils.set_random_seed(1)
    return evaluated(data, four_class_task.of_both(spec))


@pytest.fixture(scope="module")
def model(spec):
    keras.utils.set_random_seed(1)
    return four_class_task.autoencoder(spec)


@pytest.fixture(scope="module")
def rebuilt(data, model):
    return evaluated(data, model)


def raw_examples(data, split):
    """Returns the examples of a split, read from the raw files anew."""
    raw = data.folder.parent / "raw"
    sources = {source.name: source for source in four_class_task.TASK.survey(raw, None).sources}
    names = data.manifest.sources[split]
    return [
        e
        for n in names
        for e in four_class_task.read(sources[n], four_class_task.TASK.options).examples
    ]


FOUR = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.1, 0.5, 0.4]])


def test_scores_of_three_classes_are_those_counted_by_hand():
    # Said: 0, 1, 1, 1. Recalls 1/2, 1, 0; F1 2/3, 2/4, 0. By probability of class 0 its two stand
    # first and second; of class 1 its one stands first; of class 2 its one stands first.
    told = evaluation_metrics.classification_metrics(np.array([0, 0, 1, 2]), FOUR, thresholds={})
    assert told["accuracy"] == 0.5
    assert told["accuracy_of_commonest_class"] == 0.5
    assert told["balanced_accuracy"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert told["macro_f1"] == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)
    assert told["macro_average_precision"] == told["macro_roc_auc"] == 1
    assert told["log_loss"] == pytest.approx(-np.log([0.8, 0.3, 0.7, 0.4]).mean())
    assert (told["examples"], told["classes_that_occur"]) == (4, 3)


def test_an_average_precision_and_an_area_that_are_not_perfect():
    # Of class 0, at 0.8, 0.3, 0.2, 0.1: right, wrong, right, wrong; so precisions 1 and 2/3 where
    # recall rises, and three of its four pairs are in order. Class 1: places 1 and 3 of 0.7, 0.6,
    # 0.5, 0.1, likewise three of four pairs.
    labels = np.array([0, 1, 0, 1])
    told = evaluation_metrics.classification_metrics(labels, FOUR, thresholds={})
    second = (1 / 2 + 2 / 3) / 2  # at places 2 (0.6) and 3 (0.5)
    assert told["macro_average_precision"] == pytest.approx(((1 + 2 / 3) / 2 + second) / 2)
    assert told["macro_roc_auc"] == pytest.approx((3 / 4 + 2 / 4) / 2)


def test_classes_that_do_not_occur_count_in_no_mean_and_give_no_nan():
    labels = np.array([1, 1, 0, 0])  # and said are 1, 2, 2, 2
    told = evaluation_metrics.classification_metrics(
        labels, np.roll(FOUR, 1, axis=1), thresholds={}
    )
    json.dumps(told, allow_nan=False)
    assert told["classes_that_occur"] == 2
    assert told["balanced_accuracy"] == pytest.approx((1 / 2 + 0) / 2)
    assert told["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    each = evaluation_metrics.class_metrics(labels, np.array([1, 2, 2, 2]), classes=("a", "b", "c"))
    assert each["a"] == {"precision": None, "recall": 0.0, "f1": 0.0, "support": 2}
    assert each["b"] == {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2}
    assert each["c"] == {"precision": 0.0, "recall": None, "f1": 0.0, "support": 0}


def test_one_class_alone_has_no_area_under_a_curve():
    told = evaluation_metrics.classification_metrics(np.zeros(4, int), FOUR, thresholds={})
    assert told["macro_roc_auc"] is None
    told = evaluation_metrics.classification_metrics(
        np.zeros(4, int), FOUR[:, :2], thresholds={"decision": 0.3}
    )
    assert told["roc_auc"] is told["average_precision"] is None
    assert told["recall"] == 0
    assert (told["accuracy"], told["accuracy_of_commoner_class"]) == (0.25, 1)


def test_two_classes_are_scored_as_scikit_learn_scores_them():
    rng = np.random.default_rng(0)
    labels, positive = rng.integers(0, 2, 200), rng.random(200)
    likely = np.stack([1 - positive, positive], axis=1)
    told = evaluation_metrics.classification_metrics(labels, likely, thresholds={"decision": 0.6})
    said = positive >= 0.6
    assert told["balanced_accuracy"] == metrics.balanced_accuracy_score(labels, said)
    assert told["average_precision"] == metrics.average_precision_score(labels, positive)
    assert told["roc_auc"] == metrics.roc_auc_score(labels, positive)
    assert told["f1"] == metrics.f1_score(labels, said)
    assert evaluation_metrics.class_metrics(labels, said, classes=("n", "p"))["p"][
        "f1"
    ] == pytest.approx(told["f1"])


@pytest.mark.parametrize("name", evaluation_metrics.OBJECTIVES)
def test_every_objective_is_1_for_the_truth_and_less_for_its_opposite(name):
    classes = 2 if name == "average_precision" else 3
    labels = np.arange(30) % classes
    truth = np.eye(classes)[labels]
    assert evaluation_metrics.objective(name, labels, truth, truth.argmax(axis=1)) == 1
    wrong = np.roll(truth, 1, axis=1)
    assert evaluation_metrics.objective(name, labels, wrong, wrong.argmax(axis=1)) < 0.7


def test_unlabelled_examples_are_predicted_and_not_scored(data, classified):
    table = classified.predictions
    for split in ("validation", "test"):
        counts = data.manifest.counts[split]
        own = table[table["split"] == split]
        assert counts["(unlabelled)"] == (own["label"] == -1).sum() > 0
        assert len(own) == sum(counts.values())
        labelled = len(own) - counts["(unlabelled)"]
        assert classified.metrics[split]["examples"] == labelled
        supports = {name: each["support"] for name, each in classified.class_metrics[split].items()}
        assert supports == {name: counts[name] for name in four_class_task.CLASSES}
        known = own[own["label"] >= 0]
        said = known[[f"p_{name}" for name in four_class_task.CLASSES]].to_numpy().argmax(axis=1)
        assert classified.metrics[split]["accuracy"] == (said == known["label"]).mean()


def test_predictions_stand_in_the_order_of_the_examples(data, spec, classified):
    examples = raw_examples(data, "test")
    own = classified.predictions[classified.predictions["split"] == "test"]
    assert own["key"].tolist() == [example.key for example in examples]
    assert own["label"].tolist() == [example.label for example in examples]
    keras.utils.set_random_seed(1)
    features = {
        "image": np.stack([example.image for example in examples]),
        "columns": np.stack([example.columns for example in examples]),
    }
    expected = four_class_task.of_both(spec).predict_on_batch(features)
    np.testing.assert_allclose(
        own[[f"p_{n}" for n in four_class_task.CLASSES]], expected, atol=1e-6
    )


def test_many_classes_have_no_threshold_and_need_no_files(data, spec, classified):
    def refused(*_):
        raise AssertionError("the raw files are not asked for")

    assert classified.thresholds == {}
    whole_file = replace(four_class_task.TASK.whole_file, infer=refused)
    task = replace(four_class_task.TASK, survey=refused, whole_file=whole_file)
    evaluated(data, four_class_task.of_columns(spec), task=task)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Returns records of two classes whose files can be judged, and a model for them."""
    data = tiny.packed(tmp_path_factory.mktemp("tiny"))
    keras.utils.set_random_seed(1)
    return data, tiny.build(tiny.spec_of(data))


def test_thresholds_come_from_validation_files_alone(two, tmp_path):
    data, model = two
    raw, other = data.folder.parent / "raw", tmp_path / "raw"
    shutil.copytree(raw, other)
    for name in data.manifest.sources["test"]:
        (other / name).write_text("987")
    options = {"options": tiny.TASK.options}
    before = evaluate.evaluate(tiny.TASK, raw, data, model, **options)
    after = evaluate.evaluate(tiny.TASK, other, data, model, **options)
    assert after.thresholds == before.thresholds
    assert after.metrics["validation"] == before.metrics["validation"]
    assert 0 <= before.metrics["test"]["file_share"] <= 1


def test_without_a_judge_single_examples_choose_two_classes_threshold(two, caplog):
    data, model = two
    whole_file = replace(tiny.TASK.whole_file, evaluate=None, metric="")
    silent = replace(tiny.TASK, whole_file=whole_file, raw_files=RawFiles())
    known = evaluated(data, model, task=silent)
    own = known.predictions[known.predictions["split"] == "validation"]
    precision, recall, at = metrics.precision_recall_curve(own["label"], own["p_bright"])
    best = (2 * precision * recall / (precision + recall + 1e-12)).max()
    assert known.metrics["validation"]["f1"] == pytest.approx(best)
    assert known.thresholds["confident"] == 1
    assert "file_share" not in known.metrics["test"]
    assert not [record for record in caplog.records if record.name.startswith("tfpipe")]
    whole_file = replace(tiny.TASK.whole_file, evaluate=lambda *_: None)
    unknown = evaluated(data, model, task=replace(tiny.TASK, whole_file=whole_file))
    assert unknown.thresholds == known.thresholds
    assert "No validation file has a known truth" in caplog.text


def test_errors_of_reconstruction_are_those_counted_anew(data, model, rebuilt):
    assert set(rebuilt.metrics) == set(SPLITS)
    unit = {
        split: np.stack([example.image for example in raw_examples(data, split)]) / 255
        for split in SPLITS
    }
    mean = unit["train"].mean(axis=0)
    for split in SPLITS:
        given = model.predict_on_batch({"image": np.rint(unit[split] * 255).astype(np.uint8)})
        error = ((given - unit[split]) ** 2).mean(axis=(1, 2, 3))
        own = rebuilt.predictions[rebuilt.predictions["split"] == split]
        np.testing.assert_allclose(own["error"], error, rtol=1e-4)
        told = rebuilt.metrics[split]
        assert told["mean_squared_error"] == pytest.approx(error.mean(), rel=1e-4)
        variance = ((unit[split] - mean) ** 2).mean()
        assert told["error_of_mean_image"] == pytest.approx(variance, rel=1e-4)
        assert told["variance_explained"] == pytest.approx(1 - error.mean() / variance, rel=1e-3)
        assert told["examples"] == len(own) == len(error)
    assert rebuilt.metrics["train"]["error_of_mean_image"] == pytest.approx(
        unit["train"].var(axis=0).mean(), rel=1e-4
    )


def test_errors_by_class_add_up_to_those_of_the_split(rebuilt):
    for split, each in rebuilt.class_metrics.items():
        assert set(each) == {*four_class_task.CLASSES, "(unlabelled)"}
        counts = [told["examples"] for told in each.values()]
        values = [told["mean_squared_error"] for told in each.values()]
        whole = rebuilt.metrics[split]["mean_squared_error"]
        assert np.average(values, weights=counts) == pytest.approx(whole)
    json.dumps([rebuilt.metrics, rebuilt.class_metrics], allow_nan=False)


def test_a_random_split_keeps_the_unlabelled_apart(data, tmp_path):
    drawn = random_split.write_random_split(data, tmp_path, turns=1, seed=3).manifest.counts
    honest = data.manifest.counts
    for name in (*four_class_task.CLASSES, "(unlabelled)"):
        assert sum(drawn[split].get(name, 0) for split in SPLITS) == sum(
            honest[split][name] for split in SPLITS
        )


def test_too_few_pictures_for_a_random_split_claim_nothing(data, spec, monkeypatch, caplog):
    monkeypatch.setattr(random_split, "MAX_IMAGES", 3)
    claimed = random_split.random_split_scores(
        lambda: four_class_task.of_columns(spec), data, settings=TrainingConfig(epochs=1)
    )
    assert claimed is None
    assert "too few images" in caplog.text


@pytest.mark.parametrize("build", [four_class_task.of_columns, four_class_task.autoencoder])
def test_a_random_split_is_scored_as_the_honest_one(data, spec, build):
    settings = TrainingConfig(epochs=1, batch_size=64, balance="none")
    objective = "loss" if build is four_class_task.autoencoder else data.objective
    claimed = random_split.random_split_scores(
        lambda: build(spec), replace(data, objective=objective), settings=settings
    )
    json.dumps(claimed, allow_nan=False)
    assert 0 < claimed["examples"] < 288
    wanted = (
        "mean_squared_error" if build is four_class_task.autoencoder else "macro_average_precision"
    )
    assert 0 < claimed[wanted] <= 1


def test_metadata_of_every_kind_comes_back(tmp_path):
    def read(source, options):
        reading = four_class_task.read(source, options)
        numbered = [
            e._replace(metadata={"number": i, "depth_m": 2000 + i / 3, "where": f"={i}"})
            for i, e in enumerate(reading.examples)
        ]
        return replace(reading, examples=numbered)

    task = replace(
        four_class_task.TASK,
        read=read,
        metadata={"number": "int64", "depth_m": "float64", "where": "str"},
    )
    data = four_class_task.packed(tmp_path, task=task)
    table = evaluated(
        data, four_class_task.autoencoder(four_class_task.spec_of(data)), task=task
    ).predictions
    first = table.iloc[1]
    assert (first["number"], first["depth_m"], first["where"]) == (1, 2000 + 1 / 3, "=1")
    assert pd.api.types.is_integer_dtype(table["label"])
