"""A client of the Open Inference Protocol over gRPC, which writes each byte of its messages itself.

Written from two public texts and from nothing of ours: KServe's open_inference_grpc.proto for names
and numbers of fields, and protobuf's "Encoding" for how they are written.
"""

import struct
from typing import Any

import grpc
import numpy as np

SERVICE = "inference.GRPCInferenceService"
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # wire types
UNSIGNED, FLOATS, BYTES = 4, 6, 8  # fields of InferTensorContents
CONTENTS = {1: "BOOL", 2: "INT32", 3: "INT64", 6: "FP32", 7: "FP64", 8: "BYTES"}
NUMPY_TYPES = {"INT64": "<i8", "FP32": "<f4", "INT32": "<i4", "FP64": "<f8", "BOOL": "?"}


def varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, value: bytes | str | int) -> bytes:
    """Returns a field that holds bytes, text, a message or a whole number."""
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | LENGTH) + varint(len(data)) + data


def fields(data: bytes) -> list[tuple[int, Any]]:
    """Returns (number, value) of each field of a message."""
    found, start = [], 0

    def number() -> int:
        nonlocal start
        value = shift = 0
        while True:
            byte = data[start]
            start, value, shift = start + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while start < len(data):
        key = number()
        kind = key & 7
        if kind == VARINT:
            found.append((key >> 3, number()))
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind) or number()
        found.append((key >> 3, data[start : start + size]))
        start += size
    return found


def texts(data: bytes, number: int) -> list[str]:
    """Returns each text of a number in a message."""
    return [value.decode() for n, value in fields(data) if n == number]


def varints(data: bytes) -> list[int]:
    """Returns the whole numbers of a packed field."""
    return [value for _, value in fields(b"".join(b"\x08" + one for one in _split(data)))]


def _split(data: bytes) -> list[bytes]:
    parts, start = [], 0
    for end, byte in enumerate(data, 1):
        if byte < 128:
            parts.append(data[start:end])
            start = end
    return parts


def tensor(name: str, datatype: str, shape: list[int], contents: bytes | None = None) -> bytes:
    """Returns an InferInputTensor; its shape is packed, as proto3 has it."""
    packed = b"".join(map(varint, shape))
    message = field(1, name) + field(2, datatype) + field(3, packed)
    return message if contents is None else message + field(5, contents)


def images(values: list[bytes]) -> bytes:
    """Returns InferTensorContents of BYTES."""
    return b"".join(field(BYTES, value) for value in values)


def unsigned(values: np.ndarray) -> bytes:
    """Returns InferTensorContents of UINT8, UINT16 or UINT32."""
    return field(UNSIGNED, b"".join(varint(value) for value in values.ravel().tolist()))


def raw_images(values: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def request(
    inputs: list[bytes],
    *,
    model: str = "tiny",
    version: str = "",
    id: str = "",
    signature: str = "",
    outputs: tuple[str, ...] = (),
    raw: tuple[bytes, ...] = (),
) -> bytes:
    """Returns a ModelInferRequest."""
    message = field(1, model)
    message += field(2, version) if version else b""
    message += field(3, id) if id else b""
    if signature:
        message += field(4, field(1, "signature_name") + field(2, field(3, signature)))
    message += b"".join(field(5, one) for one in inputs)
    message += b"".join(field(6, field(1, name)) for name in outputs)
    return message + b"".join(field(7, one) for one in raw)


class GrpcV2Client:
    """A client of one server."""

    def __init__(self, channel: grpc.Channel, token: str = ""):
        self._channel = channel
        self._metadata = [("authorization", f"Bearer {token}")] if token else []

    def call(self, method: str, message: bytes = b"", *, timeout: float = 60) -> bytes:
        call = self._channel.unary_unary(f"/{SERVICE}/{method}")
        return call(message, timeout=timeout, metadata=self._metadata)

    def infer(self, message: bytes) -> dict[str, Any]:
        """Returns "name", "version", "id", and "outputs": name -> array or list of bytes."""
        answer: dict[str, Any] = {"name": "", "version": "", "id": ""}
        tensors, raws = [], []
        for number, value in fields(self.call("ModelInfer", message)):
            if number in (1, 2, 3):
                answer[("name", "version", "id")[number - 1]] = value.decode()
            elif number == 5:
                tensors.append(value)
            elif number == 6:
                raws.append(value)
        answer["is_raw"] = bool(raws)
        answer["outputs"] = {}
        for i, one in enumerate(tensors):
            name, values = output(one, raws[i] if raws else None)
            answer["outputs"][name] = values
        return answer


def output(message: bytes, raw: bytes | None) -> tuple[str, Any]:
    """Returns the name and the values of an InferOutputTensor."""
    (name,), (datatype,) = texts(message, 1), texts(message, 2)
    shape = [size for n, value in fields(message) if n == 3 for size in varints(value)]
    contents = [value for n, value in fields(message) if n == 5]
    if raw is None:
        (content,) = contents
        values = [value for _, value in fields(content)]
        assert {CONTENTS[number] for number, _ in fields(content)} == {datatype}
        if datatype == "BYTES":
            assert len(values) == np.prod(shape)
            return name, values
        (packed,) = values
        if datatype in ("FP32", "FP64"):
            return name, np.frombuffer(packed, NUMPY_TYPES[datatype]).reshape(shape)
        return name, np.array(varints(packed), NUMPY_TYPES[datatype]).reshape(shape)
    assert not contents
    if datatype != "BYTES":
        return name, np.frombuffer(raw, NUMPY_TYPES[datatype]).reshape(shape)
    values = []
    while raw:
        (length,) = struct.unpack("<I", raw[:4])
        values.append(raw[4 : 4 + length])
        raw = raw[4 + length :]
    assert len(values) == np.prod(shape)
    return name, values
