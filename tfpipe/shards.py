"""TFRecord shards: one schema writes and reads them, and every byte of them is accounted for."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tfpipe import files, leaks, pictures
from tfpipe.decided import relabelled
from tfpipe.errors import UserError
from tfpipe.labels import Decision
from tfpipe.task import Source, Task

RAW_BYTES = (
    2**16
)  # pictures up to this size are stored as they are: decoding PNG costs five times more


def encoding(task: Task) -> str:
    """Returns "bytes" for small pictures and floating ones, else "png"."""
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
            **{name: _metadata(kind) for name, kind in task.metadata.items()},
        }
    )


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
    decided: dict[str, Decision],
) -> dict:
    """Reads some sources and writes their examples as one shard, beside and renamed.

    Args:
      folder: where shards are gathered.
      name: the shard's file name.
      sources: what goes in, in order.
      task: how to read them.
      options: the task's.
      decided: key of a picture -> what a reviewer has said of it.

    Returns:
      What the shard holds, also left beside it as JSON, so that a finished shard is never redone:
      counts, sums of pixels, bad sources, rows of the task's table. Perceptual hashes go to
      .hashes.
    """
    done = folder / f"{name}.json"
    if done.is_file():
        return json.loads(done.read_text())
    schema = features(task)
    serializer = tfds.core.example_serializer.ExampleSerializer(schema.get_serialized_info())
    tally = _Tally(task)
    temporary = folder / f".{name}.partial"
    try:
        with tf.io.TFRecordWriter(str(temporary)) as writer:
            for source in sources:
                try:
                    reading = task.read(source, options)
                except UserError as error:
                    tally.bad[source.name] = str(error)
                    continue
                reading, told = relabelled(reading, decided, task.classes)
                for example in reading.examples:
                    encoded = schema.encode_example(_fields(example))
                    record = tf.train.Example.FromString(serializer.serialize_example(encoded))
                    # The order of a protocol buffer's map is free unless asked for.
                    writer.write(record.SerializeToString(deterministic=True))
                tally.add(source, reading)
                tally.decided += told
                if task.table and reading.picture is not None:
                    files.replace(
                        folder / task.table / f"{source.name}.png",
                        pictures.encode_png(reading.picture),
                    )
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        about = tally.summary() | {"name": name, **weight(temporary)}
        files.replace(folder / f"{name}.hashes", tally.hashes())
        os.replace(temporary, folder / name)
    except (OSError, tf.errors.OpError) as error:
        raise UserError(
            f"{folder / name} cannot be written: {getattr(error, 'strerror', None) or error}. "
            "Free some space or choose another folder."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    # Keys stay in their order: it is that of the table's columns.
    files.replace(done, json.dumps(about).encode())
    return about


def weight(path: Path) -> dict:
    """Returns size in bytes and sha256 of a file."""
    return {"bytes": path.stat().st_size, "sha256": files.sha256(path)}


def _fields(example) -> dict:
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
        **metadata,
    }


class _Tally:
    """What is counted while a shard is written; sums of whole pixels are exact."""

    def __init__(self, task: Task):
        self.classes = len(task.classes)
        self.counts = np.zeros(self.classes + 1, np.int64)
        self.pixels = 0
        self.sums = np.zeros((2, task.image_shape[-1]))
        self.column_sums = np.zeros((2, len(task.columns)))
        self.decided = Counter()
        self.rows, self.bad, self.prints, self.groups = [], {}, [], []

    def add(self, source: Source, reading) -> None:
        self.rows.append(reading.row)
        if not reading.examples:
            return
        images = np.stack([example.image for example in reading.examples])
        columns = np.stack([example.columns for example in reading.examples]).astype(np.float64)
        self.counts += np.bincount(
            [example.label + 1 for example in reading.examples], minlength=self.classes + 1
        )
        self.pixels += images[..., 0].size
        self.sums += _sums(images)
        self.column_sums += [columns.sum(axis=0), (columns**2).sum(axis=0)]
        prints, shows = leaks.fingerprints(images)
        self.prints.append(prints.of(shows).packed())
        self.groups += [
            example.group for example, one in zip(reading.examples, shows, strict=True) if one
        ]

    def summary(self) -> dict:
        return {
            "count": int(self.counts.sum()),
            "unlabelled": int(self.counts[0]),
            "labels": self.counts[1:].tolist(),
            "pixels": self.pixels,
            "sums": self.sums.tolist(),
            "column_sums": self.column_sums.tolist(),
            "rows": self.rows,
            "bad": self.bad,
            "decided": [[*kind, n] for kind, n in self.decided.items()],
            "groups": self.groups,
        }

    def hashes(self) -> bytes:
        rows = [*self.prints, np.zeros((0, leaks.PACKED), np.uint8)]
        return np.concatenate(rows).tobytes()


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


def damage(path: Path, *, count: int, bytes: int, sha256: str) -> str | None:
    """Says what is wrong with a shard, or None.

    A TFRecord file cut on a record's border reads without any error, so size and sha256 are checked
    first, and only then the record is looked for.
    """
    if not path.is_file():
        return f"{path.name} is missing"
    if path.stat().st_size == bytes and files.sha256(path) == sha256:
        return None
    read = 0
    try:
        for _ in tf.data.TFRecordDataset(str(path)):
            read += 1
    except tf.errors.DataLossError:
        return f"{path.name} is damaged at record {read} of {count}"
    if read < count:
        return f"{path.name} ends after {read} of {count} records"
    return f"{path.name} has changed since it was written"
