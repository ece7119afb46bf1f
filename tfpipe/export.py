"""A trained model as a SavedModel: raw bytes or pixels in, probabilities or embeddings out."""

from pathlib import Path

import keras
import tensorflow as tf

from tfpipe.models.parts import Spec


def write(model: keras.Model, spec: Spec, path: Path) -> None:
    """Writes the SavedModel with its three signatures."""
    embedder = keras.Model(model.inputs, model.get_layer("embedding").output)
    classes = tf.constant(spec.classes)
    columns = {"columns": tf.TensorSpec((None, len(spec.columns)), tf.float32, name="columns")}
    columns = columns if spec.columns else {}
    image = tf.TensorSpec((None, *spec.image_shape), spec.image_dtype, name="image")

    def answered(inputs):
        probabilities = model(inputs, training=False)
        return {
            "probabilities": probabilities,
            "label": tf.argmax(probabilities, axis=-1),
            "classes": tf.tile(classes[None], [tf.shape(probabilities)[0], 1]),
        }

    def from_bytes(image_bytes, **rest):
        decoded = tf.map_fn(
            lambda encoded: _decoded(encoded, spec),
            image_bytes,
            fn_output_signature=tf.TensorSpec(spec.image_shape, spec.image_dtype),
        )
        return answered({"image": decoded, **rest})

    def from_tensor(image, **rest):
        return answered({"image": image, **rest})

    def embed(image, **rest):
        return {
            "embedding": tf.cast(embedder({"image": image, **rest}, training=False), tf.float32)
        }

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.track(embedder)
    encoded = tf.TensorSpec((None,), tf.string, name="image_bytes")
    archive.add_endpoint(
        "serving_default", _named(from_bytes, columns), [encoded, *columns.values()]
    )
    archive.add_endpoint("predict_tensor", _named(from_tensor, columns), [image, *columns.values()])
    archive.add_endpoint("embed", _named(embed, columns), [image, *columns.values()])
    archive.write_out(str(path), verbose=False)


def _named(function, columns: dict):
    """Returns the function with as many positional arguments as a signature of this task has."""
    if columns:
        return lambda image, columns: function(image, columns=columns)
    return lambda image: function(image)


def _decoded(encoded: tf.Tensor, spec: Spec) -> tf.Tensor:
    """Decodes one picture's bytes to the shape and dtype that the model takes."""
    height, width, channels = spec.image_shape
    if spec.image_dtype == "float32":
        return tf.reshape(tf.io.decode_raw(encoded, tf.float32), spec.image_shape)
    picture = tf.io.decode_image(
        encoded, channels=channels, dtype=tf.as_dtype(spec.image_dtype), expand_animations=False
    )
    picture = tf.ensure_shape(picture, (None, None, channels))
    fits = tf.reduce_all(tf.shape(picture)[:2] == [height, width])
    picture = tf.cond(
        fits,
        lambda: picture,
        lambda: tf.cast(
            tf.round(tf.image.resize(picture, (height, width), antialias=True)), picture.dtype
        ),
    )
    return tf.ensure_shape(picture, spec.image_shape)
