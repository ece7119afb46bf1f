"""Evaluation of whole raw files in each inference mode, and the choice of the best mode."""

import operator
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfpipe.base import tables
from tfpipe.base.progress import Reporter, counter, silent
from tfpipe.data.dataset import Dataset
from tfpipe.models import sliding_window
from tfpipe.tasks.annotations import apply
from tfpipe.tasks.task import Classify, Source, Task, WholeFile

# Thresholds that are tried besides .05 to .95: probabilities of a rare class are low.
RARE, SURE = (0.005, 0.01, 0.02, 0.03), (0.97, 0.98, 0.99)
CONFIDENT_PRECISION = 0.95  # of detections at or above the "confident" threshold
# Smaller differences of `WholeFile.tie_metric`, such as 0.1 mm of depth, choose no mode.
TIE_RESOLUTION = 0.1
FEWEST_OF_KIND = 5  # in the tables of the validation files, for thresholds of its own


class FileResult(NamedTuple):
    """The result in one labelled file.

    Attributes:
      group: of the file.
      counts: what `WholeFile.evaluate` counted in it.
    """

    group: str
    counts: Any


class FileOutputs(NamedTuple):
    """A model's outputs for one file.

    Attributes:
      source: the file.
      row: its row of the table of sources; {} without one.
      outputs: what `WholeFile.infer` returned.
    """

    source: Source
    row: dict[str, Any]
    outputs: Any


@dataclass(frozen=True)
class ModeResult:
    """The result of one inference mode.

    Attributes:
      thresholds: chosen on the validation files.
      counts: split -> sum of what `WholeFile.evaluate` counted; None where no file has a label.
      files: labelled test file -> its result.
    """

    thresholds: dict[str, float]
    counts: dict[str, Any]
    files: dict[str, FileResult] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Returns the thresholds and metrics for a version's card."""
        metrics = {split: counts.scores for split, counts in self.counts.items() if counts}
        return {"thresholds": self.thresholds, "metrics": metrics}


def evaluate_modes(
    task: Task,
    raw: Path,
    data: Dataset,
    modes: dict[str, Classify],
    *,
    options: Any,
    report: Reporter = silent,
) -> dict[str, ModeResult]:
    """Evaluates the validation and test files in each inference mode.

    Args:
      task: the task.
      raw: the raw folder that was packed.
      data: its records.
      modes: name -> the model in that inference mode.
      options: the task's options.
      report: receives the stage "evaluate" with the files done.

    Returns:
      Mode -> its result; {} where the task evaluates no whole files, or no validation file has a
      label.
    """
    whole_file = task.whole_file
    if whole_file is None or whole_file.evaluate is None:
        return {}
    progress = counter(report, "evaluate")
    files = {split: _files(task, raw, data, split, options) for split in ("validation", "test")}
    total, done = len(modes) * sum(map(len, files.values())), 0

    def infer(classify: Classify, split: str) -> list[FileOutputs]:
        nonlocal done, total
        outputs = []
        for source, row in files[split]:
            progress(done, total)
            outputs.append(FileOutputs(source, row, whole_file.infer(source, classify, options)))
            done += 1
        return outputs

    results: dict[str, ModeResult] = {}
    for mode, classify in modes.items():
        # Right for each threshold that is tried.
        least = _deciding(classify, {"decision": RARE[0]} if len(task.classes) == 2 else {})
        outputs = {"validation": infer(least, "validation")}
        thresholds = choose_thresholds(task, outputs["validation"])
        if thresholds is None:
            return {}
        # As `predict` does it: what is far below the threshold is not computed in all views.
        decided = _deciding(classify, thresholds)
        if decided is not least:
            total += len(files["validation"])
            outputs["validation"] = infer(decided, "validation")
        outputs["test"] = infer(decided, "test")
        counts = {split: _total(task, outputs[split], thresholds) for split in outputs}
        results[mode] = ModeResult(thresholds, counts, _each(task, outputs["test"], thresholds))
    progress(done, done)
    return results


def _deciding(classify: Classify, thresholds: dict[str, float]) -> Classify:
    """Returns a model for decisions by the threshold of two classes, or by higher ones."""
    return sliding_window.at_threshold(classify, thresholds.get("decision", 0.0))


