"""gRPC's health service, `grpc.health.v1.Health`, as probes and load balancers ask it."""

from collections.abc import Iterator
from typing import Any

import grpc

from tfpipe.serving.errors import RequestError
from tfpipe.serving.grpc import descriptors
from tfpipe.serving.grpc.calls import Calls, Compute
from tfpipe.serving.model.store import ModelStore

SERVICE = f"{descriptors.HEALTH}.Health"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3  # of the protocol's ServingStatus
POLL_S = 0.2  # between looks at a model that is watched


def handlers_of(models: ModelStore, calls: Calls) -> dict[str, dict[str, grpc.RpcMethodHandler]]:
    """Returns the service: the server, or a model by its name, has a served version or not."""
    request_class = descriptors.message(f"{descriptors.HEALTH}.HealthCheckRequest")
    response_class = descriptors.message(f"{descriptors.HEALTH}.HealthCheckResponse")
    list_request = descriptors.message(f"{descriptors.HEALTH}.HealthListRequest")
    list_response = descriptors.message(f"{descriptors.HEALTH}.HealthListResponse")

    def check(request: Any) -> Compute:
        status = _status(models, request.service)
        if status == SERVICE_UNKNOWN:
            raise RequestError(404, "There is no model of that name.")
        return lambda _: response_class(status=status)

    def list_all(_: Any) -> Compute:
        statuses = {
            name: response_class(status=_status(models, name)) for name in ("", *models.names)
        }
        return lambda _: list_response(statuses=statuses)

    def watch(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        request, sent = next(requests, None), -1
        if request is None:
            raise RequestError(400, "The call has no request.")
        while context.is_active() and not calls.closing.is_set():
            status = _status(models, request.service)
            if status != sent:
                yield response_class(status=status)
                sent = status
            calls.closing.wait(POLL_S)
        yield response_class(status=NOT_SERVING)

    return {
        SERVICE: {
            "Check": calls.unary(request_class, check, is_public=True),
            "List": calls.unary(list_request, list_all),
            "Watch": calls.stream(request_class, watch, is_public=True),
        }
    }


def _status(models: ModelStore, name: str) -> int:
    if not name:
        return SERVING if models.is_ready else NOT_SERVING
    if name not in models.names:
        return SERVICE_UNKNOWN
    try:
        models.get(name)
    except RequestError:
        return NOT_SERVING
    return SERVING
