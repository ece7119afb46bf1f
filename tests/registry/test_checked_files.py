"""One door to versions: what is loaded is what was checked, and regular files only."""

import ast
import os
import resource
import shutil
import tempfile
import threading
from pathlib import Path

import hostile_versions
import numpy as np
import pytest
import tensorflow as tf
from hostile_versions import HARMLESS, IMAGES, graph, write_card

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.registry import checked_files, graph_scan, load, store
from tfpipe.registry.checked_files import checked_copy

ROOT = Path(__file__).parents[2]
LOADERS = {"saved_model.load", "models.load_model", "saving.load_model", "load_saved_model"}
DOORS = {"tfpipe/registry/load.py", "tfpipe/registry/parity.py"}  # parity: what was just exported


@pytest.fixture
def version(tmp_path):
    folder = tmp_path / "task" / "model" / "1"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(graph(*HARMLESS).SerializeToString())
    (folder / "variables" / "variables.index").write_bytes(b"index")
    write_card(folder)
    return folder


def within_seconds(call) -> None:
    """Calls a function in another thread, so that one that waits for ever fails."""
    errors = []

    def run():
        try:
            call()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "It waits."
    if errors:
        raise errors[0]


def copied(version: Path, *names: str) -> dict[str, bytes]:
    """Returns the files of a checked copy, which is gone by then."""
    with checked_copy(version, *names) as copy:
        paths = [path for path in copy.folder.rglob("*") if path.is_file()]
        contents = {path.relative_to(copy.folder).as_posix(): path.read_bytes() for path in paths}
        assert copy.folder.parts[-3:] == version.parts[-3:]
        assert copy.folder.parents[2].stat().st_mode & 0o777 == 0o700
    assert not copy.folder.parents[2].exists()
    return contents


def test_the_files_of_a_version_are_copied_and_the_copy_is_removed(version):
    (version / "assets.extra" / "other.txt").write_text("checked, not copied")
    write_card(version)
    names = {"saved_model.pb", "variables/variables.index"}
    assert {name: (version / name).read_bytes() for name in names} == copied(version)
    assert copied(version, "variables/variables.index") == {"variables/variables.index": b"index"}


def test_a_file_that_the_card_lacks_is_refused(version):
    for name in ("variables/more", "saved_model.pbtxt", "saved_model.cpb", "assets/words.txt"):
        path = version / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"more")
        with pytest.raises(UserError, match=f"task/model/1 contains {name}, which its card lacks"):
            copied(version)
        path.unlink()


def test_changed_and_missing_files_are_refused(version):
    (version / "variables" / "variables.index").write_bytes(b"other")
    for call in (lambda: copied(version), lambda: copied(version, "variables/variables.index")):
        with pytest.raises(UserError, match="variables.index is missing or not what was exported"):
            call()
    assert copied(version, "saved_model.pb")
    with pytest.raises(UserError, match=r"assets.extra/model.keras is missing or not what was"):
        copied(version, checked_files.MODEL_KERAS)  # the card has none


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../secret", "", "."])
def test_a_card_that_names_a_file_elsewhere_is_refused(version, name):
    (version.parent / "secret").write_text("secret")
    write_card(version, sha256={name: files.sha256(version.parent / "secret")})
    (version / "saved_model.pb").unlink()
    (version / "variables" / "variables.index").unlink()
    with pytest.raises(UserError, match="is missing or not what was exported"):
        copied(version)


@pytest.mark.parametrize("place", ["assets", "assets.extra/model.keras", "variables/more", "."])
def test_a_link_is_refused(version, tmp_path, place):
    path = version / place
    if place == ".":
        version.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere" if place == "." else tmp_path)
    with pytest.raises(UserError, match="task/model/1 contains a link, "):
        copied(version)
    with pytest.raises(UserError, match="contains a link, "):
        checked_files.check_regular(version)


def test_a_link_that_comes_after_the_check_is_not_followed(version, tmp_path, monkeypatch):
    monkeypatch.setattr(checked_files, "check_regular", lambda version: None)
    (version / "variables").rename(tmp_path / "elsewhere")
    (version / "variables").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="variables.index is missing or not what was exported"):
        copied(version)


