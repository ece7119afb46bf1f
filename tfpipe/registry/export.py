"""A trained model as a SavedModel: raw bytes or numbers in, answers or embeddings out.

What a model takes and answers is told by the names of its inputs and of its output alone.
"""

from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from tfpipe.base.hardware import dtype_policy
from tfpipe.models.calls import inputs_of, reconstructs, squared_errors, with_target
from tfpipe.models.interval_head import with_interval
from tfpipe.models.spec import Spec

Features = dict[str, tf.Tensor]
Answer = Callable[[Features], dict[str, tf.Tensor]]


def write(model: keras.Model, spec: Spec, path: Path) -> None:
    """Writes the SavedModel with its three signatures.

    serving_default takes `image_bytes` (encoded pictures) and `columns`, predict_tensor and embed
    take `image` and `columns`; each only where the model does.
    """
    answer = _reconstructed(model) if reconstructs(model) else _classified(model, spec)
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
    for signature, function, taken in (
        ("serving_default", from_bytes, encoded),
        ("predict_tensor", answer, kinds),
        ("embed", embed, kinds),
    ):
        archive.add_endpoint(signature, _of_tensors(function, names), [taken[n] for n in names])
    archive.write_out(str(path), verbose=False)


def _classified(model: keras.Model, spec: Spec) -> Answer:
    classes, whole = tf.constant(spec.classes), with_interval(model)

    def answer(features: Features) -> dict[str, tf.Tensor]:
        said = whole(features, training=False)
        probabilities = said["probabilities"]
        return said | {
            "label": tf.argmax(probabilities, axis=-1),
            "classes": tf.tile(classes[None], [tf.shape(probabilities)[0], 1]),
        }

    return answer


def _reconstructed(model: keras.Model) -> Answer:
    both = with_target(model)

    def answer(features: Features) -> dict[str, tf.Tensor]:
        target, given = both(features, training=False)
        return {"reconstruction": given, "error": squared_errors(target, given)}

    return answer


def _of_tensors(function: Answer, names: list[str]) -> Callable:
    """Returns the function of a signature's tensors in order, as an archive wants it."""
    return lambda *tensors: function(dict(zip(names, tensors, strict=True)))


def decoded(encoded: tf.Tensor, spec: Spec) -> tf.Tensor:
    """Decodes pictures' bytes [batch] to the shape and dtype that the model takes."""
    return tf.map_fn(
        lambda one: _picture(one, spec),
        encoded,
        fn_output_signature=tf.TensorSpec(spec.image_shape, spec.image_dtype),
    )


def _picture(encoded: tf.Tensor, spec: Spec) -> tf.Tensor:
    height, width, channels = spec.image_shape
    if spec.image_dtype == "float32":
        return tf.reshape(tf.io.decode_raw(encoded, tf.float32), spec.image_shape)
    picture = tf.io.decode_image(
        encoded, channels=channels, dtype=tf.as_dtype(spec.image_dtype), expand_animations=False
    )
    picture = tf.ensure_shape(picture, (None, None, channels))
    fits = tf.reduce_all(tf.shape(picture)[:2] == [height, width])
    brought = _framed if spec.letterbox else _stretched
    picture = tf.cond(fits, lambda: picture, lambda: brought(picture, (height, width)))
    return tf.ensure_shape(picture, spec.image_shape)


def _stretched(picture: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    resized = tf.image.resize(picture, size, antialias=True)
    return tf.cast(tf.round(resized), picture.dtype)


def _framed(picture: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Returns a picture in the middle of its own background, made smaller where it does not fit.

    As the readers of such tasks do it: `tasks.insolubles.framing.framed`.
    """
    whole = tf.cast(picture, tf.float32)
    border = tf.concat([whole[0], whole[-1], whole[:, 0], whole[:, -1]], axis=0)
    ordered, last = tf.sort(border, axis=0), tf.shape(border)[0] - 1
    background = tf.round((ordered[last // 2] + ordered[(last + 1) // 2]) / 2)
    lengths = tf.cast(tf.shape(picture)[:2], tf.float64)
    scale = tf.minimum(tf.reduce_min(tf.constant(size, tf.float64) / lengths), 1.0)
    own = tf.cast(tf.maximum(tf.round(lengths * scale), 1.0), tf.int32)
    resized = tf.round(tf.image.resize(whole, own, method="area"))
    whole = tf.cond(scale < 1, lambda: resized, lambda: whole)
    before = (tf.constant(size) - own) // 2
    after = tf.constant(size) - own - before
    sides = tf.stack([before, after], axis=1)
    edges = tf.concat([sides, [[0, 0]]], axis=0)
    # Padding is with 0, so what is padded is how far each pixel is from the background.
    return tf.cast(tf.pad(whole - background, edges) + background, picture.dtype)


def in_float32(model: keras.Model, build: Callable[[], keras.Model]) -> keras.Model:
    """Returns the same weights in a network that computes in float32, as every export does."""
    with dtype_policy("float32"):
        rebuilt = build()
    rebuilt.set_weights(model.get_weights())
    return rebuilt
