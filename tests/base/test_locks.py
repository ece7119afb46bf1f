"""One process holds a lock at a time, and only that is said to be held by another."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tfpipe.base import locks
from tfpipe.base.errors import UserError

HOLDER = (
    "import sys, time; from pathlib import Path; from tfpipe.base import locks\n"
    "with locks.hold(Path(sys.argv[1]), busy=''): print('held', flush=True); time.sleep(60)"
)


@pytest.mark.parametrize("system_locks", [locks.SYSTEM_LOCKS, Path("/proc/missing")])
def test_another_process_holds_a_lock_until_it_dies(system_locks, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "SYSTEM_LOCKS", system_locks)
    path = tmp_path / ".records.lock"
    command = [sys.executable, "-c", HOLDER, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        assert locks.is_held(path)
        with (
            pytest.raises(UserError, match="Another run is packing"),
            locks.hold(path, busy="Another run is packing."),
        ):
            raise AssertionError
        other.kill()
    assert not locks.is_held(path)
    with locks.hold(path, busy="Another run is packing."):
        assert locks.is_held(path)
    assert not locks.is_held(path)


def test_a_lock_is_not_held_where_there_is_no_file(tmp_path):
    assert not locks.is_held(tmp_path / "missing")


def test_without_a_sentence_one_waits_for_the_other(tmp_path):
    path, order = tmp_path / "lock", []

    def wait() -> None:
        with locks.hold(path, busy=None):
            order.append("second")

    with locks.hold(path, busy=None):
        second = threading.Thread(target=wait)
        second.start()
        second.join(0.1)
        order.append("first")
    second.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EAGAIN])
def test_held_is_said_where_the_system_says_that_it_would_block(number, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", _failing(number))
    with pytest.raises(UserError, match=r"\AIt is held\.\Z"), _held(tmp_path):
        raise AssertionError


@pytest.mark.parametrize(
    "number", [errno.ENOLCK, errno.EBADF, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS]
)
def test_a_file_system_without_locks_has_a_sentence_of_its_own(number, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", _failing(number))
    with pytest.raises(UserError) as caught, _held(tmp_path):
        raise AssertionError
    assert str(caught.value) == (
        f"The file system of {tmp_path} does not support file locks (NFS or Lustre without "
        "flock?). Put --data and --models on a local disk, or ask your administrator to mount "
        "with flock."
    )
    assert isinstance(caught.value.__cause__, OSError) and caught.value.__cause__.errno == number


def test_what_else_goes_wrong_is_neither(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", _failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"), _held(tmp_path):
        raise AssertionError


def test_the_contents_of_a_locked_file_stay(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("time,who\n")
    with locks.hold(path, busy=""):
        assert path.read_text() == "time,who\n"
    assert path.read_text() == "time,who\n"


def _held(folder):
    return locks.hold(folder / "lock", busy="It is held.")


def _failing(number: int):
    def flock(file: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    return flock
