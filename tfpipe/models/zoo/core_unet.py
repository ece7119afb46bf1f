"""Core U-Net: the class of each row of a strip of an ice core, in the context of decimetres."""

import keras
from keras import layers, ops

from tfpipe.base.errors import UserError
from tfpipe.models.layers import head
from tfpipe.models.row_head import RowClasses, RowLabelling
from tfpipe.models.spec import Spec

DARKEST = 0.02  # of the mean brightness; darker pixels are not told apart
CONTRAST = 5.0  # a change of brightness by a fifth has the size 1
COLUMNS = 8  # what is left of the width before it is collapsed
ROW_WEIGHT = 5.0  # of the rows' loss, relative to that of the whole strip
EMBEDDING = 32  # its length


@keras.saving.register_keras_serializable(package="tfpipe")
class RelativeBrightness(layers.Layer):
    """Logarithm of each pixel's brightness, relative to that of the whole image.

    An exposure cancels out, and a layer that is a quarter darker than the ice around it has one
    value in all photos. Scaling by an image's own deviation would enlarge the stratification of ice
    without layers until it looks like layers.

    Args:
      mean: brightness of a usual pixel.
    """

    def __init__(self, mean: float, **rest):
        super().__init__(**rest)
        self.mean = mean

    def call(self, image):
        """Returns [batch, height, width, channels] float32 of raw pixels."""
        bright = ops.log(ops.relu(ops.cast(image, "float32")) + DARKEST * self.mean)
        return CONTRAST * (bright - ops.mean(bright, axis=(1, 2, 3), keepdims=True))

    def get_config(self) -> dict:
        return super().get_config() | {"mean": self.mean}


def build(
    spec: Spec,
    *,
    filters: int = 8,
    levels: int = 4,
    units: int = 48,
    dropout: float = 0.1,
    event_weight: float = 3.0,
    shift_rows: int = 4,
) -> keras.Model:
    """Builds a network that looks along a strip: 2-D encoder, collapse across, 1-D U-Net along.

    Args:
      spec: properties of the data, with `row_classes`.
      filters: channels of the first convolution; each further one has half of these more.
      levels: of the 1-D U-Net, each with half the rows of the one before.
      units: channels of its first level; each further level has a quarter more.
      dropout: rate before the rows' classes.
      event_weight: of a layer's row, relative to a row without one.
      shift_rows: rows by which the targets of a strip may lie too high or too low.

    Returns:
      A model from {"image": [batch, height, width, channels]} to probabilities
      [batch, num_classes] of the whole strip; its layer `rows` gives those of each row.
    """
    if not spec.row_classes:
        raise UserError(
            "This model learns the class of each row of an image, but the data has none. Use "
            "another model."
        )
    image = keras.Input(spec.image_shape, dtype=spec.image_dtype, name="image")
    mean = sum(spec.image_mean) / len(spec.image_mean)
    x = RelativeBrightness(max(mean, 1e-3), dtype="float32", name="scale")(image)
    x = _block(x, filters, (5, 5), strides=(1, 2), name="stem")
    step = 0
    while x.shape[2] > COLUMNS:
        step += 1
        x = layers.MaxPooling2D((1, 2), padding="same", name=f"across{step}_pool")(x)
        x = _block(x, round(filters * (1 + 0.5 * step)), (3, 3), name=f"across{step}")
    x = _block(x, units, (1, x.shape[2]), padding="valid", name="collapse")
    x = _along(x, levels=levels, units=units)
    x = layers.Dropout(dropout, name="along_dropout")(x)
    x = layers.Reshape((spec.image_shape[0], units), name="of_rows")(x)
    features, rows = RowClasses(
        len(spec.row_classes), ROW_WEIGHT, shift_rows, event_weight, dtype="float32", name="rows"
    )(x)
    strongest = layers.GlobalMaxPooling1D(name="strongest_features")(features)
    likeliest = layers.GlobalMaxPooling1D(name="likeliest_row")(rows)
    x = layers.Concatenate(name="evidence")([strongest, likeliest])
    x = layers.Dense(EMBEDDING, activation="relu", name="embedding")(x)
    return RowLabelling(inputs={"image": image}, outputs=head(x, spec), name="core_unet")


def _along(x, *, levels: int, units: int):
    """Returns the features of rows [batch, rows, 1, units], by a U-Net that halves the rows."""
    skips = []
    for level in range(levels):
        skips.append(x)
        x = layers.MaxPooling2D((2, 1), padding="same", name=f"down{level + 1}_pool")(x)
        x = _block(x, round(units * (1 + 0.25 * (level + 1))), (5, 1), name=f"down{level + 1}")
    for level in reversed(range(levels)):
        skip = skips[level]
        x = layers.UpSampling2D((2, 1), name=f"up{level + 1}_rows")(x)
        surplus = x.shape[1] - skip.shape[1]
        x = layers.Cropping2D(((0, surplus), (0, 0)), name=f"up{level + 1}_crop")(x)
        x = layers.Concatenate(name=f"up{level + 1}_skip")([x, skip])
        x = _block(x, round(units * (1 + 0.25 * level)), (5, 1), name=f"up{level + 1}")
    return x


def _block(x, filters: int, kernel: tuple[int, int], *, name: str, **rest):
    """Returns convolution, batch norm and rectifier."""
    rest = {"padding": "same"} | rest
    x = layers.Conv2D(filters, kernel, use_bias=False, name=f"{name}_conv", **rest)(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{name}_norm")(x)
    return layers.ReLU(name=name)(x)
