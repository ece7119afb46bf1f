"""Drift of requests is tested beside the answers, and logged once when it begins and ends."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from made_card import made_card
from server_process import png

from tfpipe.evaluation import drift
from tfpipe.models.spec import Spec
from tfpipe.serving import drift_monitor
from tfpipe.serving.drift_monitor import DriftMonitor
from tfpipe.serving.limits import Limits
from tfpipe.serving.metrics import ServerMetrics
from tfpipe.serving.model.encoded_images import ImageDecoder

pytestmark = pytest.mark.slow

SPEC = Spec((16, 16, 1), tiny.CLASSES, (100.0,), (50.0,))


def drawn(count: int, *, seed: int, darker: int = 0, alike: int = 1) -> np.ndarray:
    """Returns images [n, 16, 16, 1] uint8; so many in a row have similar brightness."""
    rng = np.random.default_rng(seed)
    light = rng.normal(150 - darker, 15, (count // alike, 1, 1, 1)).repeat(alike, axis=0)
    return np.clip(light + rng.normal(0, 10, (count, 16, 16, 1)), 0, 255).astype(np.uint8)


def probabilities(count: int, *, bright: float, seed: int) -> np.ndarray:
    """Returns probabilities [n, 2], of which a fraction is bright."""
    chosen = np.random.default_rng(seed).random(count) < bright
    return np.stack([1 - chosen, chosen], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def servable(tmp_path_factory):
    values = drift.measure(drawn(4000, seed=0, alike=10), None)
    predicted = probabilities(4000, bright=0.3, seed=0)[:, 1].astype(int)
    groups = (np.arange(4000) // 10).astype(str)
    statistics = drift.histograms(
        values, groups, predictions=predicted, prediction_groups=groups, classes=tiny.CLASSES
    )
    card = made_card(drift=statistics, thresholds={"decision": 0.5})
    folder = tmp_path_factory.mktemp("models") / "tiny" / "simple-cnn" / "3"
    decoder = ImageDecoder(SPEC, card, limits=Limits())
    return SimpleNamespace(card=card, decoder=decoder, folder=folder, version=3)


@pytest.fixture
def monitor(servable, monkeypatch):
    monkeypatch.setattr(drift_monitor, "WINDOW", 200)
    monkeypatch.setattr(drift_monitor, "BUDGET_S", 1e9)  # no matter how busy the machine is
    return DriftMonitor(servable)


def encoded(image: np.ndarray) -> dict[str, np.ndarray]:
    return {"image_bytes": np.array([png(image)], object)}


def record(monitor: DriftMonitor, images: np.ndarray, *, bright: float = 0.3, seed: int = 1):
    """Records images one by one, every other as bytes, and processes them from time to time."""
    answers = probabilities(len(images), bright=bright, seed=seed)
    for i, image in enumerate(images):
        features = encoded(image) if i % 2 else {"image": image[None]}
        monitor.record(features, {"probabilities": answers[i : i + 1]})
        if i % 50 == 49:
            monitor.process()
    monitor.process()


def test_drift_is_logged_once_when_it_begins_and_once_when_it_ends(monitor, caplog):
    record(monitor, drawn(250, seed=1))
    assert not monitor.drifted and not caplog.records
    assert set(monitor.indices) == {"brightness", "contrast", "class mix"}
    assert max(monitor.indices.values()) < drift.FAR
    record(monitor, drawn(450, seed=2, darker=60))
    assert monitor.drifted == ("brightness",) and monitor.indices["brightness"] > drift.FAR
    (message,) = caplog.messages
    assert message.startswith(
        "tiny/simple-cnn/3 gets other images than it was trained on: brightness is far"
    )
    record(monitor, drawn(700, seed=3))  # the dark images leave the window
    assert not monitor.drifted
    assert caplog.messages[1:] == [
        "tiny/simple-cnn/3: brightness is back within the training split."
    ]


def test_the_mix_of_predicted_classes_is_monitored_too(monitor, caplog):
    record(monitor, drawn(150, seed=4), bright=0.9, seed=4)
    assert monitor.drifted == ("class mix",) and "dull is" in caplog.text


def test_images_of_one_request_count_as_one_group(servable):
    images, drifted = drawn(80, seed=5, alike=10), {}
    for size in (1, 10):
        monitor = DriftMonitor(servable)
        for half in np.split(images, 2):
            for part in np.split(half, 40 // size):
                monitor.record({"image": part}, {})
            monitor.process()
        drifted[size] = monitor.drifted
    assert "brightness" in drifted[1]  # eighty images that are so similar
    assert not drifted[10]  # eight photos


def test_a_single_finding_may_be_chance(monitor, caplog, monkeypatch):
    finding = drift.Finding("brightness", 0.3, 0.1, True, 100, "why")
    findings = iter([[finding], [], [finding], [finding], [finding]])
    monkeypatch.setattr(drift.Watch, "findings", lambda watch: next(findings))
    monkeypatch.setattr(drift.Watch, "indices", lambda watch: {"brightness": 0.3})
    drifted = []
    for _ in range(5):
        monitor.test()
        drifted.append(monitor.drifted)
    assert drifted == [(), (), (), ("brightness",), ("brightness",)]
    assert caplog.messages == ["tiny/simple-cnn/3 gets other images than it was trained on: why"]


def test_pending_images_and_the_time_to_process_them_are_bounded(monitor, monkeypatch):
    for i in range(100):
        outputs = {"probabilities": probabilities(16, bright=0.3, seed=i)}
        monitor.record({"image": drawn(16, seed=i)}, outputs)
    assert monitor.n_pending == drift_monitor.MAX_PENDING
    monkeypatch.setattr(drift_monitor, "BUDGET_S", 0.0)
    monitor.process()
    assert monitor.n_pending == drift_monitor.MAX_PENDING
    monkeypatch.setattr(drift_monitor, "BUDGET_S", 1e9)
    monitor.process()
    assert (monitor.n_pending, monitor.n_processed) == (0, drift_monitor.MAX_PENDING)
    # By bytes: 3 * 400 are the first that are not below the bound; processed ones are uncounted.
    monkeypatch.setattr(drift_monitor, "MAX_PENDING_BYTES", 1000)
    for _ in range(9):
        monitor.record({"image_bytes": np.array([b"x" * 400], object)}, {})
    assert monitor.n_pending == 3


def test_a_version_without_statistics_is_not_monitored(servable):
    monitor = DriftMonitor(SimpleNamespace(**vars(servable) | {"card": made_card()}))
    monitor.record({"image": drawn(4, seed=0)}, {})
    assert monitor.n_pending == 0
    monitor.process()
    assert not monitor.indices


def test_prometheus_has_each_version_until_it_is_gone(monitor, caplog):
    caplog.set_level(logging.CRITICAL)
    monitors = {("tiny", 3): monitor}
    models = SimpleNamespace(names=[], drift_monitors=lambda: monitors)
    metrics = ServerMetrics(models, SimpleNamespace(waiting=0))
    record(monitor, drawn(100, seed=6, darker=60))
    labels = '{model="tiny",quantity="brightness",version="3"}'
    text = metrics.text().decode()
    assert f"tfpipe_drifted{labels} 1.0" in text
    index = float(text.partition(f"tfpipe_drift_index{labels} ")[2].splitlines()[0])
    assert index == monitor.indices["brightness"]
    monitors.clear()
    assert f"tfpipe_drifted{labels} 0.0" in metrics.text().decode()
