"""Locks between processes: a lock file has one holder, and a process that dies frees its lock.

What systems do differently with locks is here, and in filelock: flock on Linux and macOS.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from tfpipe.base import files
from tfpipe.base.errors import UserError

_NO_LOCKS = {errno.ENOLCK, errno.EBADF, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
_POLL_S = 0.002  # between two tries of a caller that waits
SYSTEM_LOCKS = Path("/proc/locks")  # Linux: all locks that processes of this machine hold


@contextlib.contextmanager
def hold(path: Path, *, busy: str | None) -> Iterator[None]:
    """Holds a lock file for as long as the block runs; its contents are neither read nor changed.

    Args:
      path: the lock file, which is made if it is missing, as are the folders above it.
      busy: the sentence for the user if another process holds the lock. None: wait for that
        process instead.

    Raises:
      UserError: another process holds the lock, or the file system supports no locks.
      OSError: the lock file cannot be opened.
    """
    from filelock import FileLock, Timeout  # here, as it imports asyncio

    # Without flock, filelock would fall back to marker files, which a killed process leaves behind.
    lock = FileLock(path, fallback_to_soft=False, poll_interval=_POLL_S)
    try:
        lock.acquire(timeout=-1 if busy is None else 0)
    except Timeout as error:
        raise UserError(busy or "") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise UserError(
            f"The file system of {files.shown(path.parent)} does not support file locks (NFS or "
            "Lustre without flock?). Put --data and --models on a local disk, or ask your "
            "administrator to mount with flock."
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Returns whether a process of this machine holds a lock file.

    Linux says so. Elsewhere the lock is taken for a moment to find out, in which a command that
    needs it is refused.
    """
    from filelock import FileLock, Timeout

    try:
        inode = path.stat().st_ino
        if SYSTEM_LOCKS.exists():
            lines = SYSTEM_LOCKS.read_text().splitlines()
            return any(line.split()[5].endswith(f":{inode}") for line in lines)
        FileLock(path, fallback_to_soft=False, timeout=0).acquire().lock.release()
    except Timeout:
        return True
    except OSError:
        return False
    return False


def claim_name(part: str, path: str) -> None:
    """Gives a whole file its name, which no other file may have.

    Args:
      part: path of the file.
      path: its name besides, in the same file system, which must have hard links.

    Raises:
      FileExistsError: another file has the name.
    """
    os.link(part, path)
