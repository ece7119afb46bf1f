"""The way that serves best on the validation files is taken, and the thresholds with it."""

import dataclasses
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import tiny
from made_card import made_card

from tfpipe.evaluation import whole_files
from tfpipe.evaluation.whole_files import ModeResult
from tfpipe.report import classifier
from tfpipe.tasks.task import FilePrediction

WHOLE_FILE = tiny.TASK.whole_file
TASK = dataclasses.replace(
    tiny.TASK, whole_file=dataclasses.replace(WHOLE_FILE, metric="f1", tie_metric="error_mm")
)


AT_THRESHOLD = dataclasses.replace(
    tiny.TASK,
    whole_file=dataclasses.replace(
        WHOLE_FILE,
        predict=lambda outputs, thresholds: FilePrediction(
            [{"bright": (outputs >= thresholds["decision"]).sum()}], []
        ),
    ),
)


class Found(NamedTuple):
    scores: dict[str, float]


def of(f1: float, error_mm: float) -> ModeResult:
    validation = Found({"f1": f1, "error_mm": error_mm})
    # On the test files the other way round: these must choose nothing.
    return ModeResult({"decision": f1}, {"validation": validation, "test": Found({"f1": 1 - f1})})


@pytest.mark.parametrize(
    ("intervals", "windows", "best"),
    [
        ((0.9, 1.0), (0.8, 0.5), "intervals"),
        ((0.8, 0.5), (0.9, 1.0), "windows"),
        ((0.9, 1.0), (0.9, 1.0), "intervals"),  # the first of equally good ones
        ((0.9, 1.04), (0.9, 1.0), "intervals"),  # by less than a tenth of a millimetre
        ((0.9, 1.4), (0.9, 1.0), "windows"),
        ((float("nan"), float("nan")), (0.0, float("nan")), "windows"),
    ],
)
def test_the_better_way_on_validation_is_taken(intervals, windows, best):
    judged = {"intervals": of(*intervals), "windows": of(*windows)}
    name, chosen = whole_files.best_mode(TASK, judged)
    assert (name, chosen.thresholds) == (best, judged[best].thresholds)
    assert whole_files.best_mode(TASK, {}) == ("", None)


class CountedModel:
    """A stand-in for a window network in an inference mode, which notes its thresholds."""

    def __init__(self, level: float, asked: list, threshold: float = 0.0):
        self.level, self.asked, self.threshold = level, asked, threshold

    def at_threshold(self, threshold: float) -> "CountedModel":
        return CountedModel(self.level, self.asked, threshold)

    def __call__(self, images):
        self.asked.append((self.level, self.threshold))
        light = images[:, 4:12, 4:12].mean(axis=(1, 2, 3)) > 85
        return np.stack([1 - self.level * light, self.level * light], axis=1)


def test_files_are_scored_by_the_threshold_as_predict_does_it(tmp_path):
    data = tiny.packed(tmp_path)
    asked: list = []
    results = whole_files.evaluate_modes(
        AT_THRESHOLD,
        data.folder.parent / "raw",
        data,
        {"windows": CountedModel(0.9, asked)},
        options=AT_THRESHOLD.options,
    )
    validation, test = (len(data.manifest.sources[one]) for one in ("validation", "test"))
    decision = results["windows"].thresholds["decision"]
    # The first pass is right for all thresholds that are tried.
    assert asked == [(0.9, 0.005)] * validation + [(0.9, decision)] * (validation + test)


