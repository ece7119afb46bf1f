"""Run in a fresh process: how far an exported model's answers are from those expected.

`python -m tfpipe.parity VERSION SAMPLE.npz` prints the largest difference in probability, by
tensors and, where the sample has encoded pictures, by bytes.
"""

import sys

import numpy as np
import tensorflow as tf


def difference(version: str, sample: str) -> float:
    """Returns the largest difference between a SavedModel's probabilities and the sample's."""
    arrays = np.load(sample, allow_pickle=False)
    model = tf.saved_model.load(version)
    said = [model.signatures["predict_tensor"](image=tf.constant(arrays["images"]))]
    encoded = [arrays[name].tobytes() for name in sorted(arrays.files) if name.startswith("png")]
    if encoded:
        said.append(model.signatures["serving_default"](image_bytes=tf.constant(encoded)))
    return max(
        float(np.abs(one["probabilities"].numpy() - arrays["expected"]).max()) for one in said
    )


if __name__ == "__main__":
    print(difference(sys.argv[1], sys.argv[2]))
