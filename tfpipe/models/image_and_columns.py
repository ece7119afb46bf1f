"""A network on the picture joined with dense layers on the columns: seed 000's CNN_BOTH."""

import keras
from keras import layers

from tfpipe.errors import UserError
from tfpipe.models import bodies, columns_mlp, resnet
from tfpipe.models.parts import Spec, columns_input, dense_norm, head, image_input
from tfpipe.task import choose

OWN_BODY = "resnet18"
BODIES = {"resnet50": "ResNet50", "vgg16": "VGG16"}  # by their names in keras.applications


def build(
    spec: Spec,
    *,
    body: str = OWN_BODY,
    filters: int = 64,
    weights: str = "none",
    preprocessing: str = "caffe",
    image_size: int = 128,
    dense_units: int = 64,
    branch_units: int = 32,
    embedding_units: int = 40,
    dropout: float = 0.2,
) -> keras.Model:
    """Builds the joined network of seed 000: 64 of the picture, 32 of the columns -> 40 -> 7.

    The seed starts its ResNet-18 with weights of ImageNet. Keras has none for a ResNet-18, so with
    given weights the picture goes through a ResNet-50 or a VGG-16.

    Args:
      spec: what the model must know about the data; it must have columns.
      body: "resnet18", begun at random; "resnet50" or "vgg16", begun with `weights`.
      filters: of "resnet18", channels of its first stage; each later stage doubles them.
      weights: of the other two, as `transfer.build_vgg16` takes them.
      preprocessing: what the weights were trained on, see `bodies.PREPROCESSING`.
      image_size: of the other two, height and width that pictures are resized to, in pixels.
      dense_units: what the picture is brought to; the columns' first layer has twice as many.
      branch_units: what the columns are brought to.
      embedding_units: length of the embedding.
      dropout: rate after each rectifier of the dense layers.

    Returns:
      A model from {"image": [batch, height, width, channels], "columns": [batch, columns]} to
      probabilities [batch, num_classes].
    """
    choose(body, (OWN_BODY, *BODIES), noun="body")
    if body != OWN_BODY:
        image, x = bodies.through_body(
            BODIES[body], spec, weights=weights, preprocessing=preprocessing, image_size=image_size
        )
    elif weights == "none":
        image, x = image_input(spec)
        x = resnet.body(x, blocks=resnet.BLOCKS_18, filters=filters)
    else:
        raise UserError(
            f"The body {OWN_BODY} begins at random, but weights are {weights!r}. Give "
            f"--hp body=resnet50 (or {', '.join(list(BODIES)[1:])}) with them."
        )
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
