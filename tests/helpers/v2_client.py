"""A client of the Open Inference Protocol, written from its public text and from nothing of ours.

The text: inference_rest.md of KServe's open-inference-protocol, and Triton's
extension_binary_data.md.
"""

import contextlib
import http.client
import json
import struct
from typing import Any

import numpy as np

NUMPY_TYPES = {
    "UINT8": "<u1",
    "UINT16": "<u2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP32": "<f4",
    "FP64": "<f8",
}


class V2Client:
    """A client of one server."""

    def __init__(self, host: str, port: int):
        self._host, self._port = host, port

    def get(self, path: str) -> tuple[int, Any]:
        """Returns status and JSON of a GET."""
        status, headers, body = self._request("GET", path)
        return status, json.loads(body)

    def infer(
        self,
        model: str,
        inputs: dict[str, np.ndarray | list[bytes]],
        *,
        version: str = "",
        binary_inputs: bool,
        binary_outputs: bool,
        outputs: tuple[str, ...] = (),
        id: str = "",
        parameters: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Returns the response, in which each output's "data" is an array or a list of bytes."""
        request: dict[str, Any] = {"inputs": []}
        tail = b""
        for name, values in inputs.items():
            is_bytes = isinstance(values, list)
            tensor: dict[str, Any] = {
                "name": name,
                "shape": [len(values)] if is_bytes else list(values.shape),
                "datatype": "BYTES" if is_bytes else type_of(values),
            }
            if binary_inputs:
                data = (
                    b"".join(struct.pack("<I", len(one)) + one for one in values)
                    if is_bytes
                    else np.ascontiguousarray(values).tobytes()
                )
                tensor["parameters"] = {"binary_data_size": len(data)}
                tail += data
            else:
                tensor["data"] = values if is_bytes else values.ravel().tolist()
            request["inputs"].append(tensor)
        if id:
            request["id"] = id
        if outputs:
            request["outputs"] = [
                {"name": name, "parameters": {"binary_data": binary_outputs}} for name in outputs
            ]
        else:
            request["parameters"] = {"binary_data_output": binary_outputs}
        request["parameters"] = request.get("parameters", {}) | (parameters or {})
        text = json.dumps(request).encode()
        headers = {"Inference-Header-Content-Length": str(len(text))} if tail else {}
        place = f"/versions/{version}" if version else ""
        path = f"/v2/models/{model}{place}/infer"
        status, answer_headers, body = self._request("POST", path, text + tail, headers)
        length = int(answer_headers.get("Inference-Header-Content-Length", len(body)))
        answer, rest = json.loads(body[:length]), body[length:]
        if status != 200:
            raise RuntimeError(f"{status}: {answer['error']}")
        for output in answer["outputs"]:
            size = output.get("parameters", {}).get("binary_data_size")
            if size is None:
                output["data"] = from_list(output)
            else:
                output["data"] = from_bytes(output, rest[:size])
                rest = rest[size:]
        assert not rest
        return answer

    def _request(self, method: str, path: str, body: bytes | None = None, headers=None):
        connection = http.client.HTTPConnection(self._host, self._port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()


def type_of(array: np.ndarray) -> str:
    """Returns the protocol's name of an array's type."""
    return next(name for name, kind in NUMPY_TYPES.items() if np.dtype(kind) == array.dtype)


def from_list(output: dict[str, Any]) -> Any:
    """Returns the data of an output in JSON, a flat or nested list."""
    if output["datatype"] == "BYTES":
        return [one.encode() for one in np.ravel(output["data"]).tolist()]
    return np.array(output["data"], NUMPY_TYPES[output["datatype"]]).reshape(output["shape"])


def from_bytes(output: dict[str, Any], data: bytes) -> Any:
    """Returns the data of an output that came as bytes."""
    if output["datatype"] != "BYTES":
        return np.frombuffer(data, NUMPY_TYPES[output["datatype"]]).reshape(output["shape"])
    elements = []
    while data:
        (length,) = struct.unpack("<I", data[:4])
        elements.append(data[4 : 4 + length])
        data = data[4 + length :]
    assert len(elements) == np.prod(output["shape"])
    return elements
