"""gRPC server reflection, v1 and v1alpha: clients such as grpcurl ask for the services by it.

By hand, as grpcio-reflection has v1alpha alone, and describes every message of the process.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor

from tfpipe.serving.grpc import descriptors
from tfpipe.serving.grpc.calls import Calls

POOLS = (descriptor_pool.Default(), descriptors.pool())  # TensorFlow's messages are in the first
NAMES = tuple(
    f"{package}.ServerReflection"
    for package in (descriptors.REFLECTION, descriptors.OLD_REFLECTION)
)


def handlers_of(
    services: Iterable[str], calls: Calls
) -> dict[str, dict[str, grpc.RpcMethodHandler]]:
    """Returns the services that describe others, and themselves.

    Args:
      services: full names of the others.
      calls: what holds for every call.
    """
    names = sorted([*services, *NAMES])
    files: dict[str, FileDescriptor] = {}
    for name in names:
        _add(_file_of(name), files)
    return {
        name: {"ServerReflectionInfo": _handler(name.rpartition(".")[0], names, files, calls)}
        for name in NAMES
    }


def _handler(
    package: str, names: list[str], files: dict[str, FileDescriptor], calls: Calls
) -> grpc.RpcMethodHandler:
    response_class = descriptors.message(f"{package}.ServerReflectionResponse")

    def info(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        calls.limit(context)
        for request in requests:
            response = response_class(valid_host=request.host, original_request=request)
            _answer(request, response, names, files)
            yield response

    request_class = descriptors.message(f"{package}.ServerReflectionRequest")
    return calls.stream(request_class, info)


def _answer(
    request: Any, response: Any, names: list[str], files: dict[str, FileDescriptor]
) -> None:
    """Writes the answer to a request into its response."""
    kind = request.WhichOneof("message_request")
    file = None
    if kind == "list_services":
        for name in names:
            response.list_services_response.service.add(name=name)
        return
    if kind == "file_by_filename":
        file = files.get(request.file_by_filename)
    elif kind == "file_containing_symbol":
        found = _file_of(request.file_containing_symbol)
        file = files.get(found.name) if found else None
    elif kind is not None:
        _refuse(response, grpc.StatusCode.UNIMPLEMENTED, "These messages have no extensions.")
        return
    if file is None:
        _refuse(response, grpc.StatusCode.NOT_FOUND, "There is no such file, service or message.")
        return
    needed: dict[str, FileDescriptor] = {}
    _add(file, needed)
    for one in needed.values():
        proto = descriptor_pb2.FileDescriptorProto()
        one.CopyToProto(proto)
        response.file_descriptor_response.file_descriptor_proto.append(proto.SerializeToString())


def _refuse(response: Any, code: grpc.StatusCode, sentence: str) -> None:
    error = response.error_response
    error.error_code, error.error_message = code.value[0], sentence


def _file_of(symbol: str) -> FileDescriptor | None:
    """Returns the file that has a service, method or message; None if none has it."""
    for pool in POOLS:
        with contextlib.suppress(KeyError):
            return pool.FindFileContainingSymbol(symbol)
        with contextlib.suppress(KeyError):
            return pool.FindMethodByName(symbol).containing_service.file
    return None


def _add(file: FileDescriptor | None, files: dict[str, FileDescriptor]) -> None:
    """Adds a file and all that it imports, itself first."""
    if file is not None and file.name not in files:
        files[file.name] = file
        for other in file.dependencies:
            _add(other, files)
