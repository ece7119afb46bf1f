"""Open Inference Protocol (KServe's V2) over HTTP, with its binary tensor extension.

A request has named tensors with type and shape, as lists in JSON or as bytes after it. Its inputs
are those of serving_default, or of another signature by the parameter "signature_name".
"""

import json
from importlib.metadata import version as package_version
from typing import Any

import numpy as np
import tensorflow as tf

from tfpipe.serving.errors import RequestError
from tfpipe.serving.http import binary_tensors, handlers, payloads
from tfpipe.serving.http.handlers import Answer, HandlerRequest
from tfpipe.serving.limits import JSON_NUMBER_BYTES
from tfpipe.serving.model.loaded import DEFAULT_SIGNATURE, Servable
from tfpipe.serving.model.store import ModelStore, ServedVersion

EXTENSIONS = ["binary_tensor_data"]
JSON_LENGTH = "inference-header-content-length"
BINARY_SIZE, BINARY, ALL_BINARY = "binary_data_size", "binary_data", "binary_data_output"
PLATFORM = "tensorflow_savedmodel"


def infer(version: ServedVersion, request: HandlerRequest) -> Answer:
    """Returns the outputs of a signature as tensors, in JSON or as bytes."""
    header, tail = _split(request)
    with handlers.PARSERS:
        request.budget.check()
        content = payloads.parse_json(header)
        parameters = _object(content.get("parameters", {}), where='"parameters"')
        signature = parameters.get("signature_name", DEFAULT_SIGNATURE)
        specs = version.servable.signature(signature)
        features = _features(content, tail, specs.inputs, limits=version.servable.limits)
        requested = _requested(content, specs.outputs, parameters)
    n_rows = handlers.n_instances(features)
    for is_binary, number_bytes in ((True, 0), (False, JSON_NUMBER_BYTES)):
        outputs = {name: specs.outputs[name] for name in requested if requested[name] is is_binary}
        n_bytes = payloads.output_bytes(outputs, n_rows, number_bytes=number_bytes)
        request.budget.add_answer(n_bytes)
    arrays = version.predict(features, signature=signature, check=request.budget.check)
    answer: dict[str, Any] = {
        "model_name": request.model_name,
        "model_version": str(version.servable.version),
    }
    if "id" in content:
        if not isinstance(content["id"], str):
            raise RequestError(400, '"id" must be a string.')
        answer["id"] = content["id"]
    return _encode(answer, {name: arrays[name] for name in requested}, requested, n_rows)


def server_metadata() -> dict[str, Any]:
    """Returns the name of the server, its version, and the extensions that it has."""
    return {
        "name": "tfpipe",
        "version": package_version("tfpipe"),
        "extensions": EXTENSIONS,
    }


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


def _split(request: HandlerRequest) -> tuple[bytes, memoryview]:
    """Returns the JSON of a body, and the bytes of tensors after it."""
    length = request.headers.get(JSON_LENGTH)
    if length is None:
        return request.body, memoryview(b"")
    if not (length.isascii() and length.isdecimal() and int(length) <= len(request.body)):
        raise RequestError(
            400,
            f"Inference-Header-Content-Length is {length[:20]!r}, expected the length of the JSON, "
            f"at most {len(request.body)}.",
        )
    return request.body[: int(length)], memoryview(request.body)[int(length) :]


def _features(
    content: dict[str, Any], tail: memoryview, specs: payloads.Inputs, *, limits: Any
) -> dict[str, np.ndarray]:
    """Returns the features [n, ...] of a signature from a request's tensors."""
    tensors = content.get("inputs")
    if not isinstance(tensors, list) or not all(isinstance(one, dict) for one in tensors):
        raise RequestError(400, 'Expected "inputs", a list of tensors.')
    names = [one.get("name") for one in tensors]
    if sorted(map(str, names)) != sorted(specs):
        raise RequestError(400, f"The inputs must be {', '.join(specs)}; got {str(names)[:200]}.")
    features, start = {}, 0
    for tensor in tensors:
        name, spec = tensor["name"], specs[tensor["name"]]
        shape = _shape(tensor, spec, name=name, max_instances=limits.max_instances)
        n_bytes = _binary_size(tensor, len(tail) - start, name=name)
        if n_bytes is None:
            values = _values(tensor.get("data"), spec, shape, name=name)
        else:
            data = tail[start : start + n_bytes]
            values = binary_tensors.decode(data, spec.dtype, shape, name=name)
            start += n_bytes
        features[name] = payloads.to_array(values, spec, name=name)
    if start != len(tail):
        raise RequestError(
            400, f"{len(tail)} bytes follow the JSON, and the inputs have {start} of them."
        )
    lengths = {name: len(values) for name, values in features.items()}
    if len(set(lengths.values())) != 1:
        raise RequestError(400, f"The inputs have different lengths: {lengths}.")
    return features


