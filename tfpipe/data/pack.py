"""Packing: raw files to TFRecord shards and their manifest."""

import contextlib
import dataclasses
import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import tfpipe
from tfpipe.base import files, resumable, tables
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.base.resources import cores
from tfpipe.base.resumable import ResumableFolder
from tfpipe.data import exchange, near_duplicates, repack, schema, source_cache, validation
from tfpipe.data import fingerprint as data_fingerprint
from tfpipe.data import manifest as data_manifest
from tfpipe.data.checksum_cache import ChecksumCache
from tfpipe.data.fingerprint import Checksums
from tfpipe.data.manifest import RecordManifest, Shard
from tfpipe.tasks import catalog
from tfpipe.tasks.annotations import apply
from tfpipe.tasks.splits import (
    DEFAULT_SPLIT,
    NOTHING_PACKED,
    AssignedSplits,
    PackedSplits,
    SplitConfig,
)
from tfpipe.tasks.task import SPLITS, LeftOut, Source, Survey, Task

SOURCES_A_SHARD = 4
MOST_SHARDS = 64  # of a split; of more sources each has twice as many, or four times

LOG = logging.getLogger("tfpipe")


class ShardPlan(NamedTuple):
    """One shard to be: its split, its file name, and its sources in order."""

    split: str
    name: str
    sources: list[Source]


class PackingPlan(NamedTuple):
    """Which source goes into which shard, fixed before anything is read.

    Attributes:
      survey: the sources.
      split: the split of each source.
      shards: in the order of splits and names.
    """

    survey: Survey
    split: AssignedSplits
    shards: list[ShardPlan]


# (shards, folder, keywords of `schema.write`, reporter) -> for each shard what `schema.write`
# returns. Shards that are finished in the folder are not written again.
ShardWriter = Callable[[list[ShardPlan], Path, dict[str, Any], Reporter], list[dict[str, Any]]]


REGROUPED = 3  # times that groups which share copies across splits are made one


class PackingEngine(NamedTuple):
    """What does the long work of packing: this process, or the workers of a runner.

    Attributes:
      write_shards: writes shards.
      checksums: computes the checksums of files.
    """

    write_shards: ShardWriter
    checksums: Checksums


def write_by_threads(
    shards: list[ShardPlan], folder: Path, context: dict[str, Any], report: Reporter
) -> list[dict[str, Any]]:
    """Writes shards in this process: decoding and scaling leave Python's lock alone."""
    with ThreadPoolExecutor(cores()) as pool:
        waiting = [
            pool.submit(schema.write, folder, shard.name, shard.sources, **context)
            for shard in shards
        ]
        try:
            summaries = []
            for i, future in enumerate(waiting):
                report("pack", {"done": i, "total": len(shards)})
                summaries.append(future.result())
            report("pack", {"done": len(shards), "total": len(shards)})
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return summaries


THIS_PROCESS = PackingEngine(write_by_threads, data_fingerprint.checksums)


