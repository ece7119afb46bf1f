"""Model store: which versions are served, and the names by which they are selected."""

from types import SimpleNamespace

import made_card
import pytest

from tfpipe.base.errors import UserError
from tfpipe.serving import server
from tfpipe.serving.limits import Limits
from tfpipe.serving.model import store
from tfpipe.serving.model.store import ModelSelector


def test_a_version_under_two_names_is_loaded_once(tmp_path, monkeypatch):
    loaded, version = [], tmp_path / "task" / "model" / "1"
    made_card.write_card(version)

    def load(folder, **_):
        loaded.append(folder)
        return SimpleNamespace(version=1)

    monkeypatch.setattr(store, "Servable", load)
    for part in ("Explainer", "DriftMonitor"):
        monkeypatch.setattr(store, part, lambda servable: None)
    selectors = [ModelSelector("task"), ModelSelector("task", "model")]
    models = store.ModelStore(tmp_path, selectors, limits=Limits())
    for changes in ({}, None, {"python": "another"}):
        if changes is not None:
            made_card.write_card(version, **changes)
        models.refresh()
        assert models.get("task") is models.get("task_model")
    assert loaded == [version, version]  # again when its files changed


def test_selectors_are_parsed(tmp_path):
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
