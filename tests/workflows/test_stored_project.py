"""A project whose data are in object storage, on machines of their own."""

import object_storage
import pytest
import tiny
from object_storage import place, s3_server  # noqa: F401

import tfpipe
from tfpipe.base import storage
from tfpipe.base.errors import UserError


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
