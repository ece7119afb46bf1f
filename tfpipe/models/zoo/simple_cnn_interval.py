"""Simple CNN that also tells where the layer begins and ends: seed 002's alternative."""

import keras

from tfpipe.models.interval_head import Interval, Locating
from tfpipe.models.layers import head
from tfpipe.models.spec import Spec
from tfpipe.models.zoo import simple_cnn


def build(
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
      spec: what the model must know about the data.
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
    body = simple_cnn.build(
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
