"""Test scores by a random split of images, a mistake that the package otherwise prevents.

Every seed project split the images of one photo, cube or run at random, so that neighbours are in
both the training and the test set. Seed document 001 first made eight images of each cluster,
rotated and mirrored; with the augmentation "turns" the eight are therefore made before the split.
The same model is trained once more on such a split, so that a report can show both scores.
"""

import logging
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpipe.base import files
from tfpipe.base.progress import Reporter, silent
from tfpipe.data import augmentation, dataset
from tfpipe.data import manifest as data_manifest
from tfpipe.data.dataset import Dataset
from tfpipe.data.manifest import RecordManifest, Shard
from tfpipe.evaluation import metrics, reconstruction
from tfpipe.evaluation.reconstruction import UNLABELLED
from tfpipe.models.calls import reconstructs
from tfpipe.tasks.task import SPLITS
from tfpipe.training import compile as training_compile
from tfpipe.training import loop, validation
from tfpipe.training.config import TrainingConfig

LOG = logging.getLogger(__name__)
MAX_IMAGES = 20_000


def random_split_scores(
    build: Callable[[], keras.Model],
    data: Dataset,
    *,
    settings: TrainingConfig,
    report: Reporter = silent,
) -> dict[str, Any] | None:
    """Returns the test scores of a model whose images are split at random.

    Args:
      build: returns the untrained model.
      data: the records, split by group.
      settings: of the model trained on `data`. Where each image has eight copies, the number of
        gradient steps stays the same.
      report: receives the progress.

    Returns:
      Metric -> value. None, with a warning, where there are too few images for three splits.
    """
    with tempfile.TemporaryDirectory() as folder:
        turns = augmentation.TURNS if settings.augmentation == "turns" else 1
        with files.writing_to(Path(folder).parent, option="TMPDIR"):
            mixed = write_random_split(data, Path(folder), turns=turns, seed=settings.seed)
        settings = replace(settings, epochs=max(1, settings.epochs // turns))
        keras.utils.set_random_seed(settings.seed)
        model = build()
        rebuilds = reconstructs(model)
        if not all(_usable(mixed, split, unlabelled=rebuilds) for split in SPLITS):
            LOG.warning(
                "There are too few images for a random split, so the report has no scores of one."
            )
            return None
        training_compile.prepare(model, mixed, settings=settings)
        epochs = settings.epochs
        loop.fit(
            model,
            mixed,
            settings=settings,
            callbacks=[lambda epoch, _: report("random-split", {"epoch": epoch, "epochs": epochs})],
        )
        if rebuilds:
            return reconstruction.metrics(reconstruction.errors(model, mixed)["test"])
        thresholds = metrics.thresholds(*_labelled(model, mixed, dataset.VALIDATION))
        return metrics.classification_metrics(
            *_labelled(model, mixed, dataset.TEST), thresholds=thresholds
        )


def differs(data: Dataset, *, settings: TrainingConfig) -> bool:
    """Returns whether a random split may claim more than the split by group does.

    It may not where each image is a group of its own, unless copies of each are made before.
    """
    has_copies = settings.augmentation == "turns"
    return has_copies or not data_manifest.are_single(data.manifest.groups, data.manifest.counts)


def _usable(data: Dataset, split: str, *, unlabelled: bool) -> bool:
    """Returns whether a split has images of more than one class, or any if `unlabelled`."""
    counts = dict(data.manifest.counts[split])
    n_unlabelled = counts.pop(UNLABELLED, 0)
    if unlabelled:
        return sum(counts.values()) + n_unlabelled > 0
    return sum(count > 0 for count in counts.values()) > 1


def _labelled(model: keras.Model, data: Dataset, subset: dataset.Subset):
    """Returns labels [n] and probabilities [n, classes] of a subset's labelled examples."""
    labels, probabilities = validation.predict(model, data, subset)
    return labels[labels >= 0], probabilities[labels >= 0]


def write_random_split(data: Dataset, folder: Path, *, turns: int, seed: int) -> Dataset:
    """Writes the records with each image, and each of its `turns` copies, in a random split."""
    manifest = data.manifest
    total = turns * sum(shard.count for shard in manifest.shards)
    bounds = np.cumsum(manifest.fractions)
    counts = {split: dict.fromkeys(manifest.classes, 0) for split in SPLITS}
    writers = {split: tf.io.TFRecordWriter(str(folder / split)) for split in SPLITS}
    paths = [str(data.folder / shard.name) for shard in manifest.shards]
    records = tf.data.TFRecordDataset(paths).as_numpy_iterator()
    copies = (copy for record in records for copy in _copies(record, turns, manifest))
    for i, (label, record) in enumerate(copies):
        draw = zlib.crc32(f"{seed} {i}".encode()) / 2**32
        if draw * total > MAX_IMAGES:
            continue
        place = draw * max(total / MAX_IMAGES, 1)
        split = SPLITS[min(int(np.searchsorted(bounds, place, side="right")), 2)]
        writers[split].write(record)
        name = manifest.classes[label] if label >= 0 else UNLABELLED
        counts[split][name] = counts[split].get(name, 0) + 1
    for writer in writers.values():
        writer.close()
    shards = tuple(Shard(s, s, sum(counts[s].values()), 0, "") for s in SPLITS)
    encoding = manifest.image_encoding if turns == 1 else "bytes"
    manifest = replace(manifest, counts=counts, shards=shards, image_encoding=encoding)
    return replace(
        data, folder=folder, manifest=manifest, train=dataset.TRAIN, validation=dataset.VALIDATION
    )


def _copies(record: bytes, turns: int, manifest: RecordManifest) -> Iterator[tuple[int, bytes]]:
    """Yields the label and the record of each copy of an image; see `orient_squares`.

    Several copies hold the image as bytes: to encode each as PNG takes longer than the training.
    """
    example = tf.train.Example.FromString(record)
    label = example.features.feature["label"].int64_list.value[0]
    if turns == 1:
        yield label, record
        return
    encoded = example.features.feature["image"].bytes_list.value
    shape, dtype = dataset.stored_shape(manifest), manifest.image_dtype
    image = (
        np.frombuffer(encoded[0], dtype)
        if manifest.image_encoding == "bytes"
        else tf.io.decode_png(encoded[0], dtype=tf.as_dtype(dtype)).numpy()
    ).reshape(1, *shape)
    for turn in range(turns):
        encoded[0] = np.ascontiguousarray(augmentation.orient_squares(image, turn)[0]).tobytes()
        yield label, example.SerializeToString()
