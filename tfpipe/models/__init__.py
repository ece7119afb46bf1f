"""Model architectures: `MODELS` has the name that users type and the function that builds it."""

from collections.abc import Callable
from typing import Any

import keras

from tfpipe.base.errors import UserError
from tfpipe.models.spec import Spec
from tfpipe.models.zoo import (
    autoencoder,
    code_cnn,
    columns_mlp,
    compact_resnet,
    core_unet,
    dense_baseline,
    enhanced_cnn,
    image_and_columns,
    resnet,
    simple_cnn,
    transfer,
    vae,
)

MODELS: dict[str, Callable[..., keras.Model]] = {
    "simple-cnn": simple_cnn.build_simple_cnn,
    "simple-cnn-2": simple_cnn.build_simple_cnn_2,
    "simple-cnn-interval": simple_cnn.build_simple_cnn_interval,
    "enhanced-cnn": enhanced_cnn.build,
    "core-unet": core_unet.build,
    "compact-resnet": compact_resnet.build,
    "resnet9": resnet.build_resnet9,
    "resnet18": resnet.build_resnet18,
    "resnet34": resnet.build_resnet34,
    "resnet50": transfer.resnet_builder("ResNet50"),
    "resnet101": transfer.resnet_builder("ResNet101"),
    "resnet152": transfer.resnet_builder("ResNet152"),
    "vgg16": transfer.build_vgg16,
    "columns-mlp": columns_mlp.build,
    "image-and-columns": image_and_columns.build,
    "resnet50-and-columns": image_and_columns.build_resnet50,
    "conv-autoencoder": autoencoder.build,
    "conv-vae": vae.build,
    "code-cnn": code_cnn.build,
    "dense-baseline": dense_baseline.build,
}

AUTOENCODERS = ("conv-autoencoder", "conv-vae")  # their output is an image


def build(name: str, spec: Spec, arguments: dict[str, Any]) -> keras.Model:
    """Returns the model of a name, with random or pretrained weights.

    Raises:
      UserError: the architecture cannot have these values, such as filters=0.
    """
    try:
        return MODELS[name](spec, **arguments)
    except (ValueError, TypeError, ArithmeticError) as error:
        values = ", ".join(f"{argument}={value}" for argument, value in arguments.items())
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(
            f"{name} cannot be built with {values or 'its defaults'}: {reason}. Give other values "
            "by --hp, or other images."
        ) from error
