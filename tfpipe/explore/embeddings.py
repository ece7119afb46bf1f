"""What models make of packed pictures, and what the pictures look like, a batch at a time."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import keras
import numpy as np
import tensorflow as tf

from tfpipe.base import images as base_images
from tfpipe.data import augmentation, dataset, near_duplicates
from tfpipe.data.dataset import Dataset, Subset
from tfpipe.explore import appearance, orientation
from tfpipe.explore.novelty import Seen
from tfpipe.models import calls
from tfpipe.models.calls import reconstructs
from tfpipe.tasks.task import SPLITS

CHUNK = 128  # pictures shown at once
MOST_NUMBERS = 256  # of an embedding that is kept; seed 003's code has thousands
SIDE_PX, QUALITY = 112, 80  # of a picture in the page, as JPEG: some 3 KB

Progress = Callable[[int, int], None]


class Looks(NamedTuple):
    """How pictures look, [n] each, in the records' order.

    Attributes:
      nuisances: [n, 5] float, by `appearance.measured`.
      hashes: [n, 255] bool, by `near_duplicates.fingerprints`, without the padding.
      shows: [n] bool, whether a picture shows anything that a hash can tell.
      axes: [n, 3] float, by `orientation.axes`.
    """

    nuisances: np.ndarray
    hashes: np.ndarray
    shows: np.ndarray
    axes: np.ndarray


def splits_of(data: Dataset) -> tuple[str, ...]:
    """Returns the splits that hold examples, in order."""
    held = {shard.split for shard in data.manifest.shards if shard.count}
    return tuple(split for split in SPLITS if split in held)


def seen(
    model: keras.Model,
    data: Dataset,
    *,
    blind: bool = False,
    progress: Progress = lambda done, total: None,
) -> Seen:
    """Returns what a classifier or an autoencoder makes of all examples, in the records' order.

    See `batches_seen`.
    """
    each = [*batches_seen(model, data, blind=blind, progress=progress)]
    both = {name: [getattr(one, name) for one in each] for name in Seen._fields}
    return Seen(**{n: np.concatenate(parts) for n, parts in both.items() if parts[0] is not None})


def batches_seen(
    model: keras.Model,
    data: Dataset,
    *,
    chosen: np.ndarray | None = None,
    blind: bool = False,
    progress: Progress = lambda done, total: None,
) -> Iterator[Seen]:
    """Gives what a classifier or an autoencoder makes of examples, `CHUNK` by `CHUNK`.

    Blind to direction, a picture is turned until what it shows lies along the rows, and told by the
    mean over the four ways to turn it over, which leave it there.

    A longer embedding is taken to `MOST_NUMBERS` by random directions, the same for all, which keep
    distances (Johnson & Lindenstrauss 1984) and need not be fitted: a hundred thousand codes of
    seed 003 would take two gigabytes.

    Args:
      model: has an "embedding".
      data: the records.
      chosen: [examples] bool, which of them; None for all.
      blind: to direction.
      progress: told (pictures looked at, pictures in all).
    """
    rebuilds = reconstructs(model)
    layers = {"embedding": model.get_layer("embedding").output}
    if rebuilds:
        layers |= {"target": model.get_layer("unit_scale").output, "given": model.output}
    else:
        layers["logits"] = _last_dense(model).input
    inner = keras.Model(model.input, layers)

    @tf.function(reduce_retracing=True)
    def answered(features):
        said = inner(features, training=False)
        if rebuilds:
            said["error"] = calls.squared_errors(said.pop("target"), said.pop("given"))
        return said

    for features in feature_batches(data, Subset(splits_of(data), chosen), progress=progress):
        given = {name: features[name] for name in model.input}
        views = _level_views(given) if blind and "image" in given else [given]
        told = [answered(view) for view in views]
        means = {
            name: np.mean([one[name].numpy() for one in told], axis=0, dtype=np.float32)
            for name in told[0]
        }
        yield Seen(**{name: _finished(name, value, model) for name, value in means.items()})


def looks(data: Dataset, *, progress: Progress = lambda done, total: None) -> Looks:
    """Returns how all pictures look."""
    parts = []
    for features in feature_batches(data, Subset(splits_of(data)), progress=progress):
        images = features["image"].numpy()
        prints, shows = near_duplicates.fingerprints(images)
        axes = np.stack(orientation.axes(images), axis=1)
        parts.append(Looks(appearance.measured(images), prints.bits, shows, axes))
    return Looks(*map(np.concatenate, zip(*parts, strict=True)))


def thumbnails(data: Dataset, rows: list[int]) -> dict[int, bytes]:
    """Returns row -> JPEG of a picture, at most `SIDE_PX` a side."""
    chosen, ordered = _chosen(data, rows)
    images = [image for features in chosen for image in features["image"].numpy()]
    return {row: jpeg(image) for row, image in zip(ordered, images, strict=True)}


def reconstructions(model: keras.Model, data: Dataset, rows: list[int]) -> dict[int, bytes]:
    """Returns row -> JPEG of what an autoencoder makes of a picture."""
    chosen, ordered = _chosen(data, rows)
    given = []
    for features in chosen:
        given += [*model({name: features[name] for name in model.input}, training=False).numpy()]
    return {
        row: jpeg(np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8))
        for row, image in zip(ordered, given, strict=True)
    }


def jpeg(image: np.ndarray) -> bytes:
    """Returns a picture [height, width, channels] as a small JPEG."""
    small = base_images.to_display(image)
    scale = SIDE_PX / max(small.shape[:2])
    if scale < 1:
        small = cv2.resize(small, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    bgr = small if small.ndim == 2 else small[:, :, ::-1]
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def _chosen(data: Dataset, rows: list[int]) -> tuple[Iterator, list[int]]:
    """Returns the batches of some rows of all examples, and these rows in the batches' order."""
    splits = splits_of(data)
    wanted = np.zeros(dataset.size(Subset(splits), manifest=data.manifest), bool)
    wanted[rows] = True
    batches = dataset.batches(
        data.folder, Subset(splits, wanted), manifest=data.manifest, batch_size=CHUNK
    )
    return (features for features, _ in batches), np.flatnonzero(wanted).tolist()


