"""Open Inference Protocol (KServe's V2): what HTTP and gRPC have in common.

A request has named tensors with type and shape. Its inputs are those of serving_default, or of
another signature by the parameter "signature_name".
"""

from collections.abc import Iterable, Sequence
from importlib.metadata import version as package_version
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfpipe.serving import binary_tensors
from tfpipe.serving.errors import RequestError
from tfpipe.serving.http import payloads
from tfpipe.serving.model.loaded import DEFAULT_SIGNATURE, Servable
from tfpipe.serving.model.store import ModelStore

SIGNATURE_NAME = "signature_name"  # a parameter of a request
PLATFORM = "tensorflow_savedmodel"


class InputTensor(NamedTuple):
    """A tensor of a request as its client describes it; nothing is checked yet.

    Attributes:
      name: of an input.
      datatype: the protocol's name of its type.
      shape: [n, ...].
      values: in a list, flat or nested as the shape, or in a flat array.
      raw: its bytes, in place of values.
    """

    name: Any
    datatype: Any
    shape: Any
    values: Any = None
    raw: memoryview | None = None


def parse_inputs(
    tensors: Sequence[InputTensor], specs: payloads.Inputs, *, max_instances: int
) -> dict[str, np.ndarray]:
    """Returns the features [n, ...] of a signature from a request's tensors.

    Raises:
      RequestError: they are not what the signature takes.
    """
    check_n_inputs(len(tensors), specs)
    names = [tensor.name for tensor in tensors]
    if sorted(map(str, names)) != sorted(specs):
        raise RequestError(400, f"The inputs must be {', '.join(specs)}; got {str(names)[:200]}.")
    features = {}
    for tensor in tensors:
        name, spec = tensor.name, specs[tensor.name]
        shape = _shape(tensor, spec, max_instances=max_instances)
        values = (
            _values(tensor.values, spec, shape, name=name)
            if tensor.raw is None
            else binary_tensors.decode(tensor.raw, spec.dtype, shape, name=name)
        )
        features[name] = payloads.to_array(values, spec, name=name)
    lengths = {name: len(values) for name, values in features.items()}
    if len(set(lengths.values())) != 1:
        raise RequestError(400, f"The inputs have different lengths: {lengths}.")
    return features


def check_n_inputs(count: int, specs: payloads.Inputs) -> None:
    """Raises a RequestError if there are so many inputs that looking at each would take long."""
    if count != len(specs):
        raise RequestError(400, f"The inputs must be {', '.join(specs)}; got {count} tensors.")


def check_outputs(names: Iterable[Any], specs: dict[str, tf.TensorSpec]) -> None:
    """Raises a RequestError unless a request asks for outputs that there are, each once."""
    requested = set()
    for name in names:
        if not isinstance(name, str) or name not in specs or name in requested:
            raise RequestError(400, f"The outputs are {', '.join(specs)}, each once.")
        requested.add(name)


def server_metadata(extensions: list[str]) -> dict[str, Any]:
    """Returns the name of the server, its version, and the extensions that it has."""
    return {"name": "tfpipe", "version": package_version("tfpipe"), "extensions": extensions}


def model_metadata(models: ModelStore, servable: Servable, name: str) -> dict[str, Any]:
    """Returns the tensors of a version's serving_default."""
    signature = servable.signature(DEFAULT_SIGNATURE)
    return {
        "name": name,
        "versions": [str(one.version) for one in models.statuses(name) if not one.error],
        "platform": PLATFORM,
        "inputs": _tensors(signature.inputs),
        "outputs": _tensors(signature.outputs),
    }


def _tensors(specs: dict[str, tf.TensorSpec]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "datatype": binary_tensors.datatype(spec.dtype),
            "shape": [-1 if length is None else length for length in spec.shape],
        }
        for name, spec in specs.items()
    ]


def _shape(tensor: InputTensor, spec: tf.TensorSpec, *, max_instances: int) -> tuple[int, ...]:
    """Returns the shape of a tensor that has the type and the shape that the input takes."""
    name, shape, rest = tensor.name, tensor.shape, list(spec.shape[1:])
    if not isinstance(shape, list) or not all(map(is_count, shape)) or shape[1:] != rest:
        model_shape = ["n", *rest]
        raise RequestError(400, f"{name} has the shape {str(shape)[:80]}, expected {model_shape}.")
    if not shape or not shape[0]:
        raise RequestError(400, "The request has no instance.")
    payloads.check_count(shape[0], max_instances=max_instances)
    expected, got = binary_tensors.datatype(spec.dtype), tensor.datatype
    if got != expected:
        raise RequestError(400, f"{name} has the datatype {str(got)[:20]}, expected {expected}.")
    return tuple(shape)


def _values(data: Any, spec: tf.TensorSpec, shape: tuple[int, ...], *, name: str) -> Any:
    """Returns values as rows, whether they are flat or nested; text stands for its UTF-8."""
    if isinstance(data, np.ndarray):
        _check_size(data, shape, name=name)
        return data.reshape(shape)
    if not isinstance(data, list):
        raise RequestError(400, f"{name} has no data, a list.")
    if spec.dtype == tf.string:
        if len(data) != shape[0]:
            raise RequestError(400, f"{name} has {len(data)} values, expected {shape[0]}.")
        return [one.encode() if isinstance(one, str) else one for one in data]
    if data and not isinstance(data[0], list) and len(shape) > 1:
        if payloads.has_boolean(data):
            raise RequestError(400, f"{name} has true or false, expected numbers.")
        is_mixed = any(isinstance(one, list) for one in data)
        _check_size(data, shape, name=name, is_flat=not is_mixed)
        return np.reshape(np.asarray(data), shape)
    if len(data) != shape[0]:
        raise RequestError(400, f"{name} has {len(data)} rows, expected {shape[0]}.")
    return data


def _check_size(data: Any, shape: tuple[int, ...], *, name: str, is_flat: bool = True) -> None:
    if not is_flat or len(data) != np.prod(shape):
        expected = f"{np.prod(shape)} values, flat or nested as its shape"
        raise RequestError(400, f"{name} has {len(data)} values, expected {expected}.")


def is_count(value: Any) -> bool:
    """Whether a value is a whole number of at least 0, and no boolean."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
