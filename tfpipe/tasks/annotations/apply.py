"""Applies reviewers' decisions to a survey and to its examples, whatever the task."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfpipe.tasks.annotations import decisions as log
from tfpipe.tasks.annotations.decisions import Decision
from tfpipe.tasks.annotations.spans import WHOLE
from tfpipe.tasks.task import LeftOut, Reading, Survey, Task

MAX_NAMES = 12  # in one sentence


def survey_with_decisions(task: Task, raw: Path, options: Any) -> Survey:
    """Surveys a raw folder and adds the reviewers' decisions about it.

    Returns:
      The task's survey. Each source has the decisions about its spans, the survey has those about
      images, and notes name decisions that are torn, dubious or about files that are absent.

    Raises:
      UserError: as the task's own survey; or a line of the decisions is wrong.
    """
    name = task.raw_files.decisions
    decision_log = log.read(raw, name=name)
    survey = task.survey(raw, options)
    spans: defaultdict[str, list[Decision]] = defaultdict(list)
    image_decisions: list[Decision] = []
    for _, decision in sorted(decision_log.current.items()):
        (spans[decision.file] if decision.is_span else image_decisions).append(decision)
    files = {source.name for source in survey.sources}
    notes: list[str] = [
        *map(LeftOut, decision_log.notes),
        *_span_notes([one for file in spans if file in files for one in spans[file]], name),
    ]
    absent = [f"{file} ({len(spans[file])})" for file in spans if file not in files]
    if absent:
        notes.append(LeftOut(f"{name} decides about files that are absent: {_listed(absent)}."))
    return replace(
        survey,
        sources=tuple(replace(s, decisions=tuple(spans.get(s.name, ()))) for s in survey.sources),
        notes=(*survey.notes, *notes),
        decisions=tuple(image_decisions),
    )


def relabel(
    reading: Reading, decisions: Mapping[str, Decision], classes: tuple[str, ...]
) -> tuple[Reading, Counter[tuple[str, str, bool]]]:
    """Returns a reading with reviewers' labels in place of the source's.

    Args:
      reading: of one source.
      decisions: key of an image -> the decision that holds for it.
      classes: in label order.

    Returns:
      The reading, whose dubious images are unlabelled; and the number of images by (state, class
      by the reviewer, whether the source has another class).
    """
    examples, counts = [], Counter[tuple[str, str, bool]]()
    for example in reading.examples:
        decision = decisions.get(example.key)
        if decision is None:
            examples.append(example)
            continue
        is_labelled = decision.state == "validated" and decision.label in classes
        label = classes.index(decision.label) if is_labelled else -1
        counts[decision.state, decision.label, label != example.label] += 1
        examples.append(example._replace(label=label))
    return replace(reading, examples=examples), counts


def decision_notes(survey: Survey, shards: Sequence[Mapping[str, Any]], task: Task) -> list[str]:
    """Returns sentences on the decisions about images.

    Args:
      survey: by `survey_with_decisions`.
      shards: the contents of each shard; "decided" holds the counts of `relabel`.
      task: with the classes in use.
    """
    name = task.raw_files.decisions
    counts = Counter[tuple[str, str, bool]]()
    for shard in shards:
        for state, label, differs, n in shard["decided"]:
            counts[state, label, differs] += n
    validated = Counter({key: n for key, n in counts.items() if key[0] == "validated"})
    unused = Counter({key: n for key, n in validated.items() if key[1] not in task.classes})
    labelled, dubious = validated - unused, counts - validated
    notes: list[str] = []
    if labelled:
        changed = sum(n for (_, _, differs), n in labelled.items() if differs)
        notes.append(
            f"{name}: {labelled.total()} images are validated, {changed} of them as another class "
            "than the source has."
        )
    if dubious:
        notes.append(_left_out("images", dubious, name))
    if unused:
        notes.append(
            f"{name}: {unused.total()} images are validated as a class that is not used here "
            f"({_by_label(unused)}), so they count as unlabelled."
        )
    n_absent = len(survey.decisions) - counts.total()
    if n_absent:
        notes.append(LeftOut(f"{name} decides about {n_absent} images that are absent."))
    return notes


def _span_notes(decisions: list[Decision], name: str) -> list[str]:
    """Returns sentences on the decisions about spans, from a file called `name`."""
    whole_files = Counter(one.state for one in decisions if one.what == WHOLE)
    spans = [one for one in decisions if one.what != WHOLE]
    counts = Counter((one.state, one.label) for one in spans)
    validated = Counter({key: n for key, n in counts.items() if key[0] == "validated"})
    notes: list[str] = []
    if validated:
        n_deleted = validated["validated", ""]
        n_files = len({one.file for one in spans})
        notes.append(
            f"{name}: {validated.total() - n_deleted} spans of {n_files} files are validated, and "
            f"{n_deleted} are deleted."
        )
    if counts - validated:
        notes.append(_left_out("spans", counts - validated, name))
    if whole_files["validated"]:
        notes.append(
            f"{name}: {whole_files['validated']} files are validated as holding nothing else."
        )
    if whole_files["dubious"]:
        notes.append(
            LeftOut(
                f"{name}: {whole_files['dubious']} dubious files are left out of training and "
                "scores as a whole."
            )
        )
    return notes


def _left_out(noun: str, dubious: Counter[Any], name: str) -> LeftOut:
    return LeftOut(
        f"{name}: {dubious.total()} dubious {noun} are left out of training and scores: "
        f"{_by_label(dubious)}."
    )


def _by_label(counts: Counter[Any]) -> str:
    """Returns the number of each class or kind, from counts by (state, label, ...)."""
    by_label = Counter[str]()
    for (_, label, *_), n in counts.items():
        by_label[label or "none"] += n
    return _listed([f"{label} {n}" for label, n in sorted(by_label.items())])


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
