"""A disk that can be full or read-only: a file system of its own, or what ordinary users may do."""

import contextlib
import ctypes
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

MB = 1 << 20
MS_RDONLY, MS_REMOUNT, MNT_DETACH = 1, 32, 2  # of linux/mount.h
NAME = b"tmpfs"


class Disk:
    """A folder that can be full or read-only for a while.

    Attributes:
      folder: what is on it.
    """

    def __init__(self, folder: Path, *, is_mounted: bool):
        self.folder, self._is_mounted = folder, is_mounted

    @contextlib.contextmanager
    def full(self, *, free_bytes: int = 0) -> Iterator[None]:
        """Leaves so much space; without a file system of its own, no file may have more bytes."""
        if self._is_mounted:
            status, ballast = os.statvfs(self.folder), self.folder.parent / "ballast"
            size = status.f_bavail * status.f_frsize - free_bytes
            with ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(size, 1))
            try:
                yield
            finally:
                ballast.unlink()
            return
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Refuses every change; where that is impossible, as for root in a container, skips."""
        if self._is_mounted:
            _mount(self.folder.parent, MS_REMOUNT | MS_RDONLY)
            try:
                yield
            finally:
                _mount(self.folder.parent, MS_REMOUNT)
            return
        if os.geteuid() == 0:
            pytest.skip("root writes to every folder, and may mount none here")
        folders = [self.folder, *(path for path in self.folder.rglob("*") if path.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        try:
            yield
        finally:
            for folder in folders:
                folder.chmod(0o755)


@contextlib.contextmanager
def made(folder: Path) -> Iterator[Disk]:
    """Yields a disk of 8 MB in an empty folder."""
    try:
        _mount(folder, 0)
    except PermissionError:
        yield Disk(folder, is_mounted=False)
        return
    (folder / "home").mkdir()
    try:
        yield Disk(folder / "home", is_mounted=True)
    finally:
        ctypes.CDLL(None).umount2(os.fsencode(folder), MNT_DETACH)


def _mount(folder: Path, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(NAME, os.fsencode(folder), NAME, flags, b"size=8m,nr_inodes=10k"):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
