"""Saved versions, ready to answer; each is checked against its card before it is loaded."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.models import sliding_window
from tfpipe.models.calls import batched
from tfpipe.registry import store
from tfpipe.tasks.task import Classify


class Loaded:
    """A version's SavedModel, ready to classify; it is checked against its card first."""

    def __init__(self, version: Path):
        self.path, self.card = version, store.read_card(version)
        store.check(version, self.card.sha256, self.card)
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
            names=self.card.inputs,
            batch_size=batch_size,
        )

    def embed(self, images: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """Returns embeddings [n, units] float32 of what `classify` takes."""
        return batched(
            lambda features: self._embed(**features)["embedding"].numpy(),
            {"image": images, "columns": columns},
            names=self.card.inputs,
        )


def read_model(version: Path) -> keras.Model:
    """Returns a version's model.keras, which can be looked into; checked against the card first."""
    name = "assets.extra/model.keras"
    store.check(version, [name], store.read_card(version))
    return keras.models.load_model(version / name)


def asked(loaded: Loaded, name: str | None) -> Classify:
    """Returns a saved version in one inference mode: that of its card, or another by name.

    Raises:
      UserError: the model does not support that mode.
    """
    best = loaded.card.inference_mode
    name = name or best or sliding_window.DEFAULT_MODE
    if name == sliding_window.DEFAULT_MODE:
        return loaded.classify
    choose(name, sliding_window.INFERENCE_MODES, noun="inference mode")
    found = sliding_window.by_inference_mode(read_model(loaded.path))
    if name not in found:
        raise UserError(
            f"{loaded.card.model} does not support the inference mode {name!r}, only "
            f"{', '.join(found)}."
        )
    return found[name]


def check_kind(version: Path, *, kinds: tuple[str, ...] = ("classifier",)) -> None:
    """Raises a UserError that names the classifiers there are if a version is of another kind."""
    kind = store.read_card(version).kind
    if kind in kinds:
        return
    classifiers = [
        path.name
        for path in sorted(version.parent.parent.iterdir())
        if (numbers := store.versions(path))
        and store.read_card(path / str(numbers[-1])).kind in kinds
    ]
    there = f"predict with --model {' or '.join(classifiers)}"
    what = "of trees on columns, and files are looked at by their pictures"
    if kind == "autoencoder":
        what = "an autoencoder, which gives pictures back and names no classes"
    raise UserError(
        f"Version {version.name} of {version.parent.name} is {what}: "
        f"{there if classifiers else 'train a classifier first'}."
    )
