"""Saved versions, ready to predict: the one place where files of a version are loaded.

They are checked first, and the checked bytes are what is loaded: see `checked_files`, `graph_scan`.
"""

import zipfile
import zlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfpipe.base.choose import choose, listed
from tfpipe.base.errors import UserError
from tfpipe.evaluation import calibration
from tfpipe.evaluation.embedding_novelty import EmbeddingStatistics
from tfpipe.models import boosted_trees, sliding_window
from tfpipe.models.calls import batched
from tfpipe.registry import checked_files, graph_scan, keras_scan, novelty_file, store
from tfpipe.registry.card import AUTOENCODER, BOOSTED_TREES, CLASSIFIER, VersionCard
from tfpipe.registry.checked_files import CheckedCopy, checked_copy
from tfpipe.tasks.task import Classify

TREES = "model.ubj"
SIGNATURES = ("serving_default", "predict_tensor", "embed")
BOTH = "predict_and_embed"  # of classifiers, but of older releases
# What TensorFlow and Keras raise for a file that is damaged, or made to look like a version.
LOADING_ERRORS = (
    OSError, AssertionError, AttributeError, EOFError, LookupError, RuntimeError, TypeError,
    ValueError, tf.errors.OpError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class SavedPredictor(Protocol):
    """A saved version that predicts, whatever its model.

    Attributes:
      path: folder of the version.
      card: its card.
      has_embedding: whether `embed` works.
      novelty: statistics of ordinary images in its embedding; None of older releases, or where
        there were too few images.
    """

    path: Path
    card: VersionCard
    has_embedding: bool
    novelty: EmbeddingStatistics | None

    @property
    def inference_modes(self) -> Mapping[str, Classify]:
        """Inference mode -> predictions in it; see `sliding_window.by_inference_mode`."""

    def predict_proba(
        self, images: np.ndarray | None = None, columns: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns probabilities [n, classes] float32.

        Args:
          images: [n, height, width, channels]; ignored by a model of columns only.
          columns: [n, columns] float32 in the card's order, nan where nothing was measured; ignored
            by a model of images only.

        Raises:
          UserError: an input that the model needs is missing or has another shape.
        """

    def embed(
        self, images: np.ndarray | None = None, columns: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns embeddings [n, units] float32 of the same inputs.

        Raises:
          UserError: as `predict_proba`, or the model has no embedding.
        """

    def predict_and_embed(
        self, images: np.ndarray | None = None, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns what `predict_proba` and `embed` do, by one call of the network.

        Raises:
          UserError: as `embed`.
        """


def open_version(path: Path) -> SavedPredictor:
    """Returns a version, ready to predict.

    Raises:
      UserError: a file of it is missing, or not the one that the card vouches for.
    """
    return LoadedTrees(path) if store.read_card(path).kind == BOOSTED_TREES else LoadedVersion(path)


def load_network(copy: CheckedCopy) -> Any:
    """Returns the SavedModel of a checked copy, once its graph is seen to do nothing but compute.

    Raises:
      UserError: it is missing, must not be loaded, or cannot be.
    """
    name = "/".join(copy.folder.parts[-3:])
    try:
        graph_scan.scan((copy.folder / "saved_model.pb").read_bytes(), name=name)
        model = tf.saved_model.load(str(copy.folder))
        mismatch = _mismatch(model.signatures, copy.card)
    except FileNotFoundError as error:
        raise UserError(f"{name} has no saved_model.pb in its card. Export it again.") from error
    except LOADING_ERRORS as error:
        raise UserError(
            f"{name} cannot be loaded: {_first_line(error)}. Export it again."
        ) from error
    if mismatch:
        raise UserError(f"{name} is not what its card says: {mismatch}. Export it again.")
    return model


class LoadedVersion:
    """A network's SavedModel."""

    has_embedding = True

    def __init__(self, path: Path):
        with checked_copy(path) as copy:
            self.path, self.card = path, copy.card
            self._model = load_network(copy)  # its signatures hold no reference to it
            length = novelty_file.embedding_length(self._model.signatures["embed"])
            self.novelty = novelty_file.read(copy.folder, copy.card, length=length)
        self._predict = self._model.signatures["predict_tensor"]
        self._embed = self._model.signatures["embed"]

    @cached_property
    def inference_modes(self) -> Mapping[str, Classify]:
        """Inference mode -> predictions in it, by the version's Keras model."""
        return sliding_window.by_inference_mode(read_model(self.path))

    def predict_proba(
        self,
        images: np.ndarray | None = None,
        columns: np.ndarray | None = None,
        *,
        batch_size: int = 128,
    ) -> np.ndarray:
        """Returns probabilities [n, classes] float32, see `SavedPredictor`."""
        return batched(
            lambda features: self._predict(**features)["probabilities"],
            self._inputs(images, columns),
            names=self.card.inputs,
            batch_size=batch_size,
        )

    def embed(
        self, images: np.ndarray | None = None, columns: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns embeddings [n, units] float32, see `SavedPredictor`."""
        return batched(
            lambda features: self._embed(**features)["embedding"],
            self._inputs(images, columns),
            names=self.card.inputs,
        )

    def predict_and_embed(
        self, images: np.ndarray | None = None, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns probabilities and embeddings, see `SavedPredictor`."""
        if BOTH not in self._model.signatures:
            return self.predict_proba(images, columns), self.embed(images, columns)
        signature = self._model.signatures[BOTH]
        outputs = batched(
            lambda features: signature(**features),
            self._inputs(images, columns),
            names=self.card.inputs,
        )
        return outputs["probabilities"], outputs["embedding"]

    def _inputs(
        self, images: np.ndarray | None, columns: np.ndarray | None
    ) -> dict[str, np.ndarray | None]:
        inputs = {"image": images, "columns": columns}
        for name in self.card.inputs:
            if inputs[name] is None:
                raise UserError(
                    f"{self.path} predicts from {' and '.join(self.card.inputs)}, but received no "
                    f"{name}. Pass it, too."
                )
        return inputs


class LoadedTrees:
    """Boosted trees on columns."""

    has_embedding = False
    novelty: EmbeddingStatistics | None = None

    def __init__(self, path: Path):
        with checked_copy(path) as copy:
            self.path, self.card = path, copy.card
            name = "/".join([*copy.folder.parts[-3:], TREES])
            self._trees = boosted_trees.load(copy.folder / TREES, name=name)
        columns, classes = len(self.card.columns), len(self.card.classes)
        given = boosted_trees.classify(self._trees, np.zeros((0, columns), np.float32))
        if self._trees.num_features() != columns or given.shape[1] != classes:
            raise UserError(
                f"{name} predicts {given.shape[1]} classes from {self._trees.num_features()} "
                f"columns, but its card has {classes} and {columns}. Train it again."
            )

    @property
    def inference_modes(self) -> Mapping[str, Classify]:
        """The one mode that trees have, which slides no window."""
        return {sliding_window.DEFAULT_MODE: self.predict_proba}

    def predict_proba(
        self, images: np.ndarray | None = None, columns: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns calibrated probabilities [n, classes] float32, see `SavedPredictor`."""
        names = self.card.columns
        shape = () if columns is None else columns.shape
        if columns is None or len(shape) != 2 or shape[1] != len(names):
            received = "none" if columns is None else " x ".join(map(str, shape))
            raise UserError(
                f"{self.path} predicts from {len(names)} columns ({', '.join(names)}), but "
                f"received {received}."
            )
        raw = boosted_trees.classify(self._trees, np.asarray(columns, np.float32))
        fitted = self.card.calibration
        probabilities = calibration.apply(raw, fitted["temperature"], fitted.get("bias", ()))
        return probabilities.astype(np.float32)

    def embed(
        self, images: np.ndarray | None = None, columns: np.ndarray | None = None
    ) -> np.ndarray:
        """Raises a UserError: trees have no embedding."""
        raise UserError(f"{self.path} is of trees, which have no embedding. Leave out --embedding.")

    def predict_and_embed(
        self, images: np.ndarray | None = None, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Raises a UserError: trees have no embedding."""
        return self.predict_proba(images, columns), self.embed(images, columns)


def read_model(version: Path) -> keras.Model:
    """Returns a version's model.keras as a Keras model that is not compiled.

    Raises:
      UserError: the file is missing, not the one that the card has, must not be loaded, or cannot
        be.
    """
    with checked_copy(version, checked_files.MODEL_KERAS) as copy:
        name = "/".join([*copy.folder.parts[-3:], "model.keras"])
        return read_keras(copy.folder / checked_files.MODEL_KERAS, name=name)


def read_keras(path: Path, *, name: str) -> keras.Model:
    """Returns a checked .keras file as a Keras model that is not compiled.

    Args:
      path: the file.
      name: its name in sentences.

    Raises:
      UserError: it must not be loaded, or cannot be.
    """
    try:
        keras_scan.scan(path, name=name.removesuffix("/model.keras"))
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except LOADING_ERRORS as error:
        raise UserError(
            f"{name} cannot be loaded: {_first_line(error)}. Export it again."
        ) from error


def with_inference_mode(predictor: SavedPredictor, name: str | None) -> Classify:
    """Returns a version's predictions of long images in an inference mode.

    They serve decisions by the mode's threshold; see `SlidingWindowModel.at_threshold`.

    Args:
      predictor: the version.
      name: the mode; None for the one in the card.

    Raises:
      UserError: the model does not support the mode.
    """
    card = predictor.card
    mode = name or card.inference_mode or sliding_window.DEFAULT_MODE
    scores = card.inference_modes.get(name or "", {})  # as `predict` chooses the thresholds
    threshold = scores.get("thresholds", card.thresholds).get("decision", 0.0)
    if mode == sliding_window.DEFAULT_MODE:
        if card.spec is None:  # of the first releases
            return predictor.predict_proba
        height_px = card.spec.image_shape[0]
        windows = sliding_window.of_classifier(predictor.predict_proba, height_px=height_px)
        return windows.at_threshold(threshold)
    choose(mode, sliding_window.INFERENCE_MODES, noun="inference mode")
    modes = predictor.inference_modes
    if mode not in modes:
        raise UserError(
            f"{card.model} does not support the inference mode {mode!r}, only {', '.join(modes)}."
        )
    return sliding_window.at_threshold(modes[mode], threshold)


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
    remedy = f"predict with --model {' or '.join(classifiers)}"
    what = "of trees on columns, but files are predicted from their images"
    if kind == "autoencoder":
        what = "an autoencoder, which gives images back and names no classes"
    raise UserError(
        f"Version {version.name} of {version.parent.name} is {what}: "
        f"{remedy if classifiers else 'train a classifier first'}."
    )


def _mismatch(signatures: Mapping[str, Any], card: VersionCard) -> str:
    """Returns how the signatures differ from what the card promises, or ""."""
    for name in SIGNATURES:
        if name not in signatures:
            return f"it has no signature {name}"
    predict, embed = signatures["predict_tensor"], signatures["embed"]
    for name, signature in (("predict_tensor", predict), ("embed", embed)):
        inputs = sorted(signature.structured_input_signature[1])
        if inputs != sorted(card.inputs):
            return f"{name} takes {listed(inputs)}, expected {listed(card.inputs)}"
    output = "reconstruction" if card.kind == AUTOENCODER else "probabilities"
    if output not in predict.structured_outputs or "embedding" not in embed.structured_outputs:
        return f"it gives no {output} or no embedding"
    both = signatures.get(BOTH)
    if both and {*both.structured_outputs} != {"probabilities", "embedding"}:
        return f"{BOTH} gives {listed(sorted(both.structured_outputs))}"
    if both and sorted(both.structured_input_signature[1]) != sorted(card.inputs):
        return f"{BOTH} takes other inputs than predict_tensor"
    count = predict.structured_outputs[output].shape[-1]
    if card.kind == CLASSIFIER and count != len(card.classes):
        return f"it gives {count} probabilities, expected {len(card.classes)}"
    return ""


def _first_line(error: Exception) -> str:
    """Returns the first line of an error, cut, without its full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(". ")