def pack(
    task: Task,
    raw: Path,
    folder: Path,
    *,
    options: Any,
    split: SplitConfig = DEFAULT_SPLIT,
    before: PackedSplits = NOTHING_PACKED,
    skip_bad: int = 0,
    shards: str = "",
    engine: PackingEngine = THIS_PROCESS,
    report: Reporter = silent,
) -> RecordManifest:
    """Packs a task's raw files into records; killed at any moment, the same call goes on.

    Shards are gathered in a hidden folder beside `folder`, each renamed when whole, and the folder
    takes its name last. What it holds depends on raw files, options and split only: records of raw
    files that have not changed are copied from what was packed before, byte by byte. But groups
    stay in the split in which they were packed before, and where groups of near-copies are made one
    they take the name that was packed before.

    Args:
      task: the question.
      raw: the raw folder.
      folder: where the records go; replaced if it holds others.
      options: the task's options.
      split: how groups are divided among train, validation and test.
      before: splits in which groups stay where there are no records yet, such as those of a saved
        version. Those of files that it was adapted with hold in any case, and so do binding ones.
      skip_bad: how many unreadable files are left out before the run fails; of one that is read in
        parts, such as a cube in slabs, all parts count once.
      shards: shards a split: a number, "auto", or "" for as the records were divided before, which
        is four sources a shard where there are none yet.
      engine: does the long work, by default this process; see `beam_pack`.
      report: receives the shards done and in all, as stage "pack", then the images looked for
        among many others, as stage "copies".

    Returns:
      The manifest.

    Raises:
      UserError: on bad raw data, a class that a split lacks, near-copies across splits, or when
        another run is packing the same records.
    """
    survey = apply.survey_with_decisions(task, raw, options)
    task = settled(task, survey)
    options = survey.options or options
    parts = exchange.hidden(folder, "partial")
    unfinished = exchange.gathering(folder, "partial", work="packing")
    with unfinished, _noting(survey.notes):
        sums = ChecksumCache(exchange.hidden(folder, "raw"), engine.checksums)
        fingerprint = data_fingerprint.records_fingerprint(
            task, raw, survey, options=options, split=split, checksums=sums.checksums
        )
        exchange.recover(folder)
        manifest = data_manifest.read(folder) if (folder / "manifest.json").is_file() else None
        if (
            manifest
            and manifest.fingerprint == fingerprint
            and manifest.unreadable_files <= skip_bad
            and before.allow(manifest.sources)
        ):
            exchange.tidy(folder)
            if manifest.origin != catalog.origin_of(task):  # the folder has moved
                manifest = dataclasses.replace(manifest, origin=catalog.origin_of(task))
                files.replace(folder / "manifest.json", manifest.to_json())
            return repack.divide(folder, manifest, shards or manifest.sharding, report=report)
        shards = shards or (manifest.sharding if manifest else "")
        packed = ChecksumCache(exchange.hidden(folder, "packed"), engine.checksums, are_linked=True)
        cache = _cache(folder, packed.checksums)
        survey = validation.keep_group_names(survey, cache.groups)
        if manifest:
            before = before.over(_splits_so_far(manifest, cache.groups, split))
        context: dict[str, Any] = {
            "task": task,
            "options": options,
            "cache": cache,
            "decided": {decision.what: decision for decision in survey.decisions},
            "checksum": sums.checksum,
        }

        is_regrouping = False  # whether the shards so far were written, and checked, by this call

        def write(plan: PackingPlan) -> list[dict[str, Any]]:
            nonlocal is_regrouping
            aside = exchange.hidden(folder, "regrouped")
            shutil.rmtree(aside, ignore_errors=True)
            context["regrouped"] = _begin(
                unfinished,
                fingerprint=_plan_fingerprint(fingerprint, plan.shards),
                aside=aside if is_regrouping else None,
            )
            is_regrouping = True
            if cache.folder is None:
                _forget_linked(parts)
            summaries = engine.write_shards(plan.shards, parts, context, report)
            pairs = zip(summaries, plan.shards, strict=True)
            return [summary | {"split": shard.split} for summary, shard in pairs]

        key_of = data_fingerprint.SourceFingerprints(task, options=options, checksum=sums.checksum)
        grouped = validation.grouped_before(survey, cache, key_of)
        plan = plan_shards(task, grouped, split=split, before=before, checksum=sums.checksum)
        summaries = write(plan)
        merged = validation.merged(
            survey,
            summaries,
            parts,
            before=cache.groups,
            compared=validation.compared_before(manifest, cache.units, summaries),
            report=report,
        )
        if merged.sources == grouped.sources:
            plan = plan._replace(survey=merged)
        else:
            plan = plan_shards(task, merged, split=split, before=before, checksum=sums.checksum)
            summaries = write(plan)
        bad = _unreadable(plan.survey, summaries, skip_bad=skip_bad)
        is_compared = not task.raw_files.skip_duplicate_check
        for rounds_left in range(REGROUPED, -1, -1):
            validation.classes(task, summaries, plan.shards)
            crossings = validation.crossings(
                summaries if is_compared else [],
                parts,
                compared=validation.compared_before(manifest, cache.units, summaries),
                report=report,
            )
            if not (crossings and survey.merge_near_duplicates and rounds_left):
                break
            # Of many images that are all alike, such as discs, a split more shows other copies.
            pairs = [(crossing.group, crossing.other) for crossing in crossings]
            regrouped = validation.joined(plan.survey, pairs, before=cache.groups)
            plan = plan_shards(task, regrouped, split=split, before=before, checksum=sums.checksum)
            summaries = write(plan)
        validation.separate(plan.survey, split=plan.split, crossings=crossings)
        older = manifest
        manifest = _manifest(
            task,
            plan,
            summaries,
            bad=bad,
            fingerprint=fingerprint,
            options=dataclasses.asdict(options),
            fractions=split.shares,
            salt=split.salt,
            sharding=shards,
            compared=near_duplicates.RULES if is_compared else 0,
        )
        try:
            linked = _linked_sums(older, summaries) if cache.folder else {}
            made = _finish(
                task, unfinished, folder, summaries=summaries, manifest=manifest, linked=linked
            )
        except OSError as error:
            raise UserError(
                f"{folder} cannot be written: {error.strerror or error}. "
                "Free some space or choose another folder."
            ) from error
        made = repack.divide(folder, made, shards, report=report)
        in_shards = {shard.name: shard.sha256 for shard in made.shards}
        every = {**made.files, **in_shards}
        older_names = {*linked, *(one["name"] for one in summaries if one["linked"])}
        packed.store(
            {folder / name: checksum for name, checksum in every.items()},
            written={folder / name for name in every.keys() - older_names},
        )
        return made


