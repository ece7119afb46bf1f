"""What holds for every call: token, limits, deadlines, metrics, the status of a refused one.

Each handler is one of a stream of requests, also where there is one request: only so does a handler
run before its request has arrived, and can check the token and end a call that sends nothing.
Requests arrive as bytes, and are parsed in the thread of their call: gRPC would parse all of them
in one thread, and before they count.
"""

import hmac
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError, Message

from tfpipe.serving.errors import CLIENT_CLOSED, FAILED, RequestError
from tfpipe.serving.grpc import field_count
from tfpipe.serving.grpc.call_timers import CallTimers
from tfpipe.serving.http import handlers
from tfpipe.serving.limits import Admission, Limits, RequestBudget
from tfpipe.serving.metrics import ServerMetrics

LOG = logging.getLogger(__name__)
THREADS = 32  # that compute
ARRIVING = 16  # requests of one client that arrive at the same time; further ones wait
STREAMS, STREAMS_PER_CLIENT = 32, 8  # calls without an end, such as those that watch a model
MAX_STREAM_MESSAGE = 10_000  # bytes of a request in a stream
LAST_S = 1.0  # for a stream to end by itself

Compute = Callable[[RequestBudget], Message]
Prepare = Callable[[Any], Compute]
Stream = Callable[[Iterator[Any], grpc.ServicerContext], Iterator[Message]]


