"""HTTP protocol of uvicorn with limits on the number of connections and on slow clients."""

import asyncio
import json
import socket
from collections import Counter
from enum import Enum
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tfpipe.serving.limits import Limits

REST_S = 1.0  # for all that a client still sends after the answer to a request that was not read
MAX_HEAD_BYTES = 65536  # of a head that arrives in several parts; asyncio reads 256 KiB at a time
MAX_PIPELINED = 64  # requests of one connection that have arrived whole and wait for others
VERSIONS = ("1.0", "1.1")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"  # which a client of HTTP/1.1 takes at any time
PROBE_S = 0.2
PHRASES = {400: "Bad Request", 408: "Request Timeout", 503: "Service Unavailable"}


class Phase(Enum):
    """Which part of a request arrives next on a connection."""

    IDLE = "between two requests"
    HEAD = "head"
    BODY = "body"


def create_protocol(limits: Limits) -> type[HttpToolsProtocol]:
    """Returns the class of connections within limits."""
    clients: Counter[str] = Counter()  # open connections by address

    class LimitedProtocol(HttpToolsProtocol):
        """A connection. Requests that arrive before the answer to another wait in `pipeline`."""

        _head_timer: asyncio.TimerHandle | None = None
        _answer_timer: asyncio.TimerHandle | None = None
        _phase, _n_head_bytes = Phase.IDLE, 0
        _current: RequestResponseCycle | None = None  # which is answered now, or was last
        _n_answers = 0
        _n_timed = -1  # answers before the one that the timer is for
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
            was_body = self._phase is Phase.BODY
            super().data_received(data)
            if self._phase is Phase.BODY or self._is_answering:
                self._stop_head_timer()
                return
            self._start_head_timer()
            self._n_head_bytes = 0 if was_body else self._n_head_bytes + len(data)
            if self._n_head_bytes > MAX_HEAD_BYTES:
                self._refuse(400, f"The request head has more than {MAX_HEAD_BYTES} bytes.")

        def eof_received(self) -> bool:  # type: ignore[override]
            """Lets a client that has sent whole requests get their answers."""
            self._has_ended = True
            goes_on = self._phase is Phase.IDLE and self._is_answering and not self._drops
            if goes_on:
                self._probe()
            return goes_on

        def _probe(self) -> None:
            """Sends a client that sends nothing more what it ignores, and one that has left resets.

            Both look the same until then. HTTP/1.0 has no such message.
            """
            current = self._current
            assert current is not None
            if current.scope["http_version"] == "1.1" and not current.response_started:
                self.transport.write(CONTINUE)
                self.loop.call_later(PROBE_S, self._abort_if_reset)

        def _abort_if_reset(self) -> None:
            """Looks for a reset as long as a request is answered; nothing is read any more."""
            if self.transport.is_closing() or not self._is_answering:
                return
            connection = self.transport.get_extra_info("socket")
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.transport.abort()
            else:
                self.loop.call_later(PROBE_S, self._abort_if_reset)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._phase = Phase.HEAD

        def on_headers_complete(self) -> None:
            if not self.url.startswith(b"/") or self.parser.get_http_version() not in VERSIONS:
                # Whether the host of a whole URL or that of Host holds, others see differently.
                raise ValueError("neither a path nor a version of HTTP that is served")
            super().on_headers_complete()
            self._phase, self._n_head_bytes = Phase.BODY, 0
            if self.parser.should_upgrade():  # it is answered, and what follows is not HTTP
                self.cycle.keep_alive = False
            if len(self.pipeline) > MAX_PIPELINED:
                self._refuse(
                    400, f"{MAX_PIPELINED} requests wait on this connection. Wait for answers."
                )

        def on_message_complete(self) -> None:
            super().on_message_complete()
            self._phase = Phase.IDLE

        def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
            self._current = cycle
            super()._start_asgi_task(cycle, app)

        @property
        def _is_answering(self) -> bool:
            return self._current is not None and not self._current.response_complete

        def on_response_complete(self) -> None:
            """Closes the connection after a request that was not read to its end.

            Whatever came would be taken for the rest of it, however slowly it comes.
            """
            self._n_answers += 1
            is_read = self._phase is not Phase.BODY or self.cycle is not self._current
            super().on_response_complete()
            if self.transport.is_closing() or is_read:
                if not self._is_answering:
                    if self._has_ended:
                        self.transport.close()
                    elif self._phase is Phase.HEAD:
                        self._start_head_timer()
                self._start_answer_timer()
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
            if self._n_timed != self._n_answers:
                self._start_answer_timer()

        def connection_lost(self, error: Exception | None) -> None:
            self._stop_head_timer()
            self._stop_answer_timer()
            clients[self._address] -= 1
            if not clients[self._address]:
                del clients[self._address]
            if self._current is not None and self._is_answering:
                self._current.disconnected = True
                self._current.message_event.set()
            super().connection_lost(error)

        def send_400_response(self, message: str) -> None:
            """Refuses what is no HTTP, after the answers to the requests before it."""
            is_body = self._phase is Phase.BODY
            if not self._is_answering or (is_body and self.cycle is self._current):
                self._refuse(400, message)
                return
            self._drops = True
            if is_body:
                self.pipeline.popleft()
            last = self.pipeline[0][0] if self.pipeline else self._current
            assert last is not None
            last.keep_alive = False

        def _start_answer_timer(self) -> None:
            """Aborts the connection if a client does not take an answer in time."""
            self._stop_answer_timer()
            if self.transport.get_write_buffer_size():
                self._n_timed = self._n_answers
                self._answer_timer = self.loop.call_later(limits.deadline_s, self._abort_untaken)

        def _abort_untaken(self) -> None:
            if self._n_timed == self._n_answers and self.transport.get_write_buffer_size():
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
