"""Prediction of whole raw files: progress within a long image."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_card import made_card
from small_records import draw_melt

from tfpipe.inference import files
from tfpipe.inference.request import PredictionRequest
from tfpipe.models.spec import Spec
from tfpipe.registry import load
from tfpipe.tasks.melt_layer import TASK

HEIGHT_PX, WIDTH_PX, _ = TASK.image_shape


class Brightness:
    """A classifier by brightness that slides along photos, as scanning networks do."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        layer = 1 - images.mean(axis=(1, 2, 3)) / 255
        return np.stack([1 - layer, layer], axis=1)

    def along(self, images: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
        rows = np.arange(HEIGHT_PX)
        outputs = [self(i[t[:, None] + rows]) for i, t in zip(images, top_px, strict=True)]
        return {"probabilities": np.stack(outputs)}


@pytest.fixture
def version(tmp_path, monkeypatch):
    card = made_card(
        classes=TASK.classes,
        options={"predict_stride_px": 5},
        thresholds={"decision": 0.5, "confident": 0.6},
        spec=Spec(TASK.image_shape, TASK.classes, (128.0,) * 3, (40.0,) * 3),
    )
    predictor = SimpleNamespace(path=tmp_path, card=card, predict_proba=Brightness())
    monkeypatch.setattr(load, "open_version", lambda path: predictor)
    monkeypatch.setattr(load, "with_inference_mode", lambda version, mode: version.predict_proba)
    monkeypatch.setattr(load, "check_kind", lambda path, kinds: None)
    return tmp_path


def test_progress_is_reported_within_a_long_photo(version, tmp_path, monkeypatch):
    raw = draw_melt(tmp_path / "raw")
    photos = sorted((raw / "photos").iterdir())[:2]
    tables, steps = [], []
    for windows_at_once in (10_000_000, 16):
        monkeypatch.setattr(files, "WINDOWS_AT_ONCE", windows_at_once)
        out, steps = tmp_path / f"{windows_at_once}.csv", []
        files.predict(
            PredictionRequest(
                TASK,
                version,
                photos,
                out,
                table=raw / "photos.csv",
                report=lambda stage, info, steps=steps: steps.append((stage, info)),
            ),
            windows=out.with_suffix(".parquet"),
        )
        tables.append((pd.read_csv(out), pd.read_parquet(out.with_suffix(".parquet"))))
    whole, in_parts = tables
    for expected, table in zip(whole, in_parts, strict=True):
        pd.testing.assert_frame_equal(expected, table)
    assert {stage for stage, _ in steps} == {"predict"}
    shares = [(info["done"] + info.get("part", 0.0)) / info["total"] for _, info in steps]
    assert shares == sorted(shares) and shares[0] == 0.0 and shares[-1] == 1.0
    n_windows = len(whole[1])
    assert len(set(shares)) >= n_windows // 16
