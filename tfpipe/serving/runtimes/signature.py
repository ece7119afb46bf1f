"""Signatures of a version whose network another runtime computes."""

import numpy as np

from tfpipe.evaluation import metrics
from tfpipe.models.spec import Spec
from tfpipe.serving.model import batching
from tfpipe.serving.model.batching import BatchedFunction, BatchedSignature, Signature
from tfpipe.serving.runtimes.backends import Arrays, Network

COMPUTED = ("serving_default", "predict_tensor")  # signatures with the network's predictions


class RuntimeSignature:
    """A signature of numbers that another runtime computes.

    Attributes:
      inputs: name -> TensorSpec.
      outputs: name -> TensorSpec.
    """

    def __init__(
        self,
        original: BatchedSignature,
        network: BatchedFunction,
        *,
        spec: Spec,
        thresholds: dict[str, float],
    ):
        self.inputs, self.outputs = original.inputs, original.outputs
        self._network, self._classes, self._thresholds = network, spec.classes, thresholds

    def __call__(self, features: Arrays) -> Arrays:
        """Returns the outputs [n, ...] for features [n, ...], n >= 1."""
        return batching.in_parts(features, self._compute)

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
    # A batch takes all cores, and not every runtime may be called by two threads at the same time.
    batched = BatchedFunction(network, threads=1)
    # Encoded images are decoded before predict_tensor is called: nobody calls serving_default then.
    numeric = [name for name in COMPUTED if "image_bytes" not in signatures[name].inputs]
    computed: dict[str, Signature] = {
        name: RuntimeSignature(signatures[name], batched, spec=spec, thresholds=thresholds)
        for name in numeric
    }
    return {**signatures, **computed}
