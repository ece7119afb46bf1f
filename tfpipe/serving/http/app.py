"""TensorFlow Serving's REST API, and what there is besides for people."""

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from tfpipe.serving import metadata as serving_metadata
from tfpipe.serving.errors import Refused
from tfpipe.serving.http import body as http_body
from tfpipe.serving.http import handlers, page
from tfpipe.serving.limits import Limits, Load
from tfpipe.serving.metrics import Metrics
from tfpipe.serving.model.store import Shelf

LOG = logging.getLogger("tfpipe")
OPEN = ("/", "/healthz", "/docs", "/openapi.json")  # without the token
THREADS = 64  # requests whose answers are computed, or wait for a batch
GONE = 499  # the client; nobody reads it


class Served(NamedTuple):
    """What the API answers by."""

    shelf: Shelf
    limits: Limits
    load: Load
    token: str = ""


def app(served: Served) -> FastAPI:
    """Returns the API as an ASGI application; its `status.metrics` are its counts."""
    api = FastAPI(title="tfpipe", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    api.state.metrics = metrics = Metrics(served.shelf, served.load)
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="answer")
    _tell_errors(api)
    _check_tokens(api, served.token)
    _for_people(api, served, metrics)
    where = "/v1/models/{name}"
    for place in ("", "/versions/{version}", "/labels/{label}"):
        _about(api, served.shelf, path=where + place)
        for verb, answer in handlers.VERBS.items():
            asked = _asked(served, metrics, pool, verb=verb, answer=answer)
            api.post(
                f"{where}{place}:{verb}",
                summary=answer.__doc__.splitlines()[0],
                openapi_extra=serving_metadata.body(verb, place),
                responses=serving_metadata.ANSWERS,
            )(asked)
    return api


def _asked(served: Served, metrics: Metrics, pool: ThreadPoolExecutor, *, verb: str, answer):
    """Returns the handler of a verb: the limits around `answer`, which runs in a thread."""

    async def ask(request: Request) -> Response:
        begun, told = time.perf_counter(), {"status": GONE, "count": 0}
        name = request.path_params["name"]
        try:
            place = {key: request.path_params.get(key, "") for key in ("version", "label")}
            version = served.shelf.get(name, **place)
            with served.load.holding() as held:
                body = await http_body.read(request, held, limits=served.limits)
                asked = handlers.Asked(body, request.headers, request.query_params)
                work = _counted(answer, served.load, request)
                content, told["count"] = await _within(
                    pool, lambda: work(version, asked), deadline_s=served.limits.deadline_s
                )
            told["status"] = 200
            return Response(content, media_type="application/json")
        except Refused as refused:
            told["status"] = refused.status
            raise
        except ClientDisconnect:
            return Response(status_code=GONE)
        finally:
            metrics.answered(name, verb, seconds=time.perf_counter() - begun, **told)

    return ask


def _counted(answer: Callable, load: Load, request: Request) -> Callable:
    """Counts a request from now until its thread is done, even if nobody waits for it any more."""
    client = request.client.host if request.client else ""
    load.enter(client)

    def work(*given) -> tuple[bytes, int]:
        try:
            return answer(*given)
        finally:
            load.leave(client)

    return work


async def _within(pool: ThreadPoolExecutor, work: Callable, *, deadline_s: float) -> Any:
    future = asyncio.get_running_loop().run_in_executor(pool, work)
    try:
        return await asyncio.wait_for(asyncio.shield(future), deadline_s)
    except TimeoutError as error:
        raise Refused(
            503, f"There was no answer within {deadline_s:g} s. Try again.", retry_after_s=5
        ) from error


def _about(api: FastAPI, shelf: Shelf, *, path: str) -> None:
    """Adds status and metadata of a model, or of one version of it."""

    def place_of(request: Request) -> dict[str, str]:
        return {key: request.path_params.get(key, "") for key in ("version", "label")}

    async def status(request: Request) -> dict:
        """Which versions are served, and why others are not."""
        return serving_metadata.status(shelf, request.path_params["name"], **place_of(request))

    async def metadata(request: Request) -> dict:
        """The signatures: names, types and shapes of inputs and outputs."""
        name = request.path_params["name"]
        return serving_metadata.metadata(shelf.get(name, **place_of(request)).servable, name)

    names = {"openapi_extra": serving_metadata.names(path)}
    api.get(path, **names)(status)
    api.get(f"{path}/metadata", **names)(metadata)


def _for_people(api: FastAPI, served: Served, metrics: Metrics) -> None:
    @api.get("/healthz")
    async def health() -> Response:
        """Whether every model has a version that answers."""
        is_ready = served.shelf.is_ready
        told = {"status": "ok" if is_ready else "no version of some model"}
        drifts = served.shelf.drifts().items()
        if left := {f"{name}/{version}": one.left for (name, version), one in drifts if one.left}:
            told["drift"] = left
        return JSONResponse(told, 200 if is_ready else 503)

    @api.get("/v1/models")
    async def names() -> dict:
        """What the models are called in URLs, and what computes them."""
        return {"models": served.shelf.names, "runtimes": serving_metadata.runtimes(served.shelf)}

    @api.get("/metrics")
    async def counts() -> Response:
        """Counts for Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @api.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def front() -> HTMLResponse:
        return HTMLResponse(page.front(served.shelf.names, has_token=bool(served.token)))

    @api.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(page.docs(api.openapi(), base=str(request.base_url).rstrip("/")))


def _check_tokens(api: FastAPI, token: str) -> None:
    if not token:
        return
    expected = f"Bearer {token}".encode()

    @api.middleware("http")
    async def check(request: Request, follow: Callable[[Request], Awaitable[Response]]):
        given = request.headers.get("authorization", "").encode()
        if request.url.path in OPEN or hmac.compare_digest(given, expected):
            return await follow(request)
        return _told(Refused(401, "The token is missing or wrong: Authorization: Bearer TOKEN."))


def _tell_errors(api: FastAPI) -> None:
    """Makes every answer that is none a JSON object with one sentence, and no traceback."""

    async def refused(request: Request, error: Refused) -> Response:
        return _told(error)

    async def unknown(request: Request, error: HTTPException) -> Response:
        sentence = f"Malformed request: {request.method} {request.url.path[:200]}"
        return JSONResponse({"error": sentence}, error.status_code, headers=error.headers)

    async def broken(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": "The server failed; its log says why."}, 500)

    api.add_exception_handler(Refused, refused)
    api.add_exception_handler(HTTPException, unknown)
    api.add_exception_handler(Exception, broken)


def _told(error: Refused) -> Response:
    # What is left unread of a body would be taken for the next request.
    headers = error.headers | ({"Connection": "close"} if error.status in (408, 411, 413) else {})
    content = json.dumps({"error": str(error)})
    return Response(content, error.status, media_type="application/json", headers=headers)
