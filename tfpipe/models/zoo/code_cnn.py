"""Classifier on the code of an autoencoder (seed document 003, section 3.2)."""

import keras
from keras import layers

from tfpipe.models import weights_file
from tfpipe.models.layers import head
from tfpipe.models.layers_unit_range import pad_to, unit_input
from tfpipe.models.spec import Spec
from tfpipe.models.zoo import autoencoder

MIN_SIDE_PX = 80  # leaves a code of 10 px, the fewest that two convolutions and pools need


def build(
    spec: Spec,
    *,
    encoder: str = "none",
    code_filters: int = 8,
    filters: int = 16,
    dropout: float = 0.0,
    white: float | None = None,
) -> keras.Model:
    """Builds the code CNN of seed 003 (4,521 parameters on a 25x25x8 code, 17 classes).

    The encoder before it has 1,904 more at 200x200x1.

    Args:
      spec: properties of the data. Images under 80 px a side are padded.
      encoder: a trained conv-autoencoder (latent=0) whose encoder is taken and frozen: a .keras,
        .h5 or .weights.h5 file; "none" for an encoder that is trained along.
      code_filters: channels of the code, as the autoencoder has them.
      filters: channels of the first convolution on the code; the second has half of them.
      dropout: rate between the embedding and the head; the seed has none.
      white: pixel value that becomes 1, as the autoencoder had it.

    Returns:
      A model from {"image": [batch, height, width, channels]} to probabilities
      [batch, num_classes].
    """
    image, x = unit_input(spec, white=white)
    code = autoencoder.encoded(pad_to(x, multiple=8, minimum=MIN_SIDE_PX), filters=code_filters)
    x = _conv_pool(code, filters=filters, name="block1")
    x = _conv_pool(x, filters=filters // 2, name="block2")
    x = layers.Flatten(name="embedding")(x)
    x = layers.Dropout(dropout, name="embedding_dropout")(x)
    model = keras.Model(inputs={"image": image}, outputs=head(x, spec), name="code_cnn")
    if encoder != "none":
        frozen = [layer for layer in model.layers if layer.name.startswith("encoder")]
        held = "the encoder of a conv-autoencoder with latent=0 and the same channels"
        weights_file.fill([layer for layer in frozen if layer.weights], encoder, expected=held)
        for layer in frozen:
            layer.trainable = False
    return model


def _conv_pool(x, *, filters: int, name: str):
    x = layers.Conv2D(filters, 3, activation="relu", name=f"{name}_conv")(x)
    return layers.MaxPooling2D(name=f"{name}_pool")(x)
