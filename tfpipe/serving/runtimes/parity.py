"""Parity check: a runtime serves only if its outputs are those of the SavedModel."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from tfpipe.models.spec import Spec
from tfpipe.registry import warmup
from tfpipe.serving.model.batching import Signature
from tfpipe.serving.runtimes.backends import Arrays, Network

# For outputs in 0..1. Sums of float32 in another order differ by up to 1.2e-5 in the deepest
# networks here, and by less than 1e-6 in most; bfloat16, which must not pass, by 3e-4 and more.
TOLERANCE = 5e-5
N_EXAMPLES = 32


def max_difference(
    reference: Mapping[str, Network],
    other: Mapping[str, Network],
    requests: list[tuple[str, Arrays]],
) -> tuple[float, str]:
    """Returns the largest difference of outputs, and the output and signature that have it.

    Args:
      reference: a version's signatures, computed by the SavedModel.
      other: the same signatures, computed by another runtime.
      requests: from `probe_requests`.

    Returns:
      (difference, "OUTPUT of SIGNATURE"); infinite for outputs of another shape, NaN or infinity.
    """
    differences = []
    for signature, features in requests:
        expected, outputs = reference[signature](features), other[signature](features)
        for name, array in expected.items():
            if name == "label":
                continue  # follows from the probabilities; older exports have another rule
            difference = _difference(array, outputs[name])
            differences.append((difference, f"{name} of {signature}"))
    return max(differences)


def probe_requests(
    version: Path, spec: Spec, signatures: Mapping[str, Signature]
) -> list[tuple[str, Arrays]]:
    """Returns the requests that both answer: (signature, features [n, ...]), always the same.

    They begin with the version's warm-up example and end with noise of the training data's mean and
    standard deviation, blended in steps: in between the network is uncertain, and differences show.
    """
    tensors = dict(_blended(version, spec, list(signatures["predict_tensor"].inputs)))
    requests = [("predict_tensor", tensors), ("predict_tensor", _take(tensors, [0]))]
    if "image" not in tensors:
        requests.append(("serving_default", tensors))
    return requests


def _blended(version: Path, spec: Spec, names: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    example = dict(warmup.requests(version)).get("predict_tensor", {})
    rng = np.random.default_rng(0)
    scales = {
        "image": (spec.image_mean, spec.image_std, spec.image_shape, spec.image_dtype),
        "columns": (spec.column_mean, spec.column_std, (len(spec.columns),), "float32"),
    }
    for name in names:
        mean, std, shape, dtype = scales[name]
        noise = rng.normal(mean, std, (N_EXAMPLES, *shape))
        weight = np.linspace(0, 1, N_EXAMPLES).reshape(-1, *[1] * len(shape))
        start = example[name][:1].astype(float) if name in example else np.full(shape, mean)
        values = (1 - weight) * start + weight * noise
        if np.dtype(dtype).kind == "u":
            values = np.clip(np.rint(values), 0, np.iinfo(dtype).max)
        yield name, values.astype(dtype)


def _take(features: Arrays, rows: list[int]) -> Arrays:
    return {name: array[rows] for name, array in features.items()}


def _difference(expected: np.ndarray, output: np.ndarray) -> float:
    if expected.shape != output.shape or expected.dtype != output.dtype:
        return np.inf
    if expected.dtype.kind != "f":
        return 0.0 if (expected == output).all() else np.inf
    differences = np.abs(expected - output)
    return float(differences.max()) if np.isfinite(differences).all() else np.inf
