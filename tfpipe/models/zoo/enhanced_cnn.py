"""Enhanced CNN: pairs of convolutions between pools, the tuned model of seed document 002."""

import keras
from keras import layers

from tfpipe.models.layers import check_halvings, head, image_input
from tfpipe.models.spec import Spec


def build(
    spec: Spec, *, filters: int = 157, conv_layers: int = 4, dropout: float = 0.5
) -> keras.Model:
    """Builds the Enhanced CNN of seed 002 (12,562,042 parameters at 50x200x3 with two classes).

    The seed prints the layers but not the dropout rate; a half is the customary one.

    Args:
      spec: properties of the data.
      filters: channels of the stem and of the first block; block i has `filters * i`.
      conv_layers: blocks after the stem. Stem and blocks each halve height and width.
      dropout: rate after each of the two dense layers.

    Returns:
      A model from {"image": [batch, height, width, channels]} to probabilities
      [batch, num_classes].
    """
    check_halvings(spec, conv_layers=conv_layers, halvings=1 + conv_layers)
    image, x = image_input(spec)
    x = _conv(x, filters=filters, size=5, name="stem_conv")
    x = layers.MaxPooling2D(name="stem_pool")(x)
    for i in range(1, conv_layers + 1):
        x = _conv(x, filters=filters * i, size=3, name=f"block{i}_conv1")
        x = _conv(x, filters=filters * i, size=3, name=f"block{i}_conv2")
        x = layers.MaxPooling2D(name=f"block{i}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(2 * filters, activation="relu", name="dense")(x)
    x = layers.Dropout(dropout, name="dense_dropout")(x)
    x = layers.Dense(filters, activation="relu", name="embedding")(x)
    x = layers.Dropout(dropout, name="embedding_dropout")(x)
    return keras.Model(inputs={"image": image}, outputs=head(x, spec), name="enhanced_cnn")


def _conv(x, *, filters: int, size: int, name: str):
    """Returns relu of a size x size px convolution, [batch, height, width, filters]."""
    return layers.Conv2D(filters, size, padding="same", activation="relu", name=name)(x)
