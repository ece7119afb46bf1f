"""Saved versions, ready to answer; each is checked against its card before it is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpipe import saved


class Loaded:
    """A version's SavedModel, ready to classify; it is checked against its card first."""

    def __init__(self, version: Path):
        self.path, self.card = version, saved.read_card(version)
        saved.check(version, self.card["sha256"], self.card)
        self._model = tf.saved_model.load(str(version))  # its signatures hold no reference to it
        self._call = self._model.signatures["predict_tensor"]
        self._embed = self._model.signatures["embed"]

    def classify(
        self, images: np.ndarray, columns: np.ndarray | None = None, *, batch_size: int = 128
    ) -> np.ndarray:
        """Returns probabilities [n, classes] float32.

        Args:
          images: [n, height, width, channels]; left aside by a model of columns only.
          columns: [n, columns] float32, where the task has some; likewise.
          batch_size: examples shown at once.
        """
        return batched(
            lambda features: self._call(**features)["probabilities"].numpy(),
            {"image": images, "columns": columns},
            names=self.card["inputs"],
            batch_size=batch_size,
        )

    def embed(self, images: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """Returns embeddings [n, units] float32 of what `classify` takes."""
        return batched(
            lambda features: self._embed(**features)["embedding"].numpy(),
            {"image": images, "columns": columns},
            names=self.card["inputs"],
        )


def batched(
    answer: Callable[[dict[str, tf.Tensor]], Any],
    features: dict[str, np.ndarray | None],
    *,
    names: list[str],
    batch_size: int = 128,
) -> Any:
    """Returns a model's answers [n, ...] to any number of examples, none included.

    Args:
      answer: some examples' features -> their answers, an array or arrays by name.
      features: "image" and "columns", [n, ...] each.
      names: those the model takes.
      batch_size: examples shown at once.
    """
    taken = {name: features[name] for name in names}
    count = len(taken[names[0]])
    if not count:  # of no example at all, oneDNN's fused convolutions mistake the shape
        one = {name: np.zeros((1, *array.shape[1:]), array.dtype) for name, array in taken.items()}
        none = batched(answer, one, names=names)
        return keras.tree.map_structure(lambda array: array[:0], none)
    parts = [
        answer({name: tf.constant(array[i : i + batch_size]) for name, array in taken.items()})
        for i in range(0, count, batch_size)
    ]
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def read_model(version: Path) -> keras.Model:
    """Returns a version's model.keras, which can be looked into; checked against the card first."""
    name = "assets.extra/model.keras"
    saved.check(version, [name], saved.read_card(version))
    return keras.models.load_model(version / name)
