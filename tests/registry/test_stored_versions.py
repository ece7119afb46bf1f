"""Versions in object storage: one number each, whole or not there, fetched when they are loaded."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import object_storage
import pytest
from made_card import made_card
from object_storage import place, s3_server  # noqa: F401
from published_text import TextExport

from tfpipe.base import storage
from tfpipe.base.errors import UserError
from tfpipe.registry import checked_files, history, store, stored_versions

# ruff: noqa: F811


def on(machine: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Has this process be a machine of its own; returns its folder of saved versions."""
    monkeypatch.setenv(storage.CACHE, str(tmp_path / machine))
    return storage.local_folder(url)


def publish(models: Path, model: str = "text") -> Path:
    return store.publish(TextExport(), models / "tiny" / model, card=made_card(model=model))


def test_another_machine_gets_cards_first_and_models_when_it_loads_them(
    place, tmp_path, monkeypatch
):
    publish(on("a", place, tmp_path, monkeypatch))
    models = on("b", place, tmp_path, monkeypatch)
    stored_versions.fetch(models, "tiny")
    version = store.find(models, task="tiny", model=None, version=None)
    assert (version.name, store.read_card(version).version) == ("1", 1)
    assert not (version / "model.txt").exists()
    written = version.stat().st_mtime
    for _ in range(2):
        with checked_files.checked_copy(version, "model.txt") as copy:
            assert (copy.folder / "model.txt").read_text() == "a model"
    stored_versions.fetch(models)
    assert version.stat().st_mtime == written  # by which the newest is found
    assert publish(models).name == "2"
    assert history.rollback(version).name == "3"
    models = on("a", place, tmp_path, monkeypatch)
    stored_versions.fetch(models, "tiny")
    assert store.versions(models / "tiny" / "text") == [1, 2, 3]
    copied = models / "tiny" / "text" / "3"
    checked_files.check(copied, store.read_card(copied))
    assert store.read_card(copied).copied_from == 1


def test_the_model_written_last_is_the_same_on_all_machines(place, tmp_path, monkeypatch):
    models = on("a", place, tmp_path, monkeypatch)
    for model in ("one", "two"):
        publish(models, model)
        time.sleep(1.1 if place.startswith("s3") else 0.01)  # S3 has times to the second
    for machine in ("a", "b"):
        models = on(machine, place, tmp_path, monkeypatch)
        stored_versions.fetch(models)
        assert store.find(models, task="tiny", model=None, version=None).parent.name == "two"


def test_machines_that_publish_at_once_get_numbers_of_their_own(place, tmp_path, monkeypatch):
    folders = []
    for url in (place, place.replace("file://", "local://").replace("s3://", "s3a://")):
        models = on("same", url, tmp_path, monkeypatch)
        folders.append(models / "tiny" / "text")
    assert folders[0] != folders[1]  # each has its own lock
    barrier = threading.Barrier(2)

    listing = storage.StorageFolder.listing

    def slow(self, folder):
        stored = listing(self, folder)
        time.sleep(0.02)  # so that both know the same numbers
        return stored

    monkeypatch.setattr(storage.StorageFolder, "listing", slow)

    def claim(folder: Path) -> list[int]:
        barrier.wait()
        return [stored_versions.claim(folder, 1) for _ in range(5)]

    with ThreadPoolExecutor(2) as pool:
        numbers = [n for made in pool.map(claim, folders) for n in made]
    assert sorted(numbers) == list(range(1, 11))


def test_processes_that_fetch_a_version_at_once_have_it_once(place, tmp_path, monkeypatch):
    publish(on("a", place, tmp_path, monkeypatch))
    models = on("server", place, tmp_path, monkeypatch)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: stored_versions.fetch(models, "tiny"), range(4)))
    assert store.versions(models / "tiny" / "text") == [1]
    assert not list((models / "tiny" / "text").glob("*.fetched"))


def test_a_version_whose_upload_failed_is_published_by_the_next_command(
    place, tmp_path, monkeypatch, caplog
):
    models = on("a", place, tmp_path, monkeypatch)
    with monkeypatch.context() as patch:

        def upload(self, paths, **_):
            raise UserError("The network is down.")

        patch.setattr(storage.StorageFolder, "upload", upload)
        with pytest.raises(UserError, match="network"):
            publish(models)
        stored_versions.fetch(models, "tiny")
        assert "is not published yet. The network is down." in caplog.text
    reader = on("b", place, tmp_path, monkeypatch)
    stored_versions.fetch(reader, "tiny")
    assert store.versions(reader / "tiny" / "text") == []
    models = on("a", place, tmp_path, monkeypatch)
    stored_versions.fetch(models, "tiny")
    reader = on("b", place, tmp_path, monkeypatch)
    stored_versions.fetch(reader, "tiny")
    assert store.versions(reader / "tiny" / "text") == [1]
    assert publish(reader).name == "2"


