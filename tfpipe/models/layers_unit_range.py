"""Layers of autoencoders: input scaled to 0..1, padding, and the reconstruction."""

import keras
import numpy as np
from keras import layers, ops

from tfpipe.base.errors import UserError
from tfpipe.models.spec import Spec


def unit_input(spec: Spec, *, white: float | None, black: float = 0.0):
    """Returns the input `image` (raw pixels) and the same pixels in 0..1, by layer `unit_scale`.

    Both are [batch, height, width, channels]; the second ones are the target of an autoencoder,
    float32 under every precision policy.

    Args:
      spec: properties of the data.
      white: pixel value that becomes 1; None for the greatest of the dtype, or of float32 images
        the training split's mean plus four deviations.
      black: pixel value that becomes 0.
    """
    if white is not None and not white > black:
        raise UserError(f"white must be a pixel value above {black:g}, but it is {white:g}.")
    if white is not None:
        whites = [float(white)]
    elif spec.image_dtype == "float32":
        pairs = zip(spec.image_mean, spec.image_std, strict=True)
        whites = [mean + 4 * std for mean, std in pairs]
        if min(whites) <= black:
            raise UserError(
                f"These images are mostly below {black:g}, which becomes black. Give white, "
                "the pixel value that becomes 1, or add a constant to the images."
            )
    else:
        whites = [float(np.iinfo(spec.image_dtype).max)]
    image = keras.Input(spec.image_shape, dtype=spec.image_dtype, name="image")
    return image, UnitScale(whites, black, dtype="float32", name="unit_scale")(image)


@keras.saving.register_keras_serializable(package="tfpipe")
class UnitScale(layers.Layer):
    """Pixels of any dtype as float32 in 0..1: divided by white, and clipped.

    Args:
      whites: pixel value that becomes 1, one for all channels or one for each.
      black: pixel value that becomes 0.
    """

    def __init__(self, whites: list[float], black: float = 0.0, **rest):
        super().__init__(**rest)
        self.whites, self.black = whites, black

    def call(self, pixels):
        above = ops.cast(pixels, "float32") - self.black
        return ops.clip(above / (ops.array(self.whites, "float32") - self.black), 0, 1)

    def get_config(self) -> dict:
        return super().get_config() | {"whites": self.whites, "black": self.black}


def pad_to(x, *, multiple: int, minimum: int):
    """Returns images with zeros to the right and below, for layers that halve their sides.

    Args:
      x: [batch, height, width, channels].
      multiple: both sides become a multiple of it.
      minimum: least length of both sides, a multiple of `multiple`.
    """
    more = [max(minimum, -(-side // multiple) * multiple) - side for side in x.shape[1:3]]
    return layers.ZeroPadding2D(((0, more[0]), (0, more[1])), name="pad")(x)


def reconstruction(x, spec: Spec):
    """Returns `reconstruction`: images [batch, ...] without the padding of `pad_to`, float32."""
    more = [padded - side for padded, side in zip(x.shape[1:3], spec.image_shape, strict=False)]
    return layers.Cropping2D(((0, more[0]), (0, more[1])), dtype="float32", name="reconstruction")(
        x
    )
