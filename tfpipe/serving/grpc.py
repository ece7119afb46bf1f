"""TensorFlow Serving's gRPC services: PredictionService and ModelService."""

import hmac
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    classification_pb2,
    input_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfpipe.base.errors import UserError
from tfpipe.serving import grpc_health, metadata, sockets
from tfpipe.serving.config import Endpoint
from tfpipe.serving.errors import FAILED, RequestError
from tfpipe.serving.http import handlers, payloads
from tfpipe.serving.limits import Admission, Limits, RequestBudget
from tfpipe.serving.metrics import ServerMetrics
from tfpipe.serving.model.loaded import DEFAULT_SIGNATURE, Servable
from tfpipe.serving.model.store import ModelStore, ServedVersion

LOG = logging.getLogger(__name__)
THREADS = 32  # that compute, and as many that wait for them until the deadline
WHOLE_TYPES = (tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32, tf.uint64)
NUMBER_TYPES = (*WHOLE_TYPES, tf.float16, tf.float32, tf.float64)
# Where a TensorProto has its values, unless it has them as bytes.
VALUE_FIELDS = (
    "string_val",
    "float_val",
    "double_val",
    "half_val",
    "int_val",
    "int64_val",
    "uint32_val",
    "uint64_val",
)


@contextmanager
def run_grpc(
    models: ModelStore,
    admission: Admission,
    metrics: ServerMetrics,
    *,
    limits: Limits,
    endpoint: Endpoint,
) -> Iterator[int]:
    """Serves gRPC until the end of the block, and yields the port; 0 if gRPC is not served.

    Args:
      models: the served versions.
      admission: shared with HTTP.
      metrics: likewise.
      limits: what the server refuses to exceed.
      endpoint: host, port and token.

    Raises:
      UserError: the port cannot be bound.
    """
    if endpoint.grpc_port is None:
        yield 0
        return
    server = grpc.server(
        ThreadPoolExecutor(THREADS),
        options=[
            ("grpc.so_reuseport", int(endpoint.shares_grpc_port)),
            ("grpc.max_receive_message_length", limits.max_body_bytes),
        ],
        maximum_concurrent_rpcs=limits.max_waiting,
    )
    calls = _Calls(admission, metrics, limits=limits, token=endpoint.token)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _PredictionService(models, calls, limits.max_instances), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(models, calls), server)
    server.add_generic_rpc_handlers((grpc_health.handler(models),))
    try:
        port = server.add_insecure_port(sockets.address(endpoint.host, endpoint.grpc_port))
    except RuntimeError as error:
        raise UserError(
            f"gRPC cannot listen at {endpoint.host} port {endpoint.grpc_port}. "
            "Choose another with --grpc-port."
        ) from error
    server.start()
    try:
        yield port
    finally:
        server.stop(limits.deadline_s).wait()


