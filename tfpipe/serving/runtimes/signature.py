"""A version's signatures, their network computed by another runtime."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfpipe.models.spec import Spec
from tfpipe.registry import export
from tfpipe.serving.model import batching
from tfpipe.serving.model.batching import Signature
from tfpipe.serving.runtimes.backends import Arrays, Network
from tfpipe.serving.runtimes.batching import Gathered


class Elsewhere:
    """As `batching.Signature`: pictures are decoded by TensorFlow, numbers computed by a network.

    Attributes:
      inputs: name -> TensorSpec, of what it takes.
      outputs: name -> TensorSpec, of what it answers.
    """

    def __init__(self, own: Signature, network: Gathered, *, decode: Signature | None, spec: Spec):
        self.inputs, self.outputs = own.inputs, own.outputs
        self._network, self._decode, self._classes = network, decode, spec.classes

    def __call__(self, features: Arrays) -> Arrays:
        """Returns the answers [n, ...] to features [n, ...], at least one.

        Raises:
          Refused: a picture cannot be decoded.
        """
        if self._decode is None:
            return batching.in_parts(features, self._answered)
        # In a batch with others' pictures, which are decoded one by one, it would take longer.
        encoded = {name: features[name] for name in self._decode.inputs}
        rest = {name: array for name, array in features.items() if name not in encoded}
        return batching.in_parts(self._decode.alone(encoded) | rest, self._answered)

    def _answered(self, features: Arrays) -> Arrays:
        said = self._network(features)
        if "label" in self.outputs:
            likely = said["probabilities"]
            said["label"] = likely.argmax(axis=-1)
            names = np.array([name.encode() for name in self._classes], object)
            said["classes"] = np.tile(names, (len(likely), 1))
        return {name: said[name] for name in self.outputs}


def signatures(own: dict[str, Signature], network: Network, spec: Spec) -> dict:
    """Returns a version's signatures, those that answer by its network computed by another.

    Args:
      own: as the SavedModel computes them.
      network: computes predict_tensor's numbers.
      spec: of the model.
    """
    gathered, decode = Gathered(network), None
    if "image_bytes" in own["serving_default"].inputs:
        decode = Signature(_decoder(own["serving_default"], spec))
    return own | {
        "serving_default": Elsewhere(own["serving_default"], gathered, decode=decode, spec=spec),
        "predict_tensor": Elsewhere(own["predict_tensor"], gathered, decode=None, spec=spec),
    }


def _decoder(own: Signature, spec: Spec) -> Any:
    """Returns the concrete function from `image_bytes` [n] to `image` [n, h, w, c]."""

    def decode(*, image_bytes):
        return {"image": export.decoded(image_bytes, spec)}

    return tf.function(decode).get_concrete_function(image_bytes=own.inputs["image_bytes"])
