"""The Open Inference Protocol over gRPC, by a client that writes each byte itself; reflection."""

import grpc
import numpy as np
import pytest
import server_process
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from server_process import pixels, png
from v2_client import V2Client
from v2_grpc_client import (
    GrpcV2Client,
    field,
    fields,
    images,
    raw_images,
    request,
    tensor,
    texts,
    unsigned,
    varints,
)

pytestmark = pytest.mark.slow

PIXELS = pixels(5)
ENCODED = [png(image) for image in PIXELS]
SHAPE = [5, 16, 16, 1]
INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
TOKEN = "secret"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    server_process.published(folder / "tiny" / "simple-cnn", seed=1)
    with server_process.running(folder, "--grpc-port", "0") as running:
        yield running


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def client(channel):
    return GrpcV2Client(channel)


@pytest.fixture(scope="module")
def over_http(server):
    client = V2Client(server.host, server.port)
    answer = client.infer("tiny", {"image_bytes": ENCODED}, binary_inputs=True, binary_outputs=True)
    return {output["name"]: output["data"] for output in answer["outputs"]}


def test_health_and_metadata(client, server):
    assert client.call("ServerLive") == client.call("ServerReady") == b"\x08\x01"
    tiny = field(1, "tiny")
    assert client.call("ModelReady", tiny) == client.call("ModelReady", tiny + field(2, "1"))
    assert client.call("ModelReady", tiny) == b"\x08\x01"
    _, over_http, _ = server.ask("/v2")
    assert texts(client.call("ServerMetadata"), 1) == ["tfpipe"]
    assert texts(client.call("ServerMetadata"), 2) == [over_http["version"]]
    answer = client.call("ModelMetadata", tiny)
    _, over_http, _ = server.ask("/v2/models/tiny")
    assert [texts(answer, number) for number in (1, 2, 3)] == [
        ["tiny"],
        ["1"],
        ["tensorflow_savedmodel"],
    ]
    for number, kind in ((4, "inputs"), (5, "outputs")):
        tensors = [value for n, value in fields(answer) if n == number]
        assert [
            {
                "name": texts(one, 1)[0],
                "datatype": texts(one, 2)[0],
                "shape": [
                    size - 2**64 if size >> 63 else size
                    for n, value in fields(one)
                    if n == 3
                    for size in varints(value)
                ],
            }
            for one in tensors
        ] == over_http[kind]


@pytest.mark.parametrize("is_raw", [False, True])
@pytest.mark.parametrize("kind", ["images", "numbers"])
def test_every_form_of_a_request_has_the_numbers_of_http(client, over_http, kind, is_raw):
    signature, contents, raw = "", images(ENCODED), raw_images(ENCODED)
    claims = ("image_bytes", "BYTES", [5])
    if kind == "numbers":
        signature, contents, raw = "predict_tensor", unsigned(PIXELS), PIXELS.tobytes()
        claims = ("image", "UINT8", SHAPE)
    inputs = [tensor(*claims)] if is_raw else [tensor(*claims, contents)]
    given = {"signature": signature, "raw": (raw,) if is_raw else ()}
    answer = client.infer(request(inputs, id="42", **given))
    assert (answer["name"], answer["version"], answer["id"]) == ("tiny", "1", "42")
    assert answer["is_raw"] is is_raw
    outputs = answer["outputs"]
    assert outputs.keys() == over_http.keys()
    np.testing.assert_allclose(outputs["probabilities"], over_http["probabilities"], atol=1e-6)
    assert outputs["label"].tolist() == over_http["label"].tolist()
    assert outputs["classes"] == over_http["classes"]
    chosen = client.infer(request(inputs, version="1", outputs=("label", "probabilities"), **given))
    assert list(chosen["outputs"]) == ["label", "probabilities"] and chosen["id"] == ""


