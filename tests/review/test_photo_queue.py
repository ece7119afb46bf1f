"""Core photos to review: the page shows what `predict` finds."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from made_card import made_card
from small_models import make_small, make_spec
from small_records import draw_melt

from tfpipe.base import files
from tfpipe.inference import files as inference_files
from tfpipe.inference.request import PredictionRequest
from tfpipe.models import sliding_window
from tfpipe.models.spec import Spec
from tfpipe.registry import load
from tfpipe.review import photo_queue, ranking
from tfpipe.review.decision_desk import DecisionDesk
from tfpipe.review.photo_queue import PhotoQueue
from tfpipe.review.records import ReviewRecords
from tfpipe.tasks.annotations import decisions
from tfpipe.tasks.melt_layer import TASK as MELT_LAYER

pytestmark = pytest.mark.slow

MODEL = "simple-cnn-interval"


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Drawn core photos with their tables."""
    return draw_melt(tmp_path_factory.mktemp("melt"))


@pytest.fixture
def version(raw, tmp_path, monkeypatch) -> Path:
    """A version whose inference mode is `intervals`, by a network with random weights."""
    folder = tmp_path / MODEL / "1"
    path = folder / "assets.extra" / "model.keras"
    path.parent.mkdir(parents=True)
    keras.utils.set_random_seed(0)
    spec = make_spec(MELT_LAYER.image_shape)
    model = make_small(MODEL, spec)
    model.save(path)
    modes = sliding_window.by_inference_mode(model)
    classify = modes["windows"]
    options = dataclasses.replace(MELT_LAYER.options, predict_stride_px=20)
    photo = next((raw / "photos").iterdir())
    source = next(s for s in MELT_LAYER.survey(raw, options).sources if s.path == photo)
    decision = float(np.median(MELT_LAYER.whole_file.infer(source, classify, options).probability))
    shape, classes = MELT_LAYER.image_shape, MELT_LAYER.classes
    card = made_card(
        model=MODEL,
        classes=classes,
        options={"predict_stride_px": 20},
        thresholds={"decision": decision, "confident": decision},
        inference_mode="intervals",
        sha256={"assets.extra/model.keras": files.sha256(path)},
        spec=Spec(shape, classes, (128.0,) * 3, (40.0,) * 3),
    )
    (path.parent / "card.json").write_bytes(card.to_json())
    monkeypatch.setattr(
        load,
        "open_version",
        lambda path: SimpleNamespace(
            path=path, card=card, predict_proba=classify, inference_modes=modes
        ),
    )
    return folder


def test_the_layers_of_the_queue_are_those_that_predict_finds(raw, version, tmp_path, monkeypatch):
    monkeypatch.setattr(photo_queue.whole_files, "rows_of", lambda task, data: {})
    out = tmp_path / "layers.csv"
    inference_files.predict(
        PredictionRequest(MELT_LAYER, version, [raw / "photos"], out, table=raw / "photos.csv")
    )
    predicted = pd.read_csv(out)
    zeros = np.zeros(2)
    told = ranking.ImageScores(np.zeros((2, 2)), zeros, None, None, zeros, ())
    packed = ReviewRecords(
        None, pd.DataFrame({"group": ["a", "b"]}), told, load.open_version(version).card
    )
    desk = DecisionDesk(raw, decisions.NAME, f"{MODEL}/1")
    queue = PhotoQueue(packed, desk, task=MELT_LAYER, version=version, raw=raw)
    names = ["depth_from_m", "depth_to_m", "probability"]
    layers = {
        entry["key"]: [
            (layer["top_m"], layer["bottom_m"], layer["probability"])
            for layer in queue.photo(entry["id"])["predicted"]
        ]
        for entry in queue.queue()
    }
    assert sum(map(len, layers.values())) == len(predicted) >= 4
    for photo, found in layers.items():
        rows = predicted.loc[predicted["photo"] == photo, names]
        assert found == [*rows.itertuples(index=False, name=None)]
