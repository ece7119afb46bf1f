"""Transfer learning: pretrained ImageNet networks, frozen first, then unfrozen from the top."""

from collections.abc import Callable

import keras
from keras import layers

from tfpipe.models.layers import head
from tfpipe.models.pretrained import through_body
from tfpipe.models.spec import Spec


def build_vgg16(
    spec: Spec,
    *,
    weights: str = "imagenet",
    preprocessing: str = "caffe",
    dense_units: int = 256,
    dropout: float = 0.5,
    image_size: int = 224,
) -> keras.Model:
    """Builds the transfer model of seed 002: VGG-16 under three dense layers.

    Simonyan & Zisserman (2014), arXiv:1409.1556, column D of table 1; its convolutions have
    14,714,688 parameters. The dense layers are two and the head; the seed does not print their
    sizes.

    Args:
      spec: properties of the data; images of one or three channels, or of any
        number with weights="none".
      weights: "imagenet" (downloaded at first use), a .h5, .weights.h5 or .keras file of VGG16 with
        or without its top, or "none" for a random start with the whole body open.
      preprocessing: what the weights were trained on, see `bodies.PREPROCESSING`.
      dense_units: units of each of the two dense layers; the second is the embedding.
      dropout: rate after each of the two.
      image_size: height and width that images are resized to, in pixels, at least 32.

    Returns:
      A model from {"image": [batch, height, width, channels]} to probabilities
      [batch, num_classes].
    """
    image, x = through_body(
        "VGG16", spec, weights=weights, preprocessing=preprocessing, image_size=image_size
    )
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense_units, activation="relu", name="dense")(x)
    x = layers.Dropout(dropout, name="dense_dropout")(x)
    x = layers.Dense(dense_units, activation="relu", name="embedding")(x)
    x = layers.Dropout(dropout, name="embedding_dropout")(x)
    return keras.Model(inputs={"image": image}, outputs=head(x, spec), name="vgg16_transfer")


def resnet_builder(architecture: str) -> Callable[..., keras.Model]:
    """Returns the builder of a transfer model of seed 004: ResNet50, ResNet101 or ResNet152."""

    def build(
        spec: Spec,
        *,
        weights: str = "imagenet",
        preprocessing: str = "caffe",
        dropout: float = 0.0,
        image_size: int = 224,
    ) -> keras.Model:
        """Builds a residual network of He et al. (2015), arXiv:1512.03385, under one dense layer.

        Args:
          spec: properties of the data; images of one or three channels, or of
            any number with weights="none".
          weights: "imagenet" (downloaded at first use), a .h5, .weights.h5 or .keras file of the
            network with or without its top, or "none" for a random start with the whole body open.
          preprocessing: what the weights were trained on, see `bodies.PREPROCESSING`.
          dropout: rate between the embedding and the head; neither paper nor seed has one.
          image_size: height and width that images are resized to, in pixels, at least 32.

        Returns:
          A model from {"image": [batch, height, width, channels]} to probabilities
          [batch, num_classes]; its embedding is [batch, 2048].
        """
        image, x = through_body(
            architecture, spec, weights=weights, preprocessing=preprocessing, image_size=image_size
        )
        x = layers.GlobalAveragePooling2D(name="embedding")(x)
        x = layers.Dropout(dropout, name="embedding_dropout")(x)
        name = f"{architecture.lower()}_transfer"
        return keras.Model(inputs={"image": image}, outputs=head(x, spec), name=name)

    return build
