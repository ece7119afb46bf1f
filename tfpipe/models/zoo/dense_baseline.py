"""Dense baseline: one hidden layer on all pixels (seed document 003, section 3.1.1)."""

import keras
from keras import layers

from tfpipe.models.layers import head, image_input
from tfpipe.models.spec import Spec


def build(
    spec: Spec, *, dense_units: int = 350, dropout: float = 0.0, side: int = 0
) -> keras.Model:
    """Builds the 2500 - 350 - 17 network of seed 003 (881,317 parameters at 50x50x1, 17 classes).

    Args:
      spec: properties of the data.
      dense_units: of the hidden layer, the embedding.
      dropout: rate after it; the seed has none.
      side: of the square in the image's middle that is read, px (seed 003: 50); 0 for all
        of the image, which is taken where it is no larger, too.

    Returns:
      A model from {"image": [batch, height, width, channels]} to probabilities
      [batch, num_classes].
    """
    image, x = image_input(spec)
    if side and min(spec.image_shape[:2]) > side:
        x = layers.CenterCrop(side, side, name="middle")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense_units, activation="relu", name="embedding")(x)
    x = layers.Dropout(dropout, name="embedding_dropout")(x)
    return keras.Model(inputs={"image": image}, outputs=head(x, spec), name="dense_baseline")
