"""Networks trained on ImageNet, frozen, with a head of our own."""

import warnings
from pathlib import Path

import keras
from keras import layers

from tfpipe.errors import UserError
from tfpipe.models.parts import Spec, head, image_input

# Means of ImageNet's training pictures, red, green, blue, 0..255: keras.applications, mode "caffe".
IMAGENET_MEAN = (123.68, 116.779, 103.939)
SMALLEST_PX = 32


def build_vgg16(
    spec: Spec,
    *,
    weights: str = "imagenet",
    dense_units: int = 256,
    dropout: float = 0.5,
    image_size: int = 224,
) -> keras.Model:
    """Builds the transfer model of seed 002: a frozen VGG-16 under three dense layers.

    Simonyan & Zisserman (2014), arXiv:1409.1556, column D of table 1; its convolutions have
    14,714,688 parameters. The dense layers are two and the head; the seed does not print their
    sizes.

    Args:
      spec: what the model must know about the data; one channel is repeated to three.
      weights: "imagenet" (downloaded at first use), "none" (random and just as frozen: what is the
        training on ImageNet worth?), or a .h5 or .weights.h5 file of VGG16 without its top.
      dense_units: units of each of the two dense layers; the second is the embedding.
      dropout: rate after each of the two.
      image_size: height and width that pictures are resized to, in pixels, at least 32.

    Returns:
      A model from {"image": [batch, height, width, channels]} to probabilities
      [batch, num_classes].
    """
    if image_size < SMALLEST_PX:
        raise UserError(
            f"VGG16 halves the picture five times, so image_size must be at least {SMALLEST_PX} "
            f"px, but it is {image_size}. Give a larger one."
        )
    image, x = _caffe_pixels(spec, image_size=image_size)
    body = _frozen_vgg16(weights, shape=(image_size, image_size, 3))
    x = body(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense_units, activation="relu", name="dense")(x)
    x = layers.Dropout(dropout, name="dense_dropout")(x)
    x = layers.Dense(dense_units, activation="relu", name="embedding")(x)
    x = layers.Dropout(dropout, name="embedding_dropout")(x)
    return keras.Model(inputs={"image": image}, outputs=head(x, spec), name="vgg16_transfer")


def _caffe_pixels(spec: Spec, *, image_size: int):
    """Returns the input `image` and what VGG was trained on: blue, green, red, minus their means.

    8-bit pixels are taken as they are. Others have no range of their own, so the training split's
    mean plus and minus two deviations becomes 0..255.
    """
    image, scaled = image_input(spec)
    x = image
    if spec.image_dtype != "uint8":
        x = layers.Rescaling(255 / 4, offset=255 / 2, dtype="float32", name="to_8_bit")(scaled)
    channels = spec.image_shape[-1]
    if channels == 1:
        x = layers.Concatenate(dtype=x.dtype, name="grey_to_rgb")([x, x, x])
    elif channels != 3:
        raise UserError(
            f"VGG16 takes pictures of 1 or 3 channels, but these have {channels}. "
            "Give another model."
        )
    offset = [-mean for mean in IMAGENET_MEAN]
    # Before resizing, because resizing returns the dtype it is given, and would round uint8.
    x = layers.Rescaling(1.0, offset=offset, dtype="float32", name="subtract_mean")(x)
    x = layers.Resizing(image_size, image_size, dtype="float32", name="resize")(x)
    return image, keras.ops.flip(x, axis=-1)


def _frozen_vgg16(weights: str, *, shape: tuple[int, int, int]) -> keras.Model:
    """Returns VGG16's convolutions: [batch, *shape] to [batch, height/32, width/32, 512]."""
    if weights == "imagenet":
        body = _downloaded_vgg16(shape)
    else:
        body = keras.applications.VGG16(include_top=False, weights=None, input_shape=shape)
        if weights != "none":
            _load(body, Path(weights))
    body.trainable = False
    return body


def _downloaded_vgg16(shape: tuple[int, int, int]) -> keras.Model:
    """Returns VGG16's convolutions as trained on ImageNet, from Keras' cache or the network."""
    try:
        return keras.applications.VGG16(include_top=False, weights="imagenet", input_shape=shape)
    except Exception as error:
        # Keras raises a bare Exception with these words where a download fails.
        if not isinstance(error, OSError) and "URL fetch failure" not in str(error):
            raise
        raise UserError(
            f"VGG16's ImageNet weights could not be downloaded ({error}). Give weights=<path> of a "
            "file that you have, or weights=none."
        ) from error


def _load(body: keras.Model, path: Path) -> None:
    """Fills `body` from a file, or says in a sentence why the file does not fit."""
    if path.suffix != ".h5" or not path.is_file():
        raise UserError(
            f"No .h5 file of weights at {str(path)!r}. Give weights=<path> of a .h5 file, "
            "weights=imagenet or weights=none."
        )
    try:
        with warnings.catch_warnings():
            # Keras warns of every layer it misses, and then raises.
            warnings.simplefilter("ignore", UserWarning)
            body.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        reason = str(error).strip().splitlines()[0].partition(". ")[0].rstrip(".")
        raise UserError(
            f"{str(path)!r} does not hold the weights of a VGG16 without its top ({reason}). "
            "Give the .h5 file of keras.applications.VGG16(include_top=False)."
        ) from error
