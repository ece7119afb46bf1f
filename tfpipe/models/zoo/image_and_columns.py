"""Network on image and columns, joined by dense layers (seed document 000, CNN_BOTH)."""

import keras
from keras import layers

from tfpipe.models.layers import columns_input, dense_norm, head, image_input
from tfpipe.models.pretrained import through_body
from tfpipe.models.spec import Spec
from tfpipe.models.zoo import columns_mlp, resnet


def build(
    spec: Spec,
    *,
    filters: int = 64,
    dense_units: int = 64,
    branch_units: int = 32,
    embedding_units: int = 40,
    dropout: float = 0.2,
) -> keras.Model:
    """Builds the joined network of seed 000: 64 of the image, 32 of the columns -> 40 -> 7.

    The seed starts its ResNet-18 with weights of ImageNet; this one starts at random, as Keras has
    no such weights. `build_resnet50` has a body that does.

    Args:
      spec: properties of the data; it must have columns.
      filters: channels of the stem and the first stage; each later stage doubles them.
      dense_units: what the image is brought to; the columns' first layer has twice as many.
      branch_units: what the columns are brought to.
      embedding_units: length of the embedding.
      dropout: rate after each rectifier of the dense layers.

    Returns:
      A model from {"image": [batch, height, width, channels], "columns": [batch, columns]} to
      probabilities [batch, num_classes].
    """
    image, x = image_input(spec)
    x = resnet.body(x, blocks=resnet.BLOCKS_18, filters=filters)
    sizes = {"dense_units": dense_units, "branch_units": branch_units}
    return _joined(image, x, spec, embedding_units=embedding_units, dropout=dropout, **sizes)


def build_resnet50(
    spec: Spec,
    *,
    weights: str = "imagenet",
    preprocessing: str = "caffe",
    image_size: int = 224,
    dense_units: int = 64,
    embedding_units: int = 40,
    dropout: float = 0.2,
) -> keras.Model:
    """Builds the joined network of seed 000 on a ResNet-50 pretrained on ImageNet.

    Args:
      spec: properties of the data; it must have columns.
      weights: as those of "resnet50", see `transfer.resnet_builder`.
      preprocessing: what the weights were trained on, see `bodies.PREPROCESSING`.
      image_size: height and width that images are resized to, in pixels, at least 32.
      dense_units: what the image is brought to; the columns are brought to half as many.
      embedding_units: length of the embedding.
      dropout: rate after each rectifier of the dense layers.

    Returns:
      A model from {"image": [batch, height, width, channels], "columns": [batch, columns]} to
      probabilities [batch, num_classes].
    """
    image, x = through_body(
        "ResNet50", spec, weights=weights, preprocessing=preprocessing, image_size=image_size
    )
    sizes = {"dense_units": dense_units, "branch_units": dense_units // 2}
    return _joined(image, x, spec, embedding_units=embedding_units, dropout=dropout, **sizes)


def _joined(
    image, x, spec: Spec, *, dense_units: int, branch_units: int, embedding_units: int, dropout
) -> keras.Model:
    """Returns the network over a body's last map x [batch, height, width, n] of `image`."""
    columns, y = columns_input(spec)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = dense_norm(x, units=dense_units, dropout=dropout, name="dense")
    y = columns_mlp.branch(y, units=2 * dense_units, branch_units=branch_units, dropout=dropout)
    x = layers.Concatenate(name="joined")([x, y])
    x = dense_norm(x, units=embedding_units, dropout=dropout, name="embedding")
    return keras.Model(
        inputs={"image": image, "columns": columns},
        outputs=head(x, spec),
        name="image_and_columns",
    )
