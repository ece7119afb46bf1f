"""A task of four classes with columns and unlabelled images, and small models of every kind."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tiny
from keras import layers

from tfpipe.data import manifest as data_manifest
from tfpipe.data import pack
from tfpipe.data.dataset import Dataset
from tfpipe.models.spec import Spec
from tfpipe.tasks.task import Example, RawFiles, Reading, Scoring

CLASSES = ("none", "few", "some", "many")


def read(source, options) -> Reading:
    """Draws images that are brighter the higher their label; every ninth has no label."""
    rng = np.random.default_rng(int(source.path.read_text()))
    examples = []
    for i in range(options.pictures):
        kind = i % len(CLASSES)
        image = rng.integers(0, 60, (16, 16, 1), dtype=np.uint8)
        image[4:12, 4:12] += np.uint8(60 * kind)
        columns = np.array([kind + rng.normal(0, 0.3), rng.normal()], np.float32)
        label = -1 if i % 9 == 8 else kind
        examples.append(Example(f"{source.name}@{i:03d}", source.group, image, label, columns, {}))
    return Reading(examples)


TASK = replace(
    tiny.TASK,
    name="kinds",
    classes=CLASSES,
    columns=("level", "other"),
    read=read,
    whole_file=replace(tiny.TASK.whole_file, evaluate=None, metric=""),
    raw_files=RawFiles(),
    scoring=Scoring(objective="macro_average_precision"),
)


def packed(folder: Path, *, files: int = 12, task=TASK) -> Dataset:
    """Draws and packs the task under a folder: raw/ and records/."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    for i in range(files):
        (raw / f"file{i:02d}.txt").write_text(str(i))
    manifest = pack.pack(task, raw, folder / "records", options=task.options)
    return Dataset(folder / "records", manifest, task.scoring.objective)


def spec_of(data: Dataset) -> Spec:
    """Returns what a model may know of the packed task."""
    stats = {name: tuple(values) for name, values in data_manifest.read_stats(data.folder).items()}
    manifest = data.manifest
    return Spec(
        tuple(manifest.image_shape),
        tuple(manifest.classes),
        columns=tuple(manifest.columns),
        **stats,
    )


def of_columns(spec: Spec) -> keras.Model:
    """Builds a classifier that takes columns only."""
    columns = keras.Input((len(spec.columns),), name="columns")
    x = layers.Dense(8, activation="relu", name="embedding")(columns)
    return keras.Model({"columns": columns}, _classes(x, spec))


def of_both(spec: Spec) -> keras.Model:
    """Builds a classifier that takes the image and columns."""
    image = keras.Input(spec.image_shape, dtype=spec.image_dtype, name="image")
    columns = keras.Input((len(spec.columns),), name="columns")
    x = layers.Flatten()(layers.Rescaling(1 / 255, dtype="float32")(image))
    x = layers.Concatenate()([layers.Dense(4, activation="relu")(x), columns])
    x = layers.Dense(8, activation="relu", name="embedding")(x)
    return keras.Model({"image": image, "columns": columns}, _classes(x, spec))


def autoencoder(spec: Spec) -> keras.Model:
    """Builds an autoencoder of three layers."""
    image = keras.Input(spec.image_shape, dtype=spec.image_dtype, name="image")
    white = {"uint8": 255, "uint16": 65535, "float32": 1}[spec.image_dtype]
    unit = layers.Rescaling(1 / white, dtype="float32", name="unit_scale")(image)
    code = layers.Dense(4, name="embedding")(layers.Flatten()(unit))
    x = layers.Dense(int(np.prod(spec.image_shape)), activation="sigmoid")(code)
    made = layers.Reshape(spec.image_shape, dtype="float32", name="reconstruction")(x)
    return keras.Model({"image": image}, made)


def _classes(x, spec: Spec):
    return layers.Dense(
        len(spec.classes), activation="softmax", dtype="float32", name="probabilities"
    )(x)