def feature_batches(data: Dataset, part: Subset, *, progress: Progress) -> Iterator:
    """Yields the features of a subset's examples in batches of CHUNK, in order."""
    total, done = dataset.size(part, manifest=data.manifest), 0
    progress(done, total)
    for features, label in dataset.batches(
        data.folder, part, manifest=data.manifest, batch_size=CHUNK
    ):
        yield features
        done += len(label)
        progress(done, total)


def _level_views(features: dict) -> list[dict]:
    """Returns features with their pictures levelled and turned over, each of the four ways."""
    level = orientation.levelled(features["image"].numpy())
    # Of the eight ways the first four leave rows rows.
    turned = [np.ascontiguousarray(augmentation.turned(level, way)) for way in range(4)]
    return [{**features, "image": tf.constant(image)} for image in turned]


def _last_dense(model: keras.Model) -> keras.layers.Dense:
    """Returns the layer that logits are made by: `parts.head` has one unit for two classes."""
    return model.get_layer("positive" if model.output.shape[-1] == 2 else "probabilities")


def _finished(name: str, value: np.ndarray, model: keras.Model) -> np.ndarray:
    """Returns errors as they are, embeddings as kept, and logits of what the last layer takes."""
    if name == "error":
        return value
    if name == "embedding":
        return random_projection(value.reshape(len(value), -1).astype(np.float32))
    kernel, bias = _last_dense(model).get_weights()
    logits = value.astype(np.float32) @ kernel + bias
    # One sigmoid unit is a softmax over half of it and its negative.
    return logits if logits.shape[1] > 1 else np.concatenate([-logits, logits], axis=1) / 2


def random_projection(embedding: np.ndarray) -> np.ndarray:
    """Returns embeddings [n, k] projected to MOST_NUMBERS random directions, where k is more."""
    numbers = embedding.shape[1]
    if numbers <= MOST_NUMBERS:
        return embedding
    directions = np.random.default_rng(0).normal(size=(numbers, MOST_NUMBERS))
    return embedding @ (directions / np.sqrt(MOST_NUMBERS)).astype(np.float32)
