"""ResNet-34, which keras.applications lacks: He et al. (2015), arXiv:1512.03385, table 1."""

import keras
from keras import layers

from tfpipe.models.parts import Spec, head, image_input

STAGES_34 = (3, 4, 6, 3)


def build_resnet34(spec: Spec, *, filters: int = 64, dropout: float = 0.0) -> keras.Model:
    """Builds ResNet-34 as torchvision does (21,797,672 trainable parameters at 1000 classes, RGB).

    Args:
      spec: what the model must know about the data.
      filters: channels of the stem and the first stage; each later stage doubles them.
      dropout: rate between the embedding and the head; the paper has none.

    Returns:
      A model from {"image": [batch, height, width, channels]} to probabilities
      [batch, num_classes]; its embedding is [batch, 8 * filters].
    """
    image, x = image_input(spec)
    x = _conv_norm(x, filters=filters, size=7, strides=2, name="stem")
    x = layers.ReLU(name="stem_relu")(x)
    # Padding with zeros is padding with the smallest value here, as a rectifier went before.
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    for stage, blocks in enumerate(STAGES_34):
        for block in range(blocks):
            x = _basic_block(
                x,
                filters=filters * 2**stage,
                strides=2 if stage > 0 and block == 0 else 1,
                name=f"stage{stage + 1}_block{block + 1}",
            )
    x = layers.GlobalAveragePooling2D(name="embedding")(x)
    x = layers.Dropout(dropout, name="embedding_dropout")(x)
    return keras.Model(inputs={"image": image}, outputs=head(x, spec), name="resnet34")


def _basic_block(x, *, filters: int, strides: int, name: str):
    """Returns relu(F(x) + x), section 3.3 of the paper; x is projected where its shape changes.

    Args:
      x: [batch, height, width, channels].
      filters: channels of the result.
      strides: of the first convolution and of the projection.
      name: prefix of the layers' names.

    Returns:
      [batch, ceil(height / strides), ceil(width / strides), filters].
    """
    shortcut = x
    if strides > 1 or x.shape[-1] != filters:
        shortcut = _conv_norm(
            x, filters=filters, size=1, strides=strides, name=f"{name}_projection"
        )
    x = _conv_norm(x, filters=filters, size=3, strides=strides, name=f"{name}_1")
    x = layers.ReLU(name=f"{name}_1_relu")(x)
    x = _conv_norm(x, filters=filters, size=3, strides=1, name=f"{name}_2")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu")(x)


def _conv_norm(x, *, filters: int, size: int, strides: int, name: str):
    """Returns a convolution with its batch norm, padded and smoothed as torchvision's."""
    if size > 1:
        # "same" with stride 2 would pad one side only, and so shift pictures of even size.
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters,
        size,
        strides=strides,
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    # Keras' own momentum of 0.99 needs hundreds of steps before validation sees settled statistics.
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
