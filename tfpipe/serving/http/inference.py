"""ASGI application of the requests that a model computes: :predict, :classify, :explain and infer.

It stands ahead of FastAPI, whose layers take longer than all the rest of such a request.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from tfpipe.serving import metadata as serving_metadata
from tfpipe.serving.errors import FAILED, RequestError
from tfpipe.serving.http import handlers, open_inference
from tfpipe.serving.http.access import headers_of
from tfpipe.serving.http.body import read_body
from tfpipe.serving.http.errors import error_response
from tfpipe.serving.http.recording import recording
from tfpipe.serving.http.response import send_budgeted
from tfpipe.serving.limits import Admission, Limits
from tfpipe.serving.metrics import ServerMetrics
from tfpipe.serving.model.store import ModelStore, ServedVersion

THREADS = 64  # for requests that are computed or wait for a batch
INFER = "infer"  # of the Open Inference Protocol
VERSION = r"/versions/(?P<version>[0-9]{1,18})"
# Paths that are no match have no model or no number of a version; FastAPI answers them.
PREDICTION = re.compile(
    rf"/v1/models/(?P<name>[^/:]+)(?:{VERSION}|/labels/(?P<label>[^/:]+))?:(?P<method>[a-z]+)"
)
OPEN_INFERENCE = re.compile(rf"/v2/models/(?P<name>[^/:]+)(?:{VERSION})?/infer")


class InferenceApp:
    """ASGI application that has a model compute POST requests, and hands on all others."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        models: ModelStore,
        limits: Limits,
        admission: Admission,
        metrics: ServerMetrics,
    ):
        """Wraps an application.

        Args:
          app: answers all other requests.
          models: the served versions.
          limits: what the server refuses to exceed.
          admission: shared with gRPC.
          metrics: count each request.
        """
        self._app, self._models, self._limits = app, models, limits
        self._admission, self._metrics = admission, metrics
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="request")
        self._handlers = {**handlers.HANDLERS, INFER: open_inference.infer}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or has the application answer it."""
        place = _place(scope["path"]) if scope["method"] == "POST" else {}
        if place.get("method") not in self._handlers:
            await self._app(scope, receive, send)
            return
        try:
            await self._answer(scope, receive, send, **place)
        except RequestError as error:
            await error_response(error)(scope, receive, send)
        except ClientDisconnect:
            return
        except Exception:
            await error_response(RequestError(500, FAILED))(scope, receive, send)
            raise  # uvicorn logs it

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        name: str,
        version: str,
        label: str,
        method: str,
    ) -> None:
        """Answers a request within the limits, and counts it."""
        budget, headers = self._admission.budget(), headers_of(scope)
        with recording(self._metrics, name, method) as outcome:
            try:
                served = self._models.get(name, version=version, label=label)
                body = await read_body(headers, receive, budget, limits=self._limits)
                query: Mapping[str, str] = QueryParams(scope["query_string"])
                request = handlers.HandlerRequest(name, body, headers, query, budget)
                work = self._admitted(self._handlers[method], scope)
                budget.hold()
                loop = asyncio.get_running_loop()
                future = loop.run_in_executor(self._executor, work, served, request)
                del body, request
                answer = await self._within_deadline(future, receive)
                outcome.status, outcome.n_instances = 200, answer.n_instances
            finally:
                if outcome.status != 200:  # else it is released when the answer is sent
                    budget.abandon()
                    budget.release()
        await send_budgeted(send, answer.content, budget, headers=answer.headers)

    def _admitted(self, handler: handlers.Handler, scope: Scope) -> Callable:
        """Counts a request from now until its thread ends, even if its client has left by then."""
        client, admission = scope["client"][0] if scope["client"] else "", self._admission
        admission.enter(client)

        def work(version: ServedVersion, request: handlers.HandlerRequest) -> handlers.Answer:
            try:
                request.budget.check()
                return handler(version, request)
            finally:
                admission.leave(client)
                request.budget.release()

        return work

    async def _within_deadline(
        self, future: asyncio.Future[handlers.Answer], receive: Receive
    ) -> handlers.Answer:
        """Returns the answer of a thread, unless it takes too long or the client leaves."""
        leaving, deadline_s = asyncio.ensure_future(_disconnect(receive)), self._limits.deadline_s
        try:
            done, _ = await asyncio.wait(
                (future, leaving), timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            leaving.cancel()
        if future in done:
            return future.result()
        future.add_done_callback(lambda late: late.exception())  # nobody reads it
        if leaving in done:
            raise ClientDisconnect
        raise RequestError(
            503, f"There was no answer within {deadline_s:g} s. Try again.", retry_after_s=5
        )


def openapi_paths() -> dict[str, Any]:
    """Returns the OpenAPI description of the paths that are answered here."""
    methods = {f":{method}": handler for method, handler in handlers.HANDLERS.items()}
    versions = ("", "/versions/{version}")
    paths = {
        f"/v1/models/{{name}}{place}{method}": (method[1:], handler)
        for place in (*versions, "/labels/{label}")
        for method, handler in methods.items()
    } | {f"/v2/models/{{name}}{place}/infer": (INFER, open_inference.infer) for place in versions}
    return {
        path: {
            "post": serving_metadata.operation(
                method, path, summary=(handler.__doc__ or method).splitlines()[0]
            )
        }
        for path, (method, handler) in paths.items()
    }


def _place(path: str) -> dict[str, str]:
    """Returns name, version, label and method of a path; nothing for one of another form."""
    if match := PREDICTION.fullmatch(path):
        return {key: value or "" for key, value in match.groupdict().items()}
    if match := OPEN_INFERENCE.fullmatch(path):
        version = match["version"] or ""
        return {"name": match["name"], "version": version, "label": "", "method": INFER}
    return {}


async def _disconnect(receive: Receive) -> None:
    """Returns when the client of a request has left, whose body has arrived."""
    while (await receive())["type"] != "http.disconnect":
        pass
