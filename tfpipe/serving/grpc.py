"""TensorFlow Serving's gRPC services: PredictionService and ModelService."""

import hmac
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    input_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfpipe.base.errors import UserError
from tfpipe.serving import metadata
from tfpipe.serving.config import Endpoint
from tfpipe.serving.errors import RequestError
from tfpipe.serving.http import handlers, payloads
from tfpipe.serving.limits import Admission, Limits
from tfpipe.serving.model.loaded import DEFAULT_SIGNATURE, Servable
from tfpipe.serving.model.store import ModelStore, ServedVersion

THREADS = 32


@contextmanager
def run_grpc(
    models: ModelStore, admission: Admission, *, limits: Limits, endpoint: Endpoint
) -> Iterator[int]:
    """Serves gRPC until the end of the block, and yields the port; 0 if gRPC is not served.

    Args:
      models: the served versions.
      admission: shared with HTTP.
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
    calls = _Calls(admission, endpoint.token)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _PredictionService(models, calls, limits.max_instances), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(models, calls), server)
    try:
        port = server.add_insecure_port(f"{endpoint.host}:{endpoint.grpc_port}")
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
    """Checks of every call: token, number of requests; and the status of a refused one."""

    def __init__(self, admission: Admission, token: str):
        self._admission, self._expected = admission, f"Bearer {token}" if token else ""

    def answer(self, context: grpc.ServicerContext, work: Callable[[], Any]) -> Any:
        """Returns the result of the work, or ends the call with a status and a sentence."""
        client = context.peer().rpartition(":")[0]
        try:
            self._check_token(context)
            self._admission.enter(client)
            try:
                return work()
            finally:
                self._admission.leave(client)
        except RequestError as error:
            return context.abort(grpc.StatusCode[error.grpc_status], str(error))

    def _check_token(self, context: grpc.ServicerContext) -> None:
        token = dict(context.invocation_metadata()).get("authorization", "")
        if self._expected and not hmac.compare_digest(token.encode(), self._expected.encode()):
            raise RequestError(401, "The token is missing or wrong: authorization: Bearer TOKEN.")


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, models: ModelStore, calls: _Calls, max_instances: int):
        self._models, self._calls, self._max_instances = models, calls, max_instances

    def Predict(self, request, context):
        return self._calls.answer(context, lambda: self._predict(request))

    def Classify(self, request, context):
        return self._calls.answer(context, lambda: self._classify(request))

    def Regress(self, request, context):
        return self._calls.answer(context, lambda: _refuse("Regress"))

    def MultiInference(self, request, context):
        return self._calls.answer(context, lambda: _refuse("MultiInference"))

    def GetModelMetadata(self, request, context):
        def work():
            servable = _requested_version(self._models, request).servable
            return metadata.metadata_message(servable, request.model_spec.name)

        return self._calls.answer(context, work)

    def _predict(self, request):
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
        outputs = version.predict(features, signature=signature)
        names = list(request.output_filter) or list(outputs)
        if not outputs.keys() >= set(names):
            raise RequestError(400, f"The outputs are {', '.join(outputs)}.")
        response = predict_pb2.PredictResponse()
        _set_model_spec(response, request, version.servable, signature=signature)
        for name in names:
            response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        return response

    def _classify(self, request):
        version = _requested_version(self._models, request)
        signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
        inputs = version.servable.signature(signature).inputs
        features = parse_examples(request.input, inputs, max_instances=self._max_instances)
        response = classification_pb2.ClassificationResponse()
        _set_model_spec(response, request, version.servable, signature=signature)
        for row in handlers.class_probabilities(version, features, signature=signature):
            classes = response.result.classifications.add().classes
            for label, probability in row:
                classes.add(label=label, score=probability)
        return response


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, models: ModelStore, calls: _Calls):
        self._models, self._calls = models, calls

    def GetModelStatus(self, request, context):
        def work():
            name = request.model_spec.name
            return metadata.status_message(self._models, name, **_version_and_label(request))

        return self._calls.answer(context, work)


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
        values = tf.make_ndarray(tensor)
    except (TypeError, ValueError) as error:
        raise RequestError(400, f"{name} is an incomplete tensor.") from error
    return payloads.to_array(values, spec, name=name)


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
