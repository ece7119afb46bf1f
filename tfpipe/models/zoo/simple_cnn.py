"""Simple CNN: convolution, pool, dropout, a few times over; the model to beat (seed 002)."""

from collections.abc import Sequence

import keras
from keras import layers

from tfpipe.base.errors import UserError
from tfpipe.models.layers import check_halvings, head, image_input
from tfpipe.models.spec import Spec


def build(
    spec: Spec,
    *,
    filters: int | Sequence[int] = 32,
    conv_layers: int = 3,
    kernels: int | Sequence[int] = 3,
    dropout: float = 0.25,
    dense_units: int | Sequence[int] = 128,
    dense_dropout: float = 0.5,
) -> keras.Model:
    """Builds the Simple CNN of seed 002 (2,551,105 parameters at 50x200x3 with two classes).

    The seed prints the layers but not the dropout rates; a quarter after convolutions and a half
    after the dense layer are customary. Seed 001 searched widths and kernels of each layer, so they
    may be given one by one.

    Args:
      spec: what the model must know about the data.
      filters: channels of the first block, of which each block has twice those of the one before;
        or of each block.
      conv_layers: blocks, each halving height and width.
      kernels: sides of the convolutions, px, or of each.
      dropout: rate after each block.
      dense_units: length of the embedding, or of each dense layer, of which the embedding is last.
      dense_dropout: rate after each of them.

    Returns:
      A model from {"image": [batch, height, width, channels]} to probabilities
      [batch, num_classes].
    """
    check_halvings(spec, conv_layers=conv_layers, halvings=conv_layers)
    if isinstance(filters, int):
        filters = [filters * 2**i for i in range(conv_layers)]
    sizes = [kernels] * conv_layers if isinstance(kernels, int) else kernels
    if not all(isinstance(number, int) for number in (*filters, *sizes)):
        raise ValueError("filters and kernels are whole numbers")
    if not len(filters) == len(sizes) == conv_layers:
        raise UserError(
            f"conv_layers is {conv_layers}, but there are {len(filters)} filters and {len(sizes)} "
            "kernels. Give one number of each, or as many as layers."
        )
    image, x = image_input(spec)
    for i, (width, size) in enumerate(zip(filters, sizes, strict=True)):
        block = f"block{i + 1}"
        x = layers.Conv2D(width, size, padding="same", activation="relu", name=f"{block}_conv")(x)
        x = layers.MaxPooling2D(name=f"{block}_pool")(x)
        x = layers.Dropout(dropout, name=f"{block}_dropout")(x)
    x = layers.Flatten(name="flatten")(x)
    lengths = [dense_units] if isinstance(dense_units, int) else dense_units
    for i, length in enumerate(lengths, start=1):
        name = "embedding" if i == len(lengths) else f"dense{i}"
        x = layers.Dense(length, activation="relu", name=name)(x)
        x = layers.Dropout(dense_dropout, name=f"{name}_dropout")(x)
    return keras.Model(inputs={"image": image}, outputs=head(x, spec), name="simple_cnn")
