"""Dense network on columns, without the image (seed document 000, NN_META)."""

import keras
from keras import layers

from tfpipe.models.layers import columns_input, dense_norm, head
from tfpipe.models.spec import Spec


def build(
    spec: Spec,
    *,
    units: int = 128,
    branch_units: int = 32,
    embedding_units: int = 40,
    dropout: float = 0.2,
) -> keras.Model:
    """Builds the network on columns of seed 000: 34 -> 128 -> 64 -> 32 -> 40 -> 7.

    Args:
      spec: properties of the data; it must have columns.
      units: of the first dense layer; the second has half of them.
      branch_units: of the third dense layer.
      embedding_units: length of the embedding.
      dropout: rate after each rectifier.

    Returns:
      A model from {"columns": [batch, columns]} to probabilities [batch, num_classes].
    """
    columns, x = columns_input(spec)
    x = branch(x, units=units, branch_units=branch_units, dropout=dropout)
    x = dense_norm(x, units=embedding_units, dropout=dropout, name="embedding")
    return keras.Model(inputs={"columns": columns}, outputs=head(x, spec), name="columns_mlp")


def branch(x, *, units: int, branch_units: int, dropout: float):
    """Returns features [batch, branch_units] of scaled columns [batch, columns]."""
    x = dense_norm(x, units=units, dropout=dropout, name="columns1")
    x = dense_norm(x, units=units // 2, dropout=dropout, name="columns2")
    return layers.Dense(branch_units, name="columns3_dense")(x)
