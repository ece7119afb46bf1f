"""Records in object storage: readers meet old or new ones, whole, whatever was killed."""

import json
import shutil
from pathlib import Path

import object_storage
import pytest
import small_records
import subprocesses
from object_storage import place, s3_server  # noqa: F401

from tfpipe.base import storage
from tfpipe.base.errors import UserError
from tfpipe.data import exchange, manifest, stored_records

# ruff: noqa: F811


def on(machine: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Has this process be a machine of its own; returns its folder of the records."""
    monkeypatch.setenv(storage.CACHE, str(tmp_path / machine))
    return storage.local_folder(url) / "records" / "small-task"


def publish(raw: Path, records: Path) -> manifest.RecordManifest:
    stored_records.fetch(records)
    made = small_records.pack_small(raw, records)
    stored_records.publish(records)
    return made


@pytest.fixture
def raw(tmp_path) -> Path:
    return small_records.draw_small(tmp_path / "raw", small_records.spread(train=8))


def test_another_machine_reads_what_one_has_published(place, raw, tmp_path, monkeypatch):
    made = publish(raw, on("a", place, tmp_path, monkeypatch))
    records = on("b", place, tmp_path, monkeypatch)
    stored_records.fetch(records)
    assert manifest.trusted(records) == made
    # One more raw file: what has not changed is neither sent nor fetched again.
    small_records.draw_small(raw, small_records.names_in("train", 9)[8:])
    more = publish(raw, on("a", place, tmp_path, monkeypatch))
    system = object_storage.counted()
    with monkeypatch.context() as patch:
        fetched: list[str] = []
        get = storage.StorageFolder.download
        patch.setattr(
            storage.StorageFolder,
            "download",
            lambda self, name, path: fetched.append(path.name) or get(self, name, path),
        )
        records = on("b", place, tmp_path, patch)
        stored_records.fetch(records)
    assert manifest.trusted(records) == more and more.fingerprint != made.fingerprint
    old = {shard.sha256 for shard in made.shards}
    assert {shard.name for shard in more.shards if shard.sha256 not in old} <= set(fetched)
    assert len(fetched) < len(more.shards) + len(more.files) and system.calls == []
    folders = {name.split("/")[2] for name in object_storage.names(place)}
    assert len(folders) == 2  # the newest manifest and its folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["records", "versions"])
def test_a_publisher_killed_at_any_change_leaves_nothing_half_published(kind, place, raw, tmp_path):
    small = small_records.draw_small(tmp_path / "small", small_records.spread(2, 1, 1))
    done = subprocesses.run(object_storage.__file__, kind, place, small, tmp_path / "caches")
    assert done.returncode == 0, done.stderr[-3000:]
    runs = json.loads(done.stdout.splitlines()[-1])
    whole = runs["whole"]
    assert whole["status"] == 0 and len(whole["met"]) == 1 and len(runs["pairs"]) >= 3
    for moment, (killed, last) in runs["pairs"].items():
        assert (killed["status"], killed["reader"]) == (-9, 0), killed
        assert killed["met"] in ([], whole["met"])
        # The next run goes on. A version that had only its number is trained again: it is the next.
        assert last["status"] == 0 and len(last["met"]) == 1
        if kind == "records":
            sent = [run["calls"].count("put_file") for run in (whole, last)]
            assert last["met"] == whole["met"] and sent[1] <= max(1, sent[0] - int(moment) + 10)


def test_of_two_machines_that_pack_at_once_one_is_refused(place, raw, tmp_path, monkeypatch):
    first = on("a", place, tmp_path, monkeypatch)
    stored_records.fetch(first)
    small_records.pack_small(raw, first)
    other_raw = shutil.copytree(raw, tmp_path / "other")
    small_records.draw_small(other_raw, small_records.names_in("train", 9)[8:])
    made = publish(other_raw, on("b", place, tmp_path, monkeypatch))
    on("a", place, tmp_path, monkeypatch)
    with pytest.raises(UserError, match="Another machine published records of small-task"):
        stored_records.publish(first)
    assert manifest.trusted(first).fingerprint != made.fingerprint
    again = publish(raw, first)  # begins with those of the other machine
    stored_records.fetch(on("b", place, tmp_path, monkeypatch))
    assert manifest.read(on("b", place, tmp_path, monkeypatch)) == again


def test_a_manifest_that_two_write_at_once_is_that_of_one(place, raw, tmp_path, monkeypatch):
    records = on("a", place, tmp_path, monkeypatch)
    small_records.pack_small(raw, records)
    create = storage.StorageFolder.create

    def late(self, name, data):
        if "manifest-" in name:  # another machine is a moment earlier
            create(self, name, (records / "manifest.json").read_bytes() + b" ")
        return create(self, name, data)

    monkeypatch.setattr(storage.StorageFolder, "create", late)
    with pytest.raises(UserError, match="Another machine published"):
        stored_records.publish(records)


def test_records_that_were_copied_to_the_storage_are_read(place, raw, tmp_path, monkeypatch):
    made = small_records.pack_small(raw, tmp_path / "small-task")
    records = on("a", place, tmp_path, monkeypatch)
    opened = storage.storage_of(records)
    for path in (tmp_path / "small-task").rglob("*"):
        if path.is_file():
            name = path.relative_to(tmp_path).as_posix()
            opened.write(f"records/{name}", path.read_bytes())
    stored_records.fetch(records)
    assert manifest.trusted(records) == made
    small_records.draw_small(raw, ["new"])
    newer = publish(raw, records)
    stored_records.fetch(on("b", place, tmp_path, monkeypatch))
    assert manifest.read(on("b", place, tmp_path, monkeypatch)) == newer


def test_a_damaged_or_missing_file_is_named_and_old_records_stay(place, raw, tmp_path, monkeypatch):
    made = publish(raw, on("a", place, tmp_path, monkeypatch))
    (shard,) = [n for n in object_storage.names(place) if n.endswith(made.shards[0].name)]
    records = on("b", place, tmp_path, monkeypatch)
    opened = storage.storage_of(records)
    data = opened.read(shard)
    opened.write(shard, data[:-1] + b"?")
    with pytest.raises(UserError, match=f"{made.shards[0].name} is not what its manifest has"):
        stored_records.fetch(records)
    opened.remove([shard])
    with pytest.raises(UserError, match=f"{made.shards[0].name} cannot be copied"):
        stored_records.fetch(records)
    assert not records.exists()
    opened.write(shard, data)
    stored_records.fetch(records)
    assert manifest.trusted(records) == made


def test_a_local_file_that_changes_but_not_in_its_size_is_fetched_anew(
    place, raw, tmp_path, monkeypatch, caplog
):
    made = publish(raw, on("a", place, tmp_path, monkeypatch))
    records = on("b", place, tmp_path, monkeypatch)
    stored_records.fetch(records)
    shard = records / made.shards[0].name
    others = {path: path.stat().st_ino for path in records.iterdir() if path.is_file()}
    data = shard.read_bytes()
    shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    stored_records.fetch(records)
    assert manifest.trusted(records) == made and "fetched anew" in caplog.text
    linked = [path for path, inode in others.items() if path.stat().st_ino == inode]
    assert len(linked) == len(others) - 2  # all but the manifest and the shard
    caplog.clear()
    stored_records.fetch(records)
    assert not caplog.text


def test_records_replaced_while_they_are_fetched_are_fetched_anew(
    place, raw, tmp_path, monkeypatch
):
    publisher = on("a", place, tmp_path, monkeypatch)
    publish(raw, publisher)
    get, newer = storage.StorageFolder.download, []

    def download(self, name, path):
        if not newer:
            newer.append(None)
            with pytest.MonkeyPatch.context() as patch:
                small_records.draw_small(raw, ["new"])
                newer[:] = [publish(raw, on("a", place, tmp_path, patch))]
        get(self, name, path)

    records = on("b", place, tmp_path, monkeypatch)
    monkeypatch.setattr(storage.StorageFolder, "download", download)
    stored_records.fetch(records)
    assert manifest.trusted(records) == newer[0]


def test_records_that_the_storage_has_no_more_are_gone_here(place, raw, tmp_path, monkeypatch):
    records = on("a", place, tmp_path, monkeypatch)
    publish(raw, records)
    storage.storage_of(records).remove(object_storage.names(place))
    stored_records.fetch(records)
    assert not records.exists()
    made = publish(raw, records)
    stored_records.fetch(on("b", place, tmp_path, monkeypatch))
    assert manifest.read(on("b", place, tmp_path, monkeypatch)) == made


def test_records_packed_while_others_are_fetched_are_kept(
    place, raw, tmp_path, monkeypatch, caplog
):
    records = on("a", place, tmp_path, monkeypatch)
    publish(raw, records)
    storage.storage_of(records).remove(object_storage.names(place))
    small_records.draw_small(raw, ["new"])
    gathering, made = exchange.gathering, []

    def late(folder, word, *, work):
        if not made:  # another run of this machine packs before the lock is taken
            made.append(None)
            made[:] = [small_records.pack_small(raw, records)]
        return gathering(folder, word, work=work)

    monkeypatch.setattr(exchange, "gathering", late)
    stored_records.fetch(records)
    assert manifest.trusted(records) == made[0]
    records = on("b", place, tmp_path, monkeypatch)
    stored_records.fetch(records)  # they were published
    assert manifest.trusted(records) == made[0]
    records = on("c", place, tmp_path, monkeypatch)
    made.clear()
    stored_records.fetch(records)
    assert len(made) == 1 and manifest.trusted(records) == made[0]
