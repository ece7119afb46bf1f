"""HTTP protocol of uvicorn with limits on the number of connections and on slow clients."""

import asyncio
import json
from collections import Counter

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from tfpipe.serving.limits import Limits

REST_S = 1.0  # for all that a client still sends after the answer to a request that was not read
PHRASES = {400: "Bad Request", 408: "Request Timeout", 503: "Service Unavailable"}


def create_protocol(limits: Limits) -> type[H11Protocol]:
    """Returns the class of connections within limits."""
    clients: Counter[str] = Counter()  # open connections by address

    class LimitedProtocol(H11Protocol):
        """A connection; h11 refuses heads of more than 64 KiB."""

        _head_timer: asyncio.TimerHandle | None = None
        _answer_timer: asyncio.TimerHandle | None = None
        _timed_cycle: RequestResponseCycle | None = None  # whose answer the timer is for
        _has_ended = False  # the client sends nothing more
        _drops = False  # what the client sends is not read any more

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            super().connection_made(transport)
            self._address = self.client[0] if self.client else ""
            clients[self._address] += 1
            if len(self.connections) > limits.max_connections:
                self._refuse(
                    503, f"The server already has {limits.max_connections} connections. Try again."
                )
            elif clients[self._address] > limits.max_connections_per_client:
                n_allowed = limits.max_connections_per_client
                self._refuse(503, f"{self._address} already has {n_allowed} connections.")
            else:
                self._start_head_timer()

        def data_received(self, data: bytes) -> None:
            if self._drops or self.transport.is_closing():
                return
            super().data_received(data)
            if self.conn.their_state is h11.IDLE:
                self._start_head_timer()
            else:
                self._stop_head_timer()

        def eof_received(self) -> bool:  # type: ignore[override]
            """Lets a client that has sent a whole request get its answer."""
            self._has_ended = True
            is_whole = self.conn.their_state in (h11.DONE, h11.MUST_CLOSE)
            return is_whole and not self._drops and not self.cycle.response_complete

        def on_response_complete(self) -> None:
            """Closes the connection after a request that was not read to its end.

            Whatever came would be taken for the rest of it, however slowly it comes.
            """
            cycle, is_read = self.cycle, self.conn.their_state is not h11.SEND_BODY
            super().on_response_complete()
            if self.transport.is_closing() or is_read:
                if self._has_ended and self.cycle is cycle:
                    self.transport.close()
                self._start_answer_timer(cycle)
                return
            self._drops = True
            self._unset_keepalive_if_required()
            self.transport.write_eof()
            self.transport.resume_reading()
            self._stop_answer_timer()
            has_taken = not self.transport.get_write_buffer_size()
            timeout_s = REST_S if has_taken else limits.deadline_s
            self._answer_timer = self.loop.call_later(timeout_s, self.transport.abort)

        def pause_writing(self) -> None:
            super().pause_writing()
            if self._timed_cycle is not self.cycle:
                self._start_answer_timer(self.cycle)

        def connection_lost(self, error: Exception | None) -> None:
            self._stop_head_timer()
            self._stop_answer_timer()
            clients[self._address] -= 1
            if not clients[self._address]:
                del clients[self._address]
            super().connection_lost(error)

        def send_400_response(self, message: str) -> None:
            self._refuse(400, message)

        def _start_answer_timer(self, cycle: RequestResponseCycle) -> None:
            """Aborts the connection if a client does not take an answer in time."""
            self._stop_answer_timer()
            if self.transport.get_write_buffer_size():
                self._timed_cycle = cycle
                self._answer_timer = self.loop.call_later(limits.deadline_s, self._abort_untaken)

        def _abort_untaken(self) -> None:
            if self._timed_cycle is self.cycle and self.transport.get_write_buffer_size():
                self.transport.abort()

        def _stop_answer_timer(self) -> None:
            if self._answer_timer is not None:
                self._answer_timer.cancel()

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