def test_a_storage_that_is_away_for_a_while_costs_no_trained_model(place, tmp_path, monkeypatch):
    models = on("a", place, tmp_path, monkeypatch)
    create, failures = storage.StorageFolder.create, []

    def away(self, name, data):
        if len(failures) < 2:
            failures.append(name)
            raise UserError("The network is down.")
        return create(self, name, data)

    monkeypatch.setattr(stored_versions, "RETRY_S", 0.0)
    monkeypatch.setattr(storage.StorageFolder, "create", away)
    assert publish(models).name == "1" and len(failures) == 2
    failures.clear()
    monkeypatch.setattr(stored_versions, "PATIENCE_S", -1.0)
    with pytest.raises(UserError, match="network"):
        publish(models)


def test_a_storage_that_refuses_is_not_asked_again(place, tmp_path, monkeypatch):
    models = on("a", place, tmp_path, monkeypatch)

    def refuse(self, name, data):
        raise storage.NotWritable("Access Denied.")

    monkeypatch.setattr(storage.StorageFolder, "create", refuse)
    monkeypatch.setattr(stored_versions, "RETRY_S", -1.0)  # which no sleep takes
    with pytest.raises(UserError, match="Access Denied"):
        publish(models)


def test_a_version_cut_by_a_damaged_disk_is_fetched_anew(place, tmp_path, monkeypatch):
    version = publish(on("a", place, tmp_path, monkeypatch))
    for path in (version / "model.txt", version / stored_versions.CARD):
        data = path.read_bytes()
        path.write_bytes(data[:-1])
        stored_versions.fetch(storage.local_folder(place), "tiny")
        stored_versions.complete(version)
        assert path.read_bytes() == data


def test_one_bad_version_does_not_keep_others_away(place, tmp_path, monkeypatch, caplog):
    models = on("a", place, tmp_path, monkeypatch)
    publish(models), publish(models)
    storage.storage_of(models).write("tiny/text/1/assets.extra/..\\x", b"leaves the folder")
    models = on("b", place, tmp_path, monkeypatch)
    stored_versions.fetch(models, "tiny")
    assert store.versions(models / "tiny" / "text") == [2]
    assert "1 is not fetched." in caplog.text and "has '..' in it" in caplog.text


def test_a_version_that_was_removed_is_removed_here(place, tmp_path, monkeypatch):
    models = on("a", place, tmp_path, monkeypatch)
    publish(models), publish(models)
    place_of_models = storage.storage_of(models)
    place_of_models.remove([n for n in object_storage.names(place) if "/2/" in n])
    stored_versions.fetch(models, "tiny")
    assert store.versions(models / "tiny" / "text") == [1]
    assert publish(models).name == "3"  # a number is never given twice
    lost = models / "tiny" / "text" / "1"
    place_of_models.remove([n for n in object_storage.names(place) if "/1/" in n])
    os.utime(lost)
    on("b", place, tmp_path, monkeypatch)
    reader = storage.local_folder(place)
    stored_versions.fetch(reader, "tiny")
    place_of_models.remove([n for n in object_storage.names(place) if "/3/" in n])
    with pytest.raises(UserError, match="was removed meanwhile"):
        stored_versions.complete(reader / "tiny" / "text" / "3")


def test_what_nobody_finished_for_a_day_is_removed_and_its_number_stays_used(
    place, tmp_path, monkeypatch
):
    models = on("a", place, tmp_path, monkeypatch)
    stored = storage.storage_of(models)
    assert stored_versions.claim(models / "tiny" / "text", 1) == 1  # by a machine that is gone
    stored.write("tiny/text/1/model.txt", b"a mod")
    stored.write("tiny/../outside/1/assets.extra/card.json", b"{}")
    assert publish(models).name == "2"
    assert "tiny/text/1/model.txt" in object_storage.names(place)
    monkeypatch.setattr(stored_versions, "STRAY_S", -3600.0)
    assert publish(models).name == "3"
    assert "tiny/text/1/model.txt" not in object_storage.names(place)
    stored_versions.fetch(models)
    assert store.versions(models / "tiny" / "text") == [2, 3]
    assert publish(models).name == "4"
    assert not list((tmp_path / "a").rglob("outside"))


def test_a_new_report_reaches_other_machines(place, tmp_path, monkeypatch):
    page = publish(on("a", place, tmp_path, monkeypatch)) / "assets.extra" / "report.html"
    reader = on("b", place, tmp_path, monkeypatch)
    stored_versions.fetch(reader, "tiny")
    on("a", place, tmp_path, monkeypatch)
    page.write_text("new")
    stored_versions.push_file(page)
    on("b", place, tmp_path, monkeypatch)
    stored_versions.fetch(reader, "tiny")
    assert (reader / "tiny" / "text" / "1" / "assets.extra" / "report.html").read_text() == "new"
