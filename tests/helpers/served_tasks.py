"""Untrained versions of real tasks, and raw files of theirs, for tests of a server."""

from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from made_card import made_card

from tfpipe.base import processes
from tfpipe.evaluation import embedding_novelty, image_novelty
from tfpipe.evaluation.embedding_novelty import EmbeddingStatistics
from tfpipe.models.spec import Spec
from tfpipe.models.zoo import simple_cnn
from tfpipe.registry import store
from tfpipe.registry.card import RecordSummary
from tfpipe.registry.export import NetworkExport
from tfpipe.tasks import catalog, samples

CLASSES = {
    "melt-layer": ("no-layer", "melt-layer"),
    "ccd-tracks": ("muon", "other", "x-ray"),
    "insolubles": ("Corylus", "Dust", "Qrobur"),
    "folds": ("box", "chevron", "rounded"),
    "ionization-redshift": ("6.0", "7.0", "8.0"),
}
SIZES = {
    "melt-layer": {"photos": 2, "px_per_m": 600},
    "ccd-tracks": {"exposures": 2, "tracks": 12, "frame_px": 256},
    "insolubles": {"runs": 1, "field_runs": 1, "particles": 20},
    "folds": {"outcrops": 1, "crops": 2},
    "ionization-redshift": {"simulations": 1, "cells": 16},
}

PATTERNS = {
    "ccd-tracks": "*.fits*",
    "folds": "*_*.png",
    "ionization-redshift": "*z00[89].?0*0.070*",
}

# Shape and options as a survey completes them, and as windows are few.
COMPLETED = {
    "melt-layer": ((50, 200, 3), {"predict_stride_px": 40}),
    "folds": ((64, 64, 3), {"size": "64x64"}),
    "ionization-redshift": ((16, 16, 1), {"side": 16, "cell_mpc": 150 / 16}),
}


def draw(task: str, folder: Path) -> list[Path]:
    """Draws raw files of a task, and returns what a user predicts: photos, exposures, a run."""
    samples.draw(task, folder / task, seed=3, **SIZES[task])
    if task == "melt-layer":
        return sorted((folder / task / "photos").iterdir())
    if task in PATTERNS:
        return sorted((folder / task).rglob(PATTERNS[task]))
    return sorted(path for path in (folder / task).iterdir() if path.is_dir())[:1]


def table_of(paths: list[Path]) -> Path | None:
    """Returns the table of drawn photos, None for other raw files."""
    table = paths[0].parents[1] / "photos.csv"
    return table if table.is_file() else None


def publish(name: str, models: Path) -> Path:
    """Publishes an untrained network of a task, whose probabilities differ between images.

    Ordinary images are noise by its card, so all others are new.
    """
    task, classes = catalog.TASKS[name], CLASSES[name]
    if name in COMPLETED:
        shape, changes = COMPLETED[name]
        options = replace(task.options, **changes)
        task = replace(task, options=options, image_shape=shape)
    keras.utils.set_random_seed(1)
    channels = task.image_shape[2]
    spec = Spec(
        task.image_shape,
        classes,
        (120.0,) * channels,
        (60.0,) * channels,
        image_dtype=task.image_dtype,
        per_image_standardization=task.preprocessing.per_image_standardization,
    )
    model = simple_cnn.build_simple_cnn(
        spec, filters=4, conv_layers=2, dropout=0.0, dense_units=8, dense_dropout=0.0
    )
    rng = np.random.default_rng(1)
    images = rng.integers(0, 255, (64, *task.image_shape)).astype(task.image_dtype)
    head = next(layer for layer in model.layers[::-1] if layer.get_weights())
    kernel = rng.normal(0, 1, head.get_weights()[0].shape)
    embed = keras.Model(model.input, model.get_layer("embedding").output)
    logits = embed({"image": images}).numpy() @ kernel
    head.set_weights([kernel / logits.std(), -(logits / logits.std()).mean(axis=0)])
    card = made_card(
        task=name,
        classes=classes,
        options=asdict(task.options),
        thresholds={"decision": 0.5, "confident": 0.9} if len(classes) == 2 else {},
        novelty=image_novelty.fit([images], [images], ignores_exposure=True),
        inference_mode="windows" if name == "melt-layer" else "",
        data=RecordSummary(fingerprint="", origin=name),
    )
    called = processes.called
    processes.called = lambda function, *args: function(*args)
    try:
        network = NetworkExport(
            model, spec, {"image": images[:4]}, novelty=ordinary_noise(embed, images.shape[1:], rng)
        )
        return store.publish(
            network,
            models / name / "simple-cnn",
            card=card,
            tables={"predictions": _predictions(classes)},
        )
    finally:
        processes.called = called


def ordinary_noise(embed, shape: tuple[int, ...], rng) -> EmbeddingStatistics | None:
    """Returns statistics in an embedding by which images of noise are ordinary."""
    images = rng.integers(0, 255, (128, *shape)).astype(embed.input["image"].dtype)
    embedding = embed.predict({"image": images}, verbose=0)
    described = embedding_novelty.describe(images, embedding, ignores_exposure=True)
    training, validation = (
        embedding_novelty.DescribedImages(*(array[rows] for array in described))
        for rows in (slice(0, 64), slice(64, None))
    )
    return embedding_novelty.fit(
        training,
        np.zeros(64, int),
        validation=validation,
        groups=np.arange(64) // 8,
        ignores_exposure=True,
    )


def _predictions(classes: tuple[str, ...]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % len(classes)
    probabilities = rng.dirichlet(np.ones(len(classes)), 60)
    probabilities[np.arange(60), labels] += 1
    frame = pd.DataFrame({"key": [f"k{i}" for i in range(60)], "label": labels})
    frame["split"] = np.where(np.arange(60) < 30, "validation", "test")
    frame["group"] = [f"g{i // 3}" for i in range(60)]
    frame[[f"p_{name}" for name in classes]] = probabilities / 2
    return frame