@pytest.mark.parametrize("name", ["assets.extra/predictions.csv", "saved_model.pb", "pipe"])
def test_a_pipe_is_refused_at_once(version, name):
    (version / name).unlink(missing_ok=True)
    os.mkfifo(version / name)
    with pytest.raises(UserError, match=f"contains {name}, which is neither a file nor a folder"):
        within_seconds(lambda: copied(version))


def test_a_card_that_is_a_pipe_or_a_link_is_refused_at_once(version, tmp_path):
    path = version / "assets.extra" / "card.json"
    path.rename(tmp_path / "card.json")
    os.mkfifo(path)
    with pytest.raises(UserError, match="has no readable card.json"):
        within_seconds(lambda: store.read_card(version))
    path.unlink()
    path.symlink_to(tmp_path / "card.json")
    with pytest.raises(UserError, match="has no readable card.json"):
        store.read_card(version)


def test_a_version_that_declares_more_than_a_disk_holds_is_refused(version):
    with (version / "variables" / "variables.index").open("r+b") as file:
        file.truncate(1 << 43)
    with pytest.raises(UserError, match="has 8796 GB, expected at most 17"):
        within_seconds(lambda: copied(version))


def test_a_copy_that_cannot_be_written_is_a_sentence(version, monkeypatch):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, limits[1]))  # as a full disk: not another byte
    try:
        with pytest.raises(UserError, match="saved_model.pb cannot be copied to .*set TMPDIR to"):
            copied(version)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    monkeypatch.setattr(tempfile, "tempdir", "/dev/full")
    with pytest.raises(UserError, match="1 cannot be copied to /dev/full.*set TMPDIR to another"):
        copied(version)


@pytest.mark.slow
def test_bytes_that_change_after_the_check_are_not_loaded(tmp_path, monkeypatch):
    version = tmp_path / "task" / "model" / "1"
    hostile_versions.Answer().save(version)
    other = tmp_path / "other"
    hostile_versions.with_writing_initializer(other, tmp_path / "written")
    scan = graph_scan.scan

    def swapped(data: bytes, *, name: str) -> None:
        scan(data, name=name)
        shutil.copy(other / "saved_model.pb", version / "saved_model.pb")

    monkeypatch.setattr(graph_scan, "scan", swapped)
    outputs = load.open_version(version).predict_proba(IMAGES)
    np.testing.assert_array_equal(outputs, np.full((3, 2), 0.5))
    assert not (tmp_path / "written").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (hostile_versions.with_writing_initializer, "contains an object of kind resource"),
        (hostile_versions.without_objects, "has one graph without its objects"),
    ],
)
def test_a_version_that_writes_a_file_when_it_is_loaded_is_not_loaded(tmp_path, write, sentence):
    version, target = tmp_path / "task" / "model" / "1", tmp_path / "written"
    write(version, target)
    with pytest.raises(UserError, match=f"task/model/1 {sentence}"):
        load.open_version(version)
    assert not list(tmp_path.glob("written*"))
    tf.saved_model.load(str(version))  # the attack works where nobody looks
    assert list(tmp_path.glob("written*"))


@pytest.mark.slow
def test_a_network_that_is_not_what_its_card_says_is_refused(tmp_path):
    version = tmp_path / "task" / "model" / "1"
    hostile_versions.Answer().save(version)
    for changes, sentence in (
        ({"inputs": ("columns",)}, "predict_tensor takes image, expected columns"),
        ({"classes": ("a", "b", "c")}, "it gives 2 probabilities, expected 3"),
        ({"kind": "autoencoder"}, "it gives no reconstruction"),
    ):
        write_card(version, **changes)
        with pytest.raises(UserError, match=f"task/model/1 is not what its card says: {sentence}"):
            load.open_version(version)
    write_card(version)
    (version / "variables" / "variables.index").write_bytes(b"damaged")
    write_card(version)
    with pytest.raises(UserError, match="task/model/1 cannot be loaded: "):
        load.open_version(version)
    (version / "saved_model.pb").unlink()
    write_card(version)
    with pytest.raises(UserError, match="task/model/1 has no saved_model.pb in its card"):
        load.open_version(version)


def test_versions_are_loaded_through_the_door_only():
    for path in sorted(ROOT.glob("tfpipe/**/*.py")):
        calls = {
            ast.unparse(node.func)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
        }
        loads = [call for call in calls if any(call.endswith(name) for name in LOADERS)]
        assert not loads or path.relative_to(ROOT).as_posix() in DOORS, (path, loads)
