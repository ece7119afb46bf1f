"""What a version is asked is looked at beside the answering, and told once when it leaves."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from server_process import png

from tfpipe.evaluation import drift
from tfpipe.models.spec import Spec
from tfpipe.serving import drift_monitor
from tfpipe.serving.metrics import Metrics

pytestmark = pytest.mark.slow

SPEC = Spec((16, 16, 1), tiny.CLASSES, (100.0,), (50.0,))


def drawn(count: int, *, seed: int, darker: int = 0, alike: int = 1) -> np.ndarray:
    """Returns pictures [n, 16, 16, 1] uint8; so many after each other are of like light."""
    rng = np.random.default_rng(seed)
    light = rng.normal(150 - darker, 15, (count // alike, 1, 1, 1)).repeat(alike, axis=0)
    return np.clip(light + rng.normal(0, 10, (count, 16, 16, 1)), 0, 255).astype(np.uint8)


def likely(count: int, *, bright: float, seed: int) -> np.ndarray:
    """Returns probabilities [n, 2], of which a share is bright."""
    chosen = np.random.default_rng(seed).random(count) < bright
    return np.stack([1 - chosen, chosen], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def servable(tmp_path_factory):
    values = drift.measured(drawn(4000, seed=0, alike=10), None)
    said = likely(4000, bright=0.3, seed=0)[:, 1].astype(int)
    groups = (np.arange(4000) // 10).astype(str)
    told = {"said": said, "said_groups": groups, "classes": tiny.CLASSES}
    card = {"drift": drift.learnt(values, groups, **told), "thresholds": {"decision": 0.5}}
    folder = tmp_path_factory.mktemp("models") / "tiny" / "simple-cnn" / "3"
    return SimpleNamespace(card=card, spec=SPEC, folder=folder, version=3)


@pytest.fixture
def of(servable, monkeypatch):
    monkeypatch.setattr(drift_monitor, "WINDOW", 200)
    monkeypatch.setattr(drift_monitor, "LOOK_S", 1e9)  # no matter how busy the machine is
    return drift_monitor.Drift(servable)


def ask(of: drift_monitor.Drift, images: np.ndarray, *, bright: float = 0.3, seed: int = 1) -> None:
    """Asks one by one, every other as bytes, and looks from time to time."""
    answers = likely(len(images), bright=bright, seed=seed)
    for i, image in enumerate(images):
        given = {"image_bytes": np.array([png(image)], object)} if i % 2 else {"image": image[None]}
        of.offer(given, {"probabilities": answers[i : i + 1]})
        if i % 50 == 49:
            of.look()
    of.look()


def test_leaving_and_coming_back_are_each_told_once(of, caplog):
    ask(of, drawn(250, seed=1))
    assert not of.left and not caplog.records
    assert {*of.indices} == {"brightness", "contrast", "class mix"}
    assert max(of.indices.values()) < drift.FAR
    ask(of, drawn(450, seed=2, darker=60))
    assert of.left == ("brightness",) and of.indices["brightness"] > drift.FAR
    (told,) = caplog.messages
    assert told.startswith("tiny/simple-cnn/3 is asked what it did not learn: brightness is far")
    ask(of, drawn(700, seed=3))  # the window forgets
    assert not of.left
    assert caplog.messages[1:] == [
        "tiny/simple-cnn/3: brightness is back within what it learnt from."
    ]


def test_the_mix_of_answers_is_watched_too(of, caplog):
    ask(of, drawn(150, seed=4), bright=0.9, seed=4)
    assert of.left == ("class mix",) and "dull is" in caplog.text


def test_pictures_of_one_request_are_taken_as_alike(servable):
    images, found = drawn(80, seed=5, alike=10), {}
    for size in (1, 10):
        of = drift_monitor.Drift(servable)
        for half in np.split(images, 2):
            for part in np.split(half, 40 // size):
                of.offer({"image": part}, {})
            of.look()
        found[size] = of.left
    assert "brightness" in found[1]  # eighty pictures, and so alike
    assert not found[10]  # eight photos


def test_what_is_found_once_may_be_chance(of, caplog, monkeypatch):
    one = drift.Finding("brightness", 0.3, 0.1, True, 100, "why")
    each = iter([[one], [], [one], [one], [one]])
    monkeypatch.setattr(drift.Watch, "findings", lambda watch: next(each))
    monkeypatch.setattr(drift.Watch, "indices", lambda watch: {"brightness": 0.3})
    told = []
    for _ in range(5):
        of._judge()
        told.append(of.left)
    assert told == [(), (), (), ("brightness",), ("brightness",)]
    assert caplog.messages == ["tiny/simple-cnn/3 is asked what it did not learn: why"]


def test_what_waits_is_bounded_and_so_is_the_time_of_a_look(of, monkeypatch):
    for i in range(100):
        of.offer({"image": drawn(16, seed=i)}, {"probabilities": likely(16, bright=0.3, seed=i)})
    assert of._pictures == drift_monitor.WAITING
    monkeypatch.setattr(drift_monitor, "LOOK_S", 0.0)
    of.look()
    assert of._pictures == drift_monitor.WAITING
    monkeypatch.setattr(drift_monitor, "LOOK_S", 1e9)
    of.look()
    assert (of._pictures, of._bytes, of._seen) == (0, 0, drift_monitor.WAITING)
    monkeypatch.setattr(drift_monitor, "WAITING_BYTES", 1000)
    for _ in range(9):
        of.offer({"image_bytes": np.array([b"x" * 400], object)}, {})
    assert len(of._waiting) == 3


def test_a_version_without_statistics_is_not_watched(servable):
    of = drift_monitor.Drift(SimpleNamespace(**vars(servable) | {"card": {}}))
    of.offer({"image": drawn(4, seed=0)}, {})
    of.look()
    assert not of._waiting and not of.indices


def test_prometheus_is_told_of_each_version_until_it_is_gone(of, caplog):
    caplog.set_level(logging.CRITICAL)
    there = {("tiny", 3): of}
    shelf = SimpleNamespace(names=[], drifts=lambda: there)
    metrics = Metrics(shelf, SimpleNamespace(waiting=0))
    ask(of, drawn(100, seed=6, darker=60))
    labels = '{model="tiny",quantity="brightness",version="3"}'
    text = metrics.text().decode()
    assert f"tfpipe_drift_left{labels} 1.0" in text
    index = float(text.partition(f"tfpipe_drift_index{labels} ")[2].splitlines()[0])
    assert index == of.indices["brightness"]
    there.clear()
    assert f"tfpipe_drift_left{labels} 0.0" in metrics.text().decode()
