"""Count of the fields of encoded messages, beside those that protobuf's parser finds."""

import pytest
from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from tfpipe.serving.grpc.field_count import MalformedMessageError, count_fields

DESCRIPTOR = struct_pb2.Struct.DESCRIPTOR
SCALARS = st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda one: st.lists(one) | st.dictionaries(st.text(), one), max_leaves=12
)


def n_fields(value) -> int:
    """Returns the number of fields of a `Value` and of the messages in it, from struct.proto."""
    if isinstance(value, dict):  # Value.struct_value, and of each entry of the map: it, key, value
        return 1 + sum(3 + n_fields(one) for one in value.values())
    if isinstance(value, list):  # Value.list_value, and each of its values
        return 1 + sum(1 + n_fields(one) for one in value)
    return 1


@given(st.dictionaries(st.text(), VALUES))
def test_nested_fields_of_all_kinds_are_counted(values):
    message = struct_pb2.Struct()
    message.update(values)
    count = n_fields(values) - 1  # the message itself is no field
    data = message.SerializeToString()
    assert count_fields(DESCRIPTOR, data) == count
    if count > 3:
        assert count_fields(DESCRIPTOR, data, most=3) == 4


@given(st.binary(max_size=60))
def test_any_bytes_are_counted_or_refused_as_the_parser_does(data):
    try:
        n = count_fields(DESCRIPTOR, data)
    except MalformedMessageError:
        return  # groups are refused, too, which the parser passes over
    try:
        message = struct_pb2.Struct.FromString(data)
    except DecodeError:  # such as a field numbered 0, or text that is no UTF-8
        return
    assert n >= len(message.fields)


@pytest.mark.parametrize(
    "data",
    [b"\x0a", b"\x0a\x05\x0a", b"\x0b", b"\x09\0", b"\x80" * 11 + b"\1", b"\x08" + b"\xff" * 12],
)
def test_what_ends_within_a_field_is_refused(data):
    with pytest.raises(MalformedMessageError):
        count_fields(DESCRIPTOR, data)
