"""Served versions in object storage: new ones are fetched; one that is away harms none."""

from types import SimpleNamespace

import pytest
from made_card import made_card
from object_storage import place, s3_server  # noqa: F401
from published_text import TextExport

from tfpipe.base import storage
from tfpipe.base.errors import UserError
from tfpipe.registry import store as version_store
from tfpipe.serving import server
from tfpipe.serving.limits import Limits
from tfpipe.serving.model import preflight, store


def test_a_new_version_is_fetched_and_served(place, tmp_path, monkeypatch, caplog):  # noqa: F811
    def on(machine: str):
        monkeypatch.setenv(storage.CACHE, str(tmp_path / machine))
        return storage.local_folder(place)

    loaded = []

    def load(copy, *, folder, **_):
        assert (folder / "model.txt").read_text() == "a model"
        loaded.append(int(folder.name))
        return SimpleNamespace(version=int(folder.name))

    class Network(TextExport):
        def write(self, draft):
            return super().write(draft) | {"kind": "classifier", "inputs": ("image",)}

    monkeypatch.setattr(store, "Servable", load)
    monkeypatch.setattr(preflight, "check", lambda *_, **__: None)
    for part in ("Explainer", "DriftMonitor", "BatchedPredictor"):
        monkeypatch.setattr(store, part, lambda *_: None)

    def publish() -> None:
        models = on("trainer") / "tiny" / "text"
        version_store.publish(Network(), models, card=made_card(model="text"))

    publish()
    models = on("server")
    selectors = server.parse_selectors([], models=models)
    served = store.ModelStore(models, selectors, limits=Limits())
    served.refresh()
    served.refresh()
    publish()
    on("server")
    served.refresh()
    served.refresh()
    assert loaded == [1, 2] and served.get("tiny").servable.version == 2

    def away(self, folder):
        raise UserError("The storage is away.")

    monkeypatch.setattr(storage.StorageFolder, "listing", away)
    served.refresh()
    again = store.ModelStore(models, server.parse_selectors([], models=models), limits=Limits())
    again.refresh()
    assert "What was fetched before is served. The storage is away." in caplog.text
    assert again.get("tiny").servable.version == 2 and loaded.pop() == 2
    with pytest.raises(UserError, match="The storage is away"):
        server.parse_selectors([], models=on("another server"))
    on("server")
    assert "New versions of tiny cannot be fetched. The storage is away." in caplog.text
    assert served.get("tiny").servable.version == 2 and loaded == [1, 2]
