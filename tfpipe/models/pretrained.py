"""Pretrained bodies of keras.applications, for grey or colour images, and their stages."""

from itertools import groupby
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.models.layers import image_input
from tfpipe.models.spec import Spec
from tfpipe.models.weights_file import fill

PRETRAINED, RANDOM = "body", "own_body"  # layer names of a pretrained body, and of a random one
MIN_SIZE_PX = 32


class ImageNetScaling(NamedTuple):
    """Preprocessing of pretrained weights: scale * pixel + offset of red, green, blue in 0..255.

    Attributes:
      scale: of each channel.
      offset: of each channel.
      blue_first: whether the channels are then in the order blue, green, red.
    """

    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    blue_first: bool


# Means and deviations of ImageNet's training images as keras.applications' `preprocess_input` has
# them: mode "caffe" for Keras' weights, mode "torch" for weights from torchvision.
PREPROCESSING = {
    "caffe": ImageNetScaling((1.0, 1.0, 1.0), (-123.68, -116.779, -103.939), blue_first=True),
    "torch": ImageNetScaling(
        (1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225)),
        (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225),
        blue_first=False,
    ),
}


def through_body(
    architecture: str, spec: Spec, *, weights: str, preprocessing: str, image_size: int
):
    """Returns the input `image` and the body's last feature map.

    A body with pretrained weights is frozen and takes pixels as in its own training. 8-bit pixels
    stay as they are. Others, and those of cameras whose settings vary, are scaled so that the
    training split's mean plus and minus two deviations becomes 0..255. Its batch norms stay frozen.
    A body with random weights takes pixels of mean 0 and deviation 1, and all of it is trained.

    Args:
      architecture: name in keras.applications.
      spec: properties of the data.
      weights: "imagenet", "none" or a path.
      preprocessing: one of `PREPROCESSING`, for pretrained weights.
      image_size: height and width that images are resized to, in pixels.

    Returns:
      image [batch, height, width, channels]; the last map [batch, image_size / 32, image_size / 32,
      n].
    """
    choose(preprocessing, PREPROCESSING, noun="preprocessing")
    if image_size < MIN_SIZE_PX:
        raise UserError(
            f"{architecture} halves the image five times, so image_size must be at least "
            f"{MIN_SIZE_PX} px, but it is {image_size}. Give a larger one."
        )
    image, scaled = image_input(spec)
    resize = layers.Resizing(image_size, image_size, dtype="float32", name="resize")
    if weights == "none":
        x = resize(scaled)
        return image, _random_body(architecture, shape=x.shape[1:])(x)
    channels = spec.image_shape[-1]
    if channels not in (1, 3):
        raise UserError(
            f"{architecture} with pretrained weights takes images of 1 or 3 channels, but these "
            f"have {channels}. Give weights=none, or another model."
        )
    x = image
    if spec.image_dtype != "uint8" or spec.per_image_standardization:
        x = layers.Rescaling(255 / 4, offset=255 / 2, dtype="float32", name="to_8_bit")(scaled)
    scaling = PREPROCESSING[preprocessing]
    scale, offset = list(scaling.scale), list(scaling.offset)
    if channels == 1:
        scale, offset = [float(np.mean(scale))], [float(np.mean(offset))]
    # Before resizing, because resizing returns the dtype of its input, and would round uint8.
    x = layers.Rescaling(scale, offset, dtype="float32", name="preprocess")(x)
    x = resize(x)
    if channels == 1:
        ones = layers.Rescaling(0.0, offset=1.0, dtype="float32", name="ones")(x)
        x = layers.Concatenate(dtype="float32", name="grey_and_ones")([x, ones])
    elif scaling.blue_first:
        x = keras.ops.flip(x, axis=-1)
    body = _pretrained_body(architecture, weights, size=image_size)
    if channels == 1:
        body = _grey_body(architecture, body, scaling)
    body.trainable = False
    return image, body(x, training=False)


def _random_body(architecture: str, *, shape: tuple[int, int, int]) -> keras.Model:
    """Returns a body with random weights.

    The last batch norm of each residual block begins at 0, so that the block begins as its
    shortcut alone (Goyal et al. 2017, arXiv:1706.02677, section 5.1). Otherwise rounding to
    bfloat16 grows threefold from stage to stage of the untrained ResNet-50.
    """
    body = _build_body(architecture, shape=shape, name=RANDOM)
    for layer in body.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.9  # Keras' 0.99 needs hundreds of steps to settle
            if layer.name.endswith("_3_bn"):
                layer.gamma.assign(keras.ops.zeros_like(layer.gamma))
    return body


