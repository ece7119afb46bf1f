"""How reviewers' decisions come before the source's own labels, whatever the task."""

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfpipe.tasks.annotations import decisions
from tfpipe.tasks.annotations.decisions import Decision
from tfpipe.tasks.annotations.spans import WHOLE
from tfpipe.tasks.task import LeftOut, Reading, Survey, Task


def surveyed(task: Task, raw: Path, options: Any) -> Survey:
    """Surveys a raw folder, and adds what reviewers have decided about it.

    Returns:
      The task's survey: each source with the decisions about its spans, the survey with those about
      pictures, and notes on what is torn, dubious or about files that are not there.

    Raises:
      UserError: as the task's own survey, and where a line of the decisions is wrong.
    """
    known = decisions.read(raw, name=task.raw_files.decisions)
    survey = task.survey(raw, options)
    spans, pictures = defaultdict(list), []
    for _, one in sorted(known.held.items()):
        (spans[one.file] if one.is_span else pictures).append(one)
    there = {source.name for source in survey.sources}
    notes = [
        *map(LeftOut, known.notes),
        *_of_spans({f: o for f, o in spans.items() if f in there}, task),
    ]
    absent = [f"{file} ({len(own)})" for file, own in spans.items() if file not in there]
    if absent:
        notes.append(
            LeftOut(
                f"{task.raw_files.decisions} decides about files that are not here: "
                f"{_listed(absent)}."
            )
        )
    sources = tuple(replace(s, decided=tuple(spans.get(s.name, ()))) for s in survey.sources)
    notes = (*survey.notes, *notes)
    return replace(survey, sources=sources, notes=notes, decided=tuple(pictures))


def relabelled(
    reading: Reading, decided: dict[str, Decision], classes: tuple[str, ...]
) -> tuple[Reading, Counter]:
    """Returns what was read with reviewers' labels in place of the source's.

    Args:
      reading: of one source.
      decided: key of a picture -> what holds of it.
      classes: in label order.

    Returns:
      The reading, whose dubious pictures are unlabelled; and how often there was each (state, class
      by the reviewer, whether the source said otherwise).
    """
    examples, told = [], Counter()
    for example in reading.examples:
        one = decided.get(example.key)
        if one is None:
            examples.append(example)
            continue
        is_known = one.state == "validated" and one.label in classes
        label = classes.index(one.label) if is_known else -1
        told[one.state, one.label, label != example.label] += 1
        examples.append(example._replace(label=label))
    return replace(reading, examples=examples), told


def notes(survey: Survey, abouts: list[dict], task: Task) -> list[str]:
    """Returns sentences on the decisions about pictures.

    Args:
      survey: by `surveyed`.
      abouts: what each shard holds; "decided" is by `relabelled`, of its sources.
      task: with the classes told apart.
    """
    told = Counter()
    for *kind, n in (one for about in abouts for one in about["decided"]):
        told[tuple(kind)] += n
    validated = Counter({key: n for key, n in told.items() if key[0] == "validated"})
    strange = Counter({key: n for key, n in validated.items() if key[1] not in task.classes})
    dubious, found = told - validated, []
    if validated - strange:
        other = sum(n for (_, _, differs), n in (validated - strange).items() if differs)
        found.append(
            f"{task.raw_files.decisions}: {(validated - strange).total()} images are validated, "
            f"{other} of them as another class than the source says."
        )
    if dubious:
        found.append(_left_out("pictures", dubious, task))
    if strange:
        found.append(
            f"{task.raw_files.decisions}: {strange.total()} images are validated as a class that "
            f"is not used here ({_by_label(strange)}), so they count as unlabelled."
        )
    absent = len(survey.decided) - told.total()
    if absent:
        found.append(
            LeftOut(
                f"{task.raw_files.decisions} decides about {absent} pictures that are not here."
            )
        )
    return found


def _of_spans(spans: dict[str, list[Decision]], task: Task) -> list[str]:
    every = [one for own in spans.values() for one in own]
    whole = Counter(one.state for one in every if one.what == WHOLE)
    every = [one for one in every if one.what != WHOLE]
    told = Counter((one.state, one.label) for one in every)
    validated = Counter({key: n for key, n in told.items() if key[0] == "validated"})
    found = []
    if validated:
        none = validated["validated", ""]
        found.append(
            f"{task.raw_files.decisions}: {validated.total() - none} spans of "
            f"{len({one.file for one in every})} files are validated, and {none} are said to be "
            "none."
        )
    if told - validated:
        found.append(_left_out("spans", told - validated, task))
    if whole["validated"]:
        found.append(
            f"{task.raw_files.decisions}: {whole['validated']} files are validated as "
            "holding nothing else."
        )
    if whole["dubious"]:
        found.append(
            LeftOut(
                f"{task.raw_files.decisions}: {whole['dubious']} dubious files are left out of "
                "training and scores as a whole."
            )
        )
    return found


def _left_out(noun: str, dubious: Counter, task: Task) -> LeftOut:
    return LeftOut(
        f"{task.raw_files.decisions}: {dubious.total()} dubious {noun} are left out of training "
        "and scores: "
        f"{_by_label(dubious)}."
    )


def _by_label(told: Counter) -> str:
    """Returns how many of each class or kind, of counts by (state, label, ...)."""
    counts = Counter()
    for (_, label, *_), n in told.items():
        counts[label or "none"] += n
    return _listed([f"{label} {n}" for label, n in sorted(counts.items())])


def _listed(names: list[str], *, most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