class _Calls:
    """What holds for every call: token, limits, deadline, metrics, the status of a refused one."""

    def __init__(self, admission: Admission, metrics: ServerMetrics, *, limits: Limits, token: str):
        self._admission, self._metrics, self._limits = admission, metrics, limits
        self._expected = f"Bearer {token}" if token else ""
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="call")

    def answer(
        self, request: Message, context: grpc.ServicerContext, work: Callable[[RequestBudget], Any]
    ) -> Any:
        """Returns the result of the work, or ends the call with a status and a sentence."""
        start, status = time.perf_counter(), 200
        budget = self._admission.budget()
        context.add_callback(budget.abandon)  # at the end of the call, whoever ended it
        try:
            self._check_token(context)
            budget.add(request.ByteSize())
            return self._within_deadline(context, budget, work)
        except RequestError as error:
            status = error.status
            return context.abort(grpc.StatusCode[error.grpc_status], str(error))
        except Exception:
            status = 500
            LOG.exception("A call has failed.")
            return context.abort(grpc.StatusCode.INTERNAL, FAILED)
        finally:
            budget.release()
            self._metrics.record_request(
                _model_name(request),
                type(request).__name__.removesuffix("Request"),
                status=status,
                seconds=time.perf_counter() - start,
                n_instances=budget.n_instances if status == 200 else 0,
            )

    def _within_deadline(
        self,
        context: grpc.ServicerContext,
        budget: RequestBudget,
        work: Callable[[RequestBudget], Any],
    ) -> Any:
        client = context.peer().rpartition(":")[0]
        self._admission.enter(client)
        budget.hold()

        def admitted() -> Any:
            try:
                budget.check()
                return work(budget)
            finally:
                self._admission.leave(client)
                budget.release()

        future = self._executor.submit(admitted)
        try:
            return future.result(self._limits.deadline_s)
        except TimeoutError as error:
            budget.abandon()
            raise RequestError(
                504, f"There was no answer within {self._limits.deadline_s:g} s. Try again."
            ) from error

    def _check_token(self, context: grpc.ServicerContext) -> None:
        token = dict(context.invocation_metadata()).get("authorization", "")
        if self._expected and not hmac.compare_digest(token.encode(), self._expected.encode()):
            raise RequestError(401, "The token is missing or wrong: authorization: Bearer TOKEN.")


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, models: ModelStore, calls: _Calls, max_instances: int):
        self._models, self._calls, self._max_instances = models, calls, max_instances

    def Predict(self, request, context):
        return self._calls.answer(request, context, lambda budget: self._predict(request, budget))

    def Classify(self, request, context):
        return self._calls.answer(request, context, lambda budget: self._classify(request, budget))

    def Regress(self, request, context):
        return self._calls.answer(request, context, lambda _: _refuse("Regress"))

    def MultiInference(self, request, context):
        return self._calls.answer(request, context, lambda _: _refuse("MultiInference"))

    def GetModelMetadata(self, request, context):
        def work(_: RequestBudget):
            if not request.metadata_field:
                raise RequestError(400, 'Expected "signature_def" as metadata_field, got nothing.')
            for name in request.metadata_field:
                if name != "signature_def":
                    raise RequestError(400, f"Metadata field {name[:50]!r} is not supported.")
            servable = _requested_version(self._models, request).servable
            return metadata.metadata_message(servable, request.model_spec.name)

        return self._calls.answer(request, context, work)

    def _predict(self, request, budget):
        version = _requested_version(self._models, request)
        signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
        inputs = version.servable.signature(signature).inputs
        if request.inputs.keys() != inputs.keys():
            raise RequestError(400, f"The inputs must be {', '.join(inputs)}.")
        features = {
            name: _tensor_values(
                request.inputs[name], spec, name=name, max_instances=self._max_instances
            )
            for name, spec in inputs.items()
        }
        lengths = {name: len(values) for name, values in features.items()}
        if len(set(lengths.values())) != 1:
            raise RequestError(400, f"The inputs have different lengths: {lengths}.")
        specs = version.servable.signature(signature).outputs
        names = list(request.output_filter) or list(specs)
        if not specs.keys() >= set(names):
            raise RequestError(400, f"The outputs are {', '.join(specs)}.")
        outputs = handlers.predict_within(version, features, budget, signature=signature)
        response = predict_pb2.PredictResponse()
        _set_model_spec(response, request, version.servable, signature=signature)
        for name in names:
            response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        return response

    def _classify(self, request, budget):
        version = _requested_version(self._models, request)
        signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
        inputs = version.servable.signature(signature).inputs
        features = parse_examples(request.input, inputs, max_instances=self._max_instances)
        response = classification_pb2.ClassificationResponse()
        _set_model_spec(response, request, version.servable, signature=signature)
        for row in handlers.class_probabilities(version, features, budget, signature=signature):
            classes = response.result.classifications.add().classes
            for label, probability in row:
                classes.add(label=label, score=probability)
        return response


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, models: ModelStore, calls: _Calls):
        self._models, self._calls = models, calls

    def GetModelStatus(self, request, context):
        def work(_: RequestBudget):
            name = request.model_spec.name
            return metadata.status_message(self._models, name, **_version_and_label(request))

        return self._calls.answer(request, context, work)