def test_each_way_looks_at_every_file_and_has_its_own_threshold(tmp_path):
    data = tiny.packed(tmp_path)
    asked = []

    def way(level):
        def classify(images):
            asked.append(level)
            light = images[:, 4:12, 4:12].mean(axis=(1, 2, 3)) > 85
            return np.stack([1 - level * light, level * light], axis=1)

        return classify

    ways = {"sure": way(0.9), "faint": way(0.3)}
    raw, done = data.folder.parent / "raw", []
    judged = whole_files.evaluate_modes(
        AT_THRESHOLD,
        raw,
        data,
        ways,
        options=AT_THRESHOLD.options,
        report=lambda stage, info: done.append((info["done"], info["total"])),
    )
    files = len(data.manifest.sources["validation"]) + len(data.manifest.sources["test"])
    assert asked == [0.9] * files + [0.3] * files
    assert done[-1] == (2 * files, 2 * files)
    assert judged["faint"].thresholds["decision"] < 0.3 < judged["sure"].thresholds["decision"]
    assert {one.summary()["metrics"]["test"]["file_share"] for one in judged.values()} == {1.0}
    tested = judged["faint"].files
    assert tuple(tested) == data.manifest.sources["test"]
    assert {name: one.group for name, one in tested.items()} == {n: n[:-4] for n in tested}
    again = whole_files.evaluate_test_files(
        AT_THRESHOLD,
        raw,
        data,
        ways["faint"],
        thresholds=judged["faint"].thresholds,
        options=AT_THRESHOLD.options,
    )
    assert again == tested


@pytest.mark.parametrize(("sure_from", "confident"), [(0.15, 0.5), (0.8, 0.8), (1.1, 1.0)])
def test_what_is_confident_is_mostly_right_and_more_likely_than_not(sure_from, confident):
    def found(at: float):
        bound = 0.97 if at >= sure_from else 0.9
        scores = {"f1": float(0.2 <= at <= 0.3)}
        return SimpleNamespace(scores=scores, precision_bound=bound, kinds={})

    task = SimpleNamespace(
        classes=("no", "yes"),
        whole_file=SimpleNamespace(
            metric="f1",
            kinds=(),
            predict=lambda outputs, thresholds: thresholds["decision"],
            evaluate=lambda source, row, prediction: found(prediction),
        ),
    )
    source = SimpleNamespace(name="a", group="a")
    told = whole_files.choose_thresholds(task, [(source, {}, None)])
    assert told == {"decision": 0.25, "confident": confident}


@pytest.mark.parametrize("tabled", [40, 4, 0])
def test_each_kind_has_the_thresholds_that_are_best_for_it(tabled):
    def counts(at: float):
        lens = SimpleNamespace(
            f1=float(0.08 <= at <= 0.12), tabled=tabled, precision_bound=0.9 + 0.06 * (at > 0.55)
        )
        scores = {"f1": float(0.55 <= at <= 0.65)}
        return SimpleNamespace(scores=scores, precision_bound=0.9, kinds={"lens": lens})

    task = SimpleNamespace(
        classes=("no", "yes"),
        whole_file=SimpleNamespace(
            metric="f1",
            kinds=("lens",),
            predict=lambda outputs, thresholds: thresholds["decision"],
            evaluate=lambda source, row, prediction: counts(prediction),
        ),
    )
    source = SimpleNamespace(name="a", group="a")
    thresholds = whole_files.choose_thresholds(task, [(source, {}, None)])
    of_lenses = {"lens": 0.1, "lens_confident": 0.6} if tabled > 4 else {}
    assert thresholds == {"decision": 0.6, "confident": 1.0} | of_lenses


def test_the_report_sets_the_ways_side_by_side():
    scores = {"layer_f1": 0.75, "layer_depth_error_mm": float("nan"), "layers_found": 8}
    about = {"thresholds": {"decision": 0.4}, "metrics": {"validation": scores, "test": scores}}
    card = made_card(inference_mode="windows", inference_modes={"windows": about})
    told = classifier.inference_modes(SimpleNamespace(card=card))
    assert str(told).count("<tr>") == 3 and "windows, the default of predict" in str(told)
    assert "it names no lenses" in str(told)
    assert "0.750" in str(told) and "Median depth error after alignment (mm)" in str(told)
    assert classifier.inference_modes(SimpleNamespace(card=made_card())) is None
