"""SavedModel export of a network, and the check that it equals the trained one.

What a model takes and returns follows from the names of its inputs and of its output alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpipe.base import images, processes
from tfpipe.base.errors import UserError
from tfpipe.base.hardware import dtype_policy
from tfpipe.evaluation.embedding_novelty import EmbeddingStatistics
from tfpipe.models.calls import inputs_of, reconstructs, squared_errors, with_target
from tfpipe.models.fused import fused_operations
from tfpipe.models.outputs import with_all_outputs
from tfpipe.models.spec import Spec
from tfpipe.registry import graph_scan, keras_scan, novelty_file, parity, warmup
from tfpipe.registry.card import AUTOENCODER, CLASSIFIER

TOLERANCE = 1e-5  # allowed difference between outputs (0..1) of exported and trained model
EXAMPLES = 64  # that the two are compared on
PACKAGES = ("tensorflow", "keras", "keras-tuner", "numpy", "opencv-python-headless", "tfpipe")

Features = dict[str, tf.Tensor]
Answer = Callable[[Features], dict[str, tf.Tensor]]


@dataclass(frozen=True)
class NetworkExport:
    """A trained network, for `store.publish`.

    Attributes:
      model: computes in float32, see `in_float32`.
      spec: what it was built from.
      examples: real examples, "image" [n, height, width, channels] and "columns" [n, columns] where
        the task has some. The exported model's outputs for them must equal the trained model's.
      thresholds: of the version's decision rule, see `metrics.predict_labels`.
      novelty: statistics of ordinary images in its embedding; None for none.
    """

    model: keras.Model
    spec: Spec
    examples: dict[str, np.ndarray]
    thresholds: dict[str, float] = field(default_factory=dict)
    novelty: EmbeddingStatistics | None = None

    def write(self, draft: Path) -> dict[str, Any]:
        """Writes SavedModel, model.keras and warm-up requests, and compares them with the model.

        Returns:
          Fields of the card.

        Raises:
          UserError: the exported model has an operation that is not loaded, does not load in a
            fresh process, or its outputs differ.
        """
        write(self.model, self.spec, draft, thresholds=self.thresholds)
        graph_scan.scan((draft / "saved_model.pb").read_bytes(), name="The exported model")
        extra = draft / "assets.extra"
        extra.mkdir(exist_ok=True)
        self.model.save(extra / "model.keras")
        keras_scan.scan(extra / "model.keras", name="The exported model")
        if self.novelty:
            novelty_file.write(self.novelty, draft)
        warmup.write(draft, _first_requests(self.model, self.examples))
        compared = _compare(self.model, draft, examples=self.examples)
        return {
            "kind": AUTOENCODER if reconstructs(self.model) else CLASSIFIER,
            "inputs": tuple(inputs_of(self.model)),
            "spec": self.spec,
            "columns": self.spec.columns,
            "parity": {
                "max_difference": compared["difference"],
                "tolerance": TOLERANCE,
                "examples": min(EXAMPLES, len(next(iter(self.examples.values())))),
            },
            "speed": compared["speed"],
            "packages": {name: metadata.version(name) for name in PACKAGES},
        }


def write(
    model: keras.Model, spec: Spec, path: Path, *, thresholds: dict[str, float] | None = None
) -> None:
    """Writes the SavedModel with its signatures.

    serving_default takes `image_bytes` (encoded images) and `columns`, the others take `image` and
    `columns`; each only where the model does. predict_and_embed, of classifiers only, has the
    outputs that predict_tensor and embed would compute one after the other.

    Args:
      model: computes in float32.
      spec: what it was built from.
      path: folder to write.
      thresholds: of the decision rule, by which `label` names the class.
    """
    answer = (
        _reconstructed(model)
        if reconstructs(model)
        else _classified(model, spec, thresholds=thresholds or {})
    )
    embedder = keras.Model(model.input, model.get_layer("embedding").output)

    def embed(features: Features) -> dict[str, tf.Tensor]:
        embedding = embedder(features, training=False)
        return {"embedding": tf.cast(embedding, tf.float32)}

    def from_bytes(features: Features) -> dict[str, tf.Tensor]:
        if "image" in features:
            features = {**features, "image": decoded(features["image"], spec)}
        return answer(features)

    names = inputs_of(model)
    kinds = {
        "image": tf.TensorSpec((None, *spec.image_shape), spec.image_dtype, name="image"),
        "columns": tf.TensorSpec((None, len(spec.columns)), tf.float32, name="columns"),
    }
    encoded = kinds | {"image": tf.TensorSpec((None,), tf.string, name="image_bytes")}
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.track(embedder)
    signatures = [
        ("serving_default", from_bytes, encoded),
        ("predict_tensor", answer, kinds),
        ("embed", embed, kinds),
    ]
    if not reconstructs(model):
        both = keras.Model(
            model.input, {"probabilities": model.output, "embedding": embedder.output}
        )
        archive.track(both)
        signatures.append(("predict_and_embed", _embedded(both), kinds))
    for signature, function, inputs in signatures:
        archive.add_endpoint(signature, _of_tensors(function, names), [inputs[n] for n in names])
    with fused_operations(model):  # signatures are traced here
        archive.write_out(str(path), verbose=False)


def _classified(model: keras.Model, spec: Spec, *, thresholds: dict[str, float]) -> Answer:
    classes, whole = tf.constant(spec.classes), with_all_outputs(model)

    def answer(features: Features) -> dict[str, tf.Tensor]:
        outputs = whole(features, training=False)
        probabilities = outputs["probabilities"]
        return outputs | {
            "label": _label(probabilities, thresholds=thresholds),
            "classes": tf.tile(classes[None], [tf.shape(probabilities)[0], 1]),
        }

    return answer


def _embedded(both: keras.Model) -> Answer:
    def answer(features: Features) -> dict[str, tf.Tensor]:
        outputs = both(features, training=False)
        return {name: tf.cast(array, tf.float32) for name, array in outputs.items()}

    return answer


def _label(probabilities: tf.Tensor, *, thresholds: dict[str, float]) -> tf.Tensor:
    """Returns the labels [n] int64 that `metrics.predict_labels` gives."""
    if "decision" in thresholds and probabilities.shape[-1] == 2:
        return tf.cast(probabilities[:, 1] >= np.float32(thresholds["decision"]), tf.int64)
    return tf.argmax(probabilities, axis=-1)


def _reconstructed(model: keras.Model) -> Answer:
    both = with_target(model)

    def answer(features: Features) -> dict[str, tf.Tensor]:
        target, reconstruction = both(features, training=False)
        return {"reconstruction": reconstruction, "error": squared_errors(target, reconstruction)}

    return answer


def _of_tensors(function: Answer, names: list[str]) -> Callable:
    """Returns the function of a signature's tensors in order, as an archive wants it."""
    return lambda *tensors: function(dict(zip(names, tensors, strict=True)))


