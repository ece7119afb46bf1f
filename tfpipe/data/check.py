"""Check of raw files: all that is wrong with them, and what would be packed, without packing."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfpipe.base import problems
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.base.resources import cores
from tfpipe.data import manifest as data_manifest
from tfpipe.data import pack, validation
from tfpipe.tasks.annotations import apply
from tfpipe.tasks.splits import NOTHING_PACKED, PackedSplits, SplitConfig
from tfpipe.tasks.task import SPLITS, Source, Survey, Task

# Cells that are wrong have no value, which what follows them may not expect.
FOLLOWS = (ArithmeticError, LookupError, TypeError, ValueError)


@dataclasses.dataclass(frozen=True)
class RawFilesCheck:
    """What is wrong with raw files, and what would be packed.

    Attributes:
      problems: a sentence for each: file, line, what was expected, what came, what to do.
      files: number of raw files that were read; 0 where the tables cannot be used.
      groups: split -> number of groups.
      counts: split -> class -> number of examples, of the files that can be read.
      omissions: sentences about what would be left out.
      notes: what else is worth knowing.
    """

    problems: tuple[str, ...]
    files: int = 0
    groups: dict[str, int] = dataclasses.field(default_factory=dict)
    counts: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    omissions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class _Labels(NamedTuple):
    """Number of examples of one source: unlabelled, then of each class; and why it has none."""

    counts: np.ndarray
    problem: str = ""


def check(
    task: Task,
    raw: Path,
    *,
    options: Any,
    split: SplitConfig,
    before: PackedSplits = NOTHING_PACKED,
    report: Reporter = silent,
) -> RawFilesCheck:
    """Reads the tables and every raw file of a task, and writes nothing.

    Near-copies in two splits are not looked for; packing does that.

    Args:
      task: the question.
      raw: the raw folder.
      options: the task's options.
      split: how groups would be divided among train, validation and test.
      before: splits in which groups would stay.
      report: receives the sources done and in all, as stage "check".
    """
    survey, wrong = _survey(task, raw, options)
    if survey is None:
        return RawFilesCheck(tuple(wrong))
    task = pack.settled(task, survey)
    labels = _read_all(task, survey, wrong, options=survey.options or options, report=report)
    wrong += dict.fromkeys(one.problem for one in labels if one.problem)
    notes = pack.notes_by_kind(survey.notes)
    result = RawFilesCheck(
        tuple(wrong), len({source.path for source in survey.sources}), {}, {}, *notes
    )
    with problems.collected() as about_splits:
        plan = pack.plan_shards(task, survey, split=split, before=before)
        parts = {source.name: plan.split.of_source(source) for source in survey.sources}
        summaries = [
            {"split": parts[source.name], "labels": numbers[1:], "unlabelled": numbers[0]}
            for source, numbers in zip(
                survey.sources, [one.counts.tolist() for one in labels], strict=True
            )
        ]
        result = dataclasses.replace(
            result,
            groups={
                name: len({s.group for s in survey.sources if parts[s.name] == name})
                for name in SPLITS
            },
            counts=data_manifest.counts(task, summaries),
        )
        with problems.contained():
            validation.classes(task, summaries, plan.shards)
        with problems.contained():
            validation.separate(survey, split=plan.split)
    if wrong:
        about_splits = [f"Of what can be read: {sentence}" for sentence in about_splits]
    return dataclasses.replace(result, problems=(*wrong, *about_splits))


def _survey(task: Task, raw: Path, options: Any) -> tuple[Survey | None, list[str]]:
    """Returns the survey of a raw folder, None where there can be none, and what is wrong."""
    survey = None
    with problems.collected() as wrong:
        try:
            survey = apply.survey_with_decisions(task, raw, options)
        except FOLLOWS:
            if not wrong:
                raise
    return survey, wrong


def _read_all(
    task: Task, survey: Survey, wrong: list[str], *, options: Any, report: Reporter
) -> list[_Labels]:
    """Returns the number of examples of each class in each source, in the survey's order.

    Args:
      task: the question.
      survey: the sources.
      wrong: problems of its tables.
      options: the task's.
      report: receives the sources done.
    """
    decided = {decision.what: decision for decision in survey.decisions}

    def read(source: Source) -> _Labels:
        none = np.zeros(len(task.classes) + 1, int)
        try:
            reading, _ = apply.relabel(task.read(source, options), decided, task.classes)
        except UserError as error:
            return _Labels(none, str(error))
        except FOLLOWS:
            if not wrong:
                raise
            return _Labels(none)
        labels = [example.label + 1 for example in reading.examples]
        return _Labels(np.bincount(labels, minlength=len(none)) if labels else none)

    with ThreadPoolExecutor(cores()) as pool:
        done: list[_Labels] = []
        for one in pool.map(read, survey.sources):
            done.append(one)
            report("check", {"done": len(done), "total": len(survey.sources)})
    return done
