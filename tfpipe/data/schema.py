"""Schema of TFRecord shards: writes them, reads them, and checks every byte."""

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.data import fingerprint, source_cache
from tfpipe.tasks.annotations.decisions import Decision
from tfpipe.tasks.task import Example, Source, Task

RECORD_FRAME = 16  # bytes of length and checksums around a record
RAW_BYTES = 2**16  # images up to this size are stored raw: decoding PNG takes five times longer


def encoding(task: Task) -> str:
    """Returns "bytes" for small images and those of floats, else "png"."""
    size = np.prod(task.image_shape) * np.dtype(task.image_dtype).itemsize
    return "bytes" if size <= RAW_BYTES or task.image_dtype == "float32" else "png"


def features(task: Task) -> tfds.features.FeaturesDict:
    """Returns the schema of a task's records."""
    kind = {"shape": task.image_shape, "dtype": np.dtype(task.image_dtype)}
    if encoding(task) == "bytes":
        image = tfds.features.Tensor(**kind, encoding="bytes")
    else:
        image = tfds.features.Image(**kind, encoding_format="png")
    return tfds.features.FeaturesDict(
        {
            "image": image,
            "label": tfds.features.ClassLabel(names=task.classes),
            "columns": tfds.features.Tensor(shape=(len(task.columns),), dtype=np.float32),
            "key": tfds.features.Text(),
            "group": tfds.features.Text(),
            **({"row_labels": _row_labels(task)} if task.row_classes else {}),
            **{name: _metadata(kind) for name, kind in task.metadata.items()},
        }
    )


def _row_labels(task: Task):
    return tfds.features.Tensor(shape=task.image_shape[:1], dtype=np.uint8, encoding="bytes")


def _metadata(kind: str):
    if kind == "str":
        return tfds.features.Text()
    if kind == "int64":
        return tfds.features.Scalar(np.int64)
    # As bytes, since a TFRecord's own floats have 32 bits: 0.1 mm at a depth of 2 km.
    return tfds.features.Tensor(shape=(1,), dtype=np.float64, encoding="bytes")


def write(
    folder: Path,
    name: str,
    sources: list[Source],
    *,
    task: Task,
    options: Any,
    cache: source_cache.SourceCache,
    decided: dict[str, Decision],
    checksum: Callable[[Path], str] = files.sha256,
    regrouped: source_cache.SourceCache | None = None,
) -> dict:
    """Writes the examples of some sources as one shard, beside and renamed.

    Args:
      folder: where shards are gathered.
      name: the shard's file name.
      sources: what goes in, in order.
      task: how to read them.
      options: the task's.
      cache: what was packed before. Sources that it holds unchanged are not read again, unless
        the decisions on their images have changed. A shard of only such sources is the old file
        under another name: neither may be changed, only replaced.
      decided: key of an image -> the reviewer's decision about it.
      checksum: computes the SHA-256 of a raw file.
      regrouped: shards that were written for other groups. Sources that they hold in the same group
        are not read again.

    Returns:
      What the shard holds, also left beside it as JSON, so that a finished shard is never redone:
      counts, sums of pixels, bad sources, rows of the task's table, and these of each source. The
      keys of its images are there only, see `source_cache.in_short`. Perceptual hashes go to
      .hashes. "linked" is the older shard's name, if it is that one.
    """
    done = folder / f"{name}.json"
    if done.is_file():
        return source_cache.in_short(json.loads(done.read_text()))
    # Names of this call only: elsewhere another worker may be writing the same shard again.
    stem = f".{name}.{uuid.uuid4().hex}"
    temporary, new_records = folder / f"{stem}.partial", folder / f"{stem}.new"
    key_of = fingerprint.SourceFingerprints(task, options=options, checksum=checksum)
    keys = [key_of(source) for source in sources]
    of_shard = {
        "classes": len(task.classes),
        "channels": task.image_shape[-1],
        "columns": len(task.columns),
    }
    try:
        if (old := cache.shard_of(keys, decided)) and cache.folder:
            summary = _link(cache.folder, folder, name, *old) | {"bad": {}, "name": name}
            summary |= source_cache.shard_summary(summary["units"], **of_shard)
            files.replace(done, json.dumps(summary).encode())
            return source_cache.in_short(summary)
    except OSError as error:
        raise _unwritable(folder / name, error) from error
    hashes = folder / f"{stem}.hashes"
    regrouped = regrouped or source_cache.SourceCache()
    serialize, units, bad = _serializer(task), [], {}
    try:
        with ShardFile(temporary, new_records) as shard, hashes.open("wb") as hashes_file:

            def write_example(example: Example) -> None:
                shard.write(serialize(example))

            for source, key in zip(sources, keys, strict=True):
                begin, first = shard.size, hashes_file.tell()
                try:
                    unit = cache.find(key, decided) or regrouped.find(key, decided)
                    unit = unit or source_cache.read(
                        source, task=task, options=options, decided=decided, write=write_example
                    )
                except UserError as error:
                    bad[source.name] = str(error)
                    continue
                if unit.records:
                    shard.copy(unit.records)
                hashes_file.write(unit.hashes)
                figure = None
                if unit.figure:
                    figure = f"{task.raw_files.source_table}/{source.name}.png"
                    files.replace(folder / figure, unit.figure)
                place = {
                    "shard": name,
                    "records": [begin, shard.size],
                    "picture": figure,
                    "source": source.name,
                    "group": source.group,
                    "key": key,
                    "hashes": [first, hashes_file.tell()],
                }
                units.append(unit.summary | place)
            hashes_file.flush()
            os.fsync(hashes_file.fileno())
        summary = source_cache.shard_summary(units, **of_shard)
        summary |= {"bad": bad, "units": units, "name": name, "linked": "", **weight(temporary)}
        os.replace(hashes, folder / f"{name}.hashes")
        os.replace(temporary, folder / name)
    except (OSError, tf.errors.OpError) as error:
        raise _unwritable(folder / name, error) from error
    finally:
        for path in (temporary, new_records, hashes):
            path.unlink(missing_ok=True)
    # Keys stay in their order: it is that of the table's columns.
    files.replace(done, json.dumps(summary).encode())
    return source_cache.in_short(summary)


