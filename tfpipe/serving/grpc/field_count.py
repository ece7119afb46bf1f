"""Count of the fields of an encoded message, before it is parsed.

A field of two bytes may become an object of 300 when it is parsed: 14 MB of empty tensors take
2.6 GB. protobuf has no limit for that, so the bytes are walked first.
"""

from typing import Any

MAX_FIELDS = 50_000  # an example has some twelve
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types; groups, 3 and 4, are of proto2
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}


class MalformedMessageError(ValueError):
    """Bytes that are no message without groups."""


def count_fields(descriptor: Any, data: bytes, *, most: int = MAX_FIELDS) -> int:
    """Returns the number of fields of a message and of the messages in it.

    A packed field counts once, each element of another repeated field for itself.

    Args:
      descriptor: of the message, `google.protobuf.descriptor.Descriptor`.
      data: the encoded message.
      most: the count ends above it.

    Raises:
      MalformedMessageError: the bytes are no such message.
    """
    n_fields, parts = 0, [(descriptor.fields_by_number, 0, len(data))]
    while parts:
        fields, position, end = parts.pop()
        while position < end:
            n_fields += 1
            if n_fields > most:
                return n_fields
            tag, position = _varint(data, position, end)
            wire_type, size = tag & 7, 0
            if wire_type == VARINT:
                _, position = _varint(data, position, end)
            elif wire_type == BYTES:
                size, position = _varint(data, position, end)
                field = fields.get(tag >> 3)
                if field is not None and field.message_type is not None:
                    nested = field.message_type.fields_by_number
                    parts.append((nested, position, position + size))
            elif wire_type in FIXED_SIZES:
                size = FIXED_SIZES[wire_type]
            else:
                raise MalformedMessageError
            position += size
            if position > end:
                raise MalformedMessageError
    return n_fields


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Returns the number at a position, of at most ten bytes, and the position behind it."""
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise MalformedMessageError
