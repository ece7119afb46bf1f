"""Cache of checksums: a raw file is read again only where its size, times or place have changed.

As git and make do it. The time of a file's last change (ctime) is set by the system alone, so a
file that was changed and given its old time again is noticed, too.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Container, Mapping
from pathlib import Path

from tfpipe.base import files
from tfpipe.base.errors import UserError

Stat = tuple[int, int, int, int]  # size, modified, changed (both in ns), inode
SETTLED_S = 2.0  # a file that was changed later may change again without another time


class ChecksumCache:
    """SHA-256 of files, computed once for each state of a file.

    Attributes:
      n_computed: checksums that were computed, not taken from the cache.
    """

    def __init__(
        self, path: Path, compute: Callable[[list[Path]], list[str]], *, are_linked: bool = False
    ):
        """Reads the cache of an earlier run; a damaged one is ignored.

        Args:
          path: of the cache, a JSON file.
          compute: paths -> the SHA-256 of each.
          are_linked: whether the files get other names, which changes their ctime, so that this is
            not looked at.
        """
        self._path, self._compute, self.n_computed = path, compute, 0
        self._are_linked = are_linked
        self._stored: dict[str, tuple[Stat, str]] = {}
        self._sums: dict[Path, tuple[Stat | None, str]] = {}
        damaged = (OSError, ValueError, TypeError, OverflowError, RecursionError)
        with contextlib.suppress(*damaged):
            for name, *stat, checksum in json.loads(path.read_bytes()):
                size, modified, changed, inode = map(int, stat)
                self._stored[str(name)] = ((size, modified, changed, inode), str(checksum))

    def checksums(self, paths: list[Path]) -> list[str]:
        """Returns the SHA-256 of files, and stores them.

        Raises:
          UserError: a file is missing or not readable.
        """
        stats = {path: self._stat(path) for path in paths}
        missing = []
        for path, stat in stats.items():
            stored = self._stored.get(str(path))
            if stored and stored[0] == stat:
                self._sums[path] = stored
            else:
                missing.append(path)
        computed = zip(missing, self._compute(missing), strict=True)
        self._sums |= {path: (stats[path], checksum) for path, checksum in computed}
        self.n_computed += len(missing)
        if missing:
            self._store({path: self._sums[path] for path in stats})
        return [self._sums[path][1] for path in paths]

    def checksum(self, path: Path) -> str:
        """Returns the SHA-256 of a file as it is now; computes it if it has changed meanwhile."""
        stat, checksum = self._sums.get(path, (None, ""))
        return checksum if stat is not None and stat == self._stat(path) else files.sha256(path)

    def store(self, sums: Mapping[Path, str], *, written: Container[Path]) -> None:
        """Stores checksums that were computed elsewhere, and no others.

        Args:
          sums: SHA-256 of each file.
          written: files that were written just now. Of another one the checksum is stored only if
            the file is in a state in which it was computed here: it may have changed since.
        """
        computed = set(self._sums.values())
        states = {path: (self._stat(path), checksum) for path, checksum in sums.items()}
        self._store(
            {path: state for path, state in states.items() if path in written or state in computed}
        )

    def _stat(self, path: Path) -> Stat | None:
        try:
            status = os.stat(path)
        except OSError:
            return None  # computing its checksum says what is wrong
        changed_ns = 0 if self._are_linked else status.st_ctime_ns
        return (status.st_size, status.st_mtime_ns, changed_ns, status.st_ino)

    def _store(self, sums: Mapping[Path, tuple[Stat | None, str]]) -> None:
        settled = settled_ns(self._path.parent)
        self._stored = {
            str(path): (stat, checksum)
            for path, (stat, checksum) in sums.items()
            if stat is not None and max(stat[1], stat[2]) < settled
        }
        rows = [[name, *stat, checksum] for name, (stat, checksum) in self._stored.items()]
        with contextlib.suppress(UserError):  # a full disk: packing says so if it must write
            files.replace(self._path, json.dumps(rows).encode())


def settled_ns(folder: Path) -> int:
    """Returns the time before which files of a folder were changed that count as settled."""
    return _now_ns(folder) - int(1e9 * SETTLED_S)


def _now_ns(folder: Path) -> int:
    """Returns the time of a folder's file system, which its files have; 0 if it is read-only."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return 0
