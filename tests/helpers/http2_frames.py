"""A gRPC client that writes its HTTP/2 frames itself, and takes no more than it says."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4  # types of frames
END_STREAM, END_HEADERS = 1, 4
WINDOW_SIZE = 4  # a setting


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Returns a frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def call(stream: int, path: str, message: bytes) -> bytes:
    """Returns the frames of a call with one short message."""
    pairs = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    block = b"".join(
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in pairs.items()
    )
    body = b"\x00" + struct.pack(">I", len(message)) + message
    return frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, body)


def connect(host: str, port: int, *, window: int) -> socket.socket:
    """Returns a connection over which the server may send so many bytes of each answer."""
    connection = socket.create_connection((host, port), timeout=60)
    connection.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", WINDOW_SIZE, window)))
    return connection