class ShardFile:
    """A shard that is being written: new records, and bytes of older files, in order.

    Opening a TFRecord writer takes ten times as long as writing a small image, so new records of
    many sources go through one, into a file that is appended when older ones follow.
    """

    def __init__(self, path: Path, new_records: Path):
        """Opens files for the shard, and for new records until they are appended."""
        self.size = 0  # bytes of all records so far
        self._path, self._new_records = path, new_records
        self._writer: tf.io.TFRecordWriter | None = None

    def __enter__(self) -> "ShardFile":
        self._file = self._path.open("wb")
        return self

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None:
                self._append_new()
                self._file.flush()
                os.fsync(self._file.fileno())
            elif self._writer:
                self._writer.close()
        finally:
            self._file.close()

    def write(self, record: bytes) -> None:
        """Adds a new record."""
        if self._writer is None:
            self._writer = tf.io.TFRecordWriter(str(self._new_records))
        self._writer.write(record)
        self.size += RECORD_FRAME + len(record)

    def copy(self, records: tuple[Path, int, int]) -> None:
        """Adds the records of an older file from one byte to another."""
        self._append_new()
        source_cache.append(records, self._file)
        self.size += records[2] - records[1]

    def _append_new(self) -> None:
        """Writes what is new so far into the shard."""
        if self._writer:
            self._writer.close()
            self._writer = None
            end = self._new_records.stat().st_size
            source_cache.append((self._new_records, 0, end), self._file)
            self._new_records.unlink()


def _link(
    older: Path, folder: Path, name: str, shard: dict[str, Any], units: list[dict[str, Any]]
) -> dict[str, Any]:
    """Gives the files of an old shard names in another folder, and returns what its summary has.

    Args:
      older: the old records.
      folder: where shards are gathered.
      name: of the shard there.
      shard: the old one, as the manifest has it.
      units: of its sources.
    """
    old = shard["name"]
    pictures = [unit["picture"] for unit in units if unit["picture"]]
    for before, now in [
        (f"{old}.hashes", f"{name}.hashes"),
        *((one, one) for one in pictures),
        (old, name),
    ]:
        target = folder / now
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            files.link(older / before, temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)  # where both are one file, neither name is replaced
    weights = {"bytes": shard["bytes"], "sha256": shard["sha256"]}
    return weights | {"linked": old, "units": [unit | {"shard": name} for unit in units]}


def _unwritable(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} cannot be written: {getattr(error, 'strerror', None) or error}. "
        "Free some space or choose another folder."
    )


def shard_name(task: str, split: str, number: int, *, of: int) -> str:
    """Returns the file name of a shard of a split, which TFDS knows too."""
    return f"{dataset_name(task)}-{split}.tfrecord-{number:05d}-of-{of:05d}"


def dataset_name(task: str) -> str:
    """Returns a task's name as TFDS takes it: letters, digits and underscores, a letter first."""
    name = task.replace("-", "_")
    return name if name[0].isalpha() else f"images_{name}"


def _serializer(task: Task) -> Callable[[Example], bytes]:
    schema = features(task)
    serializer = tfds.core.example_serializer.ExampleSerializer(schema.get_serialized_info())

    def serialize(example: Example) -> bytes:
        encoded = schema.encode_example(fields(example))
        # The order of a protocol buffer's map is free unless asked for.
        return serializer.get_tf_example(encoded).SerializeToString(deterministic=True)

    return serialize


def weight(path: Path) -> dict:
    """Returns size in bytes and sha256 of a file."""
    return {"bytes": path.stat().st_size, "sha256": files.sha256(path)}


def fields(example: Example) -> dict[str, Any]:
    """Returns an example as the values of `features`."""
    metadata = {
        name: np.array([value]) if isinstance(value, float) else value
        for name, value in example.metadata.items()
    }
    return {
        "image": example.image,
        "label": example.label,
        "columns": example.columns,
        "key": example.key,
        "group": example.group,
        **({} if example.row_labels is None else {"row_labels": example.row_labels}),
        **metadata,
    }


def damage(path: Path, *, count: int) -> str:
    """Returns what is wrong with a shard that does not have its checksum.

    A TFRecord file cut on a record's border reads without any error, so the checksum decides, and
    then the record is looked for.
    """
    if not path.is_file():
        return f"{path.name} is missing"
    read = 0
    try:
        for _ in tf.data.TFRecordDataset(str(path)):
            read += 1
    except tf.errors.DataLossError:
        return f"{path.name} is damaged at record {read} of {count}"
    if read < count:
        return f"{path.name} ends after {read} of {count} records"
    return f"{path.name} has changed since it was written"
