"""TensorFlow Serving's gRPC services: PredictionService and ModelService."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
    regression_pb2,
)

from tfpipe.serving import metadata
from tfpipe.serving.errors import RequestError
from tfpipe.serving.grpc.calls import Calls, Compute
from tfpipe.serving.http import handlers, payloads
from tfpipe.serving.limits import Limits
from tfpipe.serving.model.loaded import DEFAULT_SIGNATURE
from tfpipe.serving.model.store import ModelStore, ServedVersion

FILES = (prediction_service_pb2.DESCRIPTOR, model_service_pb2.DESCRIPTOR)
PREDICTION, MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
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


def handlers_of(
    models: ModelStore, calls: Calls, limits: Limits
) -> dict[str, dict[str, grpc.RpcMethodHandler]]:
    """Returns the services: name -> method -> handler."""
    n_most = limits.max_instances
    return {
        PREDICTION: {
            "Predict": calls.unary(
                predict_pb2.PredictRequest, partial(_predict, models, max_instances=n_most)
            ),
            "Classify": calls.unary(
                classification_pb2.ClassificationRequest,
                partial(_classify, models, max_instances=n_most),
            ),
            "Regress": calls.unary(regression_pb2.RegressionRequest, _refuse),
            "MultiInference": calls.unary(inference_pb2.MultiInferenceRequest, _refuse),
            "GetModelMetadata": calls.unary(
                get_model_metadata_pb2.GetModelMetadataRequest, partial(_model_metadata, models)
            ),
        },
        MODEL: {
            "GetModelStatus": calls.unary(
                get_model_status_pb2.GetModelStatusRequest, partial(_model_status, models)
            ),
        },
    }


def _predict(models: ModelStore, request: Any, *, max_instances: int) -> Compute:
    version = _requested_version(models, request)
    model, signature = request.model_spec.name, _signature_name(request)
    inputs = version.servable.signature(signature).inputs
    if request.inputs.keys() != inputs.keys():
        raise RequestError(400, f"The inputs must be {', '.join(inputs)}.")
    features = {
        name: _tensor_values(request.inputs[name], spec, name=name, max_instances=max_instances)
        for name, spec in inputs.items()
    }
    lengths = {name: len(values) for name, values in features.items()}
    if len(set(lengths.values())) != 1:
        raise RequestError(400, f"The inputs have different lengths: {lengths}.")
    specs = version.servable.signature(signature).outputs
    names = list(request.output_filter) or list(specs)
    if not specs.keys() >= set(names):
        raise RequestError(400, f"The outputs are {', '.join(specs)}.")

    def compute(budget):
        outputs = handlers.predict_within(version, features, budget, signature=signature)
        response = predict_pb2.PredictResponse()
        _set_model_spec(response, version, model=model, signature=signature)
        for name in names:
            response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        return response

    return compute


def _classify(models: ModelStore, request: Any, *, max_instances: int) -> Compute:
    version = _requested_version(models, request)
    model, signature = request.model_spec.name, _signature_name(request)
    inputs = version.servable.signature(signature).inputs
    features = parse_examples(request.input, inputs, max_instances=max_instances)

    def compute(budget):
        response = classification_pb2.ClassificationResponse()
        _set_model_spec(response, version, model=model, signature=signature)
        for row in handlers.class_probabilities(version, features, budget, signature=signature):
            classes = response.result.classifications.add().classes
            for label, probability in row:
                classes.add(label=label, score=probability)
        return response

    return compute


def _model_metadata(models: ModelStore, request: Any) -> Compute:
    if not request.metadata_field:
        raise RequestError(400, 'Expected "signature_def" as metadata_field, got nothing.')
    for name in request.metadata_field:
        if name != "signature_def":
            raise RequestError(400, f"Metadata field {name[:50]!r} is not supported.")
    servable, name = _requested_version(models, request).servable, request.model_spec.name
    return lambda _: metadata.metadata_message(servable, name)


def _model_status(models: ModelStore, request: Any) -> Compute:
    message = metadata.status_message(
        models, request.model_spec.name, **_version_and_label(request)
    )
    return lambda _: message


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


def _set_model_spec(response: Any, version: ServedVersion, *, model: str, signature: str) -> None:
    """Writes into a response which version and signature gave it."""
    spec = response.model_spec
    spec.name, spec.signature_name = model, signature
    spec.version.value = version.servable.version


def _signature_name(request: Any) -> str:
    return request.model_spec.signature_name or DEFAULT_SIGNATURE


def _refuse(request: Any) -> NoReturn:
    method = type(request).__name__.removesuffix("Request")
    name = {"RegressionRequest": "Regress"}.get(type(request).__name__, method)
    raise RequestError(501, f"{name} is not supported. Use Predict or Classify.")


def _requested_version(models: ModelStore, request) -> ServedVersion:
    return models.get(request.model_spec.name, **_version_and_label(request))


def _version_and_label(request) -> dict[str, str]:
    spec = request.model_spec
    version = str(spec.version.value) if spec.HasField("version") else ""
    return {"version": version, "label": spec.version_label}


def _tensor_values(tensor, spec: tf.TensorSpec, *, name: str, max_instances: int) -> np.ndarray:
    """Returns the array of a tensor; its shape may claim more values than it has."""
    shape = [dim.size for dim in tensor.tensor_shape.dim[: len(spec.shape) + 1]]
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
