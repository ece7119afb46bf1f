"""Simple CNN (Zoumis et al. 2022, seed document 002), for large windows, and with intervals."""

from collections.abc import Sequence

import keras
from keras import layers

from tfpipe.base.errors import UserError
from tfpipe.models.interval_head import Interval, Locating
from tfpipe.models.layers import check_halvings, head, image_input
from tfpipe.models.spec import Spec


def build_simple_cnn(
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
      spec: properties of the data.
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


def build_simple_cnn_2(
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
      spec: properties of the data.
      longest_px: images are averaged down by the least whole factor that leaves no side longer.
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


def build_simple_cnn_interval(
    spec: Spec,
    *,
    filters: int = 32,
    conv_layers: int = 3,
    dropout: float = 0.25,
    dense_units: int = 128,
    dense_dropout: float = 0.5,
    interval_weight: float = 1.0,
) -> keras.Model:
    """Builds the Simple CNN of seed 002 with two more units, start and stop of the layer.

    The seed names it as an alternative, "Object Localization with CNN": the last layer predicts
    "two integers (start and stop of melt layer in pixels)", a regression. Ours gives them in shares
    of the height, beside the probability that there is a layer at all.

    Args:
      spec: properties of the data.
      filters: channels of the first block; each block has twice those of the one before.
      conv_layers: blocks, each halving height and width.
      dropout: rate after each block.
      dense_units: length of the embedding.
      dense_dropout: rate after it.
      interval_weight: of the mean absolute error of start and stop, against the cross-entropy.

    Returns:
      A model from {"image": [batch, height, width, channels]} to probabilities
      [batch, num_classes]; its layer `interval` gives start and stop, see `intervals`.
    """
    body = build_simple_cnn(
        spec,
        filters=filters,
        conv_layers=conv_layers,
        dropout=dropout,
        dense_units=dense_units,
        dense_dropout=dense_dropout,
    )
    x = body.get_layer("embedding_dropout").output
    x, _ = Interval(interval_weight, name="interval")(x)
    return Locating(inputs=body.input, outputs=head(x, spec), name="simple_cnn_interval")
