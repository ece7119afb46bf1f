"""The gate that every runtime passes before it answers: it says what the SavedModel says."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tfpipe.models.spec import Spec
from tfpipe.registry import store, warmup
from tfpipe.serving.model.batching import Signature
from tfpipe.serving.runtimes.backends import Arrays

# Of answers in 0..1. Sums of float32 in another order differ by up to 1.2e-5 in the deepest
# networks here, and by less than 1e-6 in most; bfloat16, which is not wanted, by 3e-4 and more.
TOLERANCE = 5e-5
COUNT = 32  # examples


def worst(own: dict[str, Signature], other: dict, asked: list[tuple[str, Arrays]]):
    """Returns the largest difference of answers, infinite if they are no numbers, and of what.

    Args:
      own: a version's signatures, as the SavedModel computes them.
      other: as another runtime does.
      asked: from `requests`.
    """
    found = []
    for signature, features in asked:
        expected, said = own[signature](features), other[signature](features)
        for name, array in expected.items():
            found.append((_difference(array, said[name]), f"{name} by {signature}"))
    return max(found)


def requests(version: Path, spec: Spec, own: dict[str, Signature]) -> list[tuple[str, Arrays]]:
    """Returns what both are asked: (signature, features [n, ...]), the same each time.

    The example that the version is warmed with, step by step blended with noise of the training
    data's mean and deviation: on the way the network is in doubt, and there differences show. As
    tensors, and some of the pictures as bytes, two of them of a size that must be brought to fit.
    """
    tensors = dict(_blended(version, spec, [*own["predict_tensor"].inputs]))
    asked = [("predict_tensor", tensors), ("predict_tensor", _rows(tensors, [0]))]
    if "image" not in tensors:
        return [*asked, ("serving_default", tensors)]
    pictures, rows = [tensors["image"][0], tensors["image"][COUNT // 2]], [0, COUNT // 2]
    if spec.image_dtype != "float32":  # whose bytes tell no size
        height = spec.image_shape[0]
        pictures += [pictures[0][: (height + 1) // 2], np.tile(pictures[1], (2, 2, 1))]
        rows *= 2
    encoded = {name: array for name, array in _rows(tensors, rows).items() if name != "image"}
    encoded["image_bytes"] = np.array([store.bytes_of(one) for one in pictures], object)
    return [*asked, ("serving_default", encoded)]


def _blended(version: Path, spec: Spec, names: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    example = dict(warmup.requests(version)).get("predict_tensor", {})
    rng = np.random.default_rng(0)
    scales = {
        "image": (spec.image_mean, spec.image_std, spec.image_shape, spec.image_dtype),
        "columns": (spec.column_mean, spec.column_std, (len(spec.columns),), "float32"),
    }
    for name in names:
        mean, deviation, shape, dtype = scales[name]
        noise = rng.normal(mean, deviation, (COUNT, *shape))
        share = np.linspace(0, 1, COUNT).reshape(-1, *[1] * len(shape))
        begin = example[name][:1].astype(float) if name in example else np.full(shape, mean)
        mixed = (1 - share) * begin + share * noise
        if np.dtype(dtype).kind == "u":
            mixed = np.clip(np.rint(mixed), 0, np.iinfo(dtype).max)
        yield name, mixed.astype(dtype)


def _rows(features: Arrays, rows: list[int]) -> Arrays:
    return {name: array[rows] for name, array in features.items()}


def _difference(expected: np.ndarray, said: np.ndarray) -> float:
    if expected.shape != said.shape or expected.dtype != said.dtype:
        return np.inf
    if expected.dtype.kind != "f":
        return 0.0 if (expected == said).all() else np.inf
    differences = np.abs(expected - said)
    return float(differences.max()) if np.isfinite(differences).all() else np.inf
