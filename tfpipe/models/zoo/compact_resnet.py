"""Compact residual network: small images and few examples, on a processor, with or without columns.

It is what `tfpipe train` takes for a folder and for particles. Its recipe, and what was
tried beside it, is in `tuning.compact_resnet`.
"""

import math

import keras
from keras import layers

from tfpipe.models.layers import columns_input, head, image_input
from tfpipe.models.spec import Spec

FIRST_MAP_PX = 40  # the first stage works at about this side, or less
LAST_MAP_PX = 2  # no stage leaves less of the shorter side
COLUMN_UNITS = 32


def build(
    spec: Spec,
    *,
    filters: int = 16,
    stages: int = 4,
    blocks: int = 1,
    dropout: float = 0.2,
) -> keras.Model:
    """Builds a residual network of 0.3 million parameters (16 filters, 4 stages of a block).

    Large images are halved at once by the stem, once more by a maximum, and averaged down beyond
    160 px, so that all sizes cost about the same. Shortcuts are averaged before their projection
    (He et al. 2018, arXiv:1812.01187, ResNet-D). The second norm of a block starts at 0 (Goyal et
    al. 2017, arXiv:1706.02677, section 5.1).

    Args:
      spec: properties of the data. Columns are joined to the image's features where it has some.
      filters: channels of the stem and the first stage; each later stage doubles them.
      stages: at most; fewer where an image is too small.
      blocks: of a stage, of two convolutions each.
      dropout: rate before the head.

    Returns:
      A model from {"image": [batch, height, width, channels]}, and "columns" [batch, columns] where
      the data has some, to probabilities [batch, num_classes].
    """
    image, x = image_input(spec)
    inputs = {"image": image}
    height, width, _ = spec.image_shape
    side = math.sqrt(height * width)
    x = _conv_norm(x, filters=filters, strides=2 if side > FIRST_MAP_PX else 1, name="stem")
    if side > 2 * FIRST_MAP_PX:
        x = layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    if side > 4 * FIRST_MAP_PX:
        factor = math.ceil(side / (4 * FIRST_MAP_PX))
        x = layers.AveragePooling2D(factor, padding="same", name="stem_average")(x)
    for stage in range(stages):
        is_halved = stage > 0
        if is_halved and min(x.shape[1:3]) < 2 * LAST_MAP_PX - 1:
            break
        for block in range(blocks):
            x = _block(
                x,
                filters=filters * 2**stage,
                strides=2 if is_halved and block == 0 else 1,
                name=f"stage{stage + 1}_block{block + 1}",
            )
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if spec.columns:
        inputs["columns"], y = columns_input(spec)
        y = layers.Dense(COLUMN_UNITS, use_bias=False, name="columns_dense")(y)
        y = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="columns_norm")(y)
        y = layers.ReLU(name="columns_relu")(y)
        x = layers.Concatenate(name="joined")([x, y])
    x = layers.Activation("linear", name="embedding")(x)
    x = layers.Dropout(dropout, name="embedding_dropout")(x)
    return keras.Model(inputs=inputs, outputs=head(x, spec), name="compact_resnet")


def _block(x, *, filters: int, strides: int, name: str):
    """Returns relu(F(x) + shortcut).

    Args:
      x: [batch, height, width, channels].
      filters: channels of the result.
      strides: 1 or 2.
      name: prefix of the layers' names.

    Returns:
      [batch, ceil(height / strides), ceil(width / strides), filters].
    """
    shortcut = x
    if strides > 1:
        shortcut = layers.AveragePooling2D(2, padding="same", name=f"{name}_average")(shortcut)
    if x.shape[-1] != filters:
        shortcut = _conv_norm(
            shortcut, filters=filters, size=1, is_rectified=False, name=f"{name}_projection"
        )
    x = _conv_norm(x, filters=filters, strides=strides, name=f"{name}_1")
    x = _conv_norm(x, filters=filters, gamma="zeros", is_rectified=False, name=f"{name}_2")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu")(x)


def _conv_norm(
    x,
    *,
    filters: int,
    name: str,
    size: int = 3,
    strides: int = 1,
    gamma: str = "ones",
    is_rectified: bool = True,
):
    """Returns a convolution with its batch norm, and a rectifier."""
    x = layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, gamma_initializer=gamma, name=f"{name}_norm"
    )(x)
    return layers.ReLU(name=f"{name}_relu")(x) if is_rectified else x