def _binary_size(tensor: dict[str, Any], n_left: int, *, name: str) -> int | None:
    """Returns how many of the bytes after the JSON a tensor has, None if it is in the JSON."""
    parameters = _object(tensor.get("parameters", {}), where=f'"parameters" of {name}')
    if BINARY_SIZE not in parameters:
        return None
    n_bytes = parameters[BINARY_SIZE]
    if not _is_count(n_bytes) or n_bytes > n_left or "data" in tensor:
        raise RequestError(
            400,
            f"{name} must have either data, or a {BINARY_SIZE} of at most the {n_left} bytes that "
            "follow the JSON.",
        )
    return n_bytes


def _shape(
    tensor: dict[str, Any], spec: tf.TensorSpec, *, name: str, max_instances: int
) -> tuple[int, ...]:
    """Returns the shape of a tensor that has the type and the shape that the input takes."""
    shape = tensor.get("shape")
    rest = list(spec.shape[1:])
    if not isinstance(shape, list) or not all(map(_is_count, shape)) or shape[1:] != rest:
        model_shape = ["n", *rest]
        raise RequestError(400, f"{name} has the shape {str(shape)[:80]}, expected {model_shape}.")
    if not shape or not shape[0]:
        raise RequestError(400, "The request has no instance.")
    payloads.check_count(shape[0], max_instances=max_instances)
    expected, got = binary_tensors.datatype(spec.dtype), tensor.get("datatype")
    if got != expected:
        raise RequestError(400, f"{name} has the datatype {str(got)[:20]}, expected {expected}.")
    return tuple(shape)


def _values(data: Any, spec: tf.TensorSpec, shape: tuple[int, ...], *, name: str) -> Any:
    """Returns values in JSON, flat or nested, as rows; text stands for its UTF-8."""
    if not isinstance(data, list):
        raise RequestError(400, f"{name} has no data, a list.")
    if spec.dtype == tf.string:
        if len(data) != shape[0]:
            raise RequestError(400, f"{name} has {len(data)} values, expected {shape[0]}.")
        return [one.encode() if isinstance(one, str) else one for one in data]
    if data and not isinstance(data[0], list) and len(shape) > 1:
        if payloads.has_boolean(data):
            raise RequestError(400, f"{name} has true or false, expected numbers.")
        if any(isinstance(one, list) for one in data) or len(data) != np.prod(shape):
            expected = f"{np.prod(shape)} values, flat or nested as its shape"
            raise RequestError(400, f"{name} has {len(data)} values, expected {expected}.")
        return np.reshape(np.asarray(data), shape)
    if len(data) != shape[0]:
        raise RequestError(400, f"{name} has {len(data)} rows, expected {shape[0]}.")
    return data


def _requested(
    content: dict[str, Any], specs: dict[str, tf.TensorSpec], parameters: dict[str, Any]
) -> dict[str, bool]:
    """Returns the outputs that a request asks for, and whether each is to be bytes."""
    default = _boolean(parameters.get(ALL_BINARY, False), name=ALL_BINARY)
    outputs = content.get("outputs")
    if outputs is None:
        return dict.fromkeys(specs, default)
    if not isinstance(outputs, list) or not outputs:
        raise RequestError(400, '"outputs" must be a list of objects, or be left out.')
    requested = {}
    for output in outputs:
        name = _object(output, where="An output").get("name")
        if name not in specs or name in requested:
            raise RequestError(400, f"The outputs are {', '.join(specs)}, each once.")
        own = _object(output.get("parameters", {}), where=f'"parameters" of {name}')
        requested[name] = _boolean(own.get(BINARY, default), name=BINARY)
    return requested


def _encode(
    answer: dict[str, Any],
    arrays: dict[str, np.ndarray],
    is_binary: dict[str, bool],
    n_rows: int,
) -> Answer:
    """Returns the answer: its JSON, written output by output, and the bytes of tensors after it."""
    text, tail = bytearray(json.dumps(answer).encode()), bytearray()
    text[-1:] = b',"outputs":['
    for name, array in arrays.items():
        tensor: dict[str, Any] = {
            "name": name,
            "datatype": binary_tensors.datatype(tf.as_dtype(array.dtype)),
            "shape": list(array.shape),
        }
        if is_binary[name]:
            data = binary_tensors.encode(array)
            tail += data
            tensor["parameters"] = {BINARY_SIZE: len(data)}
            text += json.dumps(tensor).encode() + b","
            continue
        text += json.dumps(tensor).encode()
        text[-1:] = b',"data":['
        for row in array:
            values = [row] if np.ndim(row) == 0 else row.ravel()
            text += json.dumps([_plain(value) for value in values])[1:-1].encode() + b","
        text[-1:] = b"]},"
    text[-1:] = b"]}"
    if not tail:
        return Answer(text, n_rows)
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(text)),
    }
    return Answer(text + tail, n_rows, headers)


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value.item()


def _object(value: Any, *, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(400, f"{where} must be an object.")
    return value


def _boolean(value: Any, *, name: str) -> bool:
    if not isinstance(value, bool):
        raise RequestError(400, f"{name} must be true or false.")
    return value


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
