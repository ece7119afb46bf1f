"""Unchanged raw files: records that packing would leave as they are, known without reading a file.

As make and git know it: by the names, sizes, times and inodes of all files in the raw folder. The
time of a file's last change (ctime) is set by the system alone. With these go all that a packing
depends on besides: the options, the split, the published versions, and the files of tfpipe itself.
"""

import dataclasses
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tfpipe
from tfpipe.base import files, storage
from tfpipe.base.errors import UserError
from tfpipe.data import checksum_cache, exchange
from tfpipe.data import manifest as data_manifest
from tfpipe.data.manifest import RecordManifest
from tfpipe.tasks import catalog
from tfpipe.tasks.task import Task


def state_of(task: Task, raw: Path, folder: Path, *, versions: Path, how: Mapping[str, Any]) -> str:
    """Returns a SHA-256 over all that packing depends on, or "" where that cannot be known.

    It cannot for a task of the user's own code, of a view of another task's files, for object
    storage, for folders that are links or on another file system than the records, and where a file
    was changed just now, since it may change again unnoticed.

    Args:
      task: the question.
      raw: the raw folder.
      folder: of the records.
      versions: folder of the task's published versions: packing keeps their splits.
      how: options, split, skip_bad and shards, as of `pack.pack`.
    """
    if task.view or not _is_ours(task) or not raw.is_dir():
        return ""
    if any(storage.storage_of(place) for place in (raw, folder, versions)):
        return ""
    beside = folder.parent  # where this may write, unlike beside the raw files
    try:
        beside.mkdir(parents=True, exist_ok=True)
        if beside.stat().st_dev != raw.stat().st_dev:
            return ""
    except OSError:  # packing says so
        return ""
    settled_ns = checksum_cache.settled_ns(beside)
    digest = hashlib.sha256()
    contents = {
        "task": [task.name, catalog.origin_of(task), str(raw.absolute())],
        "how": {name: _plain(value) for name, value in how.items()},
        # With it more files are images.
        "heic": importlib.util.find_spec("pillow_heif") is not None,
    }
    digest.update(json.dumps(contents, sort_keys=True).encode())
    try:
        for place in (raw, versions, Path(tfpipe.__file__).parent):
            for name, status in _entries(os.fspath(place)):
                if status is None:
                    digest.update(f"{name!r}/".encode())
                    continue
                if place is raw and max(status.st_mtime_ns, status.st_ctime_ns) >= settled_ns:
                    return ""
                digest.update(f"{name!r} {_stat(status)}".encode())
            digest.update(b";")
    except OSError:  # a link to a folder, or a file that has just gone
        return ""
    return digest.hexdigest()


def packed(folder: Path, state: str) -> RecordManifest | None:
    """Returns the manifest of records that were packed in this state; None for others.

    Args:
      folder: the records.
      state: by `state_of`.
    """
    try:
        is_same = bool(state) and _note_of(folder).read_text() == _note(folder, state)
    except (OSError, ValueError):
        return None
    return data_manifest.read(folder) if is_same else None


def store(folder: Path, state: str, manifest: RecordManifest) -> None:
    """Notes the state that records were packed in.

    Args:
      folder: the records.
      state: by `state_of`, from before they were packed.
      manifest: theirs. Nothing is noted where another process has packed others meanwhile.
    """
    if not state:
        return
    note = _note(folder, state)
    is_same = data_manifest.read(folder).fingerprint == manifest.fingerprint
    if is_same and note == _note(folder, state):
        files.replace(_note_of(folder), note.encode())


def _is_ours(task: Task) -> bool:
    """Returns whether a task is all tfpipe's own, whose files tell when it changes."""
    origin = catalog.origin_of(task)
    try:
        return not origin.endswith(".py") and task == dataclasses.replace(
            catalog.find(origin), name=task.name
        )
    except UserError:
        return False


def _plain(value: Any) -> Any:
    is_instance = dataclasses.is_dataclass(value) and not isinstance(value, type)
    return dataclasses.asdict(value) if is_instance else value


def _note_of(folder: Path) -> Path:
    return exchange.hidden(folder, "unchanged")


def _note(folder: Path, state: str) -> str:
    return f"{state} {_stat(os.stat(folder / 'manifest.json'))}"


def _entries(folder: str) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yields the paths of all files in a folder, with their status, and of folders, sorted.

    Raises:
      OSError: a folder is a link, whose files may lie anywhere, or a file has no status.
    """
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue  # nothing is published
        for entry in inside:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    yield entry.path, None
                    waiting.append(entry.path)
            elif entry.is_dir():
                raise NotADirectoryError(entry.path)
            else:
                yield entry.path, entry.stat()


def _stat(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
