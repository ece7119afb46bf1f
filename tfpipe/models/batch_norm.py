"""Statistics of batch normalizations, estimated again on other images.

Another light or focus moves them, and no label is needed (Li et al. 2018,
doi:10.1016/j.patcog.2018.03.005).
"""

from collections.abc import Iterable, Mapping

import keras
import numpy as np

from tfpipe.base.errors import UserError


def estimate_again(model: keras.Model, batches: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Sets the means and variances of a network to those of some images, in place.

    Args:
      model: the network. Layers that are not trainable stay as they are.
      batches: its inputs, all batches of the same size and of the same mix: each counts alike, and
        variances are those within them.

    Raises:
      UserError: the network has no batch normalization.
    """
    norms = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not norms:
        raise UserError(
            f"{model.name} has no batch normalization to estimate again. Leave out batch-norm."
        )
    momenta = [norm.momentum for norm in norms]
    for done, features in enumerate(batches):
        for norm in norms:
            norm.momentum = done / (done + 1)  # the running mean is that of all batches so far
        model({name: features[name] for name in model.input}, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
