"""What a model finds in whole raw files, in each way that it can look, and which serves best."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfpipe.base import tables
from tfpipe.data.dataset import Dataset
from tfpipe.tasks.annotations import apply
from tfpipe.tasks.task import Classify, Source, Task, WholeFile

SURE = 0.95  # findings at or above the "confident" threshold are right this often
FINEST = (
    0.1  # smaller differences of `WholeFile.tie_metric`, such as 0.1 mm of depth, choose no way
)


class InFile(NamedTuple):
    """What was found and missed in one file: its group, and what `WholeFile.evaluate` counted."""

    group: str
    counts: Any


@dataclass(frozen=True)
class Judged:
    """What was found in one way.

    Attributes:
      thresholds: chosen on the validation files.
      found: split -> what `WholeFile.evaluate` counted there; None where no truth is known.
      files: test file -> what was found in it, of those whose truth is known.
    """

    thresholds: dict[str, float]
    found: dict[str, Any]
    files: dict[str, InFile] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """Returns it as a card has it."""
        scores = {split: found.scores for split, found in self.found.items() if found}
        return {"thresholds": self.thresholds, "metrics": scores}


def judged(
    task: Task,
    raw: Path,
    data: Dataset,
    ways: dict[str, Classify],
    *,
    options: Any,
    progress: Callable[[int, int], None],
) -> dict[str, Judged]:
    """Looks at the validation and test files in each way.

    Args:
      task: the question.
      raw: the raw folder that was packed.
      data: its records.
      ways: name -> the model, asked in that way.
      options: the task's.
      progress: told (files done, files in all).

    Returns:
      Way -> what it found; {} where the task judges no files, or no validation file's truth is
      known.
    """
    whole_file = task.whole_file
    if whole_file is None or whole_file.evaluate is None:
        return {}
    files = {split: _files(task, raw, data, split, options) for split in ("validation", "test")}
    count, done = sum(map(len, files.values())), 0
    told: dict[str, Judged] = {}
    for way, classify in ways.items():
        seen: dict[str, list] = {"validation": [], "test": []}
        for split, own in files.items():
            for source, row in own:
                progress(done, len(ways) * count)
                outputs = whole_file.infer(source, classify, options)
                seen[split].append((source, row, outputs))
                done += 1
        thresholds = choose_thresholds(task, seen["validation"])
        if thresholds is None:
            return {}
        found = {split: _found(task, own, thresholds) for split, own in seen.items()}
        told[way] = Judged(thresholds, found, _each(task, seen["test"], thresholds))
    progress(len(ways) * count, len(ways) * count)
    return told


def in_test_files(
    task: Task,
    raw: Path,
    data: Dataset,
    classify: Classify,
    *,
    thresholds: dict[str, float],
    options: Any,
    progress: Callable[[int, int], None],
) -> dict[str, InFile]:
    """Returns what a model that has its thresholds finds in each test file whose truth is known."""
    files, seen = _files(task, raw, data, "test", options), []
    infer = _whole_file(task).infer
    for i, (source, row) in enumerate(files):
        progress(i, len(files))
        seen.append((source, row, infer(source, classify, options)))
    return _each(task, seen, thresholds)


def best(task: Task, judged: dict[str, Judged]) -> tuple[str, Judged | None]:
    """Returns the way that serves best on the validation files, the first of equally good ones."""
    if not judged:
        return "", None

    metric, tie_metric = _whole_file(task).metric, _whole_file(task).tie_metric

    def worth(way: str) -> tuple[float, float]:
        scores = judged[way].found["validation"].scores
        value = np.nan_to_num(scores[metric], nan=-1.0) if metric else 0.0
        error = scores[tie_metric] if tie_metric else 0.0
        return round(float(value), 9), -round(float(np.nan_to_num(error, nan=1e9)) / FINEST)

    way = max(judged, key=worth)
    return way, judged[way]


def rows_of(task: Task, data: Dataset) -> dict[str, dict[str, Any]]:
    """Returns source -> its row of the task's table of sources, where it has one."""
    if task.raw_files.source_table is None:
        return {}
    table = tables.read_csv(data.folder / f"{task.raw_files.source_table}.csv")
    return {row[table.columns[0]]: row for row in table.to_dict("records")}


def _whole_file(task: Task) -> WholeFile:
    assert task.whole_file is not None, f"{task.name} does not predict whole files"
    return task.whole_file


def _files(
    task: Task, raw: Path, data: Dataset, split: str, options: Any
) -> list[tuple[Source, dict[str, Any]]]:
    """Returns a split's files that could be read, and the row of each in the table of sources."""
    sources = {
        source.name: source for source in apply.survey_with_decisions(task, raw, options).sources
    }
    rows, bad = rows_of(task, data), data.manifest.unreadable
    names = [name for name in data.manifest.sources[split] if name not in bad]
    return [(sources[name], rows.get(name, {})) for name in names]


def _each(task: Task, seen: list, thresholds: dict[str, float]) -> dict[str, InFile]:
    """Returns what is found and missed in each file whose truth is known."""
    whole_file = _whole_file(task)
    assert whole_file.evaluate is not None
    counts = [
        (source, whole_file.evaluate(source, row, whole_file.predict(outputs, thresholds)))
        for source, row, outputs in seen
    ]
    return {s.name: InFile(s.group, count) for s, count in counts if count is not None}


def _found(task: Task, seen: list, thresholds: dict[str, float]):
    """Returns the sum of what is found and missed in some files; None where no truth is known."""
    counts = [one.counts for one in _each(task, seen, thresholds).values()]
    return reduce(operator.add, counts) if counts else None


def choose_thresholds(task: Task, seen: list) -> dict[str, float] | None:
    """Returns two classes' decision threshold that serves users best, and that of sure findings.

    What counts is what is found in whole files, so that is what the decision is chosen by; of
    equally good thresholds the middle one. Findings at or above "confident" were right at least 95
    times of 100 on the validation files, and more likely than not; it is 1 where too few were.

    Args:
      task: the question.
      seen: (source, its row of the task's table, what was seen) of the validation files.

    Returns:
      {"decision", "confident"}, {} for more than two classes; None where no truth is known.
    """
    if len(task.classes) != 2:
        return None if _found(task, seen, {}) is None else {}
    grid = np.round(np.linspace(0.05, 0.95, 19), 3)
    found = [_found(task, seen, {"decision": t, "confident": 1.0}) for t in grid]
    if found[0] is None:
        return None
    values = np.nan_to_num([one.scores[_whole_file(task).metric] for one in found], nan=-1.0)
    highest = np.flatnonzero(values >= values.max() - 1e-9)
    decision = float(grid[highest[len(highest) // 2]])
    right = np.array([one.precision for one in found])
    sure = [
        t for t, share in zip(grid, right, strict=True) if share >= SURE and t >= max(decision, 0.5)
    ]
    return {"decision": decision, "confident": float(sure[0]) if sure else 1.0}
