"""A project whose data are in object storage, on machines of their own."""

from types import SimpleNamespace

import fsspec
import object_storage
import pandas as pd
import pytest
import tiny
from object_storage import place, s3_server  # noqa: F401

import tfpipe
from tfpipe.base import storage
from tfpipe.base.errors import UserError
from tfpipe.baselines import compare, feature_tables, leaderboard


def test_records_are_packed_divided_and_checked_where_the_urls_say(
    place,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    def on(machine: str) -> tfpipe.Project:
        monkeypatch.setenv(storage.CACHE, str(tmp_path / machine))
        return tfpipe.Project(f"{place}/data", f"{place}/models", progress=False)

    project = on("collector")
    raw = project.raw_folder(tiny.TASK)
    raw.mkdir(parents=True)
    for i in range(12):
        (raw / f"file{i:02d}.txt").write_text(str(i))
    storage.push(raw)
    packed = on("packer").pack(tiny.TASK)
    divided = on("divider").repack(tiny.TASK, shards=1)
    project = on("reader")
    assert project.verify(tiny.TASK).manifest == divided.manifest
    assert packed.manifest.fingerprint == divided.manifest.fingerprint
    assert len(packed.manifest.shards) > len(divided.manifest.shards) == 3
    assert not list((tmp_path / "reader").glob("*/raw"))  # which it did not need
    assert on("packer").pack(tiny.TASK).manifest == divided.manifest
    with pytest.raises(UserError, match="holds no version yet"):
        on("reader").version(tiny.TASK)
    with pytest.raises(UserError, match="must be folders of this machine"):
        on("reader").review(tiny.TASK)
    top = {name.split("/")[0] for name in object_storage.names(place)}
    assert top == {"data"}


def test_a_sample_is_drawn_into_the_storage(tmp_path, monkeypatch):
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))
    url = f"file://{tmp_path}/stored"
    project, upload = tfpipe.Project(url, progress=False), storage.StorageFolder.upload
    with monkeypatch.context() as patch:

        def cut_short(self, paths, **_):
            upload(self, dict(list(paths.items())[:2]))
            raise KeyboardInterrupt

        patch.setattr(storage.StorageFolder, "upload", cut_short)
        with pytest.raises(KeyboardInterrupt):
            project.sample("folds", outcrops=2, crops=1)
    with pytest.raises(UserError, match="already holds something"):
        project.sample("folds", outcrops=2, crops=1)  # which uploads the rest
    with pytest.raises(UserError, match="already holds something"):
        project.sample("folds", outcrops=2, crops=1)
    stored = [name for name in object_storage.names(url) if name.startswith("raw/folds/")]
    here = tmp_path / "cache"
    assert len(stored) == len([p for p in here.glob("*/raw/folds/**/*") if p.is_file()]) > 2


def test_a_data_folder_that_is_read_only_is_refused_before_the_work(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))
    project = tfpipe.Project(f"file://{tmp_path}/data", f"file://{tmp_path}/models", progress=False)
    raw = project.raw_folder(tiny.TASK)
    raw.mkdir(parents=True)
    for i in range(12):
        (raw / f"file{i:02d}.txt").write_text(str(i))
    storage.push(raw)
    system, records = type(fsspec.filesystem("file")), project.records_folder(tiny.TASK)

    def refuse(*_, **__):
        raise PermissionError("Permission denied")

    def cut_short(self, paths, **_):
        raise UserError("The network is down.")

    with monkeypatch.context() as patch:
        patch.setattr(system, "pipe_file", refuse)
        with pytest.raises(UserError, match="Permission denied"):
            project.pack(tiny.TASK)
        assert not list(records.parent.rglob("*.tfrecord*"))
        with pytest.raises(UserError, match="Permission denied"):
            project.rollback(tiny.TASK, 1)
    with monkeypatch.context() as patch:
        patch.setattr(storage.StorageFolder, "upload", cut_short)
        with pytest.raises(UserError, match="network"):
            project.pack(tiny.TASK)
    with monkeypatch.context() as patch:
        patch.setattr(system, "pipe_file", refuse)
        packed = project.pack(tiny.TASK)  # no work: it was done before
        assert project.verify(tiny.TASK).manifest == packed.manifest
        assert "The records are used from this machine" in caplog.text
        with pytest.raises(UserError, match="Permission denied"):
            project.repack(tiny.TASK, shards=1)
        assert project.records(tiny.TASK).manifest == packed.manifest
    assert object_storage.names(f"file://{tmp_path}/data/records") == []
    assert project.repack(tiny.TASK, shards=1).manifest != packed.manifest


def test_an_answer_that_cannot_be_uploaded_is_given_and_uploaded_later(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))
    url = f"file://{tmp_path}/models"
    project = tfpipe.Project(tmp_path / "data", url, progress=False)
    table = pd.DataFrame({"model": ["x"], "accuracy": [1.0]})

    def compared(*_, models, **__):
        (models / "comparison").mkdir(parents=True, exist_ok=True)
        (models / "comparison" / "comparison.csv").write_text("model,accuracy")
        return table, table

    def run(table, folder, **_):
        folder.mkdir(parents=True)
        return pd.DataFrame({"classifier": ["tree"]})

    def away(self, paths, **_):
        raise UserError("The storage is away.")

    monkeypatch.setattr(tfpipe.Project, "pack", lambda *_, **__: SimpleNamespace(path=tmp_path))
    monkeypatch.setattr(compare, "compare_models", compared)
    monkeypatch.setattr(leaderboard, "run", run)
    monkeypatch.setattr(feature_tables, "has_tables", lambda raw: True)
    monkeypatch.setattr(
        feature_tables, "read", lambda raw: SimpleNamespace(names=("a",), notes=("b",))
    )
    monkeypatch.setattr(
        feature_tables, "write", lambda table, folder: (folder / "features.csv").write_text("a")
    )
    with monkeypatch.context() as patch:
        patch.setattr(storage.StorageFolder, "upload", away)
        made = project.compare(tiny.TASK)
    assert made.table is table and (made.path / "comparison.csv").is_file()
    assert "Not uploaded yet: " in caplog.text and object_storage.names(url) == []
    project.leaderboard(tiny.TASK)
    stored = ["tiny/comparison/comparison.csv", "tiny/leaderboard/features.csv"]
    assert object_storage.names(url) == stored
