"""Packed records as the pictures and numbers that models take."""

import tensorflow as tf

from tfpipe.base.errors import UserError


def without_colours(manifest: dict) -> dict:
    """Returns the manifest of the same records, whose pictures are then read as grey ones.

    Raises:
      UserError: they have no colours.
    """
    height, width, channels = manifest["image_shape"]
    if channels != 3:
        raise UserError(
            f"The pictures of {manifest['task']} have {channels} channels, not 3 colours, so there "
            "are none to take away."
        )
    return manifest | {"image_shape": [height, width, 1], "stored_shape": [height, width, 3]}


def stored_shape(manifest: dict) -> tuple[int, int, int]:
    """Returns the shape of the pictures in the records, which may be read as grey ones."""
    return tuple(manifest.get("stored_shape", manifest["image_shape"]))


def parser(manifest: dict, *, intervals: bool = False):
    """Returns a function from serialized records [batch] to a batch."""
    shape, dtype = stored_shape(manifest), tf.as_dtype(manifest["image_dtype"])
    columns = len(manifest["columns"])
    wanted = {
        "image": tf.io.FixedLenFeature((), tf.string),
        "label": tf.io.FixedLenFeature((), tf.int64),
    }
    if columns:
        wanted["columns"] = tf.io.FixedLenFeature((columns,), tf.float32)
    ends = manifest.get("interval", ()) if intervals else ()
    wanted |= {name: tf.io.FixedLenFeature((), tf.int64) for name in ends}
    is_raw = manifest["image_encoding"] == "bytes"

    def picture(encoded):
        return tf.io.decode_png(encoded, channels=shape[-1], dtype=dtype)

    def parse(records):
        fields = tf.io.parse_example(records, wanted)
        if is_raw:
            image = tf.reshape(tf.io.decode_raw(fields["image"], dtype), (-1, *shape))
        else:
            image = tf.map_fn(picture, fields["image"], fn_output_signature=dtype)
            image = tf.ensure_shape(image, (None, *shape))
        if "stored_shape" in manifest:
            image = tf.image.rgb_to_grayscale(image)
        inputs = {"image": image} | ({"columns": fields["columns"]} if columns else {})
        if ends:
            rows = tf.cast(tf.stack([fields[name] for name in ends], axis=1), tf.float32)
            inputs["interval"] = tf.where(rows < 0, rows, rows / shape[0])
        return inputs, fields["label"]

    return parse
