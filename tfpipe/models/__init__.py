"""Every model there is: a name that users type, and the function that builds it."""

from collections.abc import Callable

import keras

from tfpipe.models import enhanced_cnn, resnet, simple_cnn, transfer

MODELS: dict[str, Callable[..., keras.Model]] = {
    "simple-cnn": simple_cnn.build,
    "enhanced-cnn": enhanced_cnn.build,
    "resnet34": resnet.build_resnet34,
    "vgg16": transfer.build_vgg16,
}
