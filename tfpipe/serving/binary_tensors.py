"""Tensors as bytes, as the Open Inference Protocol's binary extension has them.

Numbers are little-endian, row by row. Each element of BYTES is its length in four bytes, then
itself.
"""

import numpy as np
import tensorflow as tf

from tfpipe.serving.errors import RequestError

DATATYPES = {  # names of the protocol
    tf.bool: "BOOL",
    tf.uint8: "UINT8",
    tf.uint16: "UINT16",
    tf.uint32: "UINT32",
    tf.uint64: "UINT64",
    tf.int8: "INT8",
    tf.int16: "INT16",
    tf.int32: "INT32",
    tf.int64: "INT64",
    tf.float16: "FP16",
    tf.float32: "FP32",
    tf.float64: "FP64",
    tf.string: "BYTES",
}
LENGTH = np.dtype("<u4")


def datatype(dtype: tf.DType) -> str:
    """Returns the protocol's name of a type."""
    return DATATYPES[dtype]


def decode(
    data: memoryview, dtype: tf.DType, shape: tuple[int, ...], *, name: str
) -> np.ndarray | list[bytes]:
    """Returns the array of a shape, or the elements of BYTES, that bytes hold.

    Raises:
      RequestError: they are not as many as the shape takes.
    """
    n_values = int(np.prod(shape))
    if dtype == tf.string:
        return _elements(data, n_values, name=name)
    expected = n_values * dtype.size
    if len(data) != expected:
        raise RequestError(400, f"{name} has {len(data)} bytes, expected {expected}.")
    return np.frombuffer(data, np.dtype(dtype.as_numpy_dtype).newbyteorder("<")).reshape(shape)


def encode(array: np.ndarray) -> bytes:
    """Returns the bytes of an array."""
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return b"".join(
        np.array(len(value), LENGTH).tobytes() + value for value in array.ravel().tolist()
    )


def _elements(data: memoryview, n_values: int, *, name: str) -> list[bytes]:
    elements: list[bytes] = []
    start = 0
    for _ in range(n_values):
        begin = start + LENGTH.itemsize
        length = int.from_bytes(data[start:begin], "little")
        start = begin + length
        if start > len(data):
            raise RequestError(400, f"{name} ends within its element {len(elements)}.")
        elements.append(bytes(data[begin:start]))
    if start != len(data):
        raise RequestError(400, f"{name} has {len(data) - start} bytes after its last element.")
    return elements
