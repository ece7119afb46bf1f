"""JSON of TensorFlow Serving's REST API: requests to arrays, arrays to answers."""

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfpipe.serving.errors import RequestError

Inputs = dict[str, tf.TensorSpec]
INSTANCES, INPUTS = "instances", "inputs"  # the names of the row form and the column form
BINARY = {"b64"}


def parse_json(body: bytes) -> dict[str, Any]:
    """Returns the JSON object of a body.

    Raises:
      RequestError: the body is no JSON object, or has a name twice.
    """
    try:
        content = json.loads(body, object_pairs_hook=_unique_pairs)
    except RecursionError as error:
        raise RequestError(400, "The JSON is nested too deeply.") from error
    except ValueError as error:
        raise RequestError(400, f"The body is not valid JSON: {str(error)[:200]}") from error
    if not isinstance(content, dict):
        raise RequestError(400, f"Expected a JSON object as body, got {_json_type(content)}.")
    return content


def parse_features(
    content: dict[str, Any], inputs: Inputs, *, max_instances: int
) -> tuple[dict[str, np.ndarray], bool]:
    """Returns the features [n, ...] of a signature, and whether the request was in row form.

    Args:
      content: has either "instances", a list of rows, or "inputs", columns.
      inputs: of the signature.
      max_instances: number of rows.

    Raises:
      RequestError: the request is not what the signature takes.
    """
    forms = [form for form in (INSTANCES, INPUTS) if form in content]
    if len(forms) != 1:
        got = "both" if forms else ", ".join(map(repr, content)) or "nothing"
        raise RequestError(400, f'Expected either "{INSTANCES}" or "{INPUTS}", got {got}.')
    by_row = forms == [INSTANCES]
    if by_row:
        columns = _columns_of_rows(content[INSTANCES], inputs, max_instances=max_instances)
    else:
        columns = _columns(content[INPUTS], inputs)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise RequestError(400, f"The inputs have different lengths: {lengths}.")
    (n_rows,) = set(lengths.values())
    if not n_rows:
        raise RequestError(400, "The request has no instance.")
    check_count(n_rows, max_instances=max_instances)
    return {name: to_array(columns[name], spec, name=name) for name, spec in inputs.items()}, by_row


def to_array(values: Any, spec: tf.TensorSpec, *, name: str) -> np.ndarray:
    """Returns values, one for each row, as the array that an input takes.

    Raises:
      RequestError: they have another shape or type, or are out of its range.
    """
    if spec.dtype == tf.string:
        return np.array([_to_bytes(value, name=name) for value in values], object)
    expected = f"expected {spec.dtype.name} of shape {[len(values), *spec.shape[1:]]}"
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise RequestError(400, f"{name} is ragged, {expected}.") from error
    if array.shape[1:] != tuple(spec.shape[1:]):
        raise RequestError(400, f"{name} has the shape {list(array.shape)}, {expected}.")
    dtype = np.dtype(spec.dtype.as_numpy_dtype)
    if isinstance(values, list) and has_boolean(values):  # NumPy takes true among numbers for 1
        raise RequestError(400, f"{name} has true or false, {expected}.")
    if array.dtype.kind not in ("iuf" if dtype.kind == "f" else "iu"):
        raise RequestError(400, f"{name} has values of another type, {expected}.")
    if dtype.kind == "f":
        if not (np.abs(array) <= np.finfo(dtype).max).all():
            raise RequestError(
                400, f"{name} has NaN, an infinity or a number that is too large, {expected}."
            )
        if array.dtype.kind != "f" and (array.astype(dtype).astype(array.dtype) != array).any():
            raise RequestError(400, f"{name} has a whole number with too many digits, {expected}.")
    elif array.min() < np.iinfo(dtype).min or array.max() > np.iinfo(dtype).max:
        raise RequestError(400, f"{name} has a number out of range, {expected}.")
    return array.astype(dtype)


def encode_outputs(outputs: dict[str, np.ndarray], *, by_row: bool) -> bytearray:
    """Returns the JSON text of outputs [n, ...], in the form that the request had.

    It is written row by row: lists of Python numbers would take several times the memory of it.
    """
    columns = {name: _rows(array, name=name) for name, array in outputs.items()}
    if by_row:
        rows = zip(*columns.values(), strict=True)
        if len(columns) == 1:
            return _object({"predictions": (value for (value,) in rows)})
        return _object({"predictions": (dict(zip(columns, row, strict=True)) for row in rows)})
    if len(columns) == 1:
        return _object({"outputs": next(iter(columns.values()))})
    text = _object(columns)
    text[:0] = b'{"outputs":'
    return text + b"}"


