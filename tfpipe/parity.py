"""Run in a fresh process: how far an exported model's answers are from those expected.

`python -m tfpipe.parity VERSION SAMPLE.npz` prints the largest difference, in probability or in
reconstructed pixels, by tensors and, where the sample has encoded pictures, by bytes.
"""

import sys

import numpy as np
import tensorflow as tf


def difference(version: str, sample: str) -> float:
    """Returns the largest difference between a SavedModel's answers and the sample's.

    Args:
      version: the SavedModel's folder.
      sample: arrays "expected", the inputs "image" and "columns" as the model takes them, and
        "encoded000", ... with the bytes of each picture.
    """
    arrays = dict(np.load(sample, allow_pickle=False))
    expected = arrays.pop("expected")
    encoded = [arrays.pop(name).tobytes() for name in sorted(arrays) if name.startswith("encoded")]
    model = tf.saved_model.load(version)
    taken = {name: tf.constant(array) for name, array in arrays.items()}
    said = [model.signatures["predict_tensor"](**taken)]
    if encoded:
        taken["image_bytes"] = tf.constant(encoded)
        del taken["image"]
    said.append(model.signatures["serving_default"](**taken))
    return float(np.max([np.abs(_answer(one) - expected).max() for one in said]))


def _answer(said: dict[str, tf.Tensor]) -> np.ndarray:
    return said["probabilities" if "probabilities" in said else "reconstruction"].numpy()


if __name__ == "__main__":
    print(difference(sys.argv[1], sys.argv[2]))
