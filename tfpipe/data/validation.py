"""Validation of records before they are published."""

import dataclasses
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfpipe.base.choose import listed
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, counter, silent
from tfpipe.data import manifest as data_manifest
from tfpipe.data import near_duplicates
from tfpipe.data.copy_prints import PrintRows, StoredPrints
from tfpipe.data.manifest import RecordManifest
from tfpipe.data.near_duplicates import Crossing
from tfpipe.data.source_cache import SourceCache, keys_sha256
from tfpipe.tasks.splits import AssignedSplits
from tfpipe.tasks.task import SPLITS, Source, Survey, Task

MOST_NAMES = 6  # classes of a sentence


def classes(task: Task, summaries: list[dict], jobs) -> None:
    """Raises a UserError with the counts if a split lacks a class, or has nothing at all.

    It says what helps: groups of a class, another place for it, or another --salt.
    """
    counts = data_manifest.counts(task, summaries)
    pairs = [(split, name) for split in SPLITS for name in task.classes if not counts[split][name]]
    lacking = [f"{split} has no {name}" for split, name in pairs]
    lacking = lacking or [f"{s} has no example" for s in SPLITS if not sum(counts[s].values())]
    if not lacking:
        return
    table = "; ".join(
        f"{split}: {listed((f'{n} {c}' for c, n in counts[split].items()), most=MOST_NAMES)}"
        for split in SPLITS
    )
    sources = [source for _, _, inside in jobs for source in inside]
    groups = len({source.group for source in sources})
    raise UserError(
        f"Every split needs every class, but {listed(lacking, most=MOST_NAMES)} "
        f"({table}; {groups} groups). {_remedy(pairs, sources)}"
    )


def _remedy(lacking: list[tuple[str, str]], sources: list[Source]) -> str:
    """Returns what gives each split each class, in sentences.

    Args:
      lacking: (split, class) without an example.
      sources: of the records.
    """
    noun = "files" if all(source.group == source.name for source in sources) else "groups"
    n_groups = len({source.group for source in sources if not source.split})
    cannot = "where each split needs one, so another --salt cannot help"
    fixed, absent, few = [], set(), {}
    for split, name in lacking:
        own = [source for source in sources if name in source.strata]
        free = [source for source in own if not source.split]
        drawn = {one for source in free for one in source.allowed_splits}
        count = len({source.group for source in free})
        if sum(one == name for _, one in lacking) == len(SPLITS):
            absent.add(name)
        elif own and split not in drawn:
            fixed.append(f"{name} into {split}")
        elif free and count < len(drawn):
            few[name] = f"{name} has {count} {noun if count > 1 else noun[:-1]}"
    if n_groups and n_groups < len(SPLITS) and not fixed:
        are = f"is 1 {noun[:-1]}" if n_groups == 1 else f"are {n_groups} {noun}"
        return f"There {are}, {cannot}: add {noun}."
    sentences = []
    if fixed:
        sentences.append(f"The splits are yours: put {listed(fixed, most=MOST_NAMES)}.")
    if absent:
        sentences.append(f"Label some as {listed(sorted(absent), most=MOST_NAMES)}.")
    if few:
        are = listed(few.values(), most=MOST_NAMES)
        sentences.append(f"{are}, {cannot}: add {noun}, or leave the class out.")
    if not (fixed or absent or few):
        sentences.append(
            "Add data, draw another split by --salt WORD, or change its shares by --split 50/25/25."
        )
    return " ".join(sentences)


def classifiable(manifest: RecordManifest) -> None:
    """Raises a UserError if packed records have nothing that a classifier could tell apart."""
    if len(manifest.classes) > 1:
        return
    counts = [sum(split.values()) for split in manifest.counts.values()]
    unlabelled = sum(split.get("(unlabelled)", 0) for split in manifest.counts.values())
    names = listed(manifest.classes) or "none"
    raise UserError(
        f"A classifier needs two classes or more, but the records have {names}: {unlabelled} of "
        f"{sum(counts)} examples are unlabelled. Label more of them and pack again, or train an "
        "autoencoder, which needs no labels."
    )


