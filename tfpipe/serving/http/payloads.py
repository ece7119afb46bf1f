"""JSON to arrays and back, as TensorFlow Serving's REST API has it."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfpipe.serving.errors import Refused

Inputs = dict[str, tf.TensorSpec]
ROW, COLUMN = "instances", "inputs"
BINARY = {"b64"}


def parsed(body: bytes) -> dict[str, Any]:
    """Returns the JSON object of a body.

    Raises:
      Refused: it is none, or holds a name twice.
    """
    try:
        told = json.loads(body, object_pairs_hook=_object)
    except RecursionError as error:
        raise Refused(400, "The JSON is nested too deeply.") from error
    except ValueError as error:
        raise Refused(400, f"The body is no JSON: {str(error)[:200]}") from error
    if not isinstance(told, dict):
        raise Refused(400, f"The body is a JSON {_kind(told)}, expected an object.")
    return told


def features(told: dict[str, Any], inputs: Inputs, *, most: int) -> tuple[dict, bool]:
    """Returns what a request gives a signature, [n, ...] each, and whether it came row by row.

    Args:
      told: has either "instances", a list of rows, or "inputs", columns.
      inputs: of the signature.
      most: rows.

    Raises:
      Refused: what came is not what the signature takes.
    """
    given = [form for form in (ROW, COLUMN) if form in told]
    if len(given) != 1:
        came = "both came" if given else f"came {', '.join(map(repr, told)) or 'nothing'}"
        raise Refused(400, f'Expected either "{ROW}" or "{COLUMN}", {came}.')
    is_rows = given == [ROW]
    columns = _of_rows(told[ROW], inputs, most=most) if is_rows else _of_columns(told, inputs)
    counts = {name: len(values) for name, values in columns.items()}
    if len({*counts.values()}) != 1:
        raise Refused(400, f"The inputs are of different lengths: {counts}.")
    (count,) = {*counts.values()}
    if not count:
        raise Refused(400, "The request holds no instance.")
    check_count(count, most=most)
    return {name: array(columns[name], spec, name=name) for name, spec in inputs.items()}, is_rows


def array(values: Sequence, spec: tf.TensorSpec, *, name: str) -> np.ndarray:
    """Returns values, one a row, as the array that an input takes.

    Raises:
      Refused: they are of another shape or kind, out of its range, or no numbers.
    """
    if spec.dtype == tf.string:
        return np.array([_bytes(value, name=name) for value in values], object)
    expected = f"expected {spec.dtype.name} of shape {[len(values), *spec.shape[1:]]}"
    try:
        found = np.asarray(values)
    except ValueError as error:
        raise Refused(400, f"{name} is ragged, {expected}.") from error
    if found.shape[1:] != tuple(spec.shape[1:]):
        raise Refused(400, f"{name} has the shape {list(found.shape)}, {expected}.")
    kind = np.dtype(spec.dtype.as_numpy_dtype)
    if found.dtype.kind not in ("iuf" if kind.kind == "f" else "iu"):
        raise Refused(400, f"{name} holds something else than numbers of its kind, {expected}.")
    if kind.kind == "f":
        if not (np.abs(found) <= np.finfo(kind).max).all():
            raise Refused(400, f"{name} holds NaN, an infinity or a number too large, {expected}.")
    elif found.min() < np.iinfo(kind).min or found.max() > np.iinfo(kind).max:
        raise Refused(400, f"{name} holds a number out of range, {expected}.")
    return found.astype(kind)


def answered(outputs: dict[str, np.ndarray], *, by_row: bool) -> dict[str, Any]:
    """Returns the JSON of answers [n, ...], in the form that the request came in."""
    told = {name: _values(array, name=name) for name, array in outputs.items()}
    if len(told) == 1:
        (values,) = told.values()
        return {"predictions" if by_row else "outputs": values}
    if not by_row:
        return {"outputs": told}
    rows = [dict(zip(told, row, strict=True)) for row in zip(*told.values(), strict=True)]
    return {"predictions": rows}


def examples(told: dict[str, Any]) -> dict[str, Any]:
    """Returns a request of rows for one of :classify, whose "context" belongs to every example.

    Raises:
      Refused: it has none.
    """
    rows, context = told.get("examples"), told.get("context", {})
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Refused(400, 'Expected "examples", a list of objects of features.')
    if not isinstance(context, dict) or any(context.keys() & row.keys() for row in rows):
        raise Refused(400, '"context" must be an object of features that no example has.')
    return {ROW: [context | row for row in rows]}


def check_count(count: int, *, most: int) -> None:
    """Refuses more rows than may be."""
    if count > most:
        raise Refused(413, f"{count} instances came, at most {most} may. Send them in parts.")


def check_names(given: dict, inputs: Inputs, *, where: str) -> None:
    """Refuses a row, or columns, whose names are not those of the inputs."""
    if given.keys() != inputs.keys():
        came = ", ".join(map(repr, given))[:200] or "nothing"
        raise Refused(400, f"{where} must have {', '.join(inputs)}; came {came}.")


def _of_rows(rows: Any, inputs: Inputs, *, most: int) -> dict[str, list]:
    if not isinstance(rows, list):
        raise Refused(400, f'"{ROW}" is a {_kind(rows)}, expected a list.')
    check_count(len(rows), most=most)
    if not any(isinstance(row, dict) and row.keys() != BINARY for row in rows):
        return {_only(inputs): rows}
    columns: dict[str, list] = {name: [] for name in inputs}
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise Refused(400, f"Instance {i} is a {_kind(row)}, the others are objects.")
        check_names(row, inputs, where=f"Instance {i}")
        for name in inputs:
            columns[name].append(row[name])
    return columns


def _of_columns(told: dict[str, Any], inputs: Inputs) -> dict[str, list]:
    columns = told[COLUMN]
    if not isinstance(columns, dict) or columns.keys() == BINARY:
        columns = {_only(inputs): columns}
    check_names(columns, inputs, where=f'"{COLUMN}"')
    for name, values in columns.items():
        if not isinstance(values, list):
            raise Refused(400, f"{name} is a {_kind(values)}, expected a list, one value a row.")
    return columns


def _only(inputs: Inputs) -> str:
    if len(inputs) > 1:
        raise Refused(400, f"Name the inputs, for there are several: {', '.join(inputs)}.")
    return next(iter(inputs))


def _bytes(value: Any, *, name: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict) and value.keys() == BINARY and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refused(400, f"{name} is no base64: {error}.") from error
    raise Refused(
        400,
        f'{name} is a {_kind(value)}, expected {{"b64": "..."}}. '
        'Lists of numbers go to "signature_name": "predict_tensor".',
    )


def _values(array: np.ndarray, *, name: str) -> list:
    if array.dtype != object:
        return array.tolist()
    if name.endswith("_bytes"):
        return _each(array, lambda one: {"b64": base64.b64encode(one).decode()})
    return _each(array, lambda one: one.decode("utf-8", "replace"))


def _each(array: np.ndarray, change) -> list:
    values: Sequence = array.tolist()
    return [change(one) for one in values] if array.ndim == 1 else [_each(a, change) for a in array]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:50]!r} is there twice")
    return told


def _kind(value: Any) -> str:
    kinds = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")
