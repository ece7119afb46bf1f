"""Parity check, run in a fresh process: difference and speed of an exported model."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

CALLS, MOST_S = 20, 0.5  # that are timed, and the seconds that they may take


def examined(version: str, sample: str) -> dict[str, Any]:
    """Returns what there is to know of a SavedModel's answers to a sample.

    Returns:
      {"difference": the largest between its answers and the sample's, in probability or in
      reconstructed pixels, by tensors and, where the sample has encoded images, by bytes;
      "speed": {"one_ms", "batch_ms", "batch"}: the median call with one image, and with a
      batch, as tensors}.

    Args:
      version: the SavedModel's folder.
      sample: arrays "expected", the inputs "image" and "columns" as the model takes them, and
        "encoded000", ... with the bytes of each image.
    """
    arrays = dict(np.load(sample, allow_pickle=False))
    expected = arrays.pop("expected")
    encoded = [arrays.pop(name).tobytes() for name in sorted(arrays) if name.startswith("encoded")]
    model = tf.saved_model.load(version)
    inputs = {name: tf.constant(array) for name, array in arrays.items()}
    answer = model.signatures["predict_tensor"]
    outputs = [answer(**inputs)]
    every, single = dict(inputs), {name: array[:1] for name, array in inputs.items()}
    speed = {"one_ms": median_ms(lambda: answer(**single))}
    speed |= {"batch_ms": median_ms(lambda: answer(**every)), "batch": len(expected)}
    if encoded:
        inputs["image_bytes"] = tf.constant(encoded)
        del inputs["image"]
    outputs.append(model.signatures["serving_default"](**inputs))
    differences = [np.abs(_answer(single) - expected).max() for single in outputs]
    return {"difference": float(np.max(differences)), "speed": speed}


def median_ms(call: Callable[[], Any]) -> float:
    """Returns how long a call takes, in milliseconds, once it has been made."""
    call()
    took: list[float] = []
    began = time.perf_counter()
    while len(took) < CALLS and time.perf_counter() - began < MOST_S:
        at = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - at))
    return float(np.median(took))


def _answer(outputs: dict[str, tf.Tensor]) -> np.ndarray:
    return outputs["probabilities" if "probabilities" in outputs else "reconstruction"].numpy()