def parse_examples(
    message: input_pb2.Input, inputs: payloads.Inputs, *, max_instances: int
) -> dict[str, np.ndarray]:
    """Returns the features [n, ...] of a signature from tf.Examples.

    Args:
      message: examples whose features have the names of the signature's inputs: the bytes of an
        image, or all numbers of one row in order. Those of a "context" belong to every example.
      inputs: of the signature.
      max_instances: number of examples.

    Raises:
      RequestError: the examples are not what the signature takes.
    """
    kind = message.WhichOneof("kind")
    if kind is None or not (examples := getattr(message, kind).examples):
        raise RequestError(400, "The input has no example.")
    payloads.check_count(len(examples), max_instances=max_instances)
    context: dict[str, Any] = {}
    if kind == "example_list_with_context":
        context = dict(message.example_list_with_context.context.features.feature)
    columns: dict[str, list[Any]] = {name: [] for name in inputs}
    for i, example in enumerate(examples):
        row = dict(example.features.feature)
        if context.keys() & row.keys():
            raise RequestError(400, f"Example {i} has a feature that the context has, too.")
        row |= context
        payloads.check_names(row, inputs, where=f"Example {i}")
        for name, spec in inputs.items():
            value = _feature_value(row[name], spec, name=f"{name} of example {i}")
            columns[name].append(value)
    return {name: payloads.to_array(columns[name], inputs[name], name=name) for name in inputs}


def _set_model_spec(response, request, servable: Servable, *, signature: str) -> None:
    """Writes into a response which version and signature gave it."""
    spec = response.model_spec
    spec.name, spec.signature_name = request.model_spec.name, signature
    spec.version.value = servable.version


def _refuse(method: str) -> NoReturn:
    raise RequestError(501, f"{method} is not supported. Use Predict or Classify.")


def _requested_version(models: ModelStore, request) -> ServedVersion:
    return models.get(request.model_spec.name, **_version_and_label(request))


def _version_and_label(request) -> dict[str, str]:
    spec = request.model_spec
    version = str(spec.version.value) if spec.HasField("version") else ""
    return {"version": version, "label": spec.version_label}


def _tensor_values(tensor, spec: tf.TensorSpec, *, name: str, max_instances: int) -> np.ndarray:
    """Returns the array of a tensor; its shape may claim more values than it has."""
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if not shape or shape[1:] != list(spec.shape[1:]) or not 1 <= shape[0] <= max_instances:
        expected = [f"1 to {max_instances}", *spec.shape[1:]]
        raise RequestError(400, f"{name} has the shape {shape}, expected {expected}.")
    try:
        dtype = tf.as_dtype(tensor.dtype)
        is_right = dtype == tf.string if spec.dtype == tf.string else dtype in NUMBER_TYPES
        if not is_right:
            raise RequestError(
                400, f"{name} has the type {dtype.name}, expected {spec.dtype.name}."
            )
        n_values = _n_values(tensor, dtype)
        if n_values != np.prod(shape):  # TensorFlow would repeat the last one
            raise RequestError(400, f"{name} has the shape {shape}, but brings {n_values} values.")
        values = tf.make_ndarray(tensor)
    except (TypeError, ValueError, KeyError) as error:
        raise RequestError(400, f"{name} is an incomplete tensor.") from error
    return payloads.to_array(values, spec, name=name)


def _n_values(tensor, dtype: tf.DType) -> int:
    """Returns how many values a tensor brings, whatever its shape claims."""
    if tensor.tensor_content:
        return len(tensor.tensor_content) // dtype.size
    fields = (getattr(tensor, name) for name in VALUE_FIELDS)
    return max(len(values) for values in fields)


def _model_name(request) -> str:
    """Returns the name of the model of any request."""
    return request.model_spec.name if hasattr(request, "model_spec") else ""


def _feature_value(
    feature: tf.train.Feature, spec: tf.TensorSpec, *, name: str
) -> bytes | np.ndarray:
    kind = feature.WhichOneof("kind")
    values: Sequence[Any] = getattr(feature, kind).value if kind else ()
    n_values = int(np.prod(spec.shape[1:]))
    is_bytes = spec.dtype == tf.string
    if len(values) != n_values or (kind == "bytes_list") != is_bytes:
        expected = f"{n_values} {'bytes' if is_bytes else 'numbers'}"
        raise RequestError(400, f"{name} has {len(values)} values of {kind}, expected {expected}.")
    return values[0] if is_bytes else np.reshape(values, spec.shape[1:])