def output_bytes(
    outputs: Mapping[str, tf.TensorSpec], n_rows: int, *, number_bytes: int = 0
) -> int:
    """Returns the bytes of an answer of so many rows, known before it is computed.

    Args:
      outputs: of the signature.
      n_rows: number of examples.
      number_bytes: of a number, such as `JSON_NUMBER_BYTES`; 0 for those of its type.
    """
    n_bytes = 0
    for spec in outputs.values():
        size = math.prod(dim or 1 for dim in spec.shape[1:])
        n_bytes += n_rows * size * (number_bytes or max(1, spec.dtype.size))
    return n_bytes


def examples_to_instances(content: dict[str, Any]) -> dict[str, Any]:
    """Returns a request in row form for one of :classify, whose "context" belongs to each example.

    Raises:
      RequestError: the request has no examples.
    """
    examples, context = content.get("examples"), content.get("context", {})
    if not isinstance(examples, list) or not all(isinstance(row, dict) for row in examples):
        raise RequestError(400, 'Expected "examples", a list of objects of features.')
    if not isinstance(context, dict) or any(context.keys() & row.keys() for row in examples):
        raise RequestError(400, '"context" must be an object of features that no example has.')
    return {INSTANCES: [context | row for row in examples]}


def check_count(n_instances: int, *, max_instances: int) -> None:
    """Raises a RequestError if there are too many instances."""
    if n_instances > max_instances:
        raise RequestError(
            413,
            f"Expected at most {max_instances} instances, got {n_instances}. "
            "Send several requests.",
        )


def check_names(row: dict[str, Any], inputs: Inputs, *, where: str) -> None:
    """Raises a RequestError if a row has other names than the inputs."""
    if row.keys() != inputs.keys():
        names = ", ".join(map(repr, row))[:200] or "nothing"
        raise RequestError(400, f"{where} must have {', '.join(inputs)}; got {names}.")


def has_boolean(values: list[Any]) -> bool:
    """Returns whether there is true or false in nested lists."""
    kinds = set(map(type, values))
    if bool in kinds:
        return True
    return list in kinds and any(has_boolean(row) for row in values if isinstance(row, list))


def _columns_of_rows(rows: Any, inputs: Inputs, *, max_instances: int) -> dict[str, list[Any]]:
    if not isinstance(rows, list):
        raise RequestError(400, f'Expected a list as "{INSTANCES}", got {_json_type(rows)}.')
    check_count(len(rows), max_instances=max_instances)
    if not any(isinstance(row, dict) and row.keys() != BINARY for row in rows):
        return {_only_input(inputs): rows}
    columns: dict[str, list[Any]] = {name: [] for name in inputs}
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise RequestError(400, f"Instance {i} is {_json_type(row)}, others are objects.")
        check_names(row, inputs, where=f"Instance {i}")
        for name in inputs:
            columns[name].append(row[name])
    return columns


def _columns(columns: Any, inputs: Inputs) -> dict[str, list[Any]]:
    if not isinstance(columns, dict) or columns.keys() == BINARY:
        columns = {_only_input(inputs): columns}
    check_names(columns, inputs, where=f'"{INPUTS}"')
    for name, values in columns.items():
        if not isinstance(values, list):
            raise RequestError(
                400,
                f"Expected a list with a value for each row as {name}, got {_json_type(values)}.",
            )
    return columns


def _only_input(inputs: Inputs) -> str:
    if len(inputs) > 1:
        raise RequestError(400, f"The model has several inputs, name them: {', '.join(inputs)}.")
    return next(iter(inputs))


def _to_bytes(value: Any, *, name: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict) and value.keys() == BINARY and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise RequestError(400, f"{name} is not valid base64: {error}.") from error
    raise RequestError(
        400,
        f'Expected {{"b64": "..."}} as {name}, got {_json_type(value)}. '
        'Send lists of numbers to "signature_name": "predict_tensor".',
    )


def _object(columns: Mapping[str, Iterable[Any]]) -> bytearray:
    """Returns the text of an object of lists."""
    text = bytearray(b"{")
    for name, values in columns.items():
        text += json.dumps(name).encode() + b":["
        for value in values:
            text += json.dumps(value, separators=(",", ":")).encode() + b","
        text[-1:] = b"],"  # in place of the last comma: no output is without rows
    text[-1:] = b"}"
    return text


def _rows(array: np.ndarray, *, name: str) -> Iterator[Any]:
    """Yields each row of an output as JSON has it."""
    for row in array:
        if array.dtype != object:
            yield row.tolist()
        elif name.endswith("_bytes"):
            yield _map_nested(row, lambda value: {"b64": base64.b64encode(value).decode()})
        else:
            yield _map_nested(row, lambda value: value.decode("utf-8", "replace"))


def _map_nested(array: Any, change: Callable[[bytes], Any]) -> Any:
    return [_map_nested(row, change) for row in array] if np.ndim(array) else change(array)


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        duplicate = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {duplicate[:50]!r} occurs twice")
    return content


def _json_type(value: Any) -> str:
    names: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        type(None): "null",
    }
    return names.get(type(value), "a number")
