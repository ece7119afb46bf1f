"""Outputs of models for packed images, and measures of the images, computed batch by batch."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import cv2
import keras
import numpy as np
import tensorflow as tf

from tfpipe.base import images as base_images
from tfpipe.base.progress import Reporter, counter, silent
from tfpipe.data import augmentation, dataset, near_duplicates
from tfpipe.data.dataset import Dataset, Subset
from tfpipe.explore import confounders, orientation
from tfpipe.explore.novelty import ModelOutputs
from tfpipe.models import calls
from tfpipe.models.calls import reconstructs
from tfpipe.models.fused import inference
from tfpipe.tasks.task import SPLITS

CHUNK = 128  # images of a batch
MAX_LENGTH = 256  # of an embedding; the code of seed document 003 has thousands of numbers
SIDE_PX, QUALITY = 112, 80  # of an image in the page, as JPEG: some 3 KB


class ImageMeasures(NamedTuple):
    """Measures of images, arrays [n], in the records' order.

    Attributes:
      nuisances: [n, 6] float, from `confounders.measure_nuisances`.
      hashes: [n, 255] bool, from `near_duplicates.fingerprints`, without the padding.
      has_content: [n] bool, whether an image shows anything that a hash can distinguish.
      axes: [n, 3] float, from `orientation.axes`.
    """

    nuisances: np.ndarray
    hashes: np.ndarray
    has_content: np.ndarray
    axes: np.ndarray


def splits_of(data: Dataset) -> tuple[str, ...]:
    """Returns the splits that have examples, in order."""
    splits = {shard.split for shard in data.manifest.shards if shard.count}
    return tuple(split for split in SPLITS if split in splits)


def compute_outputs(
    model: keras.Model,
    data: Dataset,
    *,
    normalize_orientation: bool = False,
    report: Reporter = silent,
) -> ModelOutputs:
    """Returns the outputs of a classifier or an autoencoder for all examples, in records' order.

    See `compute_batches`.
    """
    batches = list(
        compute_batches(model, data, normalize_orientation=normalize_orientation, report=report)
    )
    return ModelOutputs(
        np.concatenate([batch.embedding for batch in batches]),
        _joined([batch.logits for batch in batches]),
        _joined([batch.error for batch in batches]),
    )


def compute_batches(
    model: keras.Model,
    data: Dataset,
    *,
    chosen: np.ndarray | None = None,
    normalize_orientation: bool = False,
    report: Reporter = silent,
) -> Iterator[ModelOutputs]:
    """Yields the outputs of a classifier or an autoencoder for examples, `CHUNK` by `CHUNK`.

    With normalized orientation, an image is turned until its particle lies along the rows. The
    outputs are then the mean over the four flips that keep it there.

    An embedding longer than `MAX_LENGTH` is projected on random directions, the same for all
    images. They keep distances (Johnson & Lindenstrauss 1984) and need no fit. A hundred thousand
    codes of seed document 003 would otherwise take two gigabytes.

    Args:
      model: has a layer "embedding".
      data: the records.
      chosen: [examples] bool, the examples to use; None for all.
      normalize_orientation: whether the model sees every image turned to the same direction.
      report: receives the stage "embed" with the images done.
    """
    is_autoencoder = reconstructs(model)
    layers = {"embedding": model.get_layer("embedding").output}
    if is_autoencoder:
        layers["target"] = model.get_layer("unit_scale").output
        layers["reconstruction"] = model.output
    else:
        layers["logits"] = _last_dense(model).input
    inner = inference(keras.Model(model.input, layers))

    @tf.function(reduce_retracing=True)
    def call(features):
        outputs = inner(features)
        if is_autoencoder:
            target, reconstruction = outputs.pop("target"), outputs.pop("reconstruction")
            outputs["error"] = calls.squared_errors(target, reconstruction)
        return outputs

    subset = Subset(splits_of(data), chosen)
    for features in feature_batches(data, subset, report=report):
        inputs = {name: features[name] for name in model.input}
        is_turned = normalize_orientation and "image" in inputs
        views = [call(view) for view in (_normalized_views(inputs) if is_turned else [inputs])]
        means = {
            name: np.asarray(
                np.mean([view[name].numpy() for view in views], axis=0, dtype=np.float32)
            )
            for name in views[0]
        }
        yield ModelOutputs(
            random_projection(means["embedding"].reshape(len(means["embedding"]), -1)),
            None if is_autoencoder else _logits(means["logits"], model),
            means.get("error"),
        )


def measure_images(data: Dataset, *, report: Reporter = silent) -> ImageMeasures:
    """Returns the measures of all images."""
    parts = []
    for features in feature_batches(data, Subset(splits_of(data)), report=report):
        images = features["image"].numpy()
        prints, has_content = near_duplicates.fingerprints(images)
        axes = np.stack(orientation.axes(images), axis=1)
        nuisances = confounders.measure_nuisances(images)
        parts.append(ImageMeasures(nuisances, prints.bits, has_content, axes))
    return ImageMeasures(*map(np.concatenate, zip(*parts, strict=True)))


def thumbnails(data: Dataset, rows: list[int]) -> dict[int, bytes]:
    """Returns row -> JPEG of an image, at most `SIDE_PX` a side."""
    return {row: jpeg(image) for row, image in images_of(data, rows)}


def images_of(data: Dataset, rows: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the images [height, width, channels] of some rows of all examples, in rising order."""
    batches, ordered = _batches_of_rows(data, rows)
    images = (image for features in batches for image in features["image"].numpy())
    yield from zip(ordered, images, strict=True)


