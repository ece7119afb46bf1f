"""Dataclasses from JSON and back, with the type of every field checked.

A file may come from anywhere: `parse` accepts only what the rest of the package can hold, count and
print.
"""

import dataclasses
import functools
import json
import math
import types
from typing import (
    Annotated,
    Any,
    NotRequired,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import numpy as np

from tfpipe.base.errors import UserError

T = TypeVar("T")
LONGEST = 40  # characters of a received value in an error's sentence
FINITE = "finite"  # Annotated[float, FINITE] is neither infinite nor nan
MAX_DEPTH = 50  # of objects and lists within each other
MAX_INTEGER = 2**63 - 1


def parse(data: bytes) -> Any:
    """Returns what JSON holds.

    Raises:
      ValueError: it is no JSON, nests deeper than `MAX_DEPTH`, or has an integer of more than 64
        bits or text with control characters, which terminals obey; its text says which.
    """
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from error
    level = [value]
    for _ in range(MAX_DEPTH):
        for one in level:
            _check_plain(one)
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return value
    raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []


def _check_plain(value: Any) -> None:
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError("an integer has more than 64 bits")
    if isinstance(value, str) and any(ord(c) < 32 and c not in "\t\n\r" for c in value):
        raise ValueError("a text has control characters")


def from_json(kind: type[T], value: Any, *, file: str, remedy: str) -> T:
    """Returns a dataclass from what JSON holds; unknown keys are left out.

    Args:
      kind: the dataclass. A field may be text, a number, bool, None, Any, another dataclass, or a
        tuple, list, dict or union of these; an int is a float, too. Annotated[T, S] has the type T
        and is checked as S, which may be a TypedDict; an empty object stands for one that does not
        apply.
      value: as `json.loads` returns it.
      file: where it was read from, for the sentence.
      remedy: what the user can do, a sentence.

    Raises:
      UserError: a required field is missing, or a value has another type.
    """
    try:
        result = _checked(kind, value, "")
    except _MismatchError as error:
        where = f"field {error.field!r}: " if error.field else ""
        raise UserError(
            f"{file} is damaged: {where}expected {error.expected}, received {error.received}. "
            f"{remedy}"
        ) from None
    return result


def to_json(value: Any) -> bytes:
    """Returns a dataclass as indented JSON; numpy's numbers become Python's, other values text."""
    return json.dumps(dataclasses.asdict(value), indent=1, default=_plain).encode()


class _MismatchError(Exception):
    def __init__(self, field: str, expected: str, received: str):
        super().__init__(field)
        self.field, self.expected, self.received = field, expected, received


def _checked(kind: Any, value: Any, field: str) -> Any:
    """Returns a value as the annotation `kind` has it."""
    if kind is Any:
        return value
    if get_origin(kind) is Annotated:
        inner, meaning = get_args(kind)[:2]
        if meaning is not FINITE:
            return {} if value == {} else _checked(meaning, value, field)
        number = _checked(inner, value, field)
        if not math.isfinite(number):
            raise _MismatchError(field, "a finite number", _received(value))
        return number
    if is_typeddict(kind):
        return _typed_dict(kind, value, field)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value, field)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _union(arguments, value, field)
    if origin in (tuple, list) and isinstance(value, list | tuple):
        return _sequence(kind, value, field)
    if origin is dict and isinstance(value, dict):
        return {key: _checked(arguments[1], v, _under(field, key)) for key, v in value.items()}
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        float: number,
        int: number and isinstance(value, int),
        bool: isinstance(value, bool),
        str: isinstance(value, str),
        types.NoneType: value is None,
    }
    if not fits.get(kind, False):
        raise _MismatchError(field, _words(kind), _received(value))
    return value


def _dataclass(kind: type, value: Any, field: str) -> Any:
    if not isinstance(value, dict):
        raise _MismatchError(field, "an object", _received(value))
    hints, values = _hints(kind), {}
    for one in dataclasses.fields(kind):
        if one.name in value:
            inner = _under(field, one.name)
            values[one.name] = _checked(hints[one.name], value[one.name], inner)
        elif one.default is one.default_factory is dataclasses.MISSING:
            raise _MismatchError(_under(field, one.name), _words(hints[one.name]), "nothing")
    return kind(**values)


def _typed_dict(kind: Any, value: Any, field: str) -> Any:
    if not isinstance(value, dict):
        raise _MismatchError(field, "an object", _received(value))
    checked, hints = dict(value), _hints(kind)
    for name, hint in hints.items():
        is_required = get_origin(hint) is not NotRequired
        inner = hint if is_required else get_args(hint)[0]
        if name in value:
            checked[name] = _checked(inner, value[name], _under(field, name))
        elif is_required:
            raise _MismatchError(_under(field, name), _words(inner), "nothing")
    return checked


def _union(kinds: tuple[Any, ...], value: Any, field: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    inner = None
    for kind in kinds:
        try:
            return _checked(kind, value, field)
        except _MismatchError as error:
            inner = error if error.field != field else inner
    words = " or ".join(_words(kind) for kind in kinds)
    raise inner or _MismatchError(field, words, _received(value))


def _sequence(kind: Any, value: list[Any] | tuple[Any, ...], field: str) -> Any:
    origin, kinds = get_origin(kind), get_args(kind)
    if origin is tuple and kinds[-1] is not Ellipsis:
        if len(kinds) != len(value):
            raise _MismatchError(field, _words(kind), _received(value))
    elif kinds[0] is str and all(type(part) is str for part in value):
        return origin(value)  # names of a hundred thousand files
    else:
        kinds = kinds[:1] * len(value)
    return origin(
        _checked(inner, part, f"{field}[{i}]")
        for i, (inner, part) in enumerate(zip(kinds, value, strict=True))
    )


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _under(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _words(kind: Any) -> str:
    """Returns an annotation in words: "a list of 3 numbers"."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return "a finite number" if arguments[1] is FINITE else _words(arguments[1])
    if origin in (Union, types.UnionType):
        return " or ".join(_words(inner) for inner in arguments)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)} values, each {_words(arguments[0])}"
    if origin in (tuple, list):
        return f"a list, each {_words(arguments[0])}"
    if origin is dict or is_typeddict(kind) or dataclasses.is_dataclass(kind):
        return "an object"
    words = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        types.NoneType: "null",
    }
    return words.get(kind, str(kind))


def _received(value: Any) -> str:
    """Returns the beginning of a value as JSON has it."""
    text = json.dumps(value, default=str)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)
