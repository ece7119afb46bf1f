"""Simple CNN: convolution, pool, dropout, a few times over; the model to beat (seed 002)."""

import keras
from keras import layers

from tfpipe.models.parts import Spec, check_halvings, head, image_input


def build(
    spec: Spec,
    *,
    filters: int = 32,
    conv_layers: int = 3,
    dropout: float = 0.25,
    dense_units: int = 128,
    dense_dropout: float = 0.5,
) -> keras.Model:
    """Builds the Simple CNN of seed 002 (2,551,105 parameters at 50x200x3 with two classes).

    The seed prints the layers but not the dropout rates; a quarter after convolutions and a half
    after the dense layer are customary.

    Args:
      spec: what the model must know about the data.
      filters: channels of the first block; each block has twice those of the one before.
      conv_layers: blocks, each halving height and width.
      dropout: rate after each block.
      dense_units: length of the embedding.
      dense_dropout: rate after the embedding.

    Returns:
      A model from {"image": [batch, height, width, channels]} to probabilities
      [batch, num_classes].
    """
    check_halvings(spec, conv_layers=conv_layers, halvings=conv_layers)
    image, x = image_input(spec)
    for i in range(conv_layers):
        block = f"block{i + 1}"
        x = layers.Conv2D(
            filters * 2**i, 3, padding="same", activation="relu", name=f"{block}_conv"
        )(x)
        x = layers.MaxPooling2D(name=f"{block}_pool")(x)
        x = layers.Dropout(dropout, name=f"{block}_dropout")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense_units, activation="relu", name="embedding")(x)
    x = layers.Dropout(dense_dropout, name="embedding_dropout")(x)
    return keras.Model(inputs={"image": image}, outputs=head(x, spec), name="simple_cnn")
