"""Dataset: records as batches of ({"image", "columns"}, label); training ones are shuffled."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfpipe.base.errors import UserError
from tfpipe.data import augmentation
from tfpipe.data.manifest import RecordManifest, Shard
from tfpipe.data.sampling import HARD_SHARE, Drawing, shares


class Subset(NamedTuple):
    """Which of the packed examples.

    Attributes:
      splits: "train", "validation" or "test", one or more.
      chosen: [examples of these splits, in order] bool; None for all.
    """

    splits: tuple[str, ...]
    chosen: np.ndarray | None = None


# Serialized examples of a training that stay in memory, and as many that are shuffled; of more,
# shards are read again in each epoch, and neighbours in a window of this size change places.
MEMORY_BYTES = 128 * 2**20
MOST_SHUFFLED, MOST_OF_A_KIND = 20_000, 10_000  # examples
SHARDS_AT_ONCE, IN_A_ROW = 16, 4  # shards that are read in turns, and examples of each in a turn

TRAIN, VALIDATION, TEST = Subset(("train",)), Subset(("validation",)), Subset(("test",))


@dataclass(frozen=True)
class Dataset:
    """A task's records, opened for training.

    Attributes:
      folder: the records.
      manifest: theirs, trusted.
      objective: name of the validation score that decides: one of `metrics.OBJECTIVES`, which are
        maximised, or "loss", which is minimised.
      train: the training examples.
      validation: the examples whose score decides.
    """

    folder: Path
    manifest: RecordManifest
    objective: str
    train: Subset = TRAIN
    validation: Subset = VALIDATION


def direction(data: Dataset) -> str:
    """Returns "max" or "min": what the objective is to become."""
    return "min" if data.objective == "loss" else "max"


def batches(
    folder: Path,
    subset: Subset,
    *,
    manifest: RecordManifest,
    batch_size: int = 64,
    labelled: bool = False,
) -> tf.data.Dataset:
    """Returns examples once, in order, the last partial batch included.

    Args:
      folder: packed records.
      subset: which examples.
      manifest: the records' (`manifest.trusted`).
      batch_size: examples a batch.
      labelled: whether examples without a label are left out.

    Returns:
      Batches of ({"image": [batch, height, width, channels], "columns": [batch, columns]},
      label [batch] int64); "columns" only where the task has some.
    """
    dataset = _records(folder, subset, manifest=manifest)
    if labelled and not all_labelled(manifest, subset.splits):
        dataset = dataset.filter(lambda record: _label(record) >= 0)
    parse = parser(manifest)
    dataset = dataset.batch(batch_size).map(parse, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    return dataset.with_options(_options())


def training_batches(
    folder: Path,
    drawing: Drawing,
    *,
    manifest: RecordManifest,
    subset: Subset = TRAIN,
    skip: int = 0,
) -> tf.data.Dataset:
    """Returns training examples for ever, shuffled and augmented.

    Serialized records are what is cached and shuffled: a small image's record is its raw bytes.
    They are parsed a batch at a time, seven times faster than one by one. What does not fit
    `MEMORY_BYTES` is not cached: shards are then shuffled, and read in turns.

    Args:
      folder: packed records.
      drawing: how they are drawn.
      manifest: the records'.
      subset: the training examples.
      skip: batches left out at the beginning; those after are what they would have been.

    Returns:
      Endless batches as `batches` gives them, and beside the images, where the records have them,
      "interval" [batch, 2] float32: first and one-past-last row of the object, in shares of the
      height; -1 where there is none; and "row_labels" [batch, height] uint8.
    """
    counts = class_counts(folder, subset, manifest=manifest)
    if drawing.samples:
        dataset = _sampled(folder, subset, drawing, counts=counts, manifest=manifest)
    else:
        dataset = _shards_in_turns(folder, subset, seed=drawing.seed, manifest=manifest)
        if not drawing.unlabelled and not all_labelled(manifest, subset.splits):
            dataset = dataset.filter(lambda record: _label(record) >= 0)
        dataset = _shuffled(dataset, subset, seed=drawing.seed, manifest=manifest)
    dataset = dataset.batch(drawing.batch_size).skip(skip)
    dataset = _augmented(dataset, drawing, manifest=manifest, first=skip)
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(_options())


def augmented_view(
    folder: Path,
    drawing: Drawing,
    *,
    manifest: RecordManifest,
    subset: Subset = TRAIN,
    view: int,
) -> tf.data.Dataset:
    """Returns training examples once, in order, augmented as `training_batches` does.

    Args:
      folder: packed records.
      drawing: of which the seed, the batch size, the augmentation and `unlabelled` count.
      manifest: the records'.
      subset: the training examples.
      view: number of the view; each is another random change of all images.

    Returns:
      Batches as `training_batches` gives them.
    """
    dataset = _records(folder, subset, manifest=manifest)
    if not drawing.unlabelled and not all_labelled(manifest, subset.splits):
        dataset = dataset.filter(lambda record: _label(record) >= 0)
    dataset = dataset.batch(drawing.batch_size)
    n_batches = math.ceil(size(subset, manifest=manifest) / drawing.batch_size)
    dataset = _augmented(dataset, drawing, manifest=manifest, first=view * n_batches)
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(_options())


def _augmented(
    dataset: tf.data.Dataset, drawing: Drawing, *, manifest: RecordManifest, first: int
) -> tf.data.Dataset:
    """Returns batches of serialized records parsed and augmented; the first has a number."""
    dataset = dataset.map(parser(manifest, with_targets=True), tf.data.AUTOTUNE)
    if drawing.augmentation == "none":
        return dataset
    kind = manifest.augmentation or drawing.augmentation
    change = augmentation.KINDS[kind](drawing.seed)
    return dataset.enumerate(first).map(change, tf.data.AUTOTUNE)


def training_rows(labels: np.ndarray, drawing: Drawing, *, skip: int = 0) -> tf.data.Dataset:
    """Returns rows of labelled examples for ever, drawn as `training_batches` draws examples.

    Where records fit into memory, these are the examples that it draws, in the same order.

    Args:
      labels: [n] int, theirs, none below 0.
      drawing: how they are drawn; `hard` is of these examples.
      skip: batches left out at the beginning.

    Returns:
      Batches [batch] int64.
    """

    def drawn(rows: np.ndarray, seed: int) -> tf.data.Dataset:
        dataset = tf.data.Dataset.from_tensor_slices(rows.astype(np.int64))
        return dataset.shuffle(max(1, len(rows)), seed=seed).repeat()

    if drawing.samples:
        kinds = [
            drawn(np.flatnonzero(labels == label), drawing.seed + int(label))
            for label in np.unique(labels)
        ]
        hard = None if drawing.hard is None else np.flatnonzero(drawing.hard)
        if hard is not None and len(hard):
            kinds.append(drawn(hard, drawing.seed))
        dataset = _mixed(kinds, drawing, counts=np.bincount(labels))
    else:
        dataset = drawn(np.arange(len(labels)), drawing.seed)
    return dataset.batch(drawing.batch_size).skip(skip).with_options(_options())


def _sampled(
    folder: Path, subset: Subset, drawing: Drawing, *, counts: np.ndarray, manifest: RecordManifest
) -> tf.data.Dataset:
    """Returns records for ever, each class as often as `shares` says, hard ones besides."""
    records = _shards_in_turns(folder, subset, seed=drawing.seed, manifest=manifest)
    present = np.flatnonzero(counts)
    hard = drawing.hard if drawing.hard is not None and drawing.hard.any() else None
    n_kinds = len(present) + (hard is not None)

    def drawn(records, count: int, seed: int) -> tf.data.Dataset:
        return _shuffled(
            records, subset, seed=seed, manifest=manifest, count=int(count), kinds=n_kinds
        )

    kinds = [
        drawn(records.filter(_has_label(int(label))), counts[label], drawing.seed + int(label))
        for label in present
    ]
    if hard is not None:
        own = _where(_records(folder, subset, manifest=manifest), hard)
        kinds.append(drawn(own, hard.sum(), drawing.seed))
    return _mixed(kinds, drawing, counts=counts)


def _mixed(
    kinds: list[tf.data.Dataset], drawing: Drawing, *, counts: np.ndarray
) -> tf.data.Dataset:
    """Returns elements for ever, each class as often as `shares` says, hard ones besides.

    Args:
      kinds: elements of each class that occurs, and last the hard ones if there are some.
      drawing: how they are drawn.
      counts: of each class.
    """
    weights = shares(counts[counts > 0])
    if len(kinds) > len(weights):
        weights = np.append(weights * (1 - HARD_SHARE), HARD_SHARE)
    return tf.data.Dataset.sample_from_datasets(
        kinds, weights=weights.tolist(), seed=drawing.seed, rerandomize_each_iteration=True
    )


def fits_memory(subset: Subset, *, manifest: RecordManifest) -> bool:
    """Returns whether the serialized examples of a subset are small enough to stay in memory."""
    return _bytes(subset, manifest=manifest) <= MEMORY_BYTES


def _bytes(subset: Subset, *, manifest: RecordManifest) -> int:
    """Returns the size of the serialized examples of a subset."""
    shards = [shard for shard in manifest.shards if shard.split in subset.splits]
    whole = sum(shard.count for shard in shards)
    share = size(subset, manifest=manifest) / max(whole, 1)
    return round(share * sum(shard.bytes for shard in shards))


def _shuffled(
    dataset: tf.data.Dataset,
    subset: Subset,
    *,
    seed: int,
    manifest: RecordManifest,
    count: int | None = None,
    kinds: int = 1,
) -> tf.data.Dataset:
    """Returns records for ever, in another order each time.

    Args:
      dataset: records of a subset, or those of one kind in it, which may be rare: then they stay in
        memory, as all others are read to find them.
      subset: which examples these are.
      seed: of the order.
      manifest: the records'.
      count: records of the kind; None for the whole subset.
      kinds: how many kinds share `MEMORY_BYTES`.
    """
    most = MOST_SHUFFLED if count is None else MOST_OF_A_KIND
    total, n_bytes = size(subset, manifest=manifest), _bytes(subset, manifest=manifest)
    count = total if count is None else count
    fitting = total if n_bytes <= MEMORY_BYTES else MEMORY_BYTES * total // n_bytes // kinds
    if count <= fitting:
        dataset = dataset.cache()
    return dataset.shuffle(max(1, min(most, count, fitting)), seed=seed).repeat()


def _shards_in_turns(
    folder: Path, subset: Subset, *, seed: int, manifest: RecordManifest
) -> tf.data.Dataset:
    """Returns the serialized examples of a subset for training.

    They are in order where they are few; else shards are in another order each time, and read in
    turns, so that neighbours come from far apart.
    """
    if fits_memory(subset, manifest=manifest):
        return _records(folder, subset, manifest=manifest)
    shards = _shards(folder, subset, manifest=manifest)
    firsts = np.cumsum([0, *(shard.count for shard in shards)])[:-1]
    paths = [str(folder / shard.name) for shard in shards]
    ordered = tf.data.Dataset.from_tensor_slices((paths, firsts))
    ordered = ordered.shuffle(len(paths), seed=seed, reshuffle_each_iteration=True)

    def read(path: tf.Tensor, first: tf.Tensor) -> tf.data.Dataset:
        records = tf.data.TFRecordDataset(path)
        return records if subset.chosen is None else _where(records, subset.chosen, first=first)

    return ordered.interleave(read, cycle_length=SHARDS_AT_ONCE, block_length=IN_A_ROW)


def class_counts(folder: Path, subset: Subset, *, manifest: RecordManifest) -> np.ndarray:
    """Returns how many examples there are of each class, [classes] int."""
    if subset.chosen is None:
        counts = [manifest.counts[split] for split in subset.splits]
        return np.array([sum(split[name] for split in counts) for name in manifest.classes])
    labels = labels_of(folder, subset.splits, manifest=manifest)[subset.chosen]
    return np.bincount(labels[labels >= 0], minlength=len(manifest.classes))


def labels_of(folder: Path, splits: tuple[str, ...], *, manifest: RecordManifest) -> np.ndarray:
    """Returns the labels [n] int of some splits' examples, in order; -1 where there is none."""
    return read_field(folder, splits, "label", tf.int64, manifest=manifest)


