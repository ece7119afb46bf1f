"""Checksums of raw files: computed once for each state of a file, never taken for another."""

import hashlib
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfpipe.base.errors import UserError
from tfpipe.data import checksum_cache, fingerprint
from tfpipe.data.checksum_cache import ChecksumCache


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Files count as settled at once."""
    monkeypatch.setattr(checksum_cache, "SETTLED_S", -1.0)


def opened(folder) -> ChecksumCache:
    return ChecksumCache(folder / ".sums", fingerprint.checksums)


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_only_new_and_changed_files_are_read_again(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path in paths:
        path.write_bytes(path.name.encode())
    first = opened(tmp_path)
    assert first.checksums(paths) == [digest(path) for path in paths] and first.n_computed == 4
    again = opened(tmp_path)
    assert again.checksums(paths) == first.checksums(paths) and again.n_computed == 0
    assert again.checksum(paths[1]) == digest(paths[1])
    before = paths[0].stat()
    paths[0].write_bytes(b"0.pnG")  # as many bytes, and the old time
    os.utime(paths[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(paths[2], paths[3])
    paths[2].write_bytes(b"new")
    changed = opened(tmp_path)
    assert changed.checksums(paths) == [digest(path) for path in paths]
    assert changed.n_computed == 3
    removed = opened(tmp_path)
    assert removed.checksums(paths[:2]) == [digest(path) for path in paths[:2]]


def test_a_file_that_changes_meanwhile_has_its_own_checksum(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"before")
    cache = opened(tmp_path)
    cache.checksums([path])
    path.write_bytes(b"behind")
    assert cache.checksum(path) == digest(path)


@pytest.mark.parametrize("change", [b"", b"damaged now"])
def test_what_changes_before_its_checksum_is_stored_is_read_again(change, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"as packed")

    def records() -> ChecksumCache:
        return ChecksumCache(tmp_path / ".sums", fingerprint.checksums, are_linked=True)

    cache = records()
    (sha256,) = cache.checksums([old])
    new.hardlink_to(old)
    if change:
        old.write_bytes(change)
    cache.store({new: sha256}, written=())
    again = records()
    assert again.checksums([new]) == [digest(new)]
    assert again.n_computed == bool(change)


def test_a_file_that_may_still_change_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(checksum_cache, "SETTLED_S", 60.0)
    (tmp_path / "a").write_bytes(b"a")
    opened(tmp_path).checksums([tmp_path / "a"])
    later = opened(tmp_path)
    later.checksums([tmp_path / "a"])
    assert later.n_computed == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.binary(max_size=40)
    | st.sampled_from(
        [
            b"[[1]]",
            b"{}",
            b"[null]",
            b'[["a",1e400,1,1,1,"x"]]',
            b"[" * 100_000,
            b'[["a",1,2,3,4,5]]',
        ]
    )
)
def test_a_damaged_cache_is_ignored(tmp_path, text):
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / ".sums").write_bytes(text)
    cache = opened(tmp_path)
    assert cache.checksums([tmp_path / "a"]) == [digest(tmp_path / "a")] and cache.n_computed == 1


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="b.png cannot be read"):
        opened(tmp_path).checksums([tmp_path / "b.png"])
