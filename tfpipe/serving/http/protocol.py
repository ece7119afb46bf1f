"""HTTP protocol of uvicorn with limits on the number of connections and on slow request heads."""

import asyncio
import json

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tfpipe.serving.limits import Limits

PHRASES = {400: "Bad Request", 408: "Request Timeout", 503: "Service Unavailable"}


def create_protocol(limits: Limits) -> type[H11Protocol]:
    """Returns the class of connections within limits."""

    class LimitedProtocol(H11Protocol):
        """A connection; h11 refuses heads of more than 64 KiB."""

        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            super().connection_made(transport)
            if len(self.connections) > limits.max_connections:
                self._refuse(
                    503, f"The server already has {limits.max_connections} connections. Try again."
                )
            else:
                self._start_head_timer()

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            super().data_received(data)
            if self.conn.their_state is h11.IDLE:
                self._start_head_timer()
            else:
                self._stop_head_timer()

        def connection_lost(self, error: Exception | None) -> None:
            self._stop_head_timer()
            super().connection_lost(error)

        def send_400_response(self, message: str) -> None:
            self._refuse(400, message)

        def _start_head_timer(self) -> None:
            if self._head_timer is None:
                timeout_s = limits.header_timeout_s
                message = f"The request head did not arrive within {timeout_s:g} s."
                self._head_timer = self.loop.call_later(timeout_s, self._refuse, 408, message)

        def _stop_head_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _refuse(self, status: int, message: str) -> None:
            """Sends an error in the form of all other errors, and closes the connection."""
            self._stop_head_timer()
            body = json.dumps({"error": message}).encode()
            retry = "Retry-After: 1\r\n" if status == 503 else ""
            head = (
                f"HTTP/1.1 {status} {PHRASES[status]}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n{retry}Connection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
            self.transport.close()

    return LimitedProtocol
