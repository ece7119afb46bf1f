"""Records to batches: ({"image", "columns"}, label), shuffled and augmented for training only."""

import math
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfpipe.errors import UserError

BALANCES = ("weights", "sampling", "none")
BRIGHTNESS = 0.15  # a training picture is made up to this share brighter or darker
LEAST_STEPS = 64  # batches an epoch, so that a score is not taken after every few examples
HARD_SHARE = 0.25
SHIFT_ROWS = 0.06  # and moved along its rows by up to this share of its height (3 of 50 rows)


def batches(folder: Path, split: str, *, manifest: dict, batch_size: int = 64) -> tf.data.Dataset:
    """Returns a split's examples once, in order, the last partial batch included.

    Args:
      folder: packed records.
      split: "train", "validation" or "test".
      manifest: the records' (`manifests.trusted`).
      batch_size: examples a batch.

    Returns:
      Batches of ({"image": [batch, height, width, channels], "columns": [batch, columns]},
      label [batch] int64); "columns" only where the task has some.
    """
    parse = _parser(manifest)
    dataset = tf.data.TFRecordDataset(_paths(folder, split, manifest=manifest))
    return dataset.batch(batch_size).map(parse, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def training_batches(
    folder: Path,
    *,
    manifest: dict,
    seed: int,
    batch_size: int = 64,
    balance: str = "weights",
    hard: np.ndarray | None = None,
    augment: bool = True,
) -> tuple[tf.data.Dataset, int]:
    """Returns the training split for ever, shuffled and augmented, and its batches an epoch.

    Serialized records are what is cached and shuffled: a small picture's record is its raw bytes.
    They are parsed a batch at a time, seven times faster than one by one.

    Args:
      folder: packed records.
      manifest: the records'.
      seed: of order and augmentation; the same seed gives the same batches.
      batch_size: examples a batch.
      balance: "sampling" draws rare classes more often (`shares`); "weights" and "none" take
        examples as they come.
      hard: [training examples] bool, in the records' order, of examples that "sampling" draws
        besides: `HARD_SHARE` of every batch, on average.
      augment: flips, brightness and small shifts along the rows.

    Returns:
      Endless batches as `batches` gives them, and steps per epoch.
    """
    counts = np.array([manifest["counts"]["train"][name] for name in manifest["classes"]])
    paths = _paths(folder, "train", manifest=manifest)
    options = tf.data.Options()
    options.deterministic = True
    if balance == "sampling":
        drawn = []
        for label, count in enumerate(counts):
            own = tf.data.TFRecordDataset(paths).filter(_has_label(label)).cache()
            drawn.append(own.shuffle(int(min(count, 10_000)), seed=seed + label).repeat())
        weights = shares(counts).tolist()
        if hard is not None and hard.any():
            chosen = tf.constant(hard)
            numbered = tf.data.TFRecordDataset(paths).enumerate()
            own = numbered.filter(lambda i, record: chosen[i]).map(lambda i, record: record)
            drawn.append(own.cache().shuffle(int(min(hard.sum(), 10_000)), seed=seed).repeat())
            weights = [share * (1 - HARD_SHARE) for share in weights] + [HARD_SHARE]
        dataset = tf.data.Dataset.sample_from_datasets(
            drawn, weights=weights, seed=seed, rerandomize_each_iteration=True
        )
    else:
        records = tf.data.TFRecordDataset(paths).cache()
        dataset = records.shuffle(int(min(counts.sum(), 20_000)), seed=seed).repeat()
    dataset = dataset.batch(batch_size).map(_parser(manifest), tf.data.AUTOTUNE)
    if augment:
        dataset = dataset.enumerate().map(_augmenter(seed), tf.data.AUTOTUNE)
    steps = steps_per_epoch(manifest, batch_size=batch_size, balance=balance)
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE), steps


def steps_per_epoch(manifest: dict, *, batch_size: int, balance: str) -> int:
    """Returns the batches of a training epoch: all examples once.

    With "sampling", so many that the rarest class is seen once, but at least `LEAST_STEPS`.
    """
    counts = np.array([manifest["counts"]["train"][name] for name in manifest["classes"]])
    all_once = math.ceil(counts.sum() / batch_size)
    if balance != "sampling":
        return all_once
    rarest = counts.argmin()
    rare_once = math.ceil(counts[rarest] / shares(counts)[rarest] / batch_size)
    return min(max(rare_once, LEAST_STEPS), all_once)


