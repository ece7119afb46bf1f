"""HTTP application: TensorFlow Serving's REST API, and pages, health and metrics beside it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.requests import ClientDisconnect

from tfpipe.serving import metadata as serving_metadata
from tfpipe.serving.errors import RequestError
from tfpipe.serving.http import analyze, handlers, open_inference, page
from tfpipe.serving.http.access import AccessCheck
from tfpipe.serving.http.body import read_body
from tfpipe.serving.http.errors import add_error_handlers
from tfpipe.serving.http.response import BudgetedResponse
from tfpipe.serving.limits import Admission, Limits
from tfpipe.serving.metrics import ServerMetrics
from tfpipe.serving.model.store import ModelStore, ServedVersion

THREADS = 64  # for requests that are computed or wait for a batch
Endpoint = Callable[[Request], Awaitable[Response]]
CLIENT_CLOSED = 499  # status of a request whose client has left; nobody reads it


class AppContext(NamedTuple):
    """What the application needs to answer.

    Attributes:
      models: the served versions.
      limits: what the server refuses to exceed.
      admission: shared with gRPC.
      token: bearer token that requests must have; "" for none.
      hosts: names that requests may call the server by, besides localhost and addresses.
      uploads: where uploaded files are analyzed; None for a server that takes none.
    """

    models: ModelStore
    limits: Limits
    admission: Admission
    token: str = ""
    hosts: tuple[str, ...] = ()
    uploads: analyze.UploadConfig | None = None


def create_app(context: AppContext) -> FastAPI:
    """Returns the ASGI application; its `state.metrics` are its `ServerMetrics`."""
    api = FastAPI(
        title="tfpipe",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,  # a redirect would repeat the Host of its request
    )
    api.state.metrics = metrics = ServerMetrics(context.models, context.admission)
    executor = ThreadPoolExecutor(THREADS, thread_name_prefix="request")
    add_error_handlers(api)
    api.add_middleware(AccessCheck, token=context.token, hosts=context.hosts)
    _add_pages(api, context, metrics)
    places = ("", "/versions/{version}", "/labels/{label}")
    paths = [f"/v1/models/{{name}}{place}" for place in places]
    for path in paths:
        _add_model_info(api, context.models, path=path)
        for method, handler in handlers.HANDLERS.items():
            endpoint = _endpoint(context, metrics, executor, method=method, handler=handler)
            _add_post(api, f"{path}:{method}", endpoint, method=method, handler=handler)
    if context.uploads:
        shared = (context.models, context.limits, context.admission)
        analyze.add_routes(
            api, analyze.AnalysisContext(*shared, metrics, context.uploads), paths=paths
        )
    _add_open_inference(api, context.models)
    infer = open_inference.infer
    endpoint = _endpoint(context, metrics, executor, method="infer", handler=infer)
    for version in ("", "/versions/{version}"):
        path = f"/v2/models/{{name}}{version}/infer"
        _add_post(api, path, endpoint, method="infer", handler=infer)
    return api


def _add_post(
    api: FastAPI, path: str, endpoint: Endpoint, *, method: str, handler: handlers.Handler
) -> None:
    api.post(
        path,
        summary=(handler.__doc__ or method).splitlines()[0],
        openapi_extra=serving_metadata.request_body(method, path),
        responses=serving_metadata.ERROR_RESPONSES,
    )(endpoint)


def _endpoint(
    context: AppContext,
    metrics: ServerMetrics,
    executor: ThreadPoolExecutor,
    *,
    method: str,
    handler: handlers.Handler,
) -> Endpoint:
    """Returns the endpoint of a method: limits and metrics around a handler in a thread."""

    async def endpoint(request: Request) -> Response:
        start, status, n_instances = time.perf_counter(), CLIENT_CLOSED, 0
        name, budget = request.path_params["name"], context.admission.budget()
        try:
            version = context.models.get(name, **_version_and_label(request))
            body = await read_body(request, budget, limits=context.limits)
            handler_request = handlers.HandlerRequest(
                name, body, request.headers, request.query_params, budget
            )
            work = _admitted(handler, context.admission, request)
            budget.hold()
            future = asyncio.get_running_loop().run_in_executor(
                executor, work, version, handler_request
            )
            del body, handler_request
            answer = await _within_deadline(future, request, deadline_s=context.limits.deadline_s)
            status, n_instances = 200, answer.n_instances
            return BudgetedResponse(answer.content, budget, headers=answer.headers)
        except RequestError as error:
            status = error.status
            raise
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED)
        finally:
            if status != 200:  # else the response releases it
                budget.abandon()
                budget.release()
            metrics.record_request(
                name,
                method,
                status=status,
                seconds=time.perf_counter() - start,
                n_instances=n_instances,
            )

    return endpoint


def _admitted(handler: handlers.Handler, admission: Admission, request: Request) -> Callable:
    """Counts a request from now until its thread ends, even if its client has left by then."""
    client = request.client.host if request.client else ""
    admission.enter(client)

    def work(version: ServedVersion, handler_request: handlers.HandlerRequest) -> handlers.Answer:
        try:
            handler_request.budget.check()
            return handler(version, handler_request)
        finally:
            admission.leave(client)
            handler_request.budget.release()

    return work


async def _within_deadline(
    future: asyncio.Future[handlers.Answer], request: Request, *, deadline_s: float
) -> handlers.Answer:
    """Returns the answer of a thread, unless it takes too long or the client leaves."""
    leaving = asyncio.ensure_future(_disconnect(request))
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


async def _disconnect(request: Request) -> None:
    """Returns when the client of a request has left, whose body has arrived."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _add_model_info(api: FastAPI, models: ModelStore, *, path: str) -> None:
    """Adds status and metadata of a model, or of one version of it."""

    async def status(request: Request) -> dict[str, Any]:
        """Returns which versions are served, and why others are not."""
        name = request.path_params["name"]
        return serving_metadata.status(models, name, **_version_and_label(request))

    async def metadata(request: Request) -> dict[str, Any]:
        """Returns the signatures: names, types and shapes of inputs and outputs."""
        name = request.path_params["name"]
        version = models.get(name, **_version_and_label(request))
        return serving_metadata.metadata(version.servable, name)

    parameters = serving_metadata.path_parameters(path)
    api.get(path, openapi_extra=parameters)(status)
    api.get(f"{path}/metadata", openapi_extra=parameters)(metadata)


