"""Limits of a server, and the count of the requests and bytes that it holds now."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tfpipe.serving.errors import RequestError


@dataclass(frozen=True)
class Limits:
    """What a server refuses to exceed.

    Attributes:
      max_body_bytes: of one request.
      max_buffered_bytes: of the bodies of all requests without an answer.
      max_pixels: height * width of an encoded image, read from its header before it is decoded.
      max_instances: images of one request.
      max_waiting: requests without an answer.
      max_per_client: requests without an answer from one address.
      max_connections: open at the same time.
      header_timeout_s: for the head of a request to arrive.
      deadline_s: for the body of a request to arrive, and again for its answer.
    """

    max_body_bytes: int = 16_000_000
    max_buffered_bytes: int = 256_000_000
    max_pixels: int = 20_000_000
    max_instances: int = 512
    max_waiting: int = 128
    max_per_client: int = 96
    max_connections: int = 512
    header_timeout_s: float = 10.0
    deadline_s: float = 30.0


class Admission:
    """Admits requests while the limits allow; thread-safe, as HTTP and gRPC share it.

    Attributes:
      waiting: number of requests without an answer.
      buffered_bytes: of their bodies.
    """

    def __init__(self, limits: Limits):
        self._limits, self._lock = limits, threading.Lock()
        self._clients: Counter[str] = Counter()
        self.waiting = self.buffered_bytes = 0

    def enter(self, client: str) -> None:
        """Counts a request from an address.

        Raises:
          RequestError: status 429 if the address has too many requests without an answer, 503 if
            all addresses together have.
        """
        with self._lock:
            if self._clients[client] >= self._limits.max_per_client:
                raise RequestError(
                    429,
                    f"{client} already has {self._limits.max_per_client} requests without an "
                    "answer. Send the next one after an answer has arrived.",
                    retry_after_s=1,
                )
            if self.waiting >= self._limits.max_waiting:
                raise RequestError(
                    503,
                    f"The server already has {self.waiting} requests without an answer. "
                    "Send this one again in a second.",
                    retry_after_s=1,
                )
            self._clients[client] += 1
            self.waiting += 1

    def leave(self, client: str) -> None:
        """Uncounts a request that `enter` counted."""
        with self._lock:
            self.waiting -= 1
            self._clients[client] -= 1
            self._clients += Counter()  # drops addresses without requests

    @contextmanager
    def buffer(self) -> Iterator["BodyBytes"]:
        """Yields the counter of the bytes of one body, and uncounts them at the end."""
        body = BodyBytes(self)
        try:
            yield body
        finally:
            with self._lock:
                self.buffered_bytes -= body.n_bytes

    def add_bytes(self, n_bytes: int) -> None:
        """Counts bytes of a body.

        Raises:
          RequestError: status 503 if all bodies together are too large.
        """
        with self._lock:
            if self.buffered_bytes + n_bytes > self._limits.max_buffered_bytes:
                raise RequestError(
                    503,
                    f"Requests without an answer already hold {self.buffered_bytes / 1e6:.0f} MB. "
                    "Send this one again in a second.",
                    retry_after_s=1,
                )
            self.buffered_bytes += n_bytes


class BodyBytes:
    """Counter of the bytes of one request body."""

    def __init__(self, admission: Admission):
        self._admission, self.n_bytes = admission, 0

    def add(self, n_bytes: int) -> None:
        """Counts more bytes; raises as `Admission.add_bytes` does."""
        self._admission.add_bytes(n_bytes)
        self.n_bytes += n_bytes
