"""Source cache: records and counts of each raw file, read anew or copied from older records.

Whole records are the sums of these: one more photo in a raw folder is one more reading.
"""

import functools
import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tfpipe.base import images as base_images
from tfpipe.base.errors import UserError
from tfpipe.data import copy_prints, near_duplicates
from tfpipe.tasks.annotations.apply import relabel
from tfpipe.tasks.annotations.decisions import Decision
from tfpipe.tasks.task import Example, Reading, Source, Task

UNITS = "units.json"
_CHUNK_BYTES = 1 << 20


class Unit(NamedTuple):
    """The records of one source, and a summary of them.

    Attributes:
      summary: counts, sums of pixels and columns, the row of the task's table, the groups of the
        images that have a perceptual hash, as runs of [group, images], the keys of all images, the
        reviewers' decisions about them, and the number of changes of each kind.
      records: (file, first byte, byte after the last) of its records in an older file, or None if
        they were read anew. A TFRecord file is its records one after the other.
      hashes: the bytes of `copy_prints.Prints.packed`.
      figure: a PNG that shows how the source was read, or None.
    """

    summary: dict[str, Any]
    records: tuple[Path, int, int] | None
    hashes: bytes
    figure: bytes | None


def read(
    source: Source,
    *,
    task: Task,
    options: Any,
    decided: dict[str, Decision],
    write: Callable[[Example], None],
) -> Unit:
    """Reads a raw file and writes its records.

    Args:
      source: the raw file.
      task: how to read it.
      options: the task's.
      decided: key of an image -> the reviewer's decision about it.
      write: writes an example as a record. Of a file that cannot be read, it gets none.

    Raises:
      UserError: the raw file cannot be read.
    """
    reading, changed = relabel(task.read(source, options), decided, task.classes)
    for example in reading.examples:
        write(example)
    summary, hashes = _summary(reading, classes=len(task.classes))
    summary["decided"] = [[*kind, n] for kind, n in changed.items()]
    summary["keys"] = [example.key for example in reading.examples]
    summary["held"] = _decisions_on(summary["keys"], decided)
    pixels = reading.figure if task.raw_files.source_table else None
    figure = None if pixels is None else base_images.encode_png(pixels)
    return Unit(summary, None, hashes, figure)


def append(records: tuple[Path, int, int], file: BinaryIO) -> None:
    """Writes records of another file (`Unit.records`) at the end of a shard."""
    path, begin, end = records
    with path.open("rb") as older:
        older.seek(begin)
        while begin < end:
            piece = older.read(min(_CHUNK_BYTES, end - begin))
            if not piece:
                raise UserError(f"{path} was cut short while it was read. Pack again.")
            begin += file.write(piece)


def shard_summary(
    units: list[dict[str, Any]], *, classes: int, channels: int, columns: int
) -> dict[str, Any]:
    """Returns the summary of a shard: counts, sums of pixels and columns, rows.

    Args:
      units: the summaries of its sources (`Unit.summary`).
      classes: number of classes.
      channels: number of channels of an image.
      columns: number of columns.
    """
    counts = np.zeros(classes + 1, np.int64)
    sums, column_sums = np.zeros((2, channels)), np.zeros((2, columns))
    for unit in units:
        if unit["count"]:
            counts += unit["labels"]
            sums += unit["sums"]
            column_sums += unit["column_sums"]
    return {
        "count": int(counts.sum()),
        "unlabelled": int(counts[0]),
        "labels": counts[1:].tolist(),
        "pixels": sum(unit["pixels"] for unit in units),
        "sums": sums.tolist(),
        "column_sums": column_sums.tolist(),
        "rows": [unit["row"] for unit in units],
        "decided": [kind for unit in units for kind in unit["decided"]],
    }


def in_short(summary: dict[str, Any]) -> dict[str, Any]:
    """Returns the summary of a shard with a checksum in place of the keys of its images.

    Those of millions of images stay on disk.
    """
    units = [
        {name: value for name, value in unit.items() if name != "keys"}
        | {"keys_sha256": keys_sha256(unit["keys"])}
        for unit in summary["units"]
    ]
    return summary | {"units": units}


def keys_sha256(keys: list[str]) -> str:
    """Returns a checksum of the keys of images."""
    return hashlib.sha256(json.dumps(keys).encode()).hexdigest()