def settled(task: Task, survey: Survey) -> Task:
    """Returns a task with the classes, columns and image shape that its survey determined."""
    names = ("classes", "columns", "image_shape")
    return dataclasses.replace(
        task, **{name: getattr(survey, name) or getattr(task, name) for name in names}
    )


def notes_by_kind(notes: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the notes about what is left out, and the others."""
    return (
        tuple(note for note in notes if isinstance(note, LeftOut)),
        tuple(note for note in notes if not isinstance(note, LeftOut)),
    )


def _unreadable(survey: Survey, summaries: list[dict], *, skip_bad: int) -> dict[str, str]:
    """Returns name -> reason of sources that cannot be read, if so many files may be left out."""
    bad = {name: why for summary in summaries for name, why in summary["bad"].items()}
    n_files = _n_files(survey, bad)
    if n_files > skip_bad:
        reasons = " ".join(dict.fromkeys(bad.values()))
        raise UserError(
            f"{n_files} of {len({s.path for s in survey.sources})} files cannot be read: "
            f"{reasons} Mend or remove them, or pack the others by --skip-bad {n_files}."
        )
    return bad


def _n_files(survey: Survey, names: Mapping[str, str]) -> int:
    """Returns the number of files that some sources are parts of."""
    return len({source.path for source in survey.sources if source.name in names})


def _manifest(
    task: Task, plan: PackingPlan, summaries: list[dict], *, bad: dict[str, str], **settings: Any
) -> RecordManifest:
    """Returns the manifest of written shards, still without the sums of the files beside them.

    Args:
      task: with what its survey found.
      plan: what is in which shard.
      summaries: of the shards, with their splits.
      bad: sources that cannot be read.
      settings: fields of the manifest that tell how the records are packed.
    """
    survey = plan.survey
    rows = [row for summary in summaries for row in summary["rows"] if row]
    decided = apply.decision_notes(survey, summaries, task)
    left_out, notes = notes_by_kind([*survey.notes, *decided, *task.raw_files.omissions(rows)])
    return RecordManifest(
        task=task.name,
        origin=catalog.origin_of(task),
        tfpipe=tfpipe.__version__,
        classes=task.classes,
        image_shape=task.image_shape,
        image_dtype=task.image_dtype,
        image_encoding=schema.encoding(task),
        columns=task.columns,
        metadata=task.metadata,
        interval=task.whole_file.interval if task.whole_file else (),
        row_classes=task.row_classes,
        augmentation=survey.augmentation,
        counts=data_manifest.counts(task, summaries),
        user_defined_split=any(source.split for source in survey.sources),
        groups={name: len({s.group for s in _of(plan, name)}) for name in SPLITS},
        sources={name: tuple(s.name for s in _of(plan, name)) for name in SPLITS},
        shards=tuple(
            Shard(**{field.name: summary[field.name] for field in dataclasses.fields(Shard)})
            for summary in summaries
        ),
        unreadable=bad,
        n_unreadable_files=_n_files(survey, bad),
        left_out=left_out,
        notes=notes,
        **settings,
    )


@contextlib.contextmanager
def _noting(notes: tuple[str, ...]) -> Iterator[None]:
    """Adds the notes of a survey to a failure: they may hold its cause."""
    try:
        yield
    except UserError as error:
        for note in notes:
            error.add_note(note)  # may be a `LeftOut`, which is printed as such
        raise


def _cache(folder: Path, checksums: Checksums) -> source_cache.SourceCache:
    """Returns what the old records hold of each source; nothing of damaged ones is taken over."""
    if not (folder / "manifest.json").is_file():
        return source_cache.SourceCache()
    wrong = data_manifest.verify(folder, checksums=checksums)
    if wrong:
        LOG.warning("The old records are damaged (%s), so every file is read again.", wrong[0])
    return source_cache.SourceCache(None if wrong else folder)


def _write_units(parts: Path, summaries: list[dict]) -> None:
    """Writes what is known of each source, shard by shard: the keys of all images are many."""
    begun, beside = False, parts / f".{source_cache.UNITS}"
    with beside.open("wb") as file:
        for summary in summaries:
            for unit in json.loads((parts / f"{summary['name']}.json").read_bytes())["units"]:
                file.write(f"{', ' if begun else '['}{json.dumps(unit)}".encode())
                begun = True
        file.write(b"]" if begun else b"[]")
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, parts / source_cache.UNITS)


def _linked_sums(manifest: RecordManifest | None, summaries: list[dict]) -> dict[str, str]:
    """Returns the SHA-256 of files beside shards that are those of older records, by name."""
    sums: dict[str, str] = {}
    for summary in summaries:
        if manifest and (old := summary.get("linked")):
            names = {f"{summary['name']}.hashes": f"{old}.hashes"}
            names |= {unit["picture"]: unit["picture"] for unit in summary["units"]}
            sums |= {now: manifest.files[was] for now, was in names.items() if now}
    return sums


def _begin(
    parts: ResumableFolder, *, fingerprint: str, aside: Path | None
) -> source_cache.SourceCache:
    """Keeps finished shards of the same plan, and nothing else.

    Args:
      parts: where shards are gathered.
      fingerprint: of the plan.
      aside: where shards of another plan go; None to remove them, as those of a run that was killed
        before are not known to be whole.

    Returns:
      Those shards: where only some groups have changed, few files are read again.
    """
    plan = {"fingerprint": fingerprint}
    if aside is not None and parts.read(resumable.PLAN) not in (None, plan):
        os.replace(parts.path, aside)
    parts.begin(plan)
    _remove_unfinished(parts.path)
    return source_cache.SourceCache.of_shards(aside) if aside else source_cache.SourceCache()


def _forget_linked(parts: Path) -> None:
    """Has shards written anew that are those of older records, as these may be damaged."""
    for path in parts.glob("*.tfrecord-*.json"):
        if json.loads(path.read_bytes()).get("linked"):
            path.unlink()


def _remove_unfinished(folder: Path) -> None:
    """Removes what killed processes had not renamed yet; one that lives may rename its file now."""
    for unfinished in [p for p in folder.rglob(".*") if p.is_file()]:
        unfinished.unlink(missing_ok=True)
    for unfinished in [p for p in folder.rglob(".*") if p.is_dir()]:
        unfinished.rmdir()


def _splits_so_far(
    manifest: RecordManifest, group_of: Mapping[str, str], split: SplitConfig
) -> PackedSplits:
    """Returns the splits of records, where they have the same shares.

    Args:
      manifest: of the records so far.
      group_of: name of a source -> the group that it was packed in.
      split: of the records to be.
    """
    if (tuple(manifest.fractions), manifest.salt) != (split.shares, split.salt):
        return PackedSplits()
    by_source = {name: part for part in SPLITS for name in manifest.sources[part]}
    by_group = {group: by_source[name] for name, group in group_of.items() if name in by_source}
    return PackedSplits(by_source, by_group)


def packed_splits(folder: Path, split: SplitConfig) -> PackedSplits:
    """Returns the splits of packed records; nothing where there are none, or of other shares."""
    if not (folder / "manifest.json").is_file():
        return NOTHING_PACKED
    groups = source_cache.SourceCache(folder).groups
    return _splits_so_far(data_manifest.read(folder), groups, split)


def _plan_fingerprint(fingerprint: str, shards: list[ShardPlan]) -> str:
    """Returns the fingerprint of shards: that of the records, and which sources are in which."""
    names = [[shard.name, [source.name for source in shard.sources]] for shard in shards]
    return f"{fingerprint}, {hashlib.sha256(json.dumps(names).encode()).hexdigest()}"


def plan_shards(
    task: Task,
    survey: Survey,
    *,
    split: SplitConfig,
    before: PackedSplits,
    checksum: Callable[[Path], str] = files.sha256,
) -> PackingPlan:
    """Assigns each source to a split and a shard, before anything is read.

    Args:
      task: with what its survey found.
      survey: the sources.
      split: how groups are divided.
      before: splits in which groups stay.
      checksum: computes the SHA-256 of a raw file.
    """
    assigned = split.assigned(survey.sources, before.with_files(survey.sources, checksum))
    return PackingPlan(survey, assigned, assign_shards(task, survey.sources, split=assigned))


def assign_shards(task: Task, sources, *, split) -> list[ShardPlan]:
    """Returns the shards of sources that have splits."""
    shards = []
    for name in SPLITS:
        inside = [s for s in sources if split.of_source(s) == name]
        size = SOURCES_A_SHARD
        while math.ceil(len(inside) / size) > MOST_SHARDS:
            size *= 2  # so that a few more sources leave the other shards as they are
        chunks = [inside[i : i + size] for i in range(0, len(inside), size)]
        for i, chunk in enumerate(chunks):
            stem = schema.shard_name(task.name, name, i, of=len(chunks))
            shards.append(ShardPlan(name, stem, chunk))
    return shards


def _of(plan: PackingPlan, split: str) -> list[Source]:
    return [source for shard in plan.shards if shard.split == split for source in shard.sources]


def _finish(
    task: Task,
    unfinished: ResumableFolder,
    folder: Path,
    *,
    summaries: list[dict],
    manifest: RecordManifest,
    linked: dict[str, str],
) -> RecordManifest:
    """Writes what describes the shards, and exchanges new records for old ones.

    Args:
      task: the question.
      unfinished: where the shards are.
      folder: of the records.
      summaries: of the shards.
      manifest: without the sums of the files beside the shards.
      linked: those sums, of files that the old records hold, too.
    """
    parts = unfinished.path
    _remove_unfinished(parts)
    data_manifest.describe(task, parts, summaries=summaries)
    rows = [row for summary in summaries for row in summary["rows"] if row]
    if task.raw_files.source_table and rows:
        rows.sort(key=lambda row: str(next(iter(row.values()))))
        tables.write_csv(pd.DataFrame(rows), parts / f"{task.raw_files.source_table}.csv")
    _write_units(parts, summaries)
    shards = {f"{summary['name']}{end}" for summary in summaries for end in ("", ".json")}
    left_out = {resumable.PLAN, "manifest.json"} | shards
    sums = data_manifest.checksums(parts, leave_out=left_out, linked=linked)
    manifest = dataclasses.replace(manifest, files=sums)
    files.replace(parts / "manifest.json", manifest.to_json())
    exchange.exchange(parts, folder)
    return manifest
