"""Open Inference Protocol (KServe's V2) over gRPC: `inference.GRPCInferenceService`.

Tensors are in repeated fields of their type, or raw as in the binary extension of HTTP. The answer
has them as the request has its own.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import numpy as np
import tensorflow as tf

from tfpipe.serving import binary_tensors
from tfpipe.serving import metadata as serving_metadata
from tfpipe.serving.errors import RequestError
from tfpipe.serving.grpc import descriptors
from tfpipe.serving.grpc.calls import Calls, Compute
from tfpipe.serving.http import handlers, payloads
from tfpipe.serving.limits import Limits
from tfpipe.serving.model.loaded import DEFAULT_SIGNATURE
from tfpipe.serving.model.store import ModelStore, ServedVersion
from tfpipe.serving.open_inference import (
    SIGNATURE_NAME,
    InputTensor,
    check_n_inputs,
    check_outputs,
    model_metadata,
    parse_inputs,
    server_metadata,
)

SERVICE = f"{descriptors.INFERENCE}.GRPCInferenceService"
MAX_RANK = 16  # dimensions that are looked at; no input has so many
CONTENTS = {  # datatype -> field of InferTensorContents and type of its values
    "BOOL": ("bool_contents", np.bool_),
    "INT8": ("int_contents", np.int32),
    "INT16": ("int_contents", np.int32),
    "INT32": ("int_contents", np.int32),
    "INT64": ("int64_contents", np.int64),
    "UINT8": ("uint_contents", np.uint32),
    "UINT16": ("uint_contents", np.uint32),
    "UINT32": ("uint_contents", np.uint32),
    "UINT64": ("uint64_contents", np.uint64),
    "FP32": ("fp32_contents", np.float32),
    "FP64": ("fp64_contents", np.float64),
    "BYTES": ("bytes_contents", object),
}


def handlers_of(
    models: ModelStore, calls: Calls, limits: Limits
) -> dict[str, dict[str, grpc.RpcMethodHandler]]:
    """Returns the service: name -> method -> handler."""

    def unary(
        method: str, prepare: Callable[..., Compute], *, is_public: bool = False
    ) -> grpc.RpcMethodHandler:
        request_class, response_class = (
            _message(f"{method}{end}") for end in ("Request", "Response")
        )
        return calls.unary(request_class, partial(prepare, response_class), is_public=is_public)

    def live(response_class: Any, _: Any) -> Compute:
        return lambda _: response_class(live=True)

    def ready(response_class: Any, _: Any) -> Compute:
        return lambda _: response_class(ready=models.is_ready)

    def model_ready(response_class: Any, request: Any) -> Compute:
        _version(models, request.name, request.version)
        return lambda _: response_class(ready=True)

    def server(response_class: Any, _: Any) -> Compute:
        return lambda _: response_class(**server_metadata([]))

    def model(response_class: Any, request: Any) -> Compute:
        servable, name = _version(models, request.name, request.version).servable, request.name
        return lambda _: response_class(**model_metadata(models, servable, name))

    infer = partial(_infer, models, max_instances=limits.max_instances)
    return {
        SERVICE: {
            "ServerLive": unary("ServerLive", live, is_public=True),
            "ServerReady": unary("ServerReady", ready, is_public=True),
            "ModelReady": unary("ModelReady", model_ready),
            "ServerMetadata": unary("ServerMetadata", server),
            "ModelMetadata": unary("ModelMetadata", model),
            "ModelInfer": unary("ModelInfer", infer),
        }
    }


def _infer(models: ModelStore, response_class: Any, request: Any, *, max_instances: int) -> Compute:
    version = _version(models, request.model_name, request.model_version)
    signature = _signature_name(request)
    specs = version.servable.signature(signature)
    check_n_inputs(len(request.inputs), specs.inputs)
    features = parse_inputs(_input_tensors(request), specs.inputs, max_instances=max_instances)
    requested = request.outputs[: len(specs.outputs) + 1]  # of more one occurs twice
    names = [output.name for output in requested] or list(specs.outputs)
    check_outputs(names, specs.outputs)
    is_raw = bool(request.raw_input_contents)
    response = response_class(
        model_name=request.model_name, model_version=str(version.servable.version), id=request.id
    )

    def compute(budget):
        budget.n_instances = handlers.n_instances(features)
        outputs = {name: specs.outputs[name] for name in names}
        budget.add_answer(payloads.output_bytes(outputs, budget.n_instances))
        arrays = version.predict(features, signature=signature, check=budget.check)
        _write(response, {name: arrays[name] for name in names}, is_raw=is_raw)
        return response

    return compute


def _version(models: ModelStore, name: str, version: str) -> ServedVersion:
    if version and not serving_metadata.is_version_number(version):
        raise RequestError(400, f"The version is {version[:20]!r}, expected a number or nothing.")
    return models.get(name, version=version)


def _signature_name(request: Any) -> str:
    if SIGNATURE_NAME not in request.parameters:
        return DEFAULT_SIGNATURE
    parameter = request.parameters[SIGNATURE_NAME]
    if parameter.WhichOneof("parameter_choice") != "string_param":
        raise RequestError(400, f'The parameter "{SIGNATURE_NAME}" must be a string.')
    return parameter.string_param


def _input_tensors(request: Any) -> list[InputTensor]:
    """Returns a request's tensors; all of them are raw, or none is."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise RequestError(
            400, f"There are {len(request.inputs)} inputs and {len(raw)} raw_input_contents."
        )
    tensors = []
    for i, tensor in enumerate(request.inputs):
        claims = (tensor.name, tensor.datatype, list(tensor.shape[:MAX_RANK]))
        if not raw:
            tensors.append(InputTensor(*claims, values=_values(tensor)))
        elif tensor.HasField("contents"):
            raise RequestError(
                400, f"{tensor.name[:80]} has contents, but the request has raw_input_contents."
            )
        else:
            tensors.append(InputTensor(*claims, raw=memoryview(raw[i])))
    return tensors


def _values(tensor: Any) -> Any:
    """Returns the values of a tensor in the field of its type, or None if it has none there."""
    if tensor.datatype not in CONTENTS:
        return None
    expected, dtype = CONTENTS[tensor.datatype]
    for field, _ in tensor.contents.ListFields():
        if field.name != expected:
            raise RequestError(
                400, f"{tensor.name[:80]} has {field.name}, expected {expected} or raw contents."
            )
    values = getattr(tensor.contents, expected)
    return list(values) if dtype is object else np.fromiter(values, dtype, len(values))


def _write(response: Any, arrays: dict[str, np.ndarray], *, is_raw: bool) -> None:
    """Writes tensors into a response; all are raw where one has no field for its type."""
    datatypes = {
        name: binary_tensors.datatype(tf.as_dtype(array.dtype)) for name, array in arrays.items()
    }
    is_raw = is_raw or not CONTENTS.keys() >= set(datatypes.values())
    for name, array in arrays.items():
        output = response.outputs.add(name=name, datatype=datatypes[name], shape=array.shape)
        if is_raw:
            response.raw_output_contents.append(binary_tensors.encode(array))
        else:
            field, _ = CONTENTS[datatypes[name]]
            getattr(output.contents, field).extend(array.ravel().tolist())


def _message(name: str) -> Any:
    return descriptors.message(f"{descriptors.INFERENCE}.{name}")