ONE = tensor("image", "UINT8", [1, 16, 16, 1])
FLAT = unsigned(PIXELS[0])
RAW = PIXELS[0].tobytes()
TENSORS = {"signature": "predict_tensor"}


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (b"", "Could not find"),
        (b"\x0a\xff", "no ModelInferRequest"),
        (request([]), "The inputs must be"),
        (request([ONE, ONE], **TENSORS), "The inputs must be"),
        (request([ONE], **TENSORS), "has 0 values, expected 256"),
        (request([tensor("image", "UINT8", [512, 16, 16, 1])], **TENSORS), "has 0 values"),
        (request([tensor("image", "UINT8", [512, 16, 16, 1], FLAT)], **TENSORS), "256 values"),
        (request([tensor("image", "UINT8", [513, 16, 16, 1], FLAT)], **TENSORS), "at most 512"),
        (request([tensor("image", "UINT8", [0, 16, 16, 1])], **TENSORS), "no instance"),
        (request([tensor("image", "UINT8", [2**64 - 1, 16, 16, 1])], **TENSORS), "the shape [-1"),
        (request([tensor("image", "UINT8", [])], **TENSORS), "has the shape []"),
        (request([tensor("image", "FP32", [1, 16, 16, 1], FLAT)], **TENSORS), "fp32_contents"),
        (request([tensor("image", "UINT16", [1, 16, 16, 1], FLAT)], **TENSORS), "expected UINT8"),
        (request([tensor("image", "DT_RESOURCE", [1, 16, 16, 1])], **TENSORS), "expected UINT8"),
        (request([ONE], raw=(b"", b""), **TENSORS), "1 inputs and 2 raw_input_contents"),
        (request([ONE], raw=(RAW[1:],), **TENSORS), "has 255 bytes, expected 256"),
        (request([tensor("image", "UINT8", [1, 16, 16, 1], FLAT)], raw=(RAW,), **TENSORS), "raw"),
        (
            request(
                [tensor("image", "UINT8", [1, 16, 16, 1], unsigned(np.full(256, 256)))], **TENSORS
            ),
            "out of range",
        ),
        (
            request([tensor("image_bytes", "BYTES", [512])], raw=(b"\xff\xff\xff\xff",)),
            "ends within",
        ),
        (request([tensor("image_bytes", "BYTES", [1], images([b"x"]))]), "image"),
        (
            request([tensor("image", "UINT8", [1] * 100_000, FLAT)], **TENSORS),
            "has the shape [1, 1",
        ),
        (request([b""] * 1000), "got 1000 tensors"),
        (request([ONE]) + b"\x0b", "no ModelInferRequest"),  # a group begins
        (request([ONE], raw=(RAW,), outputs=("label",) * 10_000, **TENSORS), "each once"),
        (request([ONE], signature="nothing"), "no signature 'nothing'"),
        (request([ONE], raw=(RAW,), outputs=("label", "label"), **TENSORS), "each once"),
        (request([ONE], raw=(RAW,), version="one", **TENSORS), "expected a number"),
        (request([ONE], raw=(RAW,), version="7", **TENSORS), "Version 7 of tiny"),
        (request([ONE], raw=(RAW,), model="other", **TENSORS), "Could not find"),
    ],
)
def test_what_is_malformed_is_refused_in_one_sentence(client, message, sentence):
    with pytest.raises(grpc.RpcError) as refused:
        client.infer(message)
    is_missing = sentence.startswith(("Could", "Version"))
    expected = (MISSING if is_missing else INVALID, True)
    if sentence == "at most 512":
        expected = (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
    details = refused.value.details()
    assert (refused.value.code(), sentence in details) == expected, details


def test_small_fields_are_counted_before_they_take_memory(client, server):
    client.infer(request([ONE], raw=(RAW,), **TENSORS))
    before = server.peak_mb()
    with pytest.raises(grpc.RpcError) as refused:
        client.infer(request([b""] * 7_000_000))  # 14 MB, 2.6 GB once parsed
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "more than 50000 fields" in refused.value.details()
    assert server.peak_mb() < before + 300


def reflect(channel, package: str, *messages: bytes) -> list[bytes]:
    """Returns the answers of reflection, whose requests are messages by hand."""
    call = channel.stream_stream(f"/{package}.ServerReflection/ServerReflectionInfo")
    return list(call(iter(messages), timeout=60))


@pytest.mark.parametrize("package", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
def test_a_client_learns_all_services_by_reflection_and_calls_one(channel, package):
    (listed,) = reflect(channel, package, field(7, ""))
    services = [
        texts(one, 1)[0] for n, value in fields(listed) if n == 6 for _, one in fields(value)
    ]
    assert set(services) == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    }
    pool = descriptor_pool.DescriptorPool()
    added: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    for answer in reflect(channel, package, *(field(4, name) for name in services)):
        (files,) = [value for n, value in fields(answer) if n == 4]
        for _, data in fields(files):
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            added[file.name] = file
    while added:  # those first that others import
        names = [name for name, file in added.items() if not set(file.dependency) & added.keys()]
        for name in names:
            pool.Add(added.pop(name))
    for name in services:
        for method in pool.FindServiceByName(name).methods:
            assert message_factory.GetMessageClass(method.input_type)
    ready = pool.FindMethodByName("inference.GRPCInferenceService.ModelReady")
    message = message_factory.GetMessageClass(ready.input_type)(name="tiny").SerializeToString()
    answer = GrpcV2Client(channel).call("ModelReady", message)
    assert message_factory.GetMessageClass(ready.output_type).FromString(answer).ready


def test_reflection_knows_files_by_name_and_nothing_else_of_the_process(channel):
    asked = [
        field(3, "open_inference_grpc.proto"),
        field(4, "inference.ModelInferRequest.InferInputTensor"),
        field(4, "tensorflow.serving.PredictionService.Predict"),
        field(3, "/etc/passwd"),
        field(4, "tfpipe"),
        field(4, "tensorflow.tfprof.ProfileNode"),
        field(5, field(1, "inference.ModelInferRequest")),
        field(1, "host"),
    ]
    answers = reflect(channel, "grpc.reflection.v1", *asked)
    kinds = [[n for n, _ in fields(answer) if n > 3] for answer in answers]
    assert kinds == [[4], [4], [4], [7], [7], [7], [7], [7]]
    assert [fields(answer)[-1][1][:2] for answer in answers[3:]] == [
        b"\x08\x05",  # NOT_FOUND
        b"\x08\x05",
        b"\x08\x05",
        b"\x08\x0c",  # UNIMPLEMENTED
        b"\x08\x05",
    ]
    assert [value for n, value in fields(answers[0]) if n == 2] == [asked[0]]
