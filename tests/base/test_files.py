"""Whole files: written in one piece, or not at all, and never outside their folder."""

import errno
import hashlib
import os

import pytest

from tfpipe.base import files
from tfpipe.base.errors import UserError


def test_replace_writes_the_bytes_and_leaves_nothing_beside_them(tmp_path):
    path = tmp_path / "new" / "folder" / "table.csv"
    files.replace(path, b"first")
    files.replace(path, b"second")
    assert path.read_bytes() == b"second"
    assert [file.name for file in path.parent.iterdir()] == ["table.csv"]


def test_replace_gives_the_permissions_of_an_ordinary_new_file(tmp_path):
    (tmp_path / "ordinary").write_bytes(b"")
    files.replace(tmp_path / "replaced", b"")
    assert (tmp_path / "replaced").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_replace_keeps_the_old_file_when_the_disk_is_full(tmp_path, monkeypatch, failing):
    path = tmp_path / "table.csv"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(UserError) as caught:
        files.replace(path, b"new")
    assert str(caught.value) == (
        f"{path} cannot be written: No space left on device. "
        "Free some space or choose another folder."
    )
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_replace_says_when_the_system_refuses_the_folder():
    with pytest.raises(UserError, match=r"^/proc/.* cannot be written: .+\. Free some space"):
        files.replace(files.Path("/proc/tfpipe/table.csv"), b"new")


def test_replace_says_when_the_folder_is_a_file_or_the_file_a_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be written: (Not a directory|File exists)"):
        files.replace(tmp_path / "file" / "table.csv", b"new")
    with pytest.raises(UserError, match="cannot be written: Is a directory"):
        files.replace(tmp_path / "folder", b"new")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]


def test_replace_removes_the_unfinished_file_when_the_user_stops_it(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        files.replace(tmp_path / "table.csv", b"new")
    assert list(tmp_path.iterdir()) == []


def test_sha256_is_that_of_the_whole_file_also_over_several_pieces(tmp_path):
    data = os.urandom(2 * (1 << 20) + 17)
    (tmp_path / "a").write_bytes(data)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()
    with pytest.raises(UserError, match=r"b cannot be read: No such file"):
        files.sha256(tmp_path / "b")


@pytest.mark.parametrize("name", ["a.png", "deep/a.png", "./a.png", "a..b.png", "Größe 1.png"])
def test_inside_accepts_names_under_the_folder(tmp_path, name):
    assert files.inside(tmp_path, name, where="photos.csv line 3") == tmp_path / name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("/etc/passwd", "is absolute"),
        ("C:\\photos\\a.png", "is absolute"),
        ("\\\\server\\share\\a.png", "is absolute"),
        ("../a.png", "has '..' in it"),
        ("deep/../../a.png", "has '..' in it"),
        ("deep\\..\\a.png", "has '..' in it"),
        ("", "is no file name"),
        (".", "is no file name"),
        ("a\0.png", "is no file name"),
        ("link.png", "leads outside the folder through a link"),
        ("linked/a.png", "leads outside the folder through a link"),
        ("circle", "cannot be followed"),
    ],
)
def test_inside_refuses_names_that_leave_the_folder(tmp_path, name, problem):
    root = tmp_path / "photos"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").write_bytes(b"")
    (root / "deep").mkdir(parents=True)
    (root / "link.png").symlink_to(tmp_path / "other" / "a.png")
    (root / "linked").symlink_to(tmp_path / "other")
    (root / "circle").symlink_to(root / "circle")
    with pytest.raises(UserError) as caught:
        files.inside(root, name, where="photos.csv line 3")
    assert str(caught.value) == (
        f"photos.csv line 3: {name!r} {problem}, expected the name of a file under photos. "
        "Put the file there and give its name from there."
    )


def test_inside_follows_links_that_stay_in_the_folder_and_a_linked_folder(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"")
    (tmp_path / "photos" / "b.png").symlink_to("a.png")
    (tmp_path / "root").symlink_to("photos")
    files.inside(tmp_path / "photos", "b.png", where="x")
    files.inside(tmp_path / "root", "a.png", where="x")


def test_contents_says_what_is_wrong_with_a_file(tmp_path):
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "full.csv").write_bytes(b"a")
    assert files.contents(tmp_path / "full.csv", expected="a table") == b"a"
    for name, sentence in {
        "none.csv": "does not exist, expected a table. Check the name and the folder.",
        "empty.csv": "is empty (0 bytes), expected a table. Copy it again.",
        ".": "is a folder, expected a table. Name the file in it.",
    }.items():
        with pytest.raises(UserError) as caught:
            files.contents(tmp_path / name, expected="a table")
        assert str(caught.value).endswith(sentence)


def test_contents_says_why_a_file_cannot_be_read(tmp_path, monkeypatch):
    def fail(_):
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "a.csv").write_bytes(b"a")
    monkeypatch.setattr(files.Path, "read_bytes", fail)
    with pytest.raises(UserError, match="a.csv cannot be read: Permission denied. Check"):
        files.contents(tmp_path / "a.csv", expected="a table")


def test_shown_names_can_be_printed():
    assert files.shown(os.fsdecode(b"gr\xf6n.png")) == "gr?n.png"
    assert files.shown("größe.png") == "größe.png"
