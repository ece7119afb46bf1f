"""Convolutional autoencoders: seed 003's to a code of 25x25x8, seed 000's to 32 or 64 numbers."""

import math

import keras
from keras import layers

from tfpipe.models.layers_unit_range import pad_to, reconstruction, unit_input
from tfpipe.models.spec import Spec


def build(
    spec: Spec,
    *,
    latent: int = 0,
    filters: int = 8,
    dense_units: int = 250,
    dropout: float = 0.2,
    white: float | None = None,
) -> keras.Model:
    """Builds the autoencoder of seed 003 (4,385 parameters at 200x200x1), or seed 000's.

    With `latent=0` that of seed 003, whose embedding is all of the code (5,000 numbers at 200x200).
    Else seed 000's of symmetric encoder and decoder, with three convolutions and two dense layers
    each; the seed project used 64 numbers, and reports that 32 lose a tenth more. Its network
    ends without a sigmoid; here images are in 0..1, so it has one.

    Args:
      spec: properties of the data.
      latent: length of seed 000's embedding, 32 or 64; 0 for seed 003's code.
      filters: channels of seed 003's code, and of seed 000's first convolution.
      dense_units: of seed 000's dense layers on both sides of the embedding.
      dropout: rate after these.
      white: pixel value that becomes 1, for ionization maps 70 mK (seed 003); None for the greatest
        of the dtype, or of float32 images the mean plus four deviations.

    Returns:
      A model from {"image": [batch, height, width, channels]} to its reconstruction, of the same
      shape, float32 in 0..1.
    """
    image, x = unit_input(spec, white=white)
    if latent:
        x = pad_to(x, multiple=8, minimum=16)
        small = _halved(x, filters=filters)
        x = layers.Flatten(name="flatten")(small)
        code = _dense(x, units=dense_units, dropout=dropout, name="encoder_dense")
        code = layers.Dense(latent, name="embedding")(code)
        x = _dense(code, units=dense_units, dropout=dropout, name="decoder_dense")
        x = layers.Dense(math.prod(small.shape[1:]), name="decoder_map")(x)
        x = layers.Reshape(small.shape[1:], name="decoder_reshape")(x)
        x = _doubled(x, filters=filters, channels=spec.image_shape[-1])
    else:
        code = encoded(pad_to(x, multiple=8, minimum=8), filters=filters)
        x = layers.Flatten(name="embedding")(code)
        x = layers.Reshape(code.shape[1:], name="code")(x)
        x = _decoded(x, filters=filters, channels=spec.image_shape[-1])
    x = reconstruction(x, spec)
    return keras.Model(inputs={"image": image}, outputs=x, name="conv_autoencoder")


def encoded(x, *, filters: int):
    """Returns seed 003's code [batch, height/8, width/8, filters] of images in 0..1."""
    for i, channels in enumerate((2 * filters, filters, filters), start=1):
        x = _conv_relu(x, filters=channels, name=f"encoder{i}_conv")
        x = layers.MaxPooling2D(name=f"encoder{i}_pool")(x)
    return x


def _decoded(x, *, filters: int, channels: int):
    """Returns images [batch, 8 height, 8 width, channels] of codes [batch, height, width, n]."""
    for i, width in enumerate((filters, filters, 2 * filters), start=1):
        x = _conv_relu(x, filters=width, name=f"decoder{i}_conv")
        x = layers.UpSampling2D(name=f"decoder{i}_up")(x)
        x = layers.Reshape(x.shape[1:], name=f"decoder{i}_size")(x)  # LiteRT needs it in the graph
    return layers.Conv2D(
        channels, 3, padding="same", activation="sigmoid", dtype="float32", name="decoder_output"
    )(x)


def _conv_relu(x, *, filters: int, name: str):
    return layers.Conv2D(filters, 3, padding="same", activation="relu", name=name)(x)


def _halved(x, *, filters: int):
    """Returns images of 8n px as maps of n - 1 px with 4 * filters channels (seed 000)."""
    x = layers.Conv2D(filters, 3, strides=2, activation="relu", name="encoder1_conv")(x)
    x = layers.Conv2D(2 * filters, 3, strides=2, name="encoder2_conv")(x)
    x = _norm_relu(x, name="encoder2")
    return layers.Conv2D(4 * filters, 3, strides=2, activation="relu", name="encoder3_conv")(x)


def _doubled(x, *, filters: int, channels: int):
    """Returns maps of n - 1 px as images of 8n px (seed 000)."""
    x = layers.Conv2DTranspose(2 * filters, 3, strides=2, name="decoder1_conv")(x)
    x = _norm_relu(x, name="decoder1")
    x = layers.Conv2DTranspose(filters, 3, strides=2, name="decoder2_conv")(x)
    x = _norm_relu(x, name="decoder2")
    # 8n - 1 px without it: the first convolution left a row and a column out.
    return layers.Conv2DTranspose(
        channels,
        3,
        strides=2,
        output_padding=1,
        activation="sigmoid",
        dtype="float32",
        name="decoder_output",
    )(x)


def _dense(x, *, units: int, dropout: float, name: str):
    """Returns dense layer, dropout, batch norm and rectifier, in seed 000's order here."""
    x = layers.Dense(units, name=name)(x)
    x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return _norm_relu(x, name=name)


def _norm_relu(x, *, name: str):
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
