"""Ownership of names: two folders of images of one name never share records or versions.

The origin of a task is in the manifest of its records and in the card of its versions. Where a
folder's plain name belongs to another folder, its name ends in a hash of its own absolute path. A
folder that has moved keeps its name: its former place is gone, and half of the files or more that
were packed are in it.
"""

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfpipe.base import files
from tfpipe.tasks.task import Task

DIGITS = 6  # of the hash in a name
MOST_CHECKED = 200  # packed files that a moved folder is recognised by


def with_own_name(task: Task, *, data: Path, models: Path) -> Task:
    """Returns a task with a name that no other folder's records or versions have.

    Args:
      task: any task; only that of a folder of images may get another name.
      data: folder that holds records/.
      models: folder of saved versions.
    """
    origin = task.raw_files.origin
    if not origin or task.raw_files.folder is None:
        return task
    name = own_name(task)
    if task.name == name:
        return task
    own = dataclasses.replace(task, name=name)
    if any((folder / own.name).exists() for folder in (data / "records", models)):
        return own
    for owner, names in _owners(task.name, data=data, models=models):
        if owner not in ("", origin) and not _has_moved(owner, names, task.raw_files.folder):
            return own
    return task


def own_name(task: Task) -> str:
    """Returns the name of a folder of images that no other folder can have."""
    suffix = f"-{hashlib.sha256(task.raw_files.origin.encode()).hexdigest()[:DIGITS]}"
    return task.name.removesuffix(suffix) + suffix


def _owners(name: str, *, data: Path, models: Path) -> Iterator[tuple[str, list[str]]]:
    """Gives the origin and the packed files of records, and of each model's newest version."""
    manifest = _json(data / "records" / name / "manifest.json")
    if manifest:
        sources = manifest.get("sources") or {}
        yield manifest.get("origin", ""), [one for split in sources.values() for one in split]
    for model in sorted((models / name).glob("*")):
        numbers = files.numbers_in(model)
        if numbers:
            extra = model / str(numbers[-1]) / "assets.extra"
            summary = (_json(extra / "card.json") or {}).get("data")
            origin = summary.get("origin") if isinstance(summary, dict) else None
            yield origin if isinstance(origin, str) else "", _sources(extra / "sources.csv")


def _has_moved(owner: str, names: list[str], folder: Path) -> bool:
    if Path(owner).exists() or not names:
        return False
    checked = names[:: max(1, len(names) // MOST_CHECKED)]
    return 2 * sum((folder / name).is_file() for name in checked) >= len(checked)


def _sources(table: Path) -> list[str]:
    try:
        with files.open_regular(table.parent, table.name) as file:
            rows = csv.DictReader(io.TextIOWrapper(file, "utf-8", newline=""))
            return [row["source"] for row in rows if row.get("source")]
    except (OSError, ValueError, csv.Error):
        return []


def _json(path: Path) -> dict[str, Any] | None:
    """Returns a JSON object, or None where there is none that can be read."""
    try:
        with files.open_regular(path.parent, path.name) as file:
            value = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
