"""Variational autoencoder on images and columns (seed document 001)."""

import math

import keras
from keras import layers, ops

from tfpipe.models.layers import columns_input
from tfpipe.models.layers_unit_range import pad_to, reconstruction, unit_input
from tfpipe.models.spec import Spec

KERNELS = (12, 6)  # px a side, seed 001
MIN_SIDE_PX = 14  # what the two kernels leave at least one pooled pixel of


def build(
    spec: Spec,
    *,
    kl_weight: float = 1.0,
    latent: int = 50,
    filters: int = 64,
    dense_units: int = 200,
    white: float | None = None,
    black: float = 0.0,
) -> keras.Model:
    """Builds the variational autoencoder of seed 001, after Kingma & Welling (2014).

    arXiv:1312.6114. The seed prints kernels of 12x12 and 6x6, dense layers 43,264 -> 200 and, with
    the four columns, 204 -> 50, and the like back; 43,264 are the 26x26x64 that 64x64 images
    leave when each convolution pads one pixel and the maximum of 2x2 is taken. This one has
    rectifiers, as many channels in both convolutions, and a decoder that doubles by repetition.
    The seed's put each maximum back at its place in the encoder, which passes the image around
    the embedding.

    Args:
      spec: properties of the data; columns, where it has some, join the second
        dense layer.
      kl_weight: lambda of seed 001, in training; 1 is the true bound of the paper.
      latent: length of the embedding, the mean.
      filters: channels of both convolutions.
      dense_units: of the first dense layer.
      white: pixel value that becomes 1; None for the greatest of the dtype, or of float32 images
        the mean plus four deviations.
      black: pixel value that becomes 0, such as the threshold around CCD tracks.

    Returns:
      A model from {"image": [batch, height, width, channels]}, and {"columns": [batch, columns]}
      where the data has some, to the image's reconstruction, of the same shape, float32 in 0..1.
      Trained on mean binary cross-entropy; `Sample` adds the Kullback-Leibler divergence.
    """
    image, x = unit_input(spec, white=white, black=black)
    inputs = {"image": image}
    x = pad_to(x, multiple=2, minimum=MIN_SIDE_PX)
    for i, size in enumerate(KERNELS, start=1):
        x = layers.ZeroPadding2D(1, name=f"encoder{i}_pad")(x)
        x = layers.Conv2D(filters, size, activation="relu", name=f"encoder{i}_conv")(x)
    small = layers.MaxPooling2D(name="encoder_pool")(x)
    x = layers.Flatten(name="flatten")(small)
    x = layers.Dense(dense_units, activation="relu", name="encoder_dense1")(x)
    if spec.columns:
        inputs["columns"], columns = columns_input(spec)
        x = layers.Concatenate(name="joined")([x, columns])
    x = layers.Dense(latent, activation="relu", name="encoder_dense2")(x)
    mean = layers.Dense(latent, name="embedding")(x)
    log_variance = layers.Dense(latent, name="log_variance")(x)
    sample = Sample(kl_weight, math.prod(spec.image_shape), dtype="float32", name="sample")
    x = sample([mean, log_variance])
    x = layers.Dense(dense_units, activation="relu", name="decoder_dense1")(x)
    x = layers.Dense(math.prod(small.shape[1:]), activation="relu", name="decoder_dense2")(x)
    x = layers.Reshape(small.shape[1:], name="decoder_reshape")(x)
    x = layers.UpSampling2D(name="decoder_up")(x)
    x = layers.Conv2DTranspose(filters, KERNELS[1], activation="relu", name="decoder1_conv")(x)
    x = layers.Cropping2D(1, name="decoder1_crop")(x)
    x = layers.Conv2DTranspose(
        spec.image_shape[-1],
        KERNELS[0],
        activation="sigmoid",
        dtype="float32",
        name="decoder2_conv",
    )(x)
    x = layers.Cropping2D(1, dtype="float32", name="decoder2_crop")(x)
    return keras.Model(inputs=inputs, outputs=reconstruction(x, spec), name="conv_vae")


@keras.saving.register_keras_serializable(package="tfpipe")
class Sample(layers.Layer):
    """Draws z = mean + deviation * noise in training, gives the mean else; adds the divergence.

    The loss of seed 001 is the sum over pixels of the binary cross-entropy plus lambda times
    KL = -1/2 sum(1 + log_variance - mean**2 - variance), Kingma & Welling (2014), eq. 10. Keras'
    loss is the mean over pixels and over the batch, so the batch's mean KL is divided by the number
    of pixels. Outside training lambda is 1: there the loss is the true bound (a pixel, negative),
    by which models of different lambda can be compared.

    Args:
      kl_weight: lambda.
      pixels: of an image, times channels.
    """

    def __init__(self, kl_weight: float, pixels: int, **rest):
        super().__init__(**rest)
        self.kl_weight, self.pixels = kl_weight, pixels
        self.noise = keras.random.SeedGenerator()

    def call(self, inputs, training=False):
        mean, log_variance = inputs
        divergence = -0.5 * ops.sum(
            1 + log_variance - ops.square(mean) - ops.exp(log_variance), axis=-1
        )
        weight = self.kl_weight if training else 1.0
        self.add_loss(weight / self.pixels * ops.mean(divergence))
        if not training:
            return mean
        drawn = keras.random.normal(ops.shape(mean), dtype="float32", seed=self.noise)
        return mean + ops.exp(0.5 * log_variance) * drawn

    def get_config(self) -> dict:
        return super().get_config() | {"kl_weight": self.kl_weight, "pixels": self.pixels}
