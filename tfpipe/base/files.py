"""Whole files, read and written at once: one sentence for each failure, never half a file."""

import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
import tokenize
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from tfpipe.base.errors import UserError

_CHUNK_BYTES = 1 << 20
# What NumPy raises for a damaged .npy or .npz, by its own reading and by that of zip members.
ARRAY_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    SyntaxError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
_NUMBER = re.compile("[1-9][0-9]{0,8}")
_REFUSALS = tuple(
    os.strerror(number)
    for number in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
    )
)


def contents(path: Path, *, expected: str) -> bytes:
    """Returns the bytes of a file.

    Args:
      path: the file.
      expected: what it should be, such as "a table", for the messages.

    Raises:
      UserError: it is missing, a folder, empty or not readable.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(
            f"{shown(path)} does not exist, expected {expected}. Check the name and the folder."
        ) from error
    except IsADirectoryError as error:
        raise UserError(
            f"{shown(path)} is a folder, expected {expected}. Name the file in it."
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{shown(path)} cannot be read: {reason}. Check its permissions, or copy it again."
        ) from error
    if not data:
        raise UserError(
            f"{shown(path.name)} is empty (0 bytes), expected {expected}. Copy it again."
        )
    return data


def open_regular(folder: Path, name: str) -> BinaryIO:
    """Opens a regular file for reading: no link, pipe, device or folder, and never one that blocks.

    Args:
      folder: it may be reached through links.
      name: of the file, relative to the folder; no part of it may be a link.

    Raises:
      OSError: the file is missing or not readable, is not regular, or its name leaves the folder.
    """
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\0" in name:
        raise OSError(errno.EINVAL, "Not the name of a file in its folder", shown(name))
    flags = os.O_RDONLY | os.O_CLOEXEC
    with ExitStack() as stack:
        try:
            place = os.open(folder, flags | os.O_DIRECTORY)
            stack.callback(os.close, place)
            for part in parts[:-1]:
                place = os.open(part, flags | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
                stack.callback(os.close, place)
            # O_NONBLOCK: a pipe is opened without waiting for a writer, and then refused.
            opened = os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
        except OSError as error:
            is_link = error.errno in (errno.ELOOP, errno.ENOTDIR)
            reason = "Not a regular file in its folder" if is_link else error.strerror
            raise OSError(error.errno, reason, shown(folder / name)) from error
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(errno.EINVAL, "Not a regular file", shown(folder / name))
    return os.fdopen(opened, "rb")


def is_number(name: str) -> bool:
    """Returns whether a folder's name is a number that a version can have: 1 to 999999999."""
    return _NUMBER.fullmatch(name) is not None


def numbers_in(folder: Path) -> list[int]:
    """Returns the numbers that files and folders in a folder are called, in ascending order.

    A folder that is missing holds none.
    """
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if is_number(path.name))


def replace(path: Path, data: bytes) -> None:
    """Writes a file beside its final name and renames it, so that no reader ever reads half of it.

    Args:
      path: the file; missing parent folders are made.
      data: its new contents.

    Raises:
      UserError: the folder cannot be written to or is full; the old file, if any, is as it was.
    """
    # Not tempfile: it makes files that only their owner can read, and the rename keeps that.
    beside = path.parent / f".{uuid.uuid4().hex}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{shown(path)} cannot be written: {reason}. Free some space or choose another folder."
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path, *, option: str) -> Iterator[Path]:
    """Yields a folder to fill, which takes the place of `folder` when that went well.

    Args:
      folder: the folder; missing parents are made.
      option: of the command that names it, for the sentence.

    Raises:
      UserError: `folder` holds something already, or it cannot be written or is full.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(
            f"{shown(folder)} already holds something; give a new folder, or empty this one."
        )
    with writing_to(folder, option=option):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
            draft = Path(beside) / folder.name
            draft.mkdir()
            yield draft
            if folder.exists():
                folder.rmdir()
            draft.rename(folder)


@contextmanager
def writing_to(folder: Path, *, option: str) -> Iterator[None]:
    """Has one sentence said about a folder if anything in it cannot be written in the block.

    The sentence of a file would name a draft that nobody knows.

    Args:
      folder: what the user has named.
      option: by which another one can be named.

    Raises:
      UserError: a file cannot be written, whether Python, TensorFlow or HDF5 found out.
    """
    try:
        yield
    except Exception as error:
        reason = write_failure(error)
        if reason is None:
            raise
        raise UserError(
            f"{shown(folder)} cannot be written: {reason}. Free some space or choose another "
            f"folder by {option}."
        ) from error


def write_failure(error: BaseException) -> str | None:
    """Returns why a file cannot be written, in the system's words; None for another error."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, UserError):
        cause = error.__cause__ if "cannot be written" in str(error) else None
        return write_failure(cause) if cause else None
    # TensorFlow's own errors have the system's words in their text.
    return next((words for words in _REFUSALS if words in str(error)), None)


def link(path: Path, target: Path) -> None:
    """Gives a file another name, or copies it where the file system has no second names.

    Both must only ever be replaced, never changed.
    """
    try:
        target.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, target)
        with target.open("r+b") as file:
            os.fsync(file.fileno())


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits, read in pieces of 1 MiB.

    Raises:
      UserError: the file is missing or not readable.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_CHUNK_BYTES):
                digest.update(piece)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{shown(path)} cannot be read: {reason}. Check the name.") from error
    return digest.hexdigest()


def inside(root: Path, name: str, *, where: str) -> Path:
    """Returns the path of the file that a table calls `name`, which must stay under `root`.

    Args:
      root: the folder that the table speaks of.
      name: relative to `root`, as the table has it; the file need not exist.
      where: the place in the table, such as "photos.csv line 3", which begins every sentence.

    Raises:
      UserError: name is empty or absolute, climbs with "..", or leaves `root` through a link.
    """
    problem = _problem(root, name)
    if problem:
        raise UserError(
            f"{where}: {shown(name)!r} {problem}, expected the name of a file under "
            f"{shown(root.name or root)}. Put the file there and give its name from there."
        )
    return root / name


def shown(path: Path | str) -> str:
    """Returns a name fit for printing: what is not valid text in it becomes "?"."""
    return str(path).encode("utf-8", "replace").decode("utf-8")


def _problem(root: Path, name: str) -> str | None:
    """Returns what is wrong with a name under `root`, or None."""
    parts = (*PurePosixPath(name).parts, *PureWindowsPath(name).parts)
    if not name.strip() or set(parts) <= {"."} or "\0" in name:
        return "is no file name"
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        return "is absolute"
    if ".." in parts:
        return "has '..' in it"
    path = root / name
    try:
        # Strictly, since from Python 3.13 on only that notices links that go in circles.
        leaves = not path.resolve(strict=True).is_relative_to(root.resolve())
    except FileNotFoundError:
        leaves = not path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        return "cannot be followed"
    return "leads outside the folder through a link" if leaves else None