class SourceCache:
    """The units of records packed before, by the fingerprints of their sources."""

    def __init__(self, folder: Path | None = None):
        """Opens records that were verified. The first releases wrote no units.

        Args:
          folder: the records; None for none.
        """
        self.folder, self.units = folder, {}
        self._keys: dict[str, list[str]] = {}  # of the sources of each shard, in order
        self._shards: dict[str, dict[str, Any]] = {}
        if folder and (folder / UNITS).is_file():
            units = json.loads((folder / UNITS).read_bytes())
            self.units = {unit["key"]: unit for unit in units}
            for unit in units:
                self._keys.setdefault(unit["shard"], []).append(unit["key"])
            shards = json.loads((folder / "manifest.json").read_bytes())["shards"]
            self._shards = {shard["name"]: shard for shard in shards}

    @classmethod
    def of_shards(cls, folder: Path) -> "SourceCache":
        """Opens finished shards that are no records yet, by the summaries beside them."""
        cache = cls()
        cache.folder = folder
        for path in sorted(folder.glob("*.tfrecord-*.json")):
            units = json.loads(path.read_bytes())["units"]
            cache.units |= {unit["key"]: unit for unit in units if unit["key"]}
        return cache

    @functools.cached_property  # it is asked for each source
    def groups(self) -> dict[str, str]:
        """The group that each source was packed in, by its name."""
        return {unit["source"]: unit["group"] for unit in self.units.values()}

    def find(self, key: str | None, decided: dict[str, Decision]) -> Unit | None:
        """Returns the unit with a fingerprint, or None where decisions on its images changed.

        Args:
          key: by `fingerprint.SourceFingerprints`.
          decided: key of an image -> the reviewer's decision about it.
        """
        summary = self._current(key, decided)
        if self.folder is None or summary is None:
            return None
        name = summary["picture"]
        figure = (self.folder / name).read_bytes() if name else None
        return stored_unit(self.folder, summary)._replace(figure=figure)

    def shard_of(
        self, keys: list[str | None], decided: dict[str, Decision]
    ) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """Returns the shard that holds these sources and no others, and its units.

        The shard is as the manifest has it. None where there is no such shard.

        Args:
          keys: of the sources, in order.
          decided: as of `find`.
        """
        units = [unit for key in keys if (unit := self._current(key, decided))]
        name = units[0]["shard"] if units else None
        if name is None or len(units) < len(keys) or self._keys[name] != keys:
            return None
        return self._shards[name], units

    def _current(self, key: str | None, decided: dict[str, Decision]) -> dict[str, Any] | None:
        summary = self.units.get(key) if key else None
        if self.folder is None or summary is None or "keys" not in summary:  # an older release's
            return None
        if summary["held"] != _decisions_on(summary["keys"], decided):
            return None
        images = sum(times for _, times in summary["groups"])
        if summary["hashes"][1] - summary["hashes"][0] != images * copy_prints.PACKED:
            return None  # another release's fingerprints
        return summary


def stored_unit(folder: Path, summary: dict[str, Any]) -> Unit:
    """Returns a unit of packed records, without its figure.

    Args:
      folder: the records.
      summary: the unit's in `UNITS`.
    """
    shard = folder / summary["shard"]
    first, end = summary["hashes"]
    with shard.with_name(f"{shard.name}.hashes").open("rb") as file:
        file.seek(first)
        hashes = file.read(end - first)
    return Unit(summary, (shard, *summary["records"]), hashes, None)


def _decisions_on(keys: list[str], decided: dict[str, Decision]) -> list[list[str]]:
    """Returns key, label and state of each decision on some images."""
    decisions = [decided[key] for key in keys if key in decided]
    return [[decision.what, decision.label, decision.state] for decision in decisions]


def _summary(reading: Reading, *, classes: int) -> tuple[dict[str, Any], bytes]:
    """Returns the summary of a reading, and its hashes. Sums of whole pixels are exact."""
    summary: dict[str, Any] = {
        "row": reading.row,
        "count": len(reading.examples),
        "pixels": 0,
        "labels": [],
        "sums": [],
        "column_sums": [],
        "groups": [],
    }
    if not reading.examples:
        return summary, b""
    images = np.stack([example.image for example in reading.examples])
    columns = np.stack([example.columns for example in reading.examples]).astype(np.float64)
    labels = [example.label + 1 for example in reading.examples]
    prints, shows = near_duplicates.fingerprints(images)
    pairs = zip(reading.examples, shows, strict=True)
    groups = [example.group for example, is_textured in pairs if is_textured]
    summary |= {
        "labels": np.bincount(labels, minlength=classes + 1).tolist(),
        "pixels": images[..., 0].size,
        "sums": _sums(images).tolist(),
        "column_sums": [columns.sum(axis=0).tolist(), (columns**2).sum(axis=0).tolist()],
        "groups": [[group, len(list(run))] for group, run in itertools.groupby(groups)],
    }
    return summary, prints.select(shows).packed().tobytes()


def _sums(images: np.ndarray) -> np.ndarray:
    """Returns sum and sum of squares of each channel, [2, channels] float64."""
    sums = np.zeros((2, images.shape[-1]))
    for channel in range(images.shape[-1]):
        values = images[..., channel].ravel()
        if images.dtype.kind == "u":
            counts = np.bincount(values)
            levels = np.arange(len(counts), dtype=np.float64)
            sums[:, channel] = counts @ levels, counts @ levels**2
        else:
            values = values.astype(np.float64)
            sums[:, channel] = values.sum(), values @ values
    return sums