def decoded(encoded: tf.Tensor, spec: Spec) -> tf.Tensor:
    """Decodes encoded images [batch] to the shape and dtype that the model takes."""
    return tf.map_fn(
        lambda image_bytes: decode_image(image_bytes, spec),
        encoded,
        fn_output_signature=tf.TensorSpec(spec.image_shape, spec.image_dtype),
    )


def decode_image(encoded: tf.Tensor, spec: Spec) -> tf.Tensor:
    """Decodes one encoded image, a scalar, to the shape and dtype that the model takes."""
    height, width, channels = spec.image_shape
    if spec.image_dtype == "float32":
        return tf.reshape(tf.io.decode_raw(encoded, tf.float32), spec.image_shape)
    image = tf.io.decode_image(
        encoded, channels=channels, dtype=tf.as_dtype(spec.image_dtype), expand_animations=False
    )
    image = tf.ensure_shape(image, (None, None, channels))
    fits = tf.reduce_all(tf.shape(image)[:2] == [height, width])
    brought = _framed if spec.letterbox else _stretched
    image = tf.cond(fits, lambda: image, lambda: brought(image, (height, width)))
    return tf.ensure_shape(image, spec.image_shape)


def _stretched(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    resized = tf.image.resize(image, size, antialias=True)
    return tf.cast(tf.round(resized), image.dtype)


def _framed(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Returns an image in the middle of its own background, made smaller where it does not fit.

    As the readers of such tasks do it: `tasks.insolubles.framing.framed`.
    """
    whole = tf.cast(image, tf.float32)
    border = tf.concat([whole[0], whole[-1], whole[:, 0], whole[:, -1]], axis=0)
    ordered, last = tf.sort(border, axis=0), tf.shape(border)[0] - 1
    background = tf.round((ordered[last // 2] + ordered[(last + 1) // 2]) / 2)
    lengths = tf.cast(tf.shape(image)[:2], tf.float64)
    scale = tf.minimum(tf.reduce_min(tf.constant(size, tf.float64) / lengths), 1.0)
    scaled = tf.cast(tf.maximum(tf.round(lengths * scale), 1.0), tf.int32)
    resized = tf.round(tf.image.resize(whole, scaled, method="area"))
    whole = tf.cond(scale < 1, lambda: resized, lambda: whole)
    leading = (tf.constant(size) - scaled) // 2
    trailing = tf.constant(size) - scaled - leading
    sides = tf.stack([leading, trailing], axis=1)
    edges = tf.concat([sides, [[0, 0]]], axis=0)
    # Padding is with 0, so what is padded is how far each pixel is from the background.
    return tf.cast(tf.pad(whole - background, edges) + background, image.dtype)


def in_float32(model: keras.Model, build: Callable[[], keras.Model]) -> keras.Model:
    """Returns the same weights in a network that computes in float32, as every export does."""
    with dtype_policy("float32"):
        rebuilt = build()
    rebuilt.set_weights(model.get_weights())
    return rebuilt


def _first_requests(model: keras.Model, examples: dict[str, np.ndarray]) -> dict[str, dict]:
    """Returns a request of one example for each signature, to warm up with."""
    inputs = {name: examples[name][:1] for name in inputs_of(model)}
    encoded = {name: array for name, array in inputs.items() if name != "image"}
    if "image" in inputs:
        encoded["image_bytes"] = np.array([bytes_of(inputs["image"][0])], object)
    return {"serving_default": encoded, "predict_tensor": inputs, "embed": inputs}


def _compare(model: keras.Model, path: Path, *, examples: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns difference and speed of the export in a fresh process, see `parity.examined`."""
    inputs = {name: examples[name][:EXAMPLES] for name in inputs_of(model)}
    arrays = inputs | {"expected": model(inputs, training=False).numpy()}
    for i, image in enumerate(inputs.get("image", ())):
        arrays[f"encoded{i:03d}"] = np.frombuffer(bytes_of(image), np.uint8)
    sample = path / "assets.extra" / ".parity.npz"
    np.savez(sample, **arrays)
    try:
        examined = processes.called(parity.examined, str(path), str(sample))
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise UserError(f"The exported model does not load in a fresh process: {reason}") from error
    finally:
        sample.unlink(missing_ok=True)
    difference = examined["difference"]
    if not difference <= TOLERANCE:
        raise UserError(
            f"The exported model differs from the trained one by {difference:.2g} in its outputs, "
            f"expected at most {TOLERANCE:g}. Nothing was published."
        )
    return examined


def bytes_of(image: np.ndarray) -> bytes:
    """Returns an image as the bytes that serving_default takes: a PNG, or floats as they are."""
    if image.dtype == np.float32:
        return image.tobytes()
    return images.encode_png(image[:, :, 0] if image.shape[2] == 1 else image)
