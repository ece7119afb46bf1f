"""TensorFlow Serving's gRPC services: PredictionService and ModelService."""

import hmac
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfpipe.base.errors import UserError
from tfpipe.serving import grpc_examples, metadata
from tfpipe.serving.errors import Refused
from tfpipe.serving.http import handlers, payloads
from tfpipe.serving.limits import Limits, Load
from tfpipe.serving.model.loaded import DEFAULT, Servable
from tfpipe.serving.model.store import Served, Shelf

THREADS = 32


@contextmanager
def serving(shelf: Shelf, load: Load, *, limits: Limits, where) -> Iterator[int]:
    """Serves meanwhile, and gives the port; 0 where no gRPC is wanted.

    Args:
      shelf: of versions.
      load: that HTTP counts in, too.
      limits: what is refused.
      where: see `binding.Where`.

    Raises:
      UserError: the port cannot be had.
    """
    if where.grpc_port is None:
        yield 0
        return
    options = [
        ("grpc.so_reuseport", int(where.is_shared)),
        ("grpc.max_receive_message_length", limits.body_bytes),
    ]
    server = grpc.server(
        ThreadPoolExecutor(THREADS), options=options, maximum_concurrent_rpcs=limits.waiting
    )
    calls = _Calls(load, where.token)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _Predictions(shelf, calls, limits.instances), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(shelf, calls), server)
    try:
        port = server.add_insecure_port(f"{where.host}:{where.grpc_port}")
    except RuntimeError as error:
        raise UserError(
            f"gRPC cannot listen at {where.host} port {where.grpc_port}. "
            "Give another by --grpc-port."
        ) from error
    server.start()
    try:
        yield port
    finally:
        server.stop(limits.deadline_s).wait()


class _Calls:
    """What every call passes: the token, the count of requests, refusals."""

    def __init__(self, load: Load, token: str):
        self._load, self._expected = load, f"Bearer {token}" if token else ""

    def answered(self, context: grpc.ServicerContext, work: Callable[[], Any]) -> Any:
        """Returns what the work gives, or ends the call with a status and a sentence."""
        client = context.peer().rpartition(":")[0]
        try:
            self._check(context)
            self._load.enter(client)
            try:
                return work()
            finally:
                self._load.leave(client)
        except Refused as refused:
            return context.abort(grpc.StatusCode[refused.code], str(refused))

    def _check(self, context: grpc.ServicerContext) -> None:
        given = dict(context.invocation_metadata()).get("authorization", "")
        if self._expected and not hmac.compare_digest(given.encode(), self._expected.encode()):
            raise Refused(401, "The token is missing or wrong: authorization: Bearer TOKEN.")


class _Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, shelf: Shelf, calls: _Calls, most: int):
        self._shelf, self._calls, self._most = shelf, calls, most

    def Predict(self, request, context):
        return self._calls.answered(context, lambda: self._predict(request))

    def Classify(self, request, context):
        return self._calls.answered(context, lambda: self._classify(request))

    def Regress(self, request, context):
        return self._calls.answered(context, lambda: _refuse("Regress"))

    def MultiInference(self, request, context):
        return self._calls.answered(context, lambda: _refuse("MultiInference"))

    def GetModelMetadata(self, request, context):
        def work():
            name = request.model_spec.name
            return metadata.metadata_message(_asked(self._shelf, request).servable, name)

        return self._calls.answered(context, work)

    def _predict(self, request):
        version = _asked(self._shelf, request)
        servable = version.servable
        signature = request.model_spec.signature_name or DEFAULT
        inputs = servable.signature(signature).inputs
        if request.inputs.keys() != inputs.keys():
            raise Refused(400, f"The inputs must be {', '.join(inputs)}.")
        features = {
            name: _values(request.inputs[name], spec, name=name, most=self._most)
            for name, spec in inputs.items()
        }
        counts = {name: len(values) for name, values in features.items()}
        if len({*counts.values()}) != 1:
            raise Refused(400, f"The inputs are of different lengths: {counts}.")
        outputs = version.ask(features, signature=signature)
        wanted = [*request.output_filter] or [*outputs]
        if not outputs.keys() >= {*wanted}:
            raise Refused(400, f"The outputs are {', '.join(outputs)}.")
        answer = predict_pb2.PredictResponse()
        _say_who(answer.model_spec, request, servable, signature=signature)
        for name in wanted:
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        return answer

    def _classify(self, request):
        version = _asked(self._shelf, request)
        signature = request.model_spec.signature_name or DEFAULT
        inputs = version.servable.signature(signature).inputs
        features = grpc_examples.features(request.input, inputs, most=self._most)
        answer = classification_pb2.ClassificationResponse()
        _say_who(answer.model_spec, request, version.servable, signature=signature)
        for row in handlers.classified(version, features, signature=signature):
            classes = answer.result.classifications.add().classes
            for label, score in row:
                classes.add(label=label, score=score)
        return answer


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, shelf: Shelf, calls: _Calls):
        self._shelf, self._calls = shelf, calls

    def GetModelStatus(self, request, context):
        name, place = request.model_spec.name, _place(request)
        return self._calls.answered(
            context, lambda: metadata.status_message(self._shelf, name, **place)
        )


def _say_who(spec, request, servable: Servable, *, signature: str) -> None:
    """Writes into an answer which version gave it."""
    spec.name, spec.signature_name = request.model_spec.name, signature
    spec.version.value = servable.version


def _refuse(method: str):
    raise Refused(501, f"{method} is not answered here. Ask Predict or Classify.")


def _asked(shelf: Shelf, request) -> Served:
    return shelf.get(request.model_spec.name, **_place(request))


def _place(request) -> dict[str, str]:
    spec = request.model_spec
    version = str(spec.version.value) if spec.HasField("version") else ""
    return {"version": version, "label": spec.version_label}


def _values(tensor, spec: tf.TensorSpec, *, name: str, most: int):
    """Returns the array of a tensor, whose shape may claim more than it brings."""
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if not shape or shape[1:] != list(spec.shape[1:]) or not 1 <= shape[0] <= most:
        expected = [f"1 to {most}", *spec.shape[1:]]
        raise Refused(400, f"{name} has the shape {shape}, expected {expected}.")
    try:
        values = tf.make_ndarray(tensor)
    except (TypeError, ValueError) as error:
        raise Refused(400, f"{name} is no whole tensor.") from error
    return payloads.array(values, spec, name=name)
