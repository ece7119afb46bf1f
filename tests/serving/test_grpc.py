"""gRPC calls that claim what they do not bring, hold too much or take too long; health."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import server_process
import tensorflow as tf
from server_process import pixels, png
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfpipe.serving import grpc as serving_grpc
from tfpipe.serving.config import Endpoint
from tfpipe.serving.limits import Admission, Limits
from tfpipe.serving.metrics import ServerMetrics
from tfpipe.serving.model import preflight
from tfpipe.serving.model.store import ModelSelector, ModelStore

pytestmark = pytest.mark.slow

IMAGES = pixels(3)
LIMITS = Limits(deadline_s=0.5, max_buffered_bytes=5000, max_answer_bytes=300, max_per_client=2)
INVALID = grpc.StatusCode.INVALID_ARGUMENT


class Gate:
    """A model store whose versions wait until `free` is set."""

    def __init__(self, models: ModelStore):
        self.models, self.free, self.n_computed = models, threading.Event(), 0
        self.free.set()

    def __getattr__(self, name: str):
        return getattr(self.models, name)

    def get(self, name: str, **rest):
        version = self.models.get(name, **rest)

        def predict(features, *, signature, check):
            assert self.free.wait(60)
            check()
            self.n_computed += 1
            return version.predict(features, signature=signature, check=check)

        return SimpleNamespace(servable=version.servable, predict=predict)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    server_process.published(folder / "tiny" / "simple-cnn", seed=1)
    models = ModelStore(folder, [ModelSelector("tiny")], limits=LIMITS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preflight, "check", lambda *_, **__: None)  # nothing is wrong with it
        models.refresh()
    return Gate(models)


@pytest.fixture(scope="module")
def admission():
    return Admission(LIMITS)


@pytest.fixture(scope="module")
def metrics(models, admission):
    return ServerMetrics(models, admission)


@pytest.fixture(scope="module")
def channel(models, admission, metrics) -> Iterator[grpc.Channel]:
    endpoint = Endpoint("::1", grpc_port=0)
    with (
        serving_grpc.run_grpc(models, admission, metrics, limits=LIMITS, endpoint=endpoint) as port,
        grpc.insecure_channel(f"[::1]:{port}") as channel,
    ):
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request(values, *, name="image_bytes", signature="") -> predict_pb2.PredictRequest:
    message = predict_pb2.PredictRequest()
    message.model_spec.name, message.model_spec.signature_name = "tiny", signature
    message.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return message


def encoded(count: int = 3) -> predict_pb2.PredictRequest:
    return request([png(image) for image in IMAGES[:count]])


def refusal(call, message) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as refused:
        call(message, timeout=30)
    return refused.value


def numbers(dtype: int) -> predict_pb2.PredictRequest:
    """Returns an image of zeros whose type is claimed to be another."""
    message = request(np.zeros((1, 16, 16, 1), np.uint8), name="image", signature="predict_tensor")
    message.inputs["image"].dtype = dtype
    return message


def test_a_tensor_has_as_many_values_as_it_claims(stub, models):
    before = models.n_computed
    claims, none, number = encoded(1), encoded(1), numbers(4)
    claims.inputs["image_bytes"].tensor_shape.dim[0].size = 512
    none.inputs["image_bytes"].tensor_shape.dim[0].size = 512
    del none.inputs["image_bytes"].string_val[:]
    number.inputs["image"].tensor_content = b"\7"
    for message, n_values in ((claims, 1), (none, 0), (number, 1)):
        error = refusal(stub.Predict, message)
        assert error.code() == INVALID and f"brings {n_values} values" in error.details()
    assert models.n_computed == before
    outputs = stub.Predict(encoded(), timeout=30).outputs
    assert len(tf.make_ndarray(outputs["label"])) == 3


@pytest.mark.parametrize(
    "name", ["DT_RESOURCE", "DT_VARIANT", "DT_BOOL", "DT_STRING", "DT_COMPLEX64", "DT_QINT8", None]
)
def test_a_type_that_is_no_number_is_refused(stub, name):
    from tensorflow.core.framework import types_pb2

    error = refusal(stub.Predict, numbers(types_pb2.DataType.Value(name) if name else 9999))
    assert error.code() == INVALID, error.details()


def test_calls_that_take_too_long_are_ended_and_not_computed(stub, models, admission):
    before = models.n_computed
    models.free.clear()
    begin = time.monotonic()
    error = refusal(stub.Predict, encoded())
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert "no answer within 0.5 s" in error.details()
    assert time.monotonic() - begin < 10  # the client would have waited for 30 s
    assert admission.waiting == 1  # its thread is not free yet
    with pytest.raises(grpc.RpcError):
        stub.Predict(encoded(), timeout=0.1)
    time.sleep(0.3)  # until the server has heard of it, and before its own deadline
    models.free.set()
    end = time.monotonic() + 30
    while admission.waiting:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert models.n_computed == before
    assert admission.buffered_bytes == 0
    assert stub.Predict(encoded(), timeout=30).outputs
    assert models.n_computed == before + 1


def test_calls_count_in_the_limits_and_in_the_metrics(stub, models, admission, metrics):
    models.free.clear()
    with ThreadPoolExecutor(3) as executor:
        calls = [executor.submit(stub.Predict, encoded(), timeout=30) for _ in range(3)]
        codes = sorted(one.exception().code().name for one in calls)
    models.free.set()
    assert codes == ["DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"]
    large = request(np.zeros((20, 16, 16, 1), np.uint8), name="image", signature="predict_tensor")
    error = refusal(stub.Predict, large)  # 20 x 256 bytes
    assert error.code() == grpc.StatusCode.UNAVAILABLE and "hold" in error.details()
    many = request([png(np.zeros((16, 16, 1), np.uint8))] * 40)
    error = refusal(stub.Predict, many)  # 40 rows of more than 8 bytes of probabilities
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert stub.Predict(encoded(2), timeout=30)
    text = metrics.text().decode()
    for status in (200, 400, 413, 429, 503, 504):
        label = f'tfpipe_requests_total{{method="Predict",model="tiny",status="{status}"}}'
        assert label in text, status


def test_only_the_metadata_that_there_is_may_be_requested(stub):
    message = get_model_metadata_pb2.GetModelMetadataRequest()
    message.model_spec.name = "tiny"
    assert refusal(stub.GetModelMetadata, message).code() == INVALID
    message.metadata_field.append("weights")
    assert "'weights' is not supported" in refusal(stub.GetModelMetadata, message).details()
    message.metadata_field[:] = ["signature_def"]
    assert stub.GetModelMetadata(message, timeout=30).metadata


def test_health_is_that_of_the_protocol(channel):
    # HealthCheckRequest has the name of the service as field 1; HealthCheckResponse the status as
    # field 1: 1 for SERVING. Both by hand, from grpc/health/v1/health.proto.
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"", timeout=30) == b"\x08\x01"
    assert check(b"\x0a\x04tiny", timeout=30) == b"\x08\x01"
    assert refusal(check, b"\x0a\x05other").code() == grpc.StatusCode.NOT_FOUND
