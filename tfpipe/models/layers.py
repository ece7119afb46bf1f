"""Shared layers of models: inputs, scaling and classification head."""

import keras
from keras import layers

from tfpipe.base.errors import UserError
from tfpipe.models.spec import Spec

MIN_VARIANCE = 0.001  # of an image, relative to the training split's; below it is not amplified


def image_input(spec: Spec):
    """Returns the input `image` (raw pixels) and the same pixels scaled to mean 0, deviation 1.

    Both are [batch, height, width, channels]; the scaled ones are float32 under every precision
    policy, because bfloat16 has 8 bits of mantissa and uint16 pixels have 16.
    """
    image = keras.Input(spec.image_shape, dtype=spec.image_dtype, name="image")
    variance = [std**2 for std in spec.image_std]
    scaled = layers.Normalization(
        axis=-1, mean=list(spec.image_mean), variance=variance, dtype="float32", name="scale"
    )(image)
    if spec.per_image_standardization:
        scaled = layers.LayerNormalization(
            axis=[1, 2, 3],
            epsilon=MIN_VARIANCE,
            center=False,
            scale=False,
            dtype="float32",
            name="exposure",
        )(scaled)
    return image, scaled


def columns_input(spec: Spec):
    """Returns the input `columns` and the same numbers scaled to mean 0, deviation 1.

    Both are [batch, columns] float32.
    """
    if not spec.columns:
        raise UserError(
            "This model reads columns of numbers, but the data has none. Use another model, or a "
            "task with columns."
        )
    columns = keras.Input((len(spec.columns),), dtype="float32", name="columns")
    scaled = layers.Normalization(
        axis=-1,
        mean=list(spec.column_mean),
        variance=[std**2 for std in spec.column_std],
        dtype="float32",
        name="scale_columns",
    )(columns)
    return columns, scaled


def dense_norm(x, *, units: int, dropout: float, name: str):
    """Returns dense layer, batch norm, rectifier and dropout, as in seed document 000.

    Args:
      x: [batch, n].
      units: of the dense layer.
      dropout: rate.
      name: of the rectifier, and prefix of the other layers' names.

    Returns:
      [batch, units].
    """
    x = layers.Dense(units, name=f"{name}_dense")(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
    x = layers.ReLU(name=name)(x)
    return layers.Dropout(dropout, name=f"{name}_dropout")(x)


def head(x, spec: Spec):
    """Returns `probabilities` [batch, num_classes] float32 of an embedding [batch, n].

    Two classes share one sigmoid unit, as in the seed projects.
    """
    if len(spec.classes) == 2:
        positive = layers.Dense(1, activation="sigmoid", dtype="float32", name="positive")(x)
        negative = layers.Rescaling(-1.0, offset=1.0, dtype="float32", name="negative")(positive)
        return layers.Concatenate(dtype="float32", name="probabilities")([negative, positive])
    return layers.Dense(
        len(spec.classes), activation="softmax", dtype="float32", name="probabilities"
    )(x)


def check_halvings(spec: Spec, *, conv_layers: int, halvings: int) -> None:
    """Raises a UserError if halving the image `halvings` times would leave no pixel."""
    height, width, _ = spec.image_shape
    shortest = 2**halvings
    if min(height, width) < shortest:
        raise UserError(
            f"conv_layers={conv_layers} halves the image {halvings} times and needs at least "
            f"{shortest} px each way, but images are {height} x {width} px. "
            "Give fewer conv_layers or larger images."
        )
