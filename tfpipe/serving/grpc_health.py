"""gRPC's health service, `grpc.health.v1.Health`, as probes of Kubernetes and proxies ask it.

By hand, as grpcio-health-checking demands grpcio and protobuf of its own release, and TensorFlow's
packages limit both. `Watch` is left out, as probes do not use it.
"""

from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tfpipe.serving.errors import RequestError
from tfpipe.serving.model.store import ModelStore

SERVICE = "grpc.health.v1.Health"
SERVING, NOT_SERVING = 1, 2  # of the protocol's ServingStatus


def handler(models: ModelStore) -> grpc.GenericRpcHandler:
    """Returns the service: the server, or a model by its name, has a served version or not."""
    request_class, response_class = _messages()

    def check(request, context):
        if request.service and request.service not in models.names:
            return context.abort(grpc.StatusCode.NOT_FOUND, "There is no model of that name.")
        return response_class(status=SERVING if _is_ready(models, request.service) else NOT_SERVING)

    method = grpc.unary_unary_rpc_method_handler(
        check,
        request_deserializer=request_class.FromString,
        response_serializer=response_class.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(SERVICE, {"Check": method})


def _is_ready(models: ModelStore, name: str) -> bool:
    if not name:
        return models.is_ready
    try:
        models.get(name)
    except RequestError:
        return False
    return True


def _messages() -> tuple[Any, Any]:
    """Returns the classes of HealthCheckRequest and HealthCheckResponse."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="tfpipe/health.proto", package="tfpipe.health", syntax="proto3"
    )
    request = file.message_type.add(name="HealthCheckRequest")
    request.field.add(name="service", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    response = file.message_type.add(name="HealthCheckResponse")
    response.field.add(name="status", number=1, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = (f"tfpipe.health.{name}" for name in ("HealthCheckRequest", "HealthCheckResponse"))
    request_class, response_class = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names
    )
    return request_class, response_class
