"""Numbers and drafts: each version has its own, whoever else publishes at the same time."""

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import published_text
import pytest
import subprocesses
from made_card import made_card
from published_text import TextExport

from tfpipe.base.errors import UserError
from tfpipe.registry import history, store


@pytest.mark.slow
def test_processes_that_publish_at_once_get_numbers_of_their_own(tmp_path):
    others = [subprocesses.Process(published_text.__file__, tmp_path, 5) for _ in range(3)]
    for other in others:
        assert other.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    versions = [json.loads(other.communicate().stdout) for other in others]
    pairs = sorted((number, name) for made in versions for name, number in made)
    assert pairs == [(n, str(n)) for n in range(1, 16)]
    assert store.versions(tmp_path) == list(range(1, 16))
    assert not list(tmp_path.glob(".draft*"))


def test_the_number_is_given_when_the_version_is_published(tmp_path):
    numbers = []

    class Slow(TextExport):
        def write(self, draft: Path) -> dict:
            with ThreadPoolExecutor(1) as pool:  # another thread publishes meanwhile
                pool.submit(store.publish, TextExport(), tmp_path, card=made_card()).result()
            return super().write(draft)

    def extra_files(draft: Path) -> None:
        numbers.append(store.read_card(draft).version)
        (draft / "assets.extra" / "run.yaml").write_text("seed: 0")

    version = store.publish(Slow(), tmp_path, card=made_card(), extra_files=extra_files)
    assert (version.name, numbers) == ("2", [2])
    assert (version / "assets.extra" / "run.yaml").is_file()
    card = store.read_card(version)
    assert card.sha256.keys() == {"model.txt"} and card.size_bytes == len("a model") and card.date


def test_drafts_of_processes_that_died_are_removed_and_others_are_not(tmp_path):
    host = socket.gethostname()
    names = {f".draft-{host}-{os.getpid()}-7", ".draft-another-host-1-7"}
    largest = int(Path("/proc/sys/kernel/pid_max").read_text())
    for name in (*names, ".draft", f".draft-{host}-{largest + 1}-7"):
        (tmp_path / name).mkdir()
    store.publish(TextExport(), tmp_path, card=made_card())
    assert {path.name for path in tmp_path.glob(".draft*")} == names


def test_a_failed_publication_leaves_nothing(tmp_path):
    def extra_files(draft: Path) -> None:
        raise UserError("The report cannot be written.")

    with pytest.raises(UserError, match="report"):
        store.publish(TextExport(), tmp_path, card=made_card(), extra_files=extra_files)
    assert store.versions(tmp_path) == [] and not list(tmp_path.glob(".draft*"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written: .*--models"):
        store.publish(TextExport(), tmp_path / "file", card=made_card())


def test_what_was_published_last_is_found_though_the_clock_was_set_back(tmp_path):
    earlier = store.publish(TextExport(), tmp_path / "tiny" / "simple-cnn", card=made_card())
    tomorrow = earlier.stat().st_mtime + 86_400
    os.utime(earlier, (tomorrow, tomorrow))
    last = store.publish(TextExport(), tmp_path / "tiny" / "enhanced-cnn", card=made_card())
    assert store.find(tmp_path, task="tiny", model=None, version=None) == last


def test_a_rollback_gets_the_next_number_in_folder_card_and_model_card(tmp_path):
    folder = tmp_path / "tiny" / "simple-cnn"
    for _ in range(2):
        store.publish(TextExport(), folder, card=made_card())
    version = history.rollback(folder / "1")
    card = store.read_card(version)
    assert (version.name, card.version, card.copied_from) == ("3", 3, 1)
    assert "version 3" in (version / "assets.extra" / "MODEL_CARD.md").read_text()
    assert store.find(tmp_path, task="tiny", model=None, version=None) == version
