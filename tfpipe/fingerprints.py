"""What packed records depend on, in one number: raw files, options, split, how they are read."""

import dataclasses
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tfpipe import files
from tfpipe.task import Survey, Task

LAYOUT = 2  # raise when the same raw files would give other records


def of(task: Task, raw: Path, survey: Survey, *, options, split) -> str:
    """Returns a sha256 over all that the records depend on."""
    paths = [path for source in survey.sources for path in (source.path, *source.also)]
    paths += survey.tables
    with ThreadPoolExecutor() as pool:
        sums = list(pool.map(files.sha256, paths))
    names = [os.path.relpath(path, raw) for path in paths]
    told = {
        "layout": LAYOUT,
        "task": task.name,
        "shape": [*task.image_shape, task.image_dtype],
        "names": [task.classes, task.columns, list(task.metadata.items())],
        "options": dataclasses.asdict(options),
        "split": split,
        "files": sorted(zip(names, sums, strict=True)),
    }
    decided = [[source.name, source.split] for source in survey.sources if source.split]
    told |= {"placed": decided} if decided else {}
    every = [*survey.decided, *(one for source in survey.sources for one in source.decided)]
    holds = [[*one.thing, one.top_m, one.bottom_m, one.label, one.state] for one in every]
    told |= {"decided": holds} if holds else {}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