def evaluate_test_files(
    task: Task,
    raw: Path,
    data: Dataset,
    classify: Classify,
    *,
    thresholds: dict[str, float],
    options: Any,
    report: Reporter = silent,
) -> dict[str, FileResult]:
    """Returns each labelled test file's result by a model of an earlier version.

    Args:
      task: the task.
      raw: the raw folder that was packed.
      data: its records.
      classify: the model.
      thresholds: of its card.
      options: the task's options.
      report: receives the stage "previous-version" with the files done.
    """
    progress = counter(report, "previous-version")
    files, outputs = _files(task, raw, data, "test", options), []
    infer = _whole_file(task).infer
    for i, (source, row) in enumerate(files):
        progress(i, len(files))
        outputs.append(FileOutputs(source, row, infer(source, classify, options)))
    return _each(task, outputs, thresholds)


def best_mode(task: Task, results: dict[str, ModeResult]) -> tuple[str, ModeResult | None]:
    """Returns the mode that is best on the validation files, the first of equally good ones."""
    if not results:
        return "", None

    metric, tie_metric = _whole_file(task).metric, _whole_file(task).tie_metric

    def quality(mode: str) -> tuple[float, float]:
        scores = results[mode].counts["validation"].scores
        value = np.nan_to_num(scores[metric], nan=-1.0) if metric else 0.0
        error = scores[tie_metric] if tie_metric else 0.0
        rounded = -round(float(np.nan_to_num(error, nan=1e9)) / TIE_RESOLUTION)
        return round(float(value), 9), rounded

    mode = max(results, key=quality)
    return mode, results[mode]


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


def _each(
    task: Task, outputs: list[FileOutputs], thresholds: dict[str, float]
) -> dict[str, FileResult]:
    """Returns the result of each labelled file."""
    whole_file = _whole_file(task)
    assert whole_file.evaluate is not None
    results = {}
    for source, row, file_outputs in outputs:
        prediction = whole_file.predict(file_outputs, thresholds)
        counts = whole_file.evaluate(source, row, prediction)
        if counts is not None:
            results[source.name] = FileResult(source.group, counts)
    return results


def _total(task: Task, outputs: list[FileOutputs], thresholds: dict[str, float]) -> Any:
    """Returns the sum of the counts in some files; None where none is labelled."""
    counts = [result.counts for result in _each(task, outputs, thresholds).values()]
    return reduce(operator.add, counts) if counts else None


def choose_thresholds(task: Task, outputs: list[FileOutputs]) -> dict[str, float] | None:
    """Returns two classes' thresholds "decision" and "confident" for whole files.

    "decision" has the highest `WholeFile.metric`; of equally good thresholds it is the middle one.
    Detections at or above "confident" have a precision with a lower bound of 0.95 (80 % confidence,
    Clopper & Pearson 1934) on the validation files, and a probability of at least one half; it is 1
    where no threshold reaches that. So it takes at least 32 detections there, all of them right.
    Each of `WholeFile.kinds` gets both likewise, "decision" by its F1.

    Args:
      task: the task.
      outputs: of the validation files.

    Returns:
      {"decision", "confident"}, and {kind, f"{kind}_confident"} of each kind with enough examples;
      {} for more than two classes; None where no file is labelled.
    """
    if len(task.classes) != 2:
        return None if _total(task, outputs, {}) is None else {}
    grid = np.concatenate((RARE, np.round(np.linspace(0.05, 0.95, 19), 3), SURE))
    counts = [_total(task, outputs, {"decision": t, "confident": 1.0}) for t in grid]
    if counts[0] is None:
        return None
    metric = _whole_file(task).metric
    decision = _best(grid, [count.scores[metric] for count in counts])
    thresholds = {"decision": decision, "confident": _surest(grid, counts, least=decision)}
    for kind in _whole_file(task).kinds:
        of_kind = [count.kinds[kind] for count in counts]
        values = [count.f1 for count in of_kind]
        if of_kind[0].tabled >= FEWEST_OF_KIND and np.nanmax(values) > 0:
            least = _best(grid, values)
            confident = _surest(grid, of_kind, least=least)
            thresholds |= {kind: least, f"{kind}_confident": confident}
    return thresholds


def _best(grid: np.ndarray, values: list[float]) -> float:
    """Returns the threshold with the highest value, the middle one of equally good ones."""
    numbers = np.nan_to_num(values, nan=-1.0)
    highest = np.flatnonzero(numbers >= numbers.max() - 1e-9)
    return float(grid[highest[len(highest) // 2]])


def _surest(grid: np.ndarray, counts: list[Any], *, least: float) -> float:
    """Returns the lowest threshold from `least` and one half on that is precise; 1 for none."""
    precise = [
        float(threshold)
        for threshold, count in zip(grid, counts, strict=True)
        if count.precision_bound >= CONFIDENT_PRECISION and threshold >= max(least, 0.5)
    ]
    return precise[0] if precise else 1.0
