"""Open Inference Protocol (KServe's V2) over HTTP, with its binary tensor extension.

Tensors are lists in JSON, or bytes after it.
"""

import json
from typing import Any

import numpy as np
import tensorflow as tf

from tfpipe.serving import binary_tensors
from tfpipe.serving.errors import RequestError
from tfpipe.serving.http import handlers, payloads
from tfpipe.serving.http.handlers import Answer, HandlerRequest
from tfpipe.serving.limits import JSON_NUMBER_BYTES
from tfpipe.serving.model.loaded import DEFAULT_SIGNATURE
from tfpipe.serving.model.store import ServedVersion
from tfpipe.serving.open_inference import (
    SIGNATURE_NAME,
    InputTensor,
    check_n_inputs,
    check_outputs,
    is_count,
    parse_inputs,
)

EXTENSIONS = ["binary_tensor_data"]
JSON_LENGTH = "inference-header-content-length"
BINARY_SIZE, BINARY, ALL_BINARY = "binary_data_size", "binary_data", "binary_data_output"


def infer(version: ServedVersion, request: HandlerRequest) -> Answer:
    """Returns the outputs of a signature as tensors, in JSON or as bytes."""
    header, tail = _split(request)
    with handlers.PARSERS:
        request.budget.check()
        content = payloads.parse_json(header)
        parameters = _object(content.get("parameters", {}), where='"parameters"')
        signature = parameters.get(SIGNATURE_NAME, DEFAULT_SIGNATURE)
        specs = version.servable.signature(signature)
        features = parse_inputs(
            _input_tensors(content, tail, specs.inputs),
            specs.inputs,
            max_instances=version.servable.limits.max_instances,
        )
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


def _split(request: HandlerRequest) -> tuple[bytes, memoryview]:
    """Returns the JSON of a body, and the bytes of tensors after it."""
    length = request.headers.get(JSON_LENGTH)
    if length is None:
        return request.body, memoryview(b"")
    is_number = length.isascii() and length.isdecimal() and len(length) < 19
    if not (is_number and int(length) <= len(request.body)):
        raise RequestError(
            400,
            f"Inference-Header-Content-Length is {length[:20]!r}, expected the length of the JSON, "
            f"at most {len(request.body)}.",
        )
    return request.body[: int(length)], memoryview(request.body)[int(length) :]


def _input_tensors(
    content: dict[str, Any], tail: memoryview, specs: payloads.Inputs
) -> list[InputTensor]:
    """Returns a request's tensors, those of bytes with their part of what follows the JSON."""
    tensors = content.get("inputs")
    if not isinstance(tensors, list) or not all(isinstance(one, dict) for one in tensors):
        raise RequestError(400, 'Expected "inputs", a list of tensors.')
    check_n_inputs(len(tensors), specs)
    inputs, start = [], 0
    for tensor in tensors:
        name = tensor.get("name")
        n_bytes = _binary_size(tensor, len(tail) - start, name=str(name)[:80])
        raw = None if n_bytes is None else tail[start : start + n_bytes]
        start += n_bytes or 0
        claims = (tensor.get("datatype"), tensor.get("shape"))
        inputs.append(InputTensor(name, *claims, values=tensor.get("data"), raw=raw))
    if start != len(tail):
        raise RequestError(
            400, f"{len(tail)} bytes follow the JSON, and the inputs have {start} of them."
        )
    return inputs


def _binary_size(tensor: dict[str, Any], n_left: int, *, name: str) -> int | None:
    """Returns how many of the bytes after the JSON a tensor has, None if it is in the JSON."""
    parameters = _object(tensor.get("parameters", {}), where=f'"parameters" of {name}')
    if BINARY_SIZE not in parameters:
        return None
    n_bytes = parameters[BINARY_SIZE]
    if not is_count(n_bytes) or n_bytes > n_left or "data" in tensor:
        raise RequestError(
            400,
            f"{name} must have either data, or a {BINARY_SIZE} of at most the {n_left} bytes that "
            "follow the JSON.",
        )
    return n_bytes


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
    names: list[Any] = [_object(output, where="An output").get("name") for output in outputs]
    check_outputs(names, specs)
    requested = {}
    for name, output in zip(names, outputs, strict=True):
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
