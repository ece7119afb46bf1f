"""Fingerprint of records: SHA-256 over raw files, options, split and how they are read."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.tasks.annotations.decisions import Decision
from tfpipe.tasks.splits import SplitConfig
from tfpipe.tasks.task import SPLITS, Source, Survey, Task

Checksums = Callable[[list[Path]], list[str]]  # paths -> the SHA-256 of each
LAYOUT = 2  # raise when the same raw files would give other records


def checksums(paths: list[Path]) -> list[str]:
    """Returns the SHA-256 of files, computed by threads of this process."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(files.sha256, paths))


def records_fingerprint(
    task: Task,
    raw: Path,
    survey: Survey,
    *,
    options: Any,
    split: SplitConfig,
    checksums: Checksums = checksums,
) -> str:
    """Returns a sha256 over all that the records depend on."""
    paths = [path for source in survey.sources for path in (source.path, *source.also)]
    paths += survey.tables
    sums = checksums(paths)
    names = [os.path.relpath(path, raw) for path in paths]
    contents = {
        "layout": LAYOUT,
        "task": task.name,
        "shape": [*task.image_shape, task.image_dtype],
        "names": [task.classes, task.columns, list(task.metadata.items())],
        "options": dataclasses.asdict(options),
        "split": [split.shares, split.salt],
        "files": sorted(zip(names, sums, strict=True)),
    }
    contents |= _view(task)
    decided = [[s.name, s.split] for s in survey.sources if s.split]
    decided += [[s.name, *s.allowed_splits] for s in survey.sources if s.allowed_splits != SPLITS]
    contents |= {"placed": decided} if decided else {}
    every = [*survey.decisions, *(part for source in survey.sources for part in source.decisions)]
    contents |= {"decided": _holding(every)} if every else {}
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


class SourceFingerprints:
    """A sha256 over all that the reading of one source depends on, for the sources of a task.

    Decisions about its single images are not part of it: only a reading shows which images a source
    has, see `source_cache.SourceCache.find`.
    """

    def __init__(self, task: Task, *, options: Any, checksum: Callable[[Path], str] = files.sha256):
        """Prepares what all sources share.

        Args:
          task: with what its survey found.
          options: the task's.
          checksum: computes the SHA-256 of a raw file.
        """
        self._checksum = checksum
        self._shared = {
            "layout": LAYOUT,
            "task": task.name,
            "shape": [*task.image_shape, task.image_dtype],
            "names": [
                task.classes,
                task.columns,
                list(task.metadata.items()),
                task.raw_files.source_table,
            ],
            "options": dataclasses.asdict(options),
            **_view(task),
        }

    def __call__(self, source: Source) -> str | None:
        """Returns the fingerprint of a source.

        None where `source.about` has no lasting description: such a source is read each time.
        """
        paths = (source.path, *source.also)
        try:
            contents = self._shared | {
                "source": [source.name, source.group, [path.name for path in paths]],
                "decided": _holding(source.decisions),
                "files": [self._checksum(path) for path in paths],
                "about": _json_value(source.about, source.path.parent),
            }
        except (UserError, TypeError):
            return None
        return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def _view(task: Task) -> dict[str, Any]:
    """Returns what tells records of one view of a task from those of another."""
    return {"view": [task.view, task.row_classes]} if task.view else {}


def _holding(decisions: Iterable[Decision]) -> list[list]:
    return [[*part.target, part.top_m, part.bottom_m, part.label, part.state] for part in decisions]


def _json_value(value: Any, folder: Path) -> Any:
    """Returns `Source.about` as a JSON value.

    Raises:
      TypeError: an object without values that could be compared.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Path):
        return os.path.relpath(value, folder)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype != object:
        return [str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
    import pandas as pd  # a third of a second, which packing with nothing new does not need

    if isinstance(value, pd.DataFrame):
        rows = pd.util.hash_pandas_object(value, index=True).to_numpy()
        return [[str(name) for name in value], _json_value(rows, folder)]
    if dataclasses.is_dataclass(value):
        inner = [getattr(value, part.name) for part in dataclasses.fields(value)]
        return [type(value).__name__, *(_json_value(part, folder) for part in inner)]
    if isinstance(value, dict):
        return [[_json_value(part, folder) for part in item] for item in value.items()]
    if isinstance(value, tuple | list | np.ndarray):
        return [_json_value(part, folder) for part in value]
    if isinstance(value, set | frozenset):
        return sorted(_json_value(part, folder) for part in value)
    raise TypeError(type(value).__name__)
