"""Trains the tiny task with a number of threads, in a process of its own; prints what came out."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import tiny

from tfpipe.data import manifest
from tfpipe.training import compile as training_compile
from tfpipe.training import loop
from tfpipe.training.config import TrainingConfig


def train(records: Path) -> dict:
    """Returns the history, and the probabilities of some images."""
    data = loop.Dataset(records, manifest.read(records), tiny.TASK.scoring.objective)
    settings = TrainingConfig(epochs=2, seed=5)
    keras.utils.set_random_seed(5)
    model = tiny.build(tiny.spec_of(data), filters=4, dropout=0.2)
    training_compile.prepare(model, data, settings=settings)
    history = loop.fit(model, data, settings=settings)
    images = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 1), dtype=np.uint8)
    probabilities = np.asarray(model({"image": images}, training=False))
    return {
        "history": {name: values for name, values in history.items() if name != "seconds"},
        "probabilities": probabilities.astype(float).tolist(),
    }


if __name__ == "__main__":
    print(json.dumps(train(Path(sys.argv[1]))))
