"""File systems of fsspec, where each has ways of its own: listings, times, whole files."""

import contextlib
import errno
import os
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

THREADS = 8  # transfers at a time
LOCAL = ("file", "local")  # protocols of folders of this machine, such as a mounted share
_PART = re.compile(r"\.[0-9a-f]{32}\.part")


def files_under(system: Any, root: str) -> dict[str, dict[str, Any]]:
    """Returns the files under a folder; none if it is missing.

    The `find` of fsspec leaves out a folder that cannot be read, as if its files were gone.

    Returns:
      Path -> what the file system knows of it.
    """
    stored, folders = {}, [root]
    while folders:
        with contextlib.suppress(FileNotFoundError):
            for info in system.ls(folders.pop(), detail=True):
                if info["type"] == "directory":
                    folders.append(info["name"])
                else:
                    stored[info["name"]] = info
    return stored


def is_file(path: str) -> bool:
    """Returns whether a listed path is a file that is whole.

    A key that ends in "/" is an empty folder, as S3's console makes them.
    """
    return not path.endswith("/") and not _PART.fullmatch(path.rpartition("/")[2])


def is_empty(folder: str) -> bool:
    """Returns whether a folder of this machine is missing or empty."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return True


@contextlib.contextmanager
def written_beside(system: Any, path: str, data: bytes) -> Iterator[str]:
    """Yields the path of a new file beside another, by which that appears whole.

    Args:
      system: of folders of this machine.
      path: of the file that is to appear.
      data: its contents.
    """
    part = str(PurePosixPath(path).parent / f".{uuid.uuid4().hex}.part")
    try:
        system.pipe_file(part, data)
        yield part
    finally:
        with contextlib.suppress(OSError):
            os.unlink(part)


def is_forbidden(error: Exception) -> bool:
    """Returns whether a file system does not permit what was asked, now or later."""
    is_read_only = isinstance(error, OSError) and error.errno == errno.EROFS
    return isinstance(error, PermissionError) or is_read_only


def seconds(time_written: Any) -> float:
    """Returns a time, as libraries give it, in seconds since 1970."""
    if isinstance(time_written, str):
        time_written = datetime.fromisoformat(time_written)
    return time_written.timestamp() if isinstance(time_written, datetime) else float(time_written)


def results(calls: list[tuple[Callable, tuple]]) -> Iterator[Any]:
    """Gives the results of calls that run at a time, as they end; the first failure ends all."""
    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(function, *arguments) for function, arguments in calls]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
