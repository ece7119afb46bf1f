"""Images that look like none that a version was trained on: which, how many, and in which table."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_card import made_card
from small_records import draw_melt

from tfpipe.evaluation import image_novelty
from tfpipe.inference import files, monitoring
from tfpipe.inference.monitoring import ImageMonitor
from tfpipe.inference.request import PredictionRequest
from tfpipe.models.spec import Spec
from tfpipe.registry import load
from tfpipe.tasks.melt_layer import TASK

SHAPE = (12, 20, 3)


def noise(count: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, *SHAPE), dtype=np.uint8)


@pytest.fixture(scope="module")
def card():
    statistics = image_novelty.fit([noise(400)], [noise(80, seed=1)], ignores_exposure=True)
    return made_card(classes=("a", "b"), novelty=statistics)


def monitored(card, images: np.ndarray) -> tuple[list[bool], dict]:
    monitor = ImageMonitor(card)
    halves = np.full((len(images), 2), 0.5)
    are_new = monitor.update(images, columns=None, probabilities=halves, groups=["g"] * len(images))
    return are_new, monitor.state()


def test_new_images_are_marked_and_counted_over_files(card):
    grey = np.full((3, *SHAPE), 90, np.uint8)
    mixed, first = monitored(card, np.concatenate([noise(5, seed=2), grey]))
    assert mixed == [False] * 5 + [True] * 3
    _, second = monitored(card, grey)
    notes, summary = monitoring.summarize(card, [first, second], noun="images")
    assert summary == {"novelty": {"images": 11, "new": 6}}
    assert notes == (
        "6 of 11 images look like none that the version was trained on; of ordinary ones 1% do.",
    )


def test_nothing_is_said_without_new_images_or_without_statistics(card):
    _, state = monitored(card, noise(5, seed=2))
    notes, summary = monitoring.summarize(card, [state], noun="images")
    assert (notes, summary) == ((), {"novelty": {"images": 5, "new": 0}})
    older = replace(card, novelty=None)
    are_new, state = monitored(older, np.full((3, *SHAPE), 90, np.uint8))
    assert are_new == []
    assert monitoring.summarize(older, [state], noun="images") == ((), {})


def test_windows_are_marked_whether_the_model_slides_or_not(tmp_path, monkeypatch):
    raw = draw_melt(tmp_path / "raw")
    ordinary = np.random.default_rng(0).integers(0, 255, (60, *TASK.image_shape), dtype=np.uint8)
    card = made_card(
        classes=TASK.classes,
        options={"predict_stride_px": 40},
        thresholds={"decision": 0.5, "confident": 0.6},
        spec=Spec(TASK.image_shape, TASK.classes, (128.0,) * 3, (40.0,) * 3),
        novelty=image_novelty.fit([ordinary], [ordinary], ignores_exposure=True),
    )

    def classify(images):
        layer = 1 - images.mean(axis=(1, 2, 3)) / 255
        return np.stack([1 - layer, layer], axis=1)

    monkeypatch.setattr(load, "check_kind", lambda path, kinds: None)
    predictor = SimpleNamespace(path=tmp_path, card=card, predict_proba=classify)
    windows = tmp_path / "windows.csv"
    made = files.predict(
        PredictionRequest(
            TASK,
            tmp_path,
            [sorted((raw / "photos").iterdir())[0]],
            tmp_path / "out.csv",
            table=raw / "photos.csv",
            predictor=predictor,
        ),
        windows=windows,
    )
    table = pd.read_csv(windows)
    assert table["new"].all() and 20 < len(table) < 1000
    assert made.summary["novelty"] == {"images": len(table), "new": len(table)}
    assert f"{len(table)} of {len(table)} windows look like none" in made.notes[-1]