def groups_of(folder: Path, splits: tuple[str, ...], *, manifest: RecordManifest) -> np.ndarray:
    """Returns the groups [n] bytes of some splits' examples, in order."""
    return read_field(folder, splits, "group", tf.string, manifest=manifest)


def keys_of(folder: Path, splits: tuple[str, ...], *, manifest: RecordManifest) -> np.ndarray:
    """Returns the keys [n] bytes of some splits' examples, in order."""
    return read_field(folder, splits, "key", tf.string, manifest=manifest)


def columns_of(folder: Path, splits: tuple[str, ...], *, manifest: RecordManifest) -> np.ndarray:
    """Returns the columns [n, columns] float32 of some splits' examples, in order."""
    shape = (len(manifest.columns),)
    return read_field(folder, splits, "columns", tf.float32, manifest=manifest, shape=shape)


def all_labelled(manifest: RecordManifest, splits: tuple[str, ...]) -> bool:
    """Returns whether every example of some splits has a label."""
    return not any(manifest.counts[split].get("(unlabelled)") for split in splits)


def read_field(
    folder: Path,
    splits: tuple[str, ...],
    name: str,
    dtype: tf.DType,
    *,
    manifest: RecordManifest,
    shape: tuple[int, ...] = (),
) -> np.ndarray:
    """Returns a field of some splits' examples, [n, *shape] of its dtype, in order."""
    field = {name: tf.io.FixedLenFeature(shape, dtype)}
    dataset = _records(folder, Subset(splits), manifest=manifest).batch(1024)
    values = dataset.map(lambda records: tf.io.parse_example(records, field)[name])
    return np.concatenate(list(values.as_numpy_iterator()))


