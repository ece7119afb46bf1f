"""What a random split of the pictures would have claimed: the mistake that this package refuses.

Every seed project split pictures of one photo, cube or run at random; neighbours then stand on both
sides. The same model is trained once more on such a split, so that a report can show the two
numbers side by side.
"""

import tempfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfpipe import scores, training
from tfpipe.task import SPLITS

MOST = 20_000  # pictures used at most


def random_split_scores(
    build: Callable[[], keras.Model], data: training.Data, *, settings: training.Settings
) -> dict[str, float]:
    """Returns the test scores that a model gets when pictures are split at random.

    Args:
      build: returns the untrained model.
      data: the honest records.
      settings: as the honest model was trained.
    """
    with tempfile.TemporaryDirectory() as folder:
        mixed = _mixed(data, Path(folder), seed=settings.seed)
        keras.utils.set_random_seed(settings.seed)
        model = build()
        training.prepare(model, mixed, settings=settings)
        training.fit_to_end(model, mixed, settings=settings)
        labels, said = training.predicted(model, mixed, "validation")
        threshold = scores.best_threshold(labels, said[:, 1])
        labels, said = training.predicted(model, mixed, "test")
        return scores.of_two_classes(labels, said, threshold=threshold)


def _mixed(data: training.Data, folder: Path, *, seed: int) -> training.Data:
    """Writes the same records anew, each picture in a split of its own draw."""
    manifest = data.manifest
    total = sum(shard["count"] for shard in manifest["shards"])
    bounds = np.cumsum(manifest["fractions"])
    counts = {split: dict.fromkeys(manifest["classes"], 0) for split in SPLITS}
    writers = {split: tf.io.TFRecordWriter(str(folder / split)) for split in SPLITS}
    wanted = {"label": tf.io.FixedLenFeature((), tf.int64)}
    paths = [str(data.folder / shard["name"]) for shard in manifest["shards"]]
    for i, record in enumerate(tf.data.TFRecordDataset(paths).as_numpy_iterator()):
        label = int(tf.io.parse_single_example(record, wanted)["label"])
        draw = zlib.crc32(f"{seed} {i}".encode()) / 2**32
        if label < 0 or draw * total > MOST:
            continue
        place = draw * max(total / MOST, 1)
        split = SPLITS[min(int(np.searchsorted(bounds, place, side="right")), 2)]
        writers[split].write(record)
        counts[split][manifest["classes"][label]] += 1
    for writer in writers.values():
        writer.close()
    shards = [{"name": s, "split": s, "count": sum(counts[s].values())} for s in SPLITS]
    return replace(data, folder=folder, manifest=manifest | {"counts": counts, "shards": shards})