def reconstructions(model: keras.Model, data: Dataset, rows: list[int]) -> dict[int, bytes]:
    """Returns row -> JPEG of an autoencoder's reconstruction of an image."""
    batches, ordered = _batches_of_rows(data, rows)
    images: list[np.ndarray] = []
    for features in batches:
        inputs = {name: features[name] for name in model.input}
        images.extend(model(inputs, training=False).numpy())
    return {
        row: jpeg(np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8))
        for row, image in zip(ordered, images, strict=True)
    }


def jpeg(image: np.ndarray) -> bytes:
    """Returns an image [height, width, channels] as a small JPEG."""
    small = base_images.to_display(image)
    scale = SIDE_PX / max(small.shape[:2])
    if scale < 1:
        small = cv2.resize(small, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    bgr = small if small.ndim == 2 else small[:, :, ::-1]
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def feature_batches(
    data: Dataset, subset: Subset, *, report: Reporter = silent
) -> Iterator[Mapping[str, Any]]:
    """Yields the features of a subset's examples, and reports the stage "embed"."""
    total, done = dataset.size(subset, manifest=data.manifest), 0
    progress = counter(report, "embed")
    progress(done, total)
    for features, labels in dataset.batches(
        data.folder, subset, manifest=data.manifest, batch_size=CHUNK
    ):
        yield features
        done += len(labels)
        progress(done, total)


def random_projection(embedding: np.ndarray) -> np.ndarray:
    """Returns an embedding [n, d], projected on `MAX_LENGTH` random directions if it is longer."""
    length = embedding.shape[1]
    if length <= MAX_LENGTH:
        return embedding
    directions = np.random.default_rng(0).normal(size=(length, MAX_LENGTH))
    return embedding @ (directions / np.sqrt(MAX_LENGTH)).astype(np.float32)


def _joined(parts: list[np.ndarray | None]) -> np.ndarray | None:
    arrays = [part for part in parts if part is not None]
    return np.concatenate(arrays) if arrays else None


def _batches_of_rows(data: Dataset, rows: list[int]) -> tuple[Iterator, list[int]]:
    """Returns the batches of some rows of all examples, and these rows in the batches' order."""
    splits = splits_of(data)
    is_chosen = np.zeros(dataset.size(Subset(splits), manifest=data.manifest), bool)
    is_chosen[rows] = True
    batches = dataset.batches(
        data.folder, Subset(splits, is_chosen), manifest=data.manifest, batch_size=CHUNK
    )
    return (features for features, _ in batches), np.flatnonzero(is_chosen).tolist()


def _normalized_views(features: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns features with their images normalized, in each of the four flips."""
    images = orientation.normalize(features["image"].numpy())
    # Of the eight symmetries, the first four map rows to rows.
    views = [np.ascontiguousarray(augmentation.orient_squares(images, i)) for i in range(4)]
    return [{**features, "image": tf.constant(view)} for view in views]


def _last_dense(model: keras.Model) -> keras.layers.Dense:
    """Returns the layer that gives the logits: `parts.head` has one unit for two classes."""
    return model.get_layer("positive" if model.output.shape[-1] == 2 else "probabilities")


def _logits(inputs: np.ndarray, model: keras.Model) -> np.ndarray:
    """Returns the logits [n, classes] of inputs [n, units] of the last layer."""
    kernel, bias = _last_dense(model).get_weights()
    logits = inputs @ kernel + bias
    # One sigmoid unit is a softmax over half of it and its negative.
    return logits if logits.shape[1] > 1 else np.concatenate([-logits, logits], axis=1) / 2