def _add_open_inference(api: FastAPI, models: ModelStore) -> None:
    """Adds health and metadata of the Open Inference Protocol."""

    @api.get("/v2")
    async def server() -> dict[str, Any]:
        """Returns the server's name, version and protocol extensions."""
        return open_inference.server_metadata()

    @api.get("/v2/health/live")
    async def live() -> dict[str, bool]:
        """Returns that the server answers."""
        return {"live": True}

    @api.get("/v2/health/ready")
    async def ready() -> Response:
        """Returns whether every model has a served version; the status is 400 if not."""
        is_ready = models.is_ready
        return JSONResponse({"live": True, "ready": is_ready}, 200 if is_ready else 400)

    async def model_ready(request: Request) -> Response:
        """Returns whether a model, or a version of it, is served; the status is 404 if not."""
        name = request.path_params["name"]
        models.get(name, **_version_and_label(request))
        return JSONResponse({"name": name, "ready": True})

    async def model(request: Request) -> dict[str, Any]:
        """Returns the tensors that a model takes and returns."""
        name = request.path_params["name"]
        version = models.get(name, **_version_and_label(request))
        return open_inference.model_metadata(models, version.servable, name)

    for place in ("", "/versions/{version}"):
        path = f"/v2/models/{{name}}{place}"
        parameters = serving_metadata.path_parameters(path)
        api.get(path, openapi_extra=parameters)(model)
        api.get(f"{path}/ready", openapi_extra=parameters)(model_ready)


def _version_and_label(request: Request) -> dict[str, str]:
    version = request.path_params.get("version", "0")
    if ":" in request.path_params["name"] or not serving_metadata.is_version_number(version):
        path = request.url.path[:200]
        raise RequestError(400, f"Malformed request: {request.method} {path}")
    return {key: request.path_params.get(key, "") for key in ("version", "label")}


def _add_pages(api: FastAPI, context: AppContext, metrics: ServerMetrics) -> None:
    """Adds health, names of models, metrics, and the two pages."""

    @api.get("/healthz")
    async def health() -> Response:
        """Returns whether every model has a served version, and when folders were checked."""
        is_ready = context.models.is_ready
        content: dict[str, Any] = {
            "status": "ok" if is_ready else "at least one model has no served version",
            "seconds_since_check": round(context.models.seconds_since_check, 1),
        }
        if context.models.refused:
            content["refused"] = context.models.refused
        drift = {
            f"{name}/{version}": monitor.drifted
            for (name, version), monitor in context.models.drift_monitors().items()
            if monitor.drifted
        }
        if drift:
            content["drift"] = drift
        return JSONResponse(content, 200 if is_ready else 503)

    @api.get("/v1/models")
    async def models() -> dict[str, Any]:
        """Returns the names of the models in URLs, and which runtime computes each."""
        return {
            "models": context.models.names,
            "runtimes": serving_metadata.runtimes(context.models),
        }

    @api.get("/metrics")
    @api.get("/monitoring/prometheus/metrics")  # where TensorFlow Serving has them
    async def prometheus_metrics() -> Response:
        """Returns the metrics in Prometheus' format."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @api.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def front() -> HTMLResponse:
        models = {
            name: analyze.describe(context.models, name, has_uploads=bool(context.uploads))
            for name in context.models.names
        }
        return HTMLResponse(page.front(models, has_token=bool(context.token)))

    @api.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(page.docs(api.openapi(), base=str(request.base_url).rstrip("/")))
