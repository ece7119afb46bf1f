"""HTTP application: TensorFlow Serving's REST API, and pages, health and metrics beside it."""

from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.types import ASGIApp

from tfpipe.serving import metadata as serving_metadata
from tfpipe.serving import open_inference as inference_protocol
from tfpipe.serving.errors import RequestError
from tfpipe.serving.http import analyze, inference, open_inference, page
from tfpipe.serving.http.access import AccessCheck
from tfpipe.serving.http.errors import add_error_handlers
from tfpipe.serving.http.inference import InferenceApp
from tfpipe.serving.limits import Admission, Limits
from tfpipe.serving.metrics import ServerMetrics
from tfpipe.serving.model.store import ModelStore

VERSION = "/versions/{version}"


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


def create_app(context: AppContext, metrics: ServerMetrics) -> ASGIApp:
    """Returns the ASGI application.

    Args:
      context: what it needs.
      metrics: count its requests, and are one of its pages.
    """
    api = FastAPI(
        title="tfpipe",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,  # a redirect would repeat the Host of its request
    )
    add_error_handlers(api)
    _add_pages(api, context, metrics)
    paths = [f"/v1/models/{{name}}{place}" for place in ("", VERSION, "/labels/{label}")]
    for path in paths:
        _add_model_info(api, context.models, path=path)
    if context.uploads:
        shared = (context.models, context.limits, context.admission)
        analyze.add_routes(
            api, analyze.AnalysisContext(*shared, metrics, context.uploads), paths=paths
        )
    _add_open_inference(api, context.models)
    _describe_inference(api)
    app = InferenceApp(
        api,
        models=context.models,
        limits=context.limits,
        admission=context.admission,
        metrics=metrics,
    )
    return AccessCheck(app, token=context.token, hosts=context.hosts)


def _describe_inference(api: FastAPI) -> None:
    """Adds to the OpenAPI description what `InferenceApp` answers."""
    describe = api.openapi

    def openapi() -> dict[str, Any]:
        description = describe()
        for path, operations in inference.openapi_paths().items():
            description["paths"].setdefault(path, {}).update(operations)
        return description

    api.openapi = openapi  # type: ignore[method-assign]


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
        return inference_protocol.server_metadata(open_inference.EXTENSIONS)

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
        return inference_protocol.model_metadata(models, version.servable, name)

    for place in ("", VERSION):
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