def shares(counts: np.ndarray) -> np.ndarray:
    """Returns how often "sampling" draws each class, [classes] float that add up to 1.

    By the fourth root of its count, between equally often (which sees too few of the many kinds of
    nothing: cracks, lenses, breaks) and as it comes; Mahajan et al. (2018), arXiv:1805.00932,
    section 2.2, take the square root.
    """
    roots = counts**0.25
    return roots / roots.sum()


def class_weights(manifest: dict) -> dict[int, float]:
    """Returns n / (classes * n_class) for each class of the training split (King & Zeng 2001)."""
    counts = [manifest["counts"]["train"][name] for name in manifest["classes"]]
    return {label: sum(counts) / (len(counts) * count) for label, count in enumerate(counts)}


def _paths(folder: Path, split: str, *, manifest: dict) -> list[str]:
    paths = [str(folder / s["name"]) for s in manifest["shards"] if s["split"] == split]
    if not paths:
        raise UserError(f"{folder} holds no {split} records. Run `tfpipe pack` again.")
    return paths


def _parser(manifest: dict):
    """Returns a function from serialized records [batch] to a batch."""
    shape, dtype = tuple(manifest["image_shape"]), tf.as_dtype(manifest["image_dtype"])
    columns = len(manifest["columns"])
    wanted = {
        "image": tf.io.FixedLenFeature((), tf.string),
        "label": tf.io.FixedLenFeature((), tf.int64),
    }
    if columns:
        wanted["columns"] = tf.io.FixedLenFeature((columns,), tf.float32)
    is_raw = manifest["image_encoding"] == "bytes"

    def picture(encoded):
        return tf.io.decode_png(encoded, channels=shape[-1], dtype=dtype)

    def parse(records):
        fields = tf.io.parse_example(records, wanted)
        if is_raw:
            image = tf.reshape(tf.io.decode_raw(fields["image"], dtype), (-1, *shape))
        else:
            image = tf.map_fn(picture, fields["image"], fn_output_signature=dtype)
            image = tf.ensure_shape(image, (None, *shape))
        inputs = {"image": image} | ({"columns": fields["columns"]} if columns else {})
        return inputs, fields["label"]

    return parse


def _has_label(label: int):
    wanted = {"label": tf.io.FixedLenFeature((), tf.int64)}
    return lambda record: tf.io.parse_single_example(record, wanted)["label"] == label


def _augmenter(seed: int):
    """Returns a function from (batch number, batch) to the batch with its pictures changed.

    The change is a function of seed and batch number alone (seed 002: flips and brightness; a
    shift along the rows is what another stride would have cut).
    """

    def augment(number, batch):
        inputs, label = batch
        image = inputs["image"]
        count, height = tf.shape(image)[0], image.shape[1]
        draws = tf.random.stateless_uniform(
            (4, count), seed=tf.stack([seed, tf.cast(number, tf.int32)])
        )
        each = [tf.reshape(draw, (-1, 1, 1, 1)) for draw in tf.unstack(draws)]
        image = tf.where(each[0] < 0.5, tf.reverse(image, [1]), image)
        image = tf.where(each[1] < 0.5, tf.reverse(image, [2]), image)
        most = max(1, int(height * SHIFT_ROWS))
        rows = tf.range(height) + tf.cast(tf.round((draws[2][:, None] * 2 - 1) * most), tf.int32)
        rows = tf.clip_by_value(rows, 0, height - 1)
        image = tf.gather(image, rows, axis=1, batch_dims=1)
        gain = 1 + BRIGHTNESS * (each[3] * 2 - 1)
        bright = tf.cast(image, tf.float32) * gain
        bright = tf.round(tf.minimum(bright, image.dtype.max)) if image.dtype.is_integer else bright
        return {**inputs, "image": tf.cast(bright, image.dtype)}, label

    return augment
