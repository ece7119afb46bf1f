"""gRPC calls that claim what they do not bring, hold too much or take too long; health."""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import grpc
import http2_frames
import numpy as np
import pytest
import server_process
import tensorflow as tf
from server_process import pixels, png
from stub_server import wait_for
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfpipe.serving.config import Endpoint
from tfpipe.serving.errors import RequestError
from tfpipe.serving.grpc.server import run_grpc
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
        self.has_version = True
        self.free.set()

    def __getattr__(self, name: str):
        return getattr(self.models, name)

    def get(self, name: str, **rest):
        if not self.has_version:
            raise RequestError(404, "There is none.")
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
    limits = replace(LIMITS, deadline_s=30)  # of the warm-up, too
    models = ModelStore(folder, [ModelSelector("tiny")], limits=limits)
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
        run_grpc(models, admission, metrics, limits=LIMITS, endpoint=endpoint) as port,
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


def test_a_shape_of_many_dimensions_is_refused_in_a_sentence(stub):
    message = encoded(1)
    message.inputs["image_bytes"].tensor_shape.ParseFromString(b"\x12\x00" * 2000)
    error = refusal(stub.Predict, message)
    assert error.code() == INVALID and error.details().startswith(
        "image_bytes has the shape [0, 0]"
    )


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
    wait_for(lambda: not admission.waiting)
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
    wait_for(lambda: not admission.waiting)  # the calls that were ended still count until then
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
        model = "" if status in (429, 503) else "tiny"  # refused before it was read
        label = f'tfpipe_requests_total{{method="Predict",model="{model}",status="{status}"}}'
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


def test_a_watched_model_goes_arrives_and_ends_with_the_server(models, admission, metrics):
    endpoint = Endpoint("127.0.0.1", grpc_port=0)
    with contextlib.ExitStack() as stack:
        running = contextlib.ExitStack()
        port = running.enter_context(
            run_grpc(models, admission, metrics, limits=LIMITS, endpoint=endpoint)
        )
        stack.callback(running.close)
        channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
        tiny, other = watch(b"\x0a\x04tiny", timeout=60), watch(b"\x0a\x05other", timeout=60)
        assert (next(tiny), next(other)) == (b"\x08\x01", b"\x08\x03")  # SERVICE_UNKNOWN
        for has_version, status in ((False, b"\x08\x02"), (True, b"\x08\x01")):
            models.has_version = has_version
            assert next(tiny) == status
        begin = time.monotonic()
        running.close()
        assert time.monotonic() - begin < 5
        assert list(tiny) == [b"\x08\x02"]


def test_streams_are_few_and_calls_go_on_beside_them(channel, stub):
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
    streams = [watch(b"", timeout=60) for _ in range(8)]
    for stream in streams:
        assert next(stream) == b"\x08\x01"
    error = refusal(lambda message, timeout: next(watch(message, timeout=timeout)), b"")
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert stub.Predict(encoded(1), timeout=30).outputs
    for stream in streams:
        stream.cancel()


def test_calls_that_send_nothing_are_ended_and_hold_up_others_no_longer(models, admission, metrics):
    limits = replace(LIMITS, max_per_client=96, deadline_s=2.0)
    admission, endpoint = Admission(limits), Endpoint("127.0.0.1", grpc_port=0)
    is_over = threading.Event()

    def silence():
        is_over.wait(60)
        yield from ()

    with (
        run_grpc(models, admission, metrics, limits=limits, endpoint=endpoint) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        predict = "/tensorflow.serving.PredictionService/Predict"
        silent = [channel.stream_unary(predict).future(silence(), timeout=60) for _ in range(40)]
        time.sleep(0.5)
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=1.4) == b"\x08\x01"
        assert stub.Predict(encoded(1), timeout=30).outputs
        codes = {call.exception(timeout=30).code() for call in silent}
        is_over.set()
    assert codes <= {grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}
    wait_for(lambda: not admission.waiting)  # threads end after their calls
    assert admission.buffered_bytes == 0


def test_answers_that_nobody_takes_are_dropped_after_the_deadlines(models, metrics):
    limits = replace(LIMITS, deadline_s=1.0)
    admission, endpoint = Admission(limits), Endpoint("127.0.0.1", grpc_port=0)
    predict = "/tensorflow.serving.PredictionService/Predict"
    n_computed = models.n_computed
    with run_grpc(models, admission, metrics, limits=limits, endpoint=endpoint) as port:
        message = encoded(1).SerializeToString()
        with http2_frames.connect("127.0.0.1", port, window=0) as connection:
            connection.sendall(http2_frames.call(1, predict, message))
            wait_for(lambda: models.n_computed > n_computed and not admission.waiting)
            assert admission.buffered_bytes > len(message)
            wait_for(lambda: not admission.buffered_bytes)
