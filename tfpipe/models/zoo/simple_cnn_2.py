"""Simple CNN 2.00: the Simple CNN grown to windows of 500 or 1000 px a side (seed 002)."""

import keras
from keras import layers

from tfpipe.models.layers import head, image_input
from tfpipe.models.spec import Spec


def build(
    spec: Spec,
    *,
    longest_px: int = 500,
    filters: int = 32,
    conv_layers: int = 5,
    dropout: float = 0.25,
    dense_units: int = 128,
    dense_dropout: float = 0.5,
) -> keras.Model:
    """Builds the Simple CNN 2.00 of seed 002 (1,634,369 parameters at 500x500x3 with two classes).

    The seed prints the input, 1000x1000x3 or 500x500x3 by "image downsize", and that the model
    overfits; no layer. Ours: the blocks of the Simple CNN, five instead of three, and the maximum
    over the window instead of a flattened map, which asks whether there is a layer anywhere and
    saves 15 million weights.

    Args:
      spec: what the model must know about the data.
      longest_px: pictures are averaged down by the least whole factor that leaves no side longer.
      filters: channels of the first block; each block has twice those of the one before.
      conv_layers: blocks, each halving height and width, down to one pixel.
      dropout: rate after each block.
      dense_units: length of the embedding.
      dense_dropout: rate after the embedding.

    Returns:
      A model from {"image": [batch, height, width, channels]} to probabilities
      [batch, num_classes].
    """
    image, x = image_input(spec)
    factor = -(-max(spec.image_shape[:2]) // longest_px)
    x = layers.AveragePooling2D(factor, padding="same", dtype="float32", name="downsize")(x)
    for i in range(conv_layers):
        block = f"block{i + 1}"
        x = layers.Conv2D(
            filters * 2**i, 3, padding="same", activation="relu", name=f"{block}_conv"
        )(x)
        x = layers.MaxPooling2D(padding="same", name=f"{block}_pool")(x)
        x = layers.Dropout(dropout, name=f"{block}_dropout")(x)
    x = layers.GlobalMaxPooling2D(name="anywhere")(x)
    x = layers.Dense(dense_units, activation="relu", name="embedding")(x)
    x = layers.Dropout(dense_dropout, name="embedding_dropout")(x)
    return keras.Model(inputs={"image": image}, outputs=head(x, spec), name="simple_cnn_2")
