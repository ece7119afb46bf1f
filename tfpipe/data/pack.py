"""Packing: raw files to TFRecord shards and their manifest."""

import contextlib
import dataclasses
import hashlib
import json
import logging
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

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
from tfpipe.data.manifest import RecordManifest, Shard
from tfpipe.tasks import catalog
from tfpipe.tasks.annotations import apply
from tfpipe.tasks.splits import DEFAULT_SPLIT, NOTHING_PACKED, PackedSplits, SplitConfig
from tfpipe.tasks.task import SPLITS, LeftOut, Source, Task

SOURCES_A_SHARD = 4
MOST_SHARDS = 64  # of a split; of more sources each has more

LOG = logging.getLogger("tfpipe")


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
        version.
      skip_bad: how many unreadable files are left out before the run fails; of one that is read in
        parts, such as a cube in slabs, all parts count once.
      shards: shards a split: a number, "auto", or "" for as the records were divided before, which
        is four sources a shard where there are none yet.
      report: receives the shards done and in all, as stage "pack".

    Returns:
      The manifest.

    Raises:
      UserError: on bad raw data, a class that a split lacks, near-copies across splits, or when
        another run is packing the same records.
    """
    survey = apply.survey_with_decisions(task, raw, options)
    settled = {
        name: getattr(survey, name) or getattr(task, name)
        for name in ("classes", "columns", "image_shape")
    }
    task = dataclasses.replace(task, **settled)
    options = survey.options or options
    fingerprint = data_fingerprint.records_fingerprint(
        task, raw, survey, options=options, split=split
    )
    parts = exchange.hidden(folder, "partial")
    unfinished = exchange.gathering(folder, "partial", work="packing")
    with unfinished, _noting(survey.notes):
        exchange.recover(folder)
        manifest = data_manifest.read(folder) if (folder / "manifest.json").is_file() else None
        if (
            manifest
            and manifest.fingerprint == fingerprint
            and manifest.unreadable_files <= skip_bad
        ):
            exchange.tidy(folder)
            if manifest.origin != catalog.origin_of(task):  # the folder has moved
                manifest = dataclasses.replace(manifest, origin=catalog.origin_of(task))
                files.replace(folder / "manifest.json", manifest.to_json())
            return repack.divide(folder, manifest, shards or manifest.sharding, report=report)
        shards = shards or (manifest.sharding if manifest else "")
        cache = _cache(folder)
        survey = validation.keep_group_names(survey, cache.groups)
        before = _splits_so_far(manifest, cache.groups, split) if manifest else before
        assigned = split.assigned(survey.sources, before)
        jobs = assign_shards(task, survey.sources, split=assigned)
        _begin(unfinished, fingerprint=_plan(fingerprint, jobs))
        context: dict[str, Any] = {
            "task": task,
            "options": options,
            "cache": cache,
            "decided": {decision.what: decision for decision in survey.decisions},
        }
        summaries = _run(jobs, parts, context, report=report)
        merged = validation.merged(survey, summaries, parts, before=cache.groups)
        if merged.sources != survey.sources:
            survey, assigned = merged, split.assigned(merged.sources, before)
            jobs = assign_shards(task, survey.sources, split=assigned)
            _begin(unfinished, fingerprint=_plan(fingerprint, jobs))
            summaries = _run(jobs, parts, context, report=report)
        bad = {name: why for summary in summaries for name, why in summary["bad"].items()}
        bad_files = {source.path for source in survey.sources if source.name in bad}
        if len(bad_files) > skip_bad:
            all_files = {source.path for source in survey.sources}
            reasons = " ".join(dict.fromkeys(bad.values()))
            raise UserError(
                f"{len(bad_files)} of {len(all_files)} files cannot be read: {reasons} Mend or "
                f"remove them, or pack the others by --skip-bad {len(bad_files)}."
            )
        validation.classes(task, summaries, jobs)
        is_compared = not task.raw_files.skip_duplicate_check
        validation.crossings(
            survey,
            summaries if is_compared else [],
            parts,
            split=assigned,
            compared=validation.compared_before(manifest, cache.units, summaries),
        )
        notes = [*survey.notes, *apply.decision_notes(survey, summaries, task)]
        manifest = RecordManifest(
            task=task.name,
            origin=catalog.origin_of(task),
            fingerprint=fingerprint,
            tfpipe=tfpipe.__version__,
            options=dataclasses.asdict(options),
            fractions=split.shares,
            salt=split.salt,
            classes=task.classes,
            image_shape=task.image_shape,
            image_dtype=task.image_dtype,
            image_encoding=schema.encoding(task),
            columns=task.columns,
            metadata=task.metadata,
            interval=task.whole_file.interval if task.whole_file else (),
            augmentation=survey.augmentation,
            counts=data_manifest.counts(task, summaries),
            user_defined_split=any(source.split for source in survey.sources),
            groups={name: len({s.group for s in _of(jobs, name)}) for name in SPLITS},
            sources={name: tuple(s.name for s in _of(jobs, name)) for name in SPLITS},
            shards=tuple(
                Shard(
                    name=summary["name"],
                    split=summary["split"],
                    count=summary["count"],
                    bytes=summary["bytes"],
                    sha256=summary["sha256"],
                )
                for summary in summaries
            ),
            unreadable=bad,
            n_unreadable_files=len(bad_files),
            sharding=shards,
            compared=near_duplicates.RULES if is_compared else 0,
            left_out=tuple(note for note in notes if isinstance(note, LeftOut)),
            notes=tuple(note for note in notes if not isinstance(note, LeftOut)),
        )
        try:
            made = _finish(task, parts, folder, summaries=summaries, manifest=manifest)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be written: {error.strerror or error}. "
                "Free some space or choose another folder."
            ) from error
        return repack.divide(folder, made, shards, report=report)


@contextlib.contextmanager
def _noting(notes: tuple[str, ...]) -> Iterator[None]:
    """Adds the notes of a survey to a failure: they may hold its cause."""
    try:
        yield
    except UserError as error:
        for note in notes:
            error.add_note(note)  # may be a `LeftOut`, which is printed as such
        raise


def _cache(folder: Path) -> source_cache.SourceCache:
    """Returns what the old records hold of each source; nothing of damaged ones is taken over."""
    if not (folder / "manifest.json").is_file():
        return source_cache.SourceCache()
    wrong = data_manifest.verify(folder)
    if wrong:
        LOG.warning("The old records are damaged (%s), so every file is read again.", wrong[0])
    return source_cache.SourceCache(None if wrong else folder)


def _begin(parts: ResumableFolder, *, fingerprint: str) -> None:
    """Keeps finished shards of the same plan, and nothing else."""
    parts.begin({"fingerprint": fingerprint})
    for unfinished in [p for p in parts.path.rglob(".*") if p.is_file()]:
        unfinished.unlink()


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


def _plan(fingerprint: str, jobs: list[tuple[str, str, list[Source]]]) -> str:
    """Returns the fingerprint of shards: that of the records, and which sources are in which."""
    names = [[shard, [source.name for source in sources]] for _, shard, sources in jobs]
    return f"{fingerprint}, {hashlib.sha256(json.dumps(names).encode()).hexdigest()}"


def assign_shards(task: Task, sources, *, split) -> list[tuple[str, str, list[Source]]]:
    """Returns (split, shard name, sources) of each shard, before anything is read."""
    jobs = []
    for name in SPLITS:
        inside = [s for s in sources if split.of_source(s) == name]
        size = max(SOURCES_A_SHARD, math.ceil(len(inside) / MOST_SHARDS))
        chunks = [inside[i : i + size] for i in range(0, len(inside), size)]
        for i, chunk in enumerate(chunks):
            jobs.append((name, schema.shard_name(task.name, name, i, of=len(chunks)), chunk))
    return jobs


def _of(jobs, split: str) -> list[Source]:
    return [source for name, _, sources in jobs if name == split for source in sources]


def _run(jobs, parts: Path, context: dict[str, Any], *, report: Reporter) -> list[dict]:
    """Writes every shard; threads, since decoding and scaling leave Python's lock alone."""
    with ThreadPoolExecutor(cores()) as pool:
        waiting = [
            pool.submit(schema.write, parts, name, sources, **context) for _, name, sources in jobs
        ]
        try:
            summaries = []
            for i, future in enumerate(waiting):
                report("pack", {"done": i, "total": len(jobs)})
                summaries.append(future.result() | {"split": jobs[i][0]})
            report("pack", {"done": len(jobs), "total": len(jobs)})
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return summaries


def _finish(
    task: Task, parts: Path, folder: Path, *, summaries: list[dict], manifest: RecordManifest
) -> RecordManifest:
    """Writes what describes the shards, and exchanges new records for old ones."""
    data_manifest.describe(task, parts, summaries=summaries)
    rows = [row for summary in summaries for row in summary["rows"] if row]
    if task.raw_files.source_table and rows:
        rows.sort(key=lambda row: str(next(iter(row.values()))))
        tables.write_csv(pd.DataFrame(rows), parts / f"{task.raw_files.source_table}.csv")
    units = [unit for summary in summaries for unit in summary["units"]]
    files.replace(parts / source_cache.UNITS, json.dumps(units).encode())
    shards = {f"{summary['name']}{end}" for summary in summaries for end in ("", ".json")}
    left_out = {resumable.PLAN, "manifest.json"} | shards
    sums = data_manifest.checksums(parts, leave_out=left_out)
    manifest = dataclasses.replace(manifest, files=sums)
    files.replace(parts / "manifest.json", manifest.to_json())
    exchange.exchange(parts, folder)
    return manifest
