"""Signatures of a version whose network another runtime computes."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfpipe.evaluation import metrics
from tfpipe.models.spec import Spec
from tfpipe.registry import export
from tfpipe.serving.model import batching
from tfpipe.serving.model.batching import BatchedSignature, Signature
from tfpipe.serving.runtimes.backends import Arrays, Network
from tfpipe.serving.runtimes.batching import BatchedNetwork


class RuntimeSignature:
    """A signature whose images TensorFlow decodes and whose numbers another runtime computes.

    Attributes:
      inputs: name -> TensorSpec.
      outputs: name -> TensorSpec.
    """

    def __init__(
        self,
        original: BatchedSignature,
        network: BatchedNetwork,
        *,
        decoder: BatchedSignature | None,
        spec: Spec,
        thresholds: dict[str, float],
    ):
        self.inputs, self.outputs = original.inputs, original.outputs
        self._network, self._decoder, self._classes = network, decoder, spec.classes
        self._thresholds = thresholds

    def __call__(self, features: Arrays) -> Arrays:
        """Returns the outputs [n, ...] for features [n, ...], n >= 1.

        Raises:
          RequestError: an image cannot be decoded.
        """
        if self._decoder is None:
            return batching.in_parts(features, self._compute)
        # Images are decoded one by one: in a batch with those of others it would take longer.
        encoded = {name: features[name] for name in self._decoder.inputs}
        rest = {name: array for name, array in features.items() if name not in encoded}
        return batching.in_parts(self._decoder.call_unbatched(encoded) | rest, self._compute)

    def _compute(self, features: Arrays) -> Arrays:
        outputs = self._network(features)
        if "label" in self.outputs:
            probabilities = outputs["probabilities"]
            outputs["label"] = metrics.predict_labels(probabilities, thresholds=self._thresholds)
            names = np.array([name.encode() for name in self._classes], object)
            outputs["classes"] = np.tile(names, (len(probabilities), 1))
        return {name: outputs[name] for name in self.outputs}


def runtime_signatures(
    signatures: dict[str, BatchedSignature],
    network: Network,
    spec: Spec,
    *,
    thresholds: dict[str, float],
) -> dict[str, Signature]:
    """Returns a version's signatures, of which another runtime computes the predictions.

    Args:
      signatures: computed by the SavedModel.
      network: computes the numbers of predict_tensor.
      spec: of the model.
      thresholds: of the version's decision rule.
    """
    batched, decoder = BatchedNetwork(network), None
    from_bytes, from_tensor = signatures["serving_default"], signatures["predict_tensor"]
    if "image_bytes" in from_bytes.inputs:
        decoder = BatchedSignature(_decoding_function(from_bytes, spec))
    common: dict[str, Any] = {"spec": spec, "thresholds": thresholds}
    return {
        **signatures,
        "serving_default": RuntimeSignature(from_bytes, batched, decoder=decoder, **common),
        "predict_tensor": RuntimeSignature(from_tensor, batched, decoder=None, **common),
    }


def _decoding_function(original: BatchedSignature, spec: Spec) -> Any:
    """Returns the concrete function from `image_bytes` [n] to `image` [n, h, w, c]."""

    def decode(*, image_bytes):
        return {"image": export.decoded(image_bytes, spec)}

    return tf.function(decode).get_concrete_function(image_bytes=original.inputs["image_bytes"])
