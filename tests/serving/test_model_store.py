"""Model store: which versions are served, and the names by which they are selected."""

import json
import shutil
import threading
from types import SimpleNamespace

import bad_cards
import made_card
import pytest

from tfpipe.base.errors import UserError
from tfpipe.serving import server
from tfpipe.serving.limits import Limits
from tfpipe.serving.model import preflight, store
from tfpipe.serving.model.store import ModelSelector


def test_a_version_under_two_names_is_loaded_once(tmp_path, monkeypatch):
    tried, loaded, version = [], [], tmp_path / "task" / "model" / "1"
    made_card.write_card(version)

    def load(copy, *, folder, **_):
        loaded.append(folder)
        return SimpleNamespace(version=1)

    monkeypatch.setattr(store, "Servable", load)
    monkeypatch.setattr(preflight, "check", lambda copy, **_: tried.append(copy.card.version))
    for part in ("Explainer", "DriftMonitor", "BatchedPredictor"):
        monkeypatch.setattr(store, part, lambda *_: None)
    selectors = [ModelSelector("task"), ModelSelector("task", "model")]
    models = store.ModelStore(tmp_path, selectors, limits=Limits())
    for changes in ({}, None, {"python": "another"}):
        if changes is not None:
            made_card.write_card(version, **changes)
        models.refresh()
        assert models.get("task") is models.get("task_model")
    assert loaded == [version, version]  # again when its files changed
    assert len(tried) == 2


def test_selectors_are_parsed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # so that no text is a folder
    texts = ["tiny", "tiny/simple-cnn", "tiny/simple-cnn/3"]
    selectors = server.parse_selectors(texts, models=tmp_path)
    assert selectors == [
        ModelSelector("tiny"),
        ModelSelector("tiny", "simple-cnn"),
        ModelSelector("tiny", "simple-cnn", 3),
    ]
    assert [one.name for one in selectors] == ["tiny", "tiny_simple-cnn", "tiny_simple-cnn"]
    for text in ("", "/x", "tiny//3", "tiny/cnn/x", "a/b/1/2", "../x", "a/..", "tiny/cnn/0"):
        with pytest.raises(UserError, match="Expected TASK, TASK/MODEL, TASK/MODEL/N or the fol"):
            server.parse_selectors([text], models=tmp_path)
    with pytest.raises(UserError, match="has no version yet. Run `tfpipe tune TASK` first"):
        server.parse_selectors([], models=tmp_path)
    made_card.write_card(tmp_path)
    with pytest.raises(UserError, match="is itself a version. Copy it to saved_models/TASK/MODEL"):
        server.parse_selectors([], models=tmp_path)


class StubServable:
    """A version that is read as far as its card."""

    def __init__(self, copy, *, folder, **_):
        self.card, self.version, self.folder, self.novelty = copy.card, 1, folder, None


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A model store that reads cards only, and the folder of its only model."""
    monkeypatch.setattr(store, "Servable", StubServable)
    monkeypatch.setattr(preflight, "check", lambda *_, **__: None)
    for part in ("Explainer", "DriftMonitor"):
        monkeypatch.setattr(store, part, lambda *_: None)
    folder = tmp_path / "task" / "model"
    made_card.write_card(folder / "1")
    return store.ModelStore(tmp_path, [ModelSelector("task")], limits=Limits()), folder


BAD = bad_cards.contents(json.loads(made_card.made_card().to_json()))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_card_refuses_its_version_alone(watched, name):
    models, folder = watched
    models.refresh()
    bad_cards.write(folder / "2", BAD[name])
    models.refresh()
    assert models.get("task").servable.folder == folder / "1"
    (served, refused) = sorted(models.statuses("task"))
    assert served == (1, "") and refused.version == 2
    assert "card.json" in refused.error and "\n" not in refused.error
    assert models.refused == ["task/model/2"]
    made_card.write_card(folder / "3")
    models.refresh()
    assert models.get("task").servable.folder == folder / "3"
    shutil.rmtree(folder / "2")
    models.refresh()
    assert models.refused == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_card_at_the_start_is_a_sentence(watched, name):
    models, folder = watched
    shutil.rmtree(folder / "1")
    bad_cards.write(folder / "1", BAD[name])
    models.refresh()
    assert not models.is_ready
    reason = models.unavailable_reason()
    assert reason.startswith("task has no version to serve in ") and "card.json" in reason


def test_names_that_are_no_numbers_are_no_versions(watched):
    models, folder = watched
    for name in ("0", "007", "²", "٣", "1.5", "-2", "99999999999999999999", "2 "):
        made_card.write_card(folder / name)
    models.refresh()
    assert [status.version for status in models.statuses("task")] == [1]


@pytest.mark.parametrize(
    "error", [AttributeError("no such thing"), RecursionError(), MemoryError()]
)
def test_whatever_a_version_raises_refuses_it_alone(watched, monkeypatch, error):
    models, folder = watched
    made_card.write_card(folder / "2")

    def load(copy, *, folder, **_):
        if folder.name == "2":
            raise error
        return StubServable(copy, folder=folder)

    monkeypatch.setattr(store, "Servable", load)
    models.refresh()
    assert models.get("task").servable.folder == folder / "1"
    assert models.refused == ["task/model/2"]


def test_the_watcher_survives_every_error_and_tells_its_last_check(watched, caplog):
    models, folder = watched
    models.refresh()
    stop, calls = threading.Event(), []

    def after_refresh():
        calls.append(None)
        if len(calls) == 1:
            raise RuntimeError("metrics")
        if len(calls) == 2:
            models.refresh = broken
        else:
            stop.set()

    def broken():
        del models.refresh
        raise ValueError("folders")

    thread = threading.Thread(
        target=models.poll,
        kwargs={"every_s": 0.01, "stop": stop, "after_refresh": after_refresh},
        daemon=True,
    )
    thread.start()
    thread.join(20)
    assert not thread.is_alive() and len(calls) == 3
    assert "RuntimeError: metrics" in caplog.text and "ValueError: folders" in caplog.text
    assert 0 <= models.seconds_since_check < 20