class Calls:
    """The calls of a server.

    Attributes:
      closing: set when streams are to end, as the server stops.
    """

    def __init__(self, admission: Admission, metrics: ServerMetrics, *, limits: Limits, token: str):
        self._admission, self._metrics, self._limits = admission, metrics, limits
        self._expected = f"Bearer {token}" if token else ""
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="call")
        self._arriving, self._arrived = Counter[str](), threading.Condition()
        self._streams = Admission(
            replace(limits, max_waiting=STREAMS, max_per_client=STREAMS_PER_CLIENT)
        )
        self._open_streams: set[grpc.ServicerContext] = set()
        self.closing = threading.Event()
        self._timers = CallTimers()

    def unary(
        self, request_class: type[Message], prepare: Prepare, *, is_public: bool = False
    ) -> grpc.RpcMethodHandler:
        """Returns the handler of a method that answers one request.

        Args:
          request_class: of its requests.
          prepare: checks a request, and returns what computes the answer without holding it; both
            raise a RequestError to refuse it.
          is_public: whether it needs no token.
        """

        def answer(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            return self._answer(requests, context, request_class, prepare, is_public=is_public)

        return grpc.stream_unary_rpc_method_handler(answer)

    def stream(
        self, request_class: type[Message], work: Stream, *, is_public: bool = False
    ) -> grpc.RpcMethodHandler:
        """Returns the handler of a method that answers as long as its client listens.

        Args:
          request_class: of its requests.
          work: yields the answers to requests; raises a RequestError to refuse one.
          is_public: whether it needs no token.
        """

        def answer(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            client = _client(context)
            try:
                self._check_token(context, is_public=is_public)
                self._streams.enter(client)
            except RequestError as error:
                _abort(context, error)
            try:
                self._open_streams.add(context)
                messages = (_parse(request_class, _small(data)) for data in requests)
                for message in work(messages, context):
                    yield message.SerializeToString()
            except RequestError as error:
                _abort(context, error)
            except grpc.RpcError:
                return  # the client has left
            finally:
                self._open_streams.discard(context)
                self._streams.leave(client)

        return grpc.stream_stream_rpc_method_handler(answer)

    def limit(self, context: grpc.ServicerContext) -> None:
        """Ends a stream after the deadline of a request, unless it has ended by then."""
        self._timers.set(context, self._limits.deadline_s)

    def end_streams(self) -> None:
        """Ends the streams, those that do not end by themselves after a second."""
        self.closing.set()
        for context in list(self._open_streams):
            self._timers.set(context, LAST_S)

    def close(self) -> None:
        """Stops the threads."""
        self._timers.close()
        self._executor.shutdown(wait=False)

    def _answer(
        self,
        requests: Iterator[bytes],
        context: grpc.ServicerContext,
        request_class: type[Message],
        prepare: Prepare,
        *,
        is_public: bool,
    ) -> bytes:
        """Returns the answer to one request, or ends the call with a status and a sentence."""
        start, status, model, client = time.perf_counter(), 200, "", _client(context)
        budget = self._admission.budget()
        is_entered = False
        try:
            self._at_end(context, budget)
            self._check_token(context, is_public=is_public)
            if not is_public:  # those answer whatever else there is to do
                self._admission.enter(client)
                is_entered = True
            data = self._receive(requests, context, f"{client} public" if is_public else client)
            budget.add(len(data))

            def work() -> Message:
                nonlocal model
                try:
                    budget.check()
                    with handlers.PARSERS:
                        message = _parse(request_class, data)
                        model = model_name(message)
                        compute = prepare(message)
                        del message
                    return compute(budget)
                finally:
                    if not is_public:
                        self._admission.leave(client)
                    budget.release()

            budget.hold()
            is_entered = False  # the thread leaves
            return self._within_deadline(work, budget).SerializeToString()
        except RequestError as error:
            status = error.status
            return _abort(context, error)
        except grpc.RpcError:
            status = CLIENT_CLOSED
            return b""
        except Exception:
            status = 500
            LOG.exception("A call has failed.")
            return _abort(context, RequestError(500, FAILED))
        finally:
            if is_entered:
                self._admission.leave(client)
            self._metrics.record_request(
                model,
                request_class.__name__.removesuffix("Request"),
                status=status,
                seconds=time.perf_counter() - start,
                n_instances=budget.n_instances if status == 200 else 0,
            )

    def _at_end(self, context: grpc.ServicerContext, budget: RequestBudget) -> None:
        """Lets go of a budget at the end of a call, when its client has taken the answer."""

        def end() -> None:
            budget.abandon()
            budget.release()

        if not context.add_callback(end):
            end()

    def _receive(
        self, requests: Iterator[bytes], context: grpc.ServicerContext, client: str
    ) -> bytes:
        """Returns the request of a call, and gives it time for the answer and for its way."""
        deadline_s = self._limits.deadline_s
        with self._arrival(client):
            self._timers.set(context, deadline_s)
            data = next(requests, None)
        if data is None:
            raise RequestError(400, "The call has no request.")
        self._timers.set(context, 2 * deadline_s)
        return data

    @contextmanager
    def _arrival(self, client: str) -> Iterator[None]:
        with self._arrived:
            is_free = self._arrived.wait_for(
                lambda: self._arriving[client] < ARRIVING, self._limits.deadline_s
            )
            if not is_free:
                raise RequestError(
                    429,
                    f"{client} already has {ARRIVING} requests that do not arrive to their end.",
                )
            self._arriving[client] += 1
        try:
            yield
        finally:
            with self._arrived:
                self._arriving[client] -= 1
                self._arriving += Counter()  # drops clients without requests
                self._arrived.notify_all()

    def _within_deadline(self, work: Callable[[], Message], budget: RequestBudget) -> Message:
        future = self._executor.submit(work)
        try:
            return future.result(self._limits.deadline_s)
        except TimeoutError as error:
            budget.abandon()
            raise RequestError(
                504, f"There was no answer within {self._limits.deadline_s:g} s. Try again."
            ) from error

    def _check_token(self, context: grpc.ServicerContext, *, is_public: bool) -> None:
        token = dict(context.invocation_metadata()).get("authorization", "")
        if is_public or not self._expected:
            return
        if not hmac.compare_digest(token.encode(), self._expected.encode()):
            raise RequestError(401, "The token is missing or wrong: authorization: Bearer TOKEN.")


def model_name(request: Any) -> str:
    """Returns the name of the model of any request, "" if it has none."""
    if hasattr(request, "model_spec"):
        return request.model_spec.name
    return getattr(request, "model_name", "") or getattr(request, "name", "")


def _client(context: grpc.ServicerContext) -> str:
    return context.peer().rpartition(":")[0]


def _parse(request_class: type[Message], data: bytes) -> Any:
    try:
        if field_count.count_fields(request_class.DESCRIPTOR, data) > field_count.MAX_FIELDS:
            raise RequestError(
                413,
                f"The {request_class.__name__} has more than {field_count.MAX_FIELDS} fields. "
                "Send fewer instances, or tensors as bytes.",
            )
        return request_class.FromString(data)
    except (DecodeError, field_count.MalformedMessageError) as error:
        raise RequestError(400, f"The message is no {request_class.__name__}.") from error


def _small(data: bytes) -> bytes:
    """Returns the bytes of a request in a stream, if they are few."""
    if len(data) > MAX_STREAM_MESSAGE:
        raise RequestError(413, f"A request has more than {MAX_STREAM_MESSAGE} bytes.")
    return data


def _abort(context: grpc.ServicerContext, error: RequestError) -> NoReturn:
    context.abort(grpc.StatusCode[error.grpc_status], str(error))
    raise AssertionError  # abort raises