def marks_of(
    folder: Path, splits: tuple[str, ...], name: str, *, manifest: RecordManifest
) -> np.ndarray:
    """Returns which of some splits' examples [n] bool have 1 in an int64 field, in order."""
    return read_field(folder, splits, name, tf.int64, manifest=manifest) == 1


def size(subset: Subset, *, manifest: RecordManifest) -> int:
    """Returns how many examples a subset has, labelled or not."""
    if subset.chosen is not None:
        return int(subset.chosen.sum())
    return sum(shard.count for shard in manifest.shards if shard.split in subset.splits)


def _records(folder: Path, subset: Subset, *, manifest: RecordManifest) -> tf.data.Dataset:
    """Returns the serialized examples of a subset, in order."""
    shards = _shards(folder, subset, manifest=manifest)
    dataset = tf.data.TFRecordDataset([str(folder / shard.name) for shard in shards])
    return dataset if subset.chosen is None else _where(dataset, subset.chosen)


def _shards(folder: Path, subset: Subset, *, manifest: RecordManifest) -> list[Shard]:
    """Returns the shards of a subset, in order."""
    shards = [s for split in subset.splits for s in manifest.shards if s.split == split]
    for split in subset.splits:
        if not any(shard.split == split for shard in shards):
            raise UserError(f"{folder} holds no {split} records. Run `tfpipe pack` again.")
    return shards