def keep_group_names(survey: Survey, before: dict[str, str]) -> Survey:
    """Returns a survey whose groups of copies keep the names that they were packed under.

    A group of copies has the name of its first image. A new copy with an earlier name would else
    give the old ones another group, and another split.

    Args:
      survey: of the raw files.
      before: source -> its group in the records so far.
    """
    if not survey.merge_near_duplicates:
        return survey
    inside = {(source.group, source.name) for source in survey.sources}
    names: dict[str, str] = {}
    for source in survey.sources:
        old = before.get(source.name)
        if old and (source.group, old) in inside:
            names.setdefault(source.group, old)
    sources = (dataclasses.replace(s, group=names.get(s.group, s.group)) for s in survey.sources)
    return dataclasses.replace(survey, sources=tuple(sources))


def grouped_before(
    survey: Survey, cache: SourceCache, key_of: Callable[[Source], str | None]
) -> Survey:
    """Returns a survey whose unchanged sources are in the groups that they were packed in.

    Only where groups of near-copies are made one: other groups are those of the survey.

    Args:
      survey: of the raw files.
      cache: what the records so far hold of them.
      key_of: fingerprint of a source with its group.
    """
    if not (survey.merge_near_duplicates and cache.units):
        return survey
    sources = []
    for source in survey.sources:
        packed = dataclasses.replace(source, group=cache.groups.get(source.name, source.group))
        sources.append(packed if key_of(packed) in cache.units else source)
    return dataclasses.replace(survey, sources=tuple(sources))


def merged(
    survey: Survey,
    summaries: list[dict],
    parts: Path,
    *,
    before: dict[str, str],
    compared: Container[str] = (),
    report: Reporter = silent,
) -> Survey:
    """Returns a survey whose groups that share near-copies are one, where it asks for that.

    Args:
      survey: of the raw files.
      summaries: what each shard holds.
      parts: the folder of the shards' perceptual hashes.
      before: source -> its group in the records so far; a new copy joins the old group, not the
        other way round, so that the old ones stay in their split.
      compared: sources whose images were all compared with each other before, so that copies among
        them are in one group of `before`.
      report: receives the images compared and in all, as stage "copies".
    """
    if not survey.merge_near_duplicates:
        return survey
    units = [unit for summary in summaries for unit in summary["units"]]
    numbers = [sum(times for _, times in unit["groups"]) for unit in units]
    group_of = {source.name: source.group for source in survey.sources}
    groups = GroupRuns([group_of[unit["source"]] for unit in units], numbers)
    prints, _ = _prints(summaries, parts)
    is_new = np.repeat(np.array([u["source"] not in compared for u in units], bool), numbers)
    old_groups = GroupRuns([before.get(unit["source"], "") for unit in units], numbers)
    pairs = near_duplicates.new_pairs(
        prints, is_new, scratch=parts, progress=counter(report, "copies")
    )
    for rows in _shared(groups, old_groups, np.flatnonzero(~is_new)):
        own = PrintRows(prints, rows)
        pairs += [(int(rows[a]), int(rows[b])) for a, b in near_duplicates.find_pairs(own, own)]
    return joined(survey, [(groups[a], groups[b]) for a, b in sorted(pairs)], before=before)


def joined(
    survey: Survey, pairs: Sequence[tuple[str, str]], *, before: Mapping[str, str]
) -> Survey:
    """Returns a survey in which the groups of each pair are one, with a note of it.

    Args:
      survey: of the raw files.
      pairs: groups that share near-copies.
      before: as of `merged`.
    """
    first: dict[str, str] = {}
    old = set(before.values())

    def root(group: str) -> str:
        while first.get(group, group) != group:
            group = first[group]
        return group

    for a, b in pairs:
        low, high = sorted((root(a), root(b)), key=lambda group: (group not in old, group))
        first[high] = low
    sources = tuple(dataclasses.replace(s, group=root(s.group)) for s in survey.sources)
    moved = sum(new.group != old.group for new, old in zip(sources, survey.sources, strict=True))
    if not moved:
        return survey
    note = f"{moved} images are near-copies of others, and are in one group with them."
    return dataclasses.replace(survey, sources=sources, notes=(*survey.notes, note))


def _shared(
    groups: Sequence[str], old_groups: Sequence[str], rows: np.ndarray
) -> Iterator[np.ndarray]:
    """Yields the rows of each old group in which several groups became one."""
    inside: dict[str, list[int]] = {}
    for row in rows.tolist():
        inside.setdefault(old_groups[row], []).append(row)
    for own in inside.values():
        if len({groups[row] for row in own}) > 1:
            yield np.array(own)