def _pretrained_body(architecture: str, weights: str, *, size: int) -> keras.Model:
    """Returns a body for colours [batch, size, size, 3] with weights of ImageNet or a file."""
    if weights == "imagenet":
        return download_body(architecture, size=size)
    body = _build_body(architecture, shape=(size, size, 3), name=PRETRAINED)
    weighted = [layer for layer in body.layers if layer.weights]
    fill(weighted, weights, expected=f"the weights of a {architecture}")
    return body


def download_body(architecture: str, *, size: int) -> keras.Model:
    """Returns a body as trained on ImageNet, from Keras' cache or the network."""
    try:
        return _build_body(architecture, shape=(size, size, 3), name=PRETRAINED, weights="imagenet")
    except Exception as error:
        # Keras raises a bare Exception with these words where a download fails.
        if not isinstance(error, OSError) and "URL fetch failure" not in str(error):
            raise
        raise UserError(
            f"{architecture}'s ImageNet weights could not be downloaded ({error}). Give "
            "weights=<path> of a file that you have, or weights=none."
        ) from error


def _grey_body(architecture: str, body: keras.Model, scaling: ImageNetScaling) -> keras.Model:
    """Returns a body for [batch, height, width, 2], grey x and ones, equal to `body` on r = g = b.

    With x = a * pixel + b, a and b the means of scale and offset over the channels, the net's
    channel c is scale_c / a * x + (offset_c - scale_c / a * b). Its first kernel is folded so: the
    first factors weight its sum over channels, and the second ones go to the channel of ones.
    A bias would not do, because at the border the net pads with zeros after the preprocessing.
    """
    height, width = body.input_shape[1:3]
    folded = _build_body(architecture, shape=(height, width, 2), name=PRETRAINED)
    stem, *others = [layer for layer in body.layers if layer.weights]
    for layer in others:
        folded.get_layer(layer.name).set_weights(layer.get_weights())
    kernel, bias = stem.get_weights()
    if scaling.blue_first:
        kernel = kernel[:, :, ::-1]
    scale, offset = np.array(scaling.scale), np.array(scaling.offset)
    ratio = scale / scale.mean()
    grey_kernel = np.einsum("hwcf,c->hwf", kernel, ratio)
    ones_kernel = np.einsum("hwcf,c->hwf", kernel, offset - ratio * offset.mean())
    folded.get_layer(stem.name).set_weights([np.stack([grey_kernel, ones_kernel], axis=2), bias])
    return folded


def _build_body(architecture: str, *, shape, name: str, weights: str | None = None) -> keras.Model:
    """Returns convolutions and pools of an architecture, for images of any number of channels."""
    make = getattr(keras.applications, architecture)
    # With `input_tensor`, keras.applications does not warn of other channels than one or three.
    return make(
        include_top=False, weights=weights, input_tensor=keras.Input(tuple(shape)), name=name
    )


def stages(model: keras.Model) -> list[list[layers.Layer]]:
    """Returns the stages of a model's pretrained body, the top first; [] for other models.

    A stage is the layers with weights whose names have the same prefix: conv5_..., or block5_...
    """
    bodies = [layer for layer in model.layers if layer.name == PRETRAINED]
    weighted = [layer for body in bodies for layer in body.layers if layer.weights]
    groups = [list(group) for _, group in groupby(weighted, key=_stage)]
    return groups[::-1]


def open_stages(model: keras.Model, count: int) -> None:
    """Makes the top `count` stages of a pretrained body trainable, and no other; compile after it.

    Batch norms stay frozen and use the statistics of the pretrained weights. Those of a few small
    batches would undo the pretraining (Keras' guide "Transfer learning & fine-tuning").
    """
    body_stages = stages(model)
    if body_stages:
        model.get_layer(PRETRAINED).trainable = (
            count > 0
        )  # this sets all inner layers, so it comes first
    for i, stage in enumerate(body_stages):
        for layer in stage:
            is_norm = isinstance(layer, layers.BatchNormalization)
            layer.trainable = i < count and not is_norm


def _stage(layer: layers.Layer) -> str:
    return layer.name.partition("_")[0]