def _options() -> tf.data.Options:
    """Returns options: in order, and with as many threads as cores.

    TensorFlow's own tuning of the number of threads takes a thread itself: without it batches come
    up to twice as fast on two cores, and iterators end at once instead of seconds later.
    """
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    return options


def _where(
    dataset: tf.data.Dataset, chosen: np.ndarray, *, first: int | tf.Tensor = 0
) -> tf.data.Dataset:
    """Returns the elements of a dataset that are chosen, [elements] bool from the first on."""
    is_chosen = tf.constant(chosen)
    return dataset.enumerate(first).filter(lambda i, _: is_chosen[i]).map(lambda _, record: record)


def _label(record):
    feature = {"label": tf.io.FixedLenFeature((), tf.int64)}
    return tf.io.parse_single_example(record, feature)["label"]


def _has_label(label: int):
    return lambda record: _label(record) == label


def without_colours(manifest: RecordManifest) -> RecordManifest:
    """Returns the manifest of the same records, whose images are then read as grey ones.

    Raises:
      UserError: they have no colours.
    """
    height, width, channels = manifest.image_shape
    if channels != 3:
        raise UserError(
            f"The images of {manifest.task} have {channels} channels, not 3 colours, so there "
            "are none to take away."
        )
    return replace(manifest, image_shape=(height, width, 1), stored_shape=(height, width, channels))


def stored_shape(manifest: RecordManifest) -> tuple[int, int, int]:
    """Returns the shape of the images in the records, which may be read as grey ones."""
    return manifest.stored_shape or manifest.image_shape


def parser(manifest: RecordManifest, *, with_targets: bool = False):
    """Returns a function from serialized records [batch] to a batch.

    Args:
      manifest: the records'.
      with_targets: whether what a model may learn besides the class stands beside the images.
    """
    shape, dtype = stored_shape(manifest), tf.as_dtype(manifest.image_dtype)
    columns = len(manifest.columns)
    features = {
        "image": tf.io.FixedLenFeature((), tf.string),
        "label": tf.io.FixedLenFeature((), tf.int64),
    }
    if columns:
        features["columns"] = tf.io.FixedLenFeature((columns,), tf.float32)
    ends = manifest.interval if with_targets else ()
    features |= {name: tf.io.FixedLenFeature((), tf.int64) for name in ends}
    has_rows = with_targets and bool(manifest.row_classes)
    if has_rows:
        features["row_labels"] = tf.io.FixedLenFeature((), tf.string)
    is_raw = manifest.image_encoding == "bytes"

    def decode_png(encoded):
        return tf.io.decode_png(encoded, channels=shape[-1], dtype=dtype)

    def parse(records):
        fields = tf.io.parse_example(records, features)
        if is_raw:
            image = tf.reshape(tf.io.decode_raw(fields["image"], dtype), (-1, *shape))
        else:
            image = tf.map_fn(decode_png, fields["image"], fn_output_signature=dtype)
            image = tf.ensure_shape(image, (None, *shape))
        if manifest.stored_shape:
            image = tf.image.rgb_to_grayscale(image)
        inputs = {"image": image} | ({"columns": fields["columns"]} if columns else {})
        if ends:
            rows = tf.cast(tf.stack([fields[name] for name in ends], axis=1), tf.float32)
            inputs["interval"] = tf.where(rows < 0, rows, rows / shape[0])
        if has_rows:
            decoded = tf.io.decode_raw(fields["row_labels"], tf.uint8)
            inputs["row_labels"] = tf.reshape(decoded, (-1, shape[0]))
        return inputs, fields["label"]

    return parse
