"""Residual networks that keras.applications lacks: ResNet-9, ResNet-18 and ResNet-34."""

import keras
from keras import layers

from tfpipe.models.layers import dense_norm, head, image_input
from tfpipe.models.spec import Spec

BLOCKS_18 = (2, 2, 2, 2)  # of each stage: He et al. (2015), arXiv:1512.03385, table 1
BLOCKS_34 = (3, 4, 6, 3)


def build_resnet9(spec: Spec, *, filters: int = 64, dropout: float = 0.2) -> keras.Model:
    """Builds the ResNet-9 of seed 004 (6,575,370 trainable parameters at 10 classes, RGB).

    Page's network (2018), "How to train your ResNet", first of DAWNBench, in the form that
    Jovian's PyTorch course gave it. That one ends in a maximum over 4x4 px, which at its 32x32
    images is all that is left; here it is the maximum over all that is left, at any size.

    Args:
      spec: properties of the data.
      filters: channels of the first convolution; the last have eight times those.
      dropout: rate between the embedding and the head.

    Returns:
      A model from {"image": [batch, height, width, channels]} to probabilities
      [batch, num_classes]; its embedding is [batch, 8 * filters].
    """
    image, x = image_input(spec)
    x = _conv_relu(x, filters=filters, name="conv1")
    x = _conv_relu(x, filters=2 * filters, name="conv2")
    x = layers.MaxPooling2D(padding="same", name="conv2_pool")(x)
    x = _plain_block(x, name="residual1")
    x = _conv_relu(x, filters=4 * filters, name="conv3")
    x = layers.MaxPooling2D(padding="same", name="conv3_pool")(x)
    x = _conv_relu(x, filters=8 * filters, name="conv4")
    x = layers.MaxPooling2D(padding="same", name="conv4_pool")(x)
    x = _plain_block(x, name="residual2")
    x = layers.GlobalMaxPooling2D(name="embedding")(x)
    x = layers.Dropout(dropout, name="embedding_dropout")(x)
    return keras.Model(inputs={"image": image}, outputs=head(x, spec), name="resnet9")


def build_resnet18(
    spec: Spec,
    *,
    filters: int = 64,
    dense_units: int = 64,
    embedding_units: int = 40,
    dropout: float = 0.2,
) -> keras.Model:
    """Builds ResNet-18 with the head of seed 000's CNN_IMG: 512 -> 64 -> 40 -> 7.

    11,212,439 trainable parameters at 7 classes, RGB. The seed starts with weights of ImageNet;
    this one starts at random.

    Args:
      spec: properties of the data.
      filters: channels of the stem and the first stage; each later stage doubles them.
      dense_units: of the first dense layer.
      embedding_units: of the second, the embedding.
      dropout: rate after each rectifier of the head.

    Returns:
      A model from {"image": [batch, height, width, channels]} to probabilities
      [batch, num_classes]; its embedding is [batch, embedding_units].
    """
    image, x = image_input(spec)
    x = body(x, blocks=BLOCKS_18, filters=filters)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = dense_norm(x, units=dense_units, dropout=dropout, name="dense")
    x = dense_norm(x, units=embedding_units, dropout=dropout, name="embedding")
    return keras.Model(inputs={"image": image}, outputs=head(x, spec), name="resnet18")


def build_resnet34(spec: Spec, *, filters: int = 64, dropout: float = 0.0) -> keras.Model:
    """Builds ResNet-34 as torchvision does (21,797,672 trainable parameters at 1000 classes, RGB).

    Args:
      spec: properties of the data.
      filters: channels of the stem and the first stage; each later stage doubles them.
      dropout: rate between the embedding and the head; the paper has none.

    Returns:
      A model from {"image": [batch, height, width, channels]} to probabilities
      [batch, num_classes]; its embedding is [batch, 8 * filters].
    """
    image, x = image_input(spec)
    x = body(x, blocks=BLOCKS_34, filters=filters)
    x = layers.GlobalAveragePooling2D(name="embedding")(x)
    x = layers.Dropout(dropout, name="embedding_dropout")(x)
    return keras.Model(inputs={"image": image}, outputs=head(x, spec), name="resnet34")


def body(x, *, blocks: tuple[int, ...], filters: int):
    """Returns the last map of stem and residual stages, [batch, height/32, width/32, 8 * filters].

    Args:
      x: scaled images [batch, height, width, channels].
      blocks: basic blocks of each stage.
      filters: channels of the stem and the first stage; each later stage doubles them.
    """
    x = _conv_norm(x, filters=filters, size=7, strides=2, name="stem")
    x = layers.ReLU(name="stem_relu")(x)
    # Padding with zeros is padding with the smallest value here, as a rectifier went before.
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    for stage, count in enumerate(blocks):
        for block in range(count):
            x = _basic_block(
                x,
                filters=filters * 2**stage,
                strides=2 if stage > 0 and block == 0 else 1,
                name=f"stage{stage + 1}_block{block + 1}",
            )
    return x


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
    # At first nothing but the shortcut (Goyal et al. 2017, arXiv:1706.02677, section 5.1), so that
    # rounding to bfloat16 does not grow from block to block.
    x = _conv_norm(x, filters=filters, size=3, gamma="zeros", name=f"{name}_2")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu")(x)


def _plain_block(x, *, name: str):
    """Returns F(x) + x of as many channels as x, rectified before the sum, as ResNet-9 has it."""
    filters = x.shape[-1]
    y = _conv_relu(x, filters=filters, name=f"{name}_1")
    y = _conv_relu(y, filters=filters, name=f"{name}_2")
    return layers.Add(name=f"{name}_add")([y, x])


def _conv_relu(x, *, filters: int, name: str):
    """Returns a 3x3 convolution, with a bias as ResNet-9 has it, batch norm and rectifier."""
    x = _conv_norm(x, filters=filters, size=3, name=name, use_bias=True)
    return layers.ReLU(name=f"{name}_relu")(x)


def _conv_norm(
    x,
    *,
    filters: int,
    size: int,
    name: str,
    strides: int = 1,
    use_bias: bool = False,
    gamma: str = "ones",
):
    """Returns a convolution with its batch norm, padded and smoothed as torchvision's."""
    if size > 1:
        # "same" with stride 2 would pad one side only, and so shift images of even size.
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters,
        size,
        strides=strides,
        use_bias=use_bias,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    # Keras' own momentum of 0.99 needs hundreds of steps before validation sees settled statistics.
    return layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, gamma_initializer=gamma, name=f"{name}_norm"
    )(x)
