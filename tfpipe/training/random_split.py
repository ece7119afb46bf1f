"""What a random split of the pictures would have claimed: the mistake that this package refuses.

Every seed project split pictures of one photo, cube or run at random; neighbours then stand on both
sides. Seed 001 made eight pictures of each cluster first, turned and mirrored: where these are the
random change of training pictures, the eight are made before the split, as there. The same model is
trained once more on such a split, so that a report can show the two numbers side by side.
"""

import logging
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpipe.data import augmentation, dataset
from tfpipe.data.dataset import Dataset
from tfpipe.data.manifest import RecordManifest, Shard
from tfpipe.evaluation import metrics, reconstruction
from tfpipe.evaluation.reconstruction import UNLABELLED
from tfpipe.models.calls import reconstructs
from tfpipe.tasks.task import SPLITS
from tfpipe.training import compile as training_compile
from tfpipe.training import loop, validation
from tfpipe.training.config import TrainingConfig

LOG = logging.getLogger("tfpipe")
MOST = 20_000  # pictures used at most


def random_split_scores(
    build: Callable[[], keras.Model], data: Dataset, *, settings: TrainingConfig
) -> dict[str, Any] | None:
    """Returns the test scores that a model gets when pictures are split at random.

    Args:
      build: returns the untrained model.
      data: the honest records.
      settings: as the honest model was trained; of eight copies each, in as many gradient steps.

    Returns:
      Metric to value; None, with a warning, where pictures are too few to fill three splits.
    """
    with tempfile.TemporaryDirectory() as folder:
        turns = augmentation.TURNS if settings.augmentation == "turns" else 1
        mixed = write_random_split(data, Path(folder), turns=turns, seed=settings.seed)
        settings = replace(settings, epochs=max(1, settings.epochs // turns))
        keras.utils.set_random_seed(settings.seed)
        model = build()
        rebuilds = reconstructs(model)
        if not all(_usable(mixed, split, unlabelled=rebuilds) for split in SPLITS):
            LOG.warning(
                "There are too few pictures to split them at random, so nothing is claimed."
            )
            return None
        training_compile.prepare(model, mixed, settings=settings)
        loop.fit(model, mixed, settings=settings)
        if rebuilds:
            return reconstruction.scores(reconstruction.errors(model, mixed)["test"])
        thresholds = metrics.thresholds(*_labelled(model, mixed, dataset.VALIDATION))
        return metrics.classification_metrics(
            *_labelled(model, mixed, dataset.TEST), thresholds=thresholds
        )


def _usable(data: Dataset, split: str, *, unlabelled: bool) -> bool:
    """Returns whether a split has pictures to learn from: labelled, and of more than one class."""
    counts = dict(data.manifest.counts[split])
    loose = counts.pop(UNLABELLED, 0)
    if unlabelled:
        return sum(counts.values()) + loose > 0
    return sum(count > 0 for count in counts.values()) > 1


def _labelled(model: keras.Model, data: Dataset, part: dataset.Subset):
    """Returns labels [n] and probabilities [n, classes] of a part's labelled examples."""
    labels, said = validation.predicted(model, data, part)
    return labels[labels >= 0], said[labels >= 0]


def write_random_split(data: Dataset, folder: Path, *, turns: int, seed: int) -> Dataset:
    """Writes the same records anew, each picture in a split of its own draw, `turns` copies."""
    manifest = data.manifest
    total = turns * sum(shard.count for shard in manifest.shards)
    bounds = np.cumsum(manifest.fractions)
    counts = {split: dict.fromkeys(manifest.classes, 0) for split in SPLITS}
    writers = {split: tf.io.TFRecordWriter(str(folder / split)) for split in SPLITS}
    wanted = {"label": tf.io.FixedLenFeature((), tf.int64)}
    paths = [str(data.folder / shard.name) for shard in manifest.shards]
    records = tf.data.TFRecordDataset(paths).as_numpy_iterator()
    copies = (_turned(one, way, manifest) for one in records for way in range(turns))
    for i, record in enumerate(copies):
        label = int(tf.io.parse_single_example(record, wanted)["label"])
        draw = zlib.crc32(f"{seed} {i}".encode()) / 2**32
        if draw * total > MOST:
            continue
        place = draw * max(total / MOST, 1)
        split = SPLITS[min(int(np.searchsorted(bounds, place, side="right")), 2)]
        writers[split].write(record)
        name = manifest.classes[label] if label >= 0 else UNLABELLED
        counts[split][name] = counts[split].get(name, 0) + 1
    for writer in writers.values():
        writer.close()
    shards = tuple(Shard(s, s, sum(counts[s].values()), 0, "") for s in SPLITS)
    manifest = replace(manifest, counts=counts, shards=shards)
    return replace(
        data, folder=folder, manifest=manifest, train=dataset.TRAIN, validation=dataset.VALIDATION
    )


def _turned(record: bytes, way: int, manifest: RecordManifest) -> bytes:
    """Returns a record whose picture is turned, see `augmentation.turned`."""
    if way == 0:
        return record
    example = tf.train.Example.FromString(record)
    encoded = example.features.feature["image"].bytes_list.value
    shape, dtype = dataset.stored_shape(manifest), manifest.image_dtype
    is_raw = manifest.image_encoding == "bytes"
    image = (
        np.frombuffer(encoded[0], dtype)
        if is_raw
        else tf.io.decode_png(encoded[0], dtype=tf.as_dtype(dtype)).numpy()
    )
    image = np.ascontiguousarray(augmentation.turned(image.reshape(1, *shape), way)[0])
    encoded[0] = image.tobytes() if is_raw else tf.io.encode_png(image).numpy()
    return example.SerializeToString()
