"""HTTP connections as uvicorn keeps them, with a limit on their number and on slow heads."""

import asyncio
import json

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tfpipe.serving.limits import Limits

PHRASES = {400: "Bad Request", 408: "Request Timeout", 503: "Service Unavailable"}


def protocol(limits: Limits) -> type[H11Protocol]:
    """Returns the class of connections within limits."""

    class Connection(H11Protocol):
        """A connection; h11 refuses heads of more than 64 KiB."""

        _slow: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                self._end(503, f"{limits.connections} connections are open already. Try again.")
            else:
                self._await_head()

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            super().data_received(data)
            if self.conn.their_state is h11.IDLE:
                self._await_head()
            else:
                self._stop_waiting()

        def connection_lost(self, error: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(error)

        def send_400_response(self, message: str) -> None:
            self._end(400, message)

        def _await_head(self) -> None:
            if self._slow is None:
                sentence = f"The head did not come in within {limits.header_s:g} s."
                self._slow = self.loop.call_later(limits.header_s, self._end, 408, sentence)

        def _stop_waiting(self) -> None:
            if self._slow is not None:
                self._slow.cancel()
                self._slow = None

        def _end(self, status: int, sentence: str) -> None:
            """Says why, in the shape of every other answer, and hangs up."""
            self._stop_waiting()
            body = json.dumps({"error": sentence}).encode()
            again = "Retry-After: 1\r\n" if status == 503 else ""
            head = (
                f"HTTP/1.1 {status} {PHRASES[status]}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n{again}Connection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
            self.transport.close()

    return Connection
