"""How much a server takes on, and how it counts what it has taken on."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tfpipe.serving.errors import Refused


@dataclass(frozen=True)
class Limits:
    """What a server refuses to go beyond.

    Attributes:
      body_bytes: of one request.
      held_bytes: of all requests together, read and not yet answered.
      pixels: height * width of one encoded picture, told by its header before it is decoded.
      instances: pictures of one request.
      waiting: requests that are not yet answered.
      of_one_client: of these from one address.
      connections: open at once.
      header_s: for the head of a request to come in.
      deadline_s: for the rest of it, and again for its answer.
    """

    body_bytes: int = 16_000_000
    held_bytes: int = 256_000_000
    pixels: int = 20_000_000
    instances: int = 512
    waiting: int = 128
    of_one_client: int = 96
    connections: int = 512
    header_s: float = 10.0
    deadline_s: float = 30.0


class Load:
    """What a server has taken on: counted under a lock, as HTTP and gRPC have threads of their own.

    Attributes:
      waiting: requests that are not yet answered.
      held_bytes: of their bodies.
    """

    def __init__(self, limits: Limits):
        self._limits, self._lock = limits, threading.Lock()
        self._clients: Counter[str] = Counter()
        self.waiting = self.held_bytes = 0

    def enter(self, client: str) -> None:
        """Counts a request of an address.

        Raises:
          Refused: with 429 where the address waits for too many, 503 where all together do.
        """
        with self._lock:
            if self._clients[client] >= self._limits.of_one_client:
                raise Refused(
                    429,
                    f"{client} waits for {self._limits.of_one_client} answers already. "
                    "Send the next request when one has come.",
                    retry_after_s=1,
                )
            if self.waiting >= self._limits.waiting:
                raise Refused(
                    503,
                    f"{self.waiting} requests wait already. Send this one again in a second.",
                    retry_after_s=1,
                )
            self._clients[client] += 1
            self.waiting += 1

    def leave(self, client: str) -> None:
        """Takes back what `enter` counted."""
        with self._lock:
            self.waiting -= 1
            self._clients[client] -= 1
            self._clients += Counter()  # forgets those at 0

    @contextmanager
    def holding(self) -> Iterator["Held"]:
        """Gives what counts the bytes of one body, while they are kept."""
        held = Held(self)
        try:
            yield held
        finally:
            with self._lock:
                self.held_bytes -= held.bytes

    def hold(self, count: int) -> None:
        """Counts bytes.

        Raises:
          Refused: with 503, where all bodies together are too large.
        """
        with self._lock:
            if self.held_bytes + count > self._limits.held_bytes:
                raise Refused(
                    503,
                    f"The requests that wait hold {self.held_bytes / 1e6:.0f} MB already. "
                    "Send this one again in a second.",
                    retry_after_s=1,
                )
            self.held_bytes += count


class Held:
    """The bytes of one body."""

    def __init__(self, load: Load):
        self._load, self.bytes = load, 0

    def add(self, count: int) -> None:
        """Counts more of them."""
        self._load.hold(count)
        self.bytes += count
