"""Statistics of ordinary images in a network's embedding, in a file beside the SavedModel."""

import io
import math
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfpipe.base.errors import UserError
from tfpipe.data import dataset
from tfpipe.data.dataset import Dataset, Subset
from tfpipe.evaluation import embedding_novelty, image_novelty
from tfpipe.evaluation.embedding_novelty import DescribedImages, EmbeddingStatistics
from tfpipe.models.calls import batched, inputs_of
from tfpipe.models.fused import inference
from tfpipe.registry.card import VersionCard

NAME = "assets.extra/novelty.npz"
MAX_IMAGES = 20_000  # of a split, drawn at random, that the statistics rest on
MAX_VALUES = 1 << 25  # of an array: a header may claim any number
MAX_EMBEDDED = 1 << 26  # values of all embeddings of a split in memory: long ones of fewer images


def fit(model: keras.Model, data: Dataset, *, ignores_exposure: bool) -> EmbeddingStatistics | None:
    """Returns the statistics of a network's training and validation images.

    None if these are few, or the embedding is so long that they would fill the file.

    Args:
      model: as it is exported, in float32: its embeddings are those of the exported model.
      data: the records that it was trained on.
      ignores_exposure: see `EmbeddingStatistics`.
    """
    if "image" not in inputs_of(model):
        return None
    embedder = keras.Model(model.input, model.get_layer("embedding").output)
    length = math.prod(size or 1 for size in embedder.output.shape[1:])
    if length * embedding_novelty.LENGTH > MAX_VALUES:
        return None
    embed = inference(embedder)

    def described(subset: Subset) -> Iterator[DescribedImages]:
        for features, _ in dataset.batches(data.folder, subset, manifest=data.manifest):
            embedding = batched(embed, features, names=inputs_of(model))
            yield embedding_novelty.describe(
                features["image"].numpy(), embedding, ignores_exposure=ignores_exposure
            )

    train, validation = (
        _drawn(data, split, most=min(MAX_IMAGES, MAX_EMBEDDED // length))
        for split in ("train", "validation")
    )
    return embedding_novelty.fit(
        embedding_novelty.join(described(train)),
        _chosen(dataset.labels_of(data.folder, train.splits, manifest=data.manifest), train),
        validation=embedding_novelty.join(described(validation)),
        groups=_chosen(
            dataset.groups_of(data.folder, validation.splits, manifest=data.manifest), validation
        ).astype(bytes),
        ignores_exposure=ignores_exposure,
    )


def write(statistics: EmbeddingStatistics, version: Path) -> None:
    """Writes the statistics into the folder of a version or draft."""
    arrays = {
        name: value.astype(np.float32) if isinstance(value, np.ndarray) else np.array(value)
        for name, value in asdict(statistics).items()
    }
    np.savez_compressed(version / NAME, allow_pickle=False, **arrays)


def read(
    version: Path, card: VersionCard, *, length: int | None = None
) -> EmbeddingStatistics | None:
    """Returns the statistics in a checked copy of a version; None where its card has no such file.

    Args:
      version: the copy.
      card: the version's.
      length: of an embedding, by `embedding_length`.

    Raises:
      UserError: the file is not what `write` writes, or is of another embedding.
    """
    if NAME not in card.sha256:
        return None
    try:
        arrays = _read_arrays(version / NAME)
        ignores_exposure = bool(arrays.pop("ignores_exposure"))
        statistics = EmbeddingStatistics(**arrays, ignores_exposure=ignores_exposure)
        _check(statistics, length)
    except Exception as error:  # each part of an archive or a header fails in a way of its own
        place = "/".join([*version.absolute().parts[-3:], NAME])
        reason = " ".join((str(error) or type(error).__name__).split())
        raise UserError(f"{place} is damaged: {reason[:100]}. Export it again.") from error
    return statistics


def embedding_length(embed: Any) -> int | None:
    """Returns the length of a flat embedding by a signature of a SavedModel; None where it varies.

    Args:
      embed: the signature "embed", or None where a model has none.
    """
    output = embed.structured_outputs.get("embedding") if embed is not None else None
    sizes = [None] if output is None or output.shape.rank is None else output.shape.as_list()[1:]
    return None if None in sizes else math.prod(sizes)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for name in [f"{field.name}.npy" for field in fields(EmbeddingStatistics)]:
            if archive.getinfo(name).file_size > 8 * MAX_VALUES:
                raise ValueError(f"{name} is larger than any array of it")
            file = io.BytesIO(archive.read(name))
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            if math.prod(shape) > MAX_VALUES or dtype.kind not in "fb":
                raise ValueError(f"{name} claims {math.prod(shape):,} values of {dtype}")
            file.seek(0)
            arrays[name.removesuffix(".npy")] = np.load(file, allow_pickle=False)
    return arrays


def _check(statistics: EmbeddingStatistics, embedding_length: int | None) -> None:
    """Raises a ValueError if arrays do not fit each other, or have other values than numbers."""
    measures = image_novelty.count_measures(ignores_exposure=statistics.ignores_exposure)
    length, n_components = statistics.components.shape
    if embedding_length not in (None, length):
        raise ValueError(f"it is of embeddings of {length}, the network's have {embedding_length}")
    numbers = measures + (n_components + 1 if n_components else length)
    classes = len(statistics.means)
    expected = {
        "center": (length,),
        "components": (length, n_components),
        "means": (classes, numbers),
        "roots": (classes, numbers, numbers),
        "constants": (classes,),
        "quantiles": (101,),
    }
    for name, shape in expected.items():
        array = getattr(statistics, name)
        if array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"{name} is {array.shape}, expected {shape} finite numbers")
    if not classes or (np.diff(statistics.quantiles) < 0).any():
        raise ValueError("expected a class, and growing quantiles")


def _drawn(data: Dataset, split: str, *, most: int) -> Subset:
    """Returns a split, or some of its examples at random where there are too many."""
    count = dataset.size(Subset((split,)), manifest=data.manifest)
    if count <= most:
        return Subset((split,))
    is_chosen = np.zeros(count, bool)
    is_chosen[np.random.default_rng(0).choice(count, most, replace=False)] = True
    return Subset((split,), is_chosen)


def _chosen(values: np.ndarray, subset: Subset) -> np.ndarray:
    return values if subset.chosen is None else values[subset.chosen]