def compared_before(
    manifest: RecordManifest | None, units: Mapping[str, dict[str, Any]], summaries: list[dict]
) -> set[str]:
    """Returns the sources whose images were compared with each other when they were packed before.

    They have the same images as then, are in the same splits, and share no copies across splits.

    Args:
      manifest: of the records so far, if there are some.
      units: key -> what those hold of a source (`SourceCache.units`).
      summaries: what each new shard holds, and its split.
    """
    if manifest is None or manifest.compared != near_duplicates.RULES:
        return set()
    split_of = {shard.name: shard.split for shard in manifest.shards}
    names = set()
    for summary in summaries:
        for unit in summary["units"]:
            old = units.get(unit["key"]) if unit["key"] else None
            if (
                old
                and split_of.get(old["shard"]) == summary["split"]
                and all(old.get(part) == unit[part] for part in ("source", "groups"))
                and keys_sha256(old.get("keys", [])) == unit["keys_sha256"]
            ):
                names.add(unit["source"])
    return names


def crossings(
    summaries: list[dict],
    parts: Path,
    *,
    compared: Container[str] = (),
    report: Reporter = silent,
) -> list[Crossing]:
    """Returns the pairs of groups in different splits that share near-copies.

    Args:
      summaries: what each shard holds, and its split.
      parts: the folder of the shards' perceptual hashes.
      compared: sources by `compared_before`, which are not compared with each other again.
      report: receives the images compared and in all, as stage "copies".
    """
    prints, groups, old = {}, {}, {}
    for name in SPLITS:
        inside = [summary for summary in summaries if summary["split"] == name]
        prints[name], groups[name] = _prints(inside, parts)
        units = [unit for summary in inside for unit in summary["units"]]
        numbers = [sum(times for _, times in unit["groups"]) for unit in units]
        old[name] = np.repeat(np.array([u["source"] in compared for u in units], bool), numbers)
    return near_duplicates.crossings(
        prints, groups, old, scratch=parts, progress=counter(report, "copies")
    )


def separate(survey: Survey, *, split: AssignedSplits, crossings: Sequence[Crossing] = ()) -> None:
    """Raises a UserError that names the pairs if the same thing stands in two splits.

    Args:
      survey: its duplicates show the same thing by the tables.
      split: how groups are divided.
      crossings: groups that share near-copies.
    """
    splits = {s.name: split.of_source(s) for s in survey.sources}
    problems = [
        f"{a} ({splits[a]}) and {b} ({splits[b]}): {why}"
        for a, b, why in survey.duplicates
        if splits[a] != splits[b]
    ]
    problems += [*_parted(survey, splits), *map(str, crossings)]
    if problems:
        more = f" and {len(problems) - 5} more pairs" if len(problems) > 5 else ""
        raise UserError(
            f"The same thing stands in two splits, so no score could be believed: "
            f"{'; '.join(problems[:5])}{more}. Remove one of each pair, or put both in one group."
        )


class GroupRuns(Sequence[str]):
    """The group of each image, as runs of images that share one."""

    def __init__(self, names: Sequence[str], sizes: Sequence[int]):
        self._names = names
        self._ends = np.cumsum(sizes, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, row: Any) -> Any:
        return self._names[int(np.searchsorted(self._ends, row, side="right"))]


def _prints(summaries: list[dict], parts: Path) -> tuple[StoredPrints, GroupRuns]:
    """Returns the fingerprints of some shards' images, and the group of each."""
    stored = StoredPrints([parts / f"{summary['name']}.hashes" for summary in summaries])
    runs = [run for summary in summaries for unit in summary["units"] for run in unit["groups"]]
    return stored, GroupRuns([name for name, _ in runs], [times for _, times in runs])


def _parted(survey: Survey, splits: dict[str, str]) -> list[str]:
    """Returns a sentence for each group that settled splits part, in the sources' order."""
    first: dict[str, str] = {}
    problems: dict[str, str] = {}
    for source in survey.sources:
        first_source = first.setdefault(source.group, source.name)
        both = {splits[first_source], splits[source.name]}
        if len(both) == 2 and not (survey.may_share_groups and "test" not in both):
            problems.setdefault(
                source.group,
                f"{first_source} ({splits[first_source]}) and {source.name} "
                f"({splits[source.name]}): both are of the group {source.group}",
            )
    return list(problems.values())
