"""Limits of a server, and the count of the requests and bytes that it holds now."""

import logging
import threading
from collections import Counter
from dataclasses import dataclass, replace

from tfpipe.serving.errors import RequestError

LOG = logging.getLogger(__name__)
JSON_NUMBER_BYTES = 24  # of a float32 in JSON, with its comma
# Half of the memory is for TensorFlow and the models. Of the other half, two bodies that are parsed
# at a time may take 30 times their size each.
BODY_SHARE, ANSWER_SHARE, BUFFERED_SHARE = 1 / 160, 1 / 32, 1 / 10


@dataclass(frozen=True)
class Limits:
    """What a server refuses to exceed.

    Attributes:
      max_body_bytes: of one request.
      max_answer_bytes: of the outputs of one answer; those of JSON count `JSON_NUMBER_BYTES` each.
      max_buffered_bytes: of the bodies and answers of all requests together.
      max_pixels: height * width of an encoded image, read from its header before it is decoded.
      max_decoded_pixels: of all images of one request together; a progressive JPEG counts once for
        each of its scans.
      max_instances: images of one request.
      max_waiting: requests without an answer.
      max_per_client: requests without an answer from one address.
      max_connections: open at the same time.
      max_connections_per_client: of them from one address.
      header_timeout_s: for the head of a request to arrive.
      deadline_s: for the body of a request to arrive, again for its answer, and again until the
        client has taken it.
    """

    max_body_bytes: int = 16_000_000
    max_answer_bytes: int = 64_000_000
    max_buffered_bytes: int = 256_000_000
    max_pixels: int = 20_000_000
    max_decoded_pixels: int = 200_000_000
    max_instances: int = 512
    max_waiting: int = 128
    max_per_client: int = 96
    max_connections: int = 512
    max_connections_per_client: int = 256
    header_timeout_s: float = 10.0
    deadline_s: float = 30.0

    def within(self, memory_bytes: int) -> "Limits":
        """Returns these limits, lowered and said where a process of so much memory must.

        A body of the largest size and an answer as large always fit among what is held.

        Args:
          memory_bytes: that the process may use, see `resources.memory_bytes`.
        """
        fitting = replace(
            self,
            max_body_bytes=min(self.max_body_bytes, int(memory_bytes * BODY_SHARE)),
            max_answer_bytes=min(self.max_answer_bytes, int(memory_bytes * ANSWER_SHARE)),
            max_buffered_bytes=min(self.max_buffered_bytes, int(memory_bytes * BUFFERED_SHARE)),
        )
        if fitting != self:
            LOG.warning(
                "A process of the server may use %.1f GB of memory, so requests of up to %.0f MB "
                "are taken, and %.0f MB of them at a time.",
                memory_bytes / 1e9,
                fitting.max_body_bytes / 1e6,
                fitting.max_buffered_bytes / 1e6,
            )
        n_bytes = max(fitting.max_buffered_bytes, 2 * fitting.max_body_bytes)
        return replace(fitting, max_buffered_bytes=n_bytes)


class Admission:
    """Admits requests while the limits allow; thread-safe, as HTTP and gRPC share it.

    Attributes:
      waiting: number of requests without an answer.
      buffered_bytes: of their bodies and answers.
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

    def budget(self) -> "RequestBudget":
        """Returns the budget of a new request."""
        return RequestBudget(self, self._limits)

    def add_bytes(self, n_bytes: int) -> None:
        """Counts bytes of a body or of an answer.

        Raises:
          RequestError: status 503 if all of them together are too many.
        """
        with self._lock:
            if self.buffered_bytes + n_bytes > self._limits.max_buffered_bytes:
                raise RequestError(
                    503,
                    f"Requests and answers already hold {self.buffered_bytes / 1e6:.0f} MB. "
                    "Send this one again in a second.",
                    retry_after_s=1,
                )
            self.buffered_bytes += n_bytes

    def remove_bytes(self, n_bytes: int) -> None:
        """Uncounts bytes that `add_bytes` counted."""
        with self._lock:
            self.buffered_bytes -= n_bytes


class RequestBudget:
    """The bytes that one request holds, and whether its answer is still wanted; thread-safe.

    Who creates it is its first holder.

    Attributes:
      n_instances: of the request, once they are counted.
    """

    def __init__(self, admission: Admission, limits: Limits):
        self._admission, self._limits = admission, limits
        self._lock, self.n_instances = threading.Lock(), 0
        self._n_bytes, self._n_holders, self._is_abandoned = 0, 1, False

    def add(self, n_bytes: int) -> None:
        """Counts more bytes; raises as `Admission.add_bytes` does."""
        self._admission.add_bytes(n_bytes)
        with self._lock:
            self._n_bytes += n_bytes

    def add_answer(self, n_bytes: int) -> None:
        """Counts the bytes of the answer, before they are computed.

        Raises:
          RequestError: status 413 if they are too many for one answer, or as `add`.
        """
        if n_bytes > self._limits.max_answer_bytes:
            raise RequestError(
                413,
                f"The answer would have {n_bytes / 1e6:.0f} MB, expected at most "
                f"{self._limits.max_answer_bytes / 1e6:g}. Send fewer instances, or ask for binary "
                "outputs by /v2 or gRPC, which take a sixth of JSON.",
            )
        self.add(n_bytes)

    def abandon(self) -> None:
        """Notes that nobody waits for the answer any more."""
        self._is_abandoned = True

    def check(self) -> None:
        """Raises a RequestError if nobody waits for the answer any more."""
        if self._is_abandoned:
            raise RequestError(503, "Nobody waits for this answer any more.")

    def hold(self) -> None:
        """Adds a holder: the bytes count until each holder has called `release`."""
        with self._lock:
            self._n_holders += 1

    def release(self) -> None:
        """Removes a holder; the last one uncounts all bytes of the request."""
        with self._lock:
            self._n_holders -= 1
            n_bytes = 0 if self._n_holders else self._n_bytes
        self._admission.remove_bytes(n_bytes)
