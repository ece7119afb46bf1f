"""Source cache: records and counts of each raw file, read anew or copied from older records.

Whole records are the sums of these: one more photo in a raw folder is one more reading.
"""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import tensorflow as tf

from tfpipe.base import images as base_images
from tfpipe.base.errors import UserError
from tfpipe.data import near_duplicates
from tfpipe.tasks.annotations.apply import relabel
from tfpipe.tasks.annotations.decisions import Decision
from tfpipe.tasks.task import Example, Source, Task

UNITS = "units.json"
_CHUNK_BYTES = 1 << 20


class Unit(NamedTuple):
    """What one source gave.

    Attributes:
      told: counts, sums of pixels and columns, the row of the task's table, the groups of the
        pictures that have a perceptual hash, as runs of [group, pictures], all pictures' keys, and
        what reviewers have decided about these, and how often what.
      records: (file, first byte, byte after the last) of its records, as TFRecord files have them:
        such a file is its records one after the other.
      hashes: `near_duplicates.Prints.packed`.
      picture: how it was read, a PNG, or None.
    """

    told: dict[str, Any]
    records: tuple[Path, int, int]
    hashes: bytes
    picture: bytes | None


def read(
    source: Source,
    path: Path,
    *,
    task: Task,
    options: Any,
    decided: dict[str, Decision],
    serialize: Callable[[Example], bytes],
) -> Unit:
    """Reads a raw file and writes its records to a file of their own.

    Args:
      source: the raw file.
      path: where its records go.
      task: how to read it.
      options: the task's.
      decided: key of a picture -> what a reviewer has said of it.
      serialize: an example as a record.

    Raises:
      UserError: the raw file cannot be read.
    """
    reading, changed = relabel(task.read(source, options), decided, task.classes)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in reading.examples:
            writer.write(serialize(example))
    told, hashes = _counted(reading, classes=len(task.classes))
    told["decided"] = [[*kind, n] for kind, n in changed.items()]
    told["keys"] = [example.key for example in reading.examples]
    told["held"] = _holding(told["keys"], decided)
    figure = reading.figure if task.raw_files.source_table else None
    picture = None if figure is None else base_images.encode_png(figure)
    return Unit(told, (path, 0, path.stat().st_size), hashes, picture)


def append(unit: Unit, file: BinaryIO) -> None:
    """Writes a unit's records at the end of a shard."""
    path, begin, end = unit.records
    with path.open("rb") as records:
        records.seek(begin)
        while begin < end:
            piece = records.read(min(_CHUNK_BYTES, end - begin))
            if not piece:
                raise UserError(f"{path} was cut short while it was read. Pack again.")
            begin += file.write(piece)


def summed(told: list[dict[str, Any]], *, classes: int, channels: int, columns: int) -> dict:
    """Returns what a shard holds: counts, sums of pixels and columns, rows, groups."""
    counts = np.zeros(classes + 1, np.int64)
    sums, column_sums = np.zeros((2, channels)), np.zeros((2, columns))
    for one in told:
        if one["count"]:
            counts += one["labels"]
            sums += one["sums"]
            column_sums += one["column_sums"]
    return {
        "count": int(counts.sum()),
        "unlabelled": int(counts[0]),
        "labels": counts[1:].tolist(),
        "pixels": sum(one["pixels"] for one in told),
        "sums": sums.tolist(),
        "column_sums": column_sums.tolist(),
        "rows": [one["row"] for one in told],
        "decided": [kind for one in told for kind in one["decided"]],
        "groups": [g for one in told for g, times in one["groups"] for _ in range(times)],
    }


class SourceCache:
    """The units of records packed before, found again by what they depend on."""

    def __init__(self, folder: Path | None = None):
        """Opens records that were checked whole; those of a first version have no units.

        Args:
          folder: the records; None for none.
        """
        self.folder, self.units = folder, {}
        if folder and (folder / UNITS).is_file():
            told = json.loads((folder / UNITS).read_bytes())
            self.units = {one["key"]: one for one in told}

    @property
    def groups(self) -> dict[str, str]:
        """The group that each source was packed in, by its name."""
        return {told["source"]: told["group"] for told in self.units.values()}

    def find(self, key: str | None, decided: dict[str, Decision]) -> Unit | None:
        """Returns the unit with a fingerprint, unless its pictures have been decided about since.

        Args:
          key: by `fingerprint.of_source`.
          decided: key of a picture -> what a reviewer has said of it.
        """
        told = self.units.get(key) if key else None
        if told is None or "keys" not in told:  # packed before keys were kept
            return None
        if told["held"] != _holding(told["keys"], decided):
            return None
        shard = self.folder / told["shard"]
        with shard.with_name(f"{shard.name}.hashes").open("rb") as file:
            file.seek(told["hashes"][0])
            hashes = file.read(told["hashes"][1] - told["hashes"][0])
        picture = (self.folder / told["picture"]).read_bytes() if told["picture"] else None
        return Unit(told, (shard, *told["records"]), hashes, picture)


def _holding(keys: list[str], decided: dict[str, Decision]) -> list[list[str]]:
    """Returns what holds of some pictures: key, label and state of each that is decided about."""
    own = [decided[key] for key in keys if key in decided]
    return [[one.what, one.label, one.state] for one in own]


def _counted(reading, *, classes: int) -> tuple[dict[str, Any], bytes]:
    """Returns what is told of a reading, and its hashes; sums of whole pixels are exact."""
    told: dict[str, Any] = {"row": reading.row, "count": len(reading.examples), "pixels": 0}
    told |= {"labels": [], "sums": [], "column_sums": [], "groups": []}
    if not reading.examples:
        return told, b""
    images = np.stack([example.image for example in reading.examples])
    columns = np.stack([example.columns for example in reading.examples]).astype(np.float64)
    labels = [example.label + 1 for example in reading.examples]
    prints, shows = near_duplicates.fingerprints(images)
    groups = [e.group for e, one in zip(reading.examples, shows, strict=True) if one]
    told |= {
        "labels": np.bincount(labels, minlength=classes + 1).tolist(),
        "pixels": images[..., 0].size,
        "sums": _sums(images).tolist(),
        "column_sums": [columns.sum(axis=0).tolist(), (columns**2).sum(axis=0).tolist()],
        "groups": [[group, len([*run])] for group, run in itertools.groupby(groups)],
    }
    return told, prints.of(shows).packed().tobytes()


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
