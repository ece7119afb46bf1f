"""Repacking: the shards of packed records written anew, more or fewer of them, without raw files.

Examples, their order, their splits and the fingerprint stay. A shard holds whole sources, so that a
later packing finds the records of each, and a split has at most as many shards as sources.
"""

import dataclasses
import itertools
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.data import exchange, schema, source_cache
from tfpipe.data import manifest as data_manifest
from tfpipe.data.config import AUTO
from tfpipe.data.manifest import RecordManifest, Shard
from tfpipe.tasks.task import SPLITS

MOST_BYTES, USUAL_BYTES = 200_000_000, 150_000_000  # of a shard, by "auto"
INFO = "dataset_info.json"


def repack(folder: Path, sharding: str, *, report: Reporter = silent) -> RecordManifest:
    """Divides packed records into other shards; the old ones stay until the new ones are whole.

    Killed at any moment, nothing is lost, and the next call begins anew.

    Args:
      folder: the records.
      sharding: by `config.sharding`, not "".
      report: receives the shards done and in all, as stage "repack".

    Returns:
      The manifest.

    Raises:
      UserError: nothing is packed, the records are damaged, the disk is full, or another run is
        packing them.
    """
    if not exchange.hidden(folder, "old").exists():
        data_manifest.read(folder)
    with exchange.gathering(folder, "repacked", work="repacking"):
        exchange.recover(folder)
        manifest = divide(folder, data_manifest.read(folder), sharding, report=report)
        exchange.tidy(folder)
        return manifest


def divide(
    folder: Path, manifest: RecordManifest, sharding: str, *, report: Reporter = silent
) -> RecordManifest:
    """Divides records into other shards if they are not divided so. The caller holds the lock.

    Args:
      folder: the records.
      manifest: theirs.
      sharding: by `config.sharding`; "" leaves the records as they are.
      report: as of `repack`.
    """
    if not sharding:
        return manifest
    units = _units(folder, manifest)
    plan = _plan(manifest, units, sharding)
    if [shard.name for shard in manifest.shards] == list(plan) and all(
        unit["shard"] == name for name, (_, inside) in plan.items() for unit in inside
    ):
        if manifest.sharding != sharding:
            manifest = dataclasses.replace(manifest, sharding=sharding)
            files.replace(folder / "manifest.json", manifest.to_json())
        return manifest
    data_manifest.trusted(folder)  # else damaged records would get checksums of their own
    parts = exchange.hidden(folder, "repacked")
    try:
        shutil.rmtree(parts, ignore_errors=True)
        parts.mkdir()
        made = _write(folder, parts, manifest, plan, report=report)
        made = dataclasses.replace(made, sharding=sharding)
        files.replace(parts / "manifest.json", made.to_json())
        exchange.exchange(parts, folder)
    except OSError as error:
        raise UserError(
            f"{files.shown(folder)} cannot be written: {error.strerror or error}. Free some space: "
            "the old shards stay until the new ones are whole."
        ) from error
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    return made


def _units(folder: Path, manifest: RecordManifest) -> dict[str, list[dict[str, Any]]]:
    """Returns what the records hold of each source, by split and in order.

    Raises:
      UserError: an older release packed them, which did not note where a source's records are.
    """
    split_of = {shard.name: shard.split for shard in manifest.shards}
    units: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    path = folder / source_cache.UNITS
    for unit in json.loads(path.read_bytes()) if path.is_file() else []:
        if "hashes" in unit and unit.get("shard") in split_of:
            units[split_of[unit["shard"]]].append(unit)
    sizes = sum(_size(unit) for inside in units.values() for unit in inside)
    if sizes != sum(shard.bytes for shard in manifest.shards):
        raise UserError(
            f"{files.shown(folder)} was packed by an older release and cannot be repacked. Remove "
            "the folder and run `tfpipe pack` with --shards."
        )
    return units


def _size(unit: dict[str, Any]) -> int:
    begin, end = unit["records"]
    return end - begin


def _plan(
    manifest: RecordManifest, units: dict[str, list[dict[str, Any]]], sharding: str
) -> dict[str, tuple[str, list[dict[str, Any]]]]:
    """Returns the split and the sources of each shard to be, by its name."""
    plan = {}
    for split, inside in units.items():
        sizes = [_size(unit) for unit in inside]
        chunks = borders(sizes, number_of(sum(sizes)) if sharding == AUTO else int(sharding))
        for i, (begin, end) in enumerate(chunks):
            name = schema.shard_name(manifest.task, split, i, of=len(chunks))
            plan[name] = (split, inside[begin:end])
    return plan


def number_of(size: int) -> int:
    """Returns into how many shards "auto" divides so many bytes: each has 100 to 200 MB."""
    return max(1, math.ceil(size / MOST_BYTES), round(size / USUAL_BYTES))


def borders(sizes: list[int], number: int) -> list[tuple[int, int]]:
    """Returns first and one-past-last source of each shard; their bytes are as even as may be.

    Args:
      sizes: bytes of each source.
      number: of shards; at most one a source is made.
    """
    number = min(number, len(sizes))
    before = np.array([0, *itertools.accumulate(sizes)])
    ends = [0]
    for i in range(1, number):
        nearest = int(np.abs(before * number - before[-1] * i).argmin())
        ends.append(min(max(nearest, ends[-1] + 1), len(sizes) - number + i))
    return list(itertools.pairwise([*ends, len(sizes)])) if number else []


def _write(
    folder: Path,
    parts: Path,
    manifest: RecordManifest,
    plan: dict[str, tuple[str, list[dict[str, Any]]]],
    *,
    report: Reporter,
) -> RecordManifest:
    """Writes all but the manifest of the new records, and returns that."""
    shards, units = [], []
    for i, (name, (split, inside)) in enumerate(plan.items()):
        report("repack", {"done": i, "total": len(plan)})
        placed, size = _write_shard(folder, parts / name, inside)
        count = sum(unit["count"] for unit in placed)
        shards.append(Shard(name=name, split=split, count=count, **size))
        units += placed
    report("repack", {"done": len(plan), "total": len(plan)})
    files.replace(parts / source_cache.UNITS, json.dumps(units).encode())
    info = json.loads((folder / INFO).read_bytes())
    for split in info["splits"]:
        counts = [str(shard.count) for shard in shards if shard.split == split["name"]]
        split["shardLengths"] = counts
    files.replace(parts / INFO, json.dumps(info, indent=2).encode())
    remade = {source_cache.UNITS, INFO} | {f"{shard.name}.hashes" for shard in manifest.shards}
    for name in manifest.files.keys() - remade:
        files.replace(parts / name, (folder / name).read_bytes())
    sums = data_manifest.checksums(parts, leave_out={shard.name for shard in shards})
    return dataclasses.replace(manifest, shards=tuple(shards), files=sums)


def _write_shard(
    folder: Path, path: Path, units: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Writes the records and perceptual hashes of some sources as one shard.

    Args:
      folder: the old records.
      path: the new shard.
      units: of the sources.

    Returns:
      The units with their new places, and size and sha256 of the shard.
    """
    placed, hashes = [], b""
    with path.open("wb") as file:
        for unit in units:
            begin, first = file.tell(), len(hashes)
            whole = source_cache.stored_unit(folder, unit)
            source_cache.append((folder / unit["shard"], *unit["records"]), file)
            hashes += whole.hashes
            place = {"records": [begin, file.tell()], "hashes": [first, len(hashes)]}
            placed.append(unit | {"shard": path.name} | place)
        file.flush()
        os.fsync(file.fileno())
    files.replace(path.with_name(f"{path.name}.hashes"), hashes)
    return placed, schema.weight(path)
