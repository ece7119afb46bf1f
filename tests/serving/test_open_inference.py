"""The Open Inference Protocol, by a client that was written from its public text."""

import ast
import http.client
import json
import re
import socket
from pathlib import Path

import numpy as np
import pytest
import server_process
from server_process import b64, pixels, png
from v2_client import V2Client

from tfpipe.registry import load

pytestmark = pytest.mark.slow

IMAGES = pixels(5)
ENCODED = [png(image) for image in IMAGES]
WHERE = "/v2/models/tiny/infer"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    server_process.published(folder / "tiny" / "simple-cnn", seed=1)
    return folder


@pytest.fixture(scope="module")
def expected(models):
    return load.open_version(models / "tiny" / "simple-cnn" / "1").predict_proba(IMAGES)


@pytest.fixture(scope="module")
def server(models):
    with server_process.running(models) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    return V2Client(server.host, server.port)


def outputs(answer: dict) -> dict:
    return {output["name"]: output["data"] for output in answer["outputs"]}


def test_health_and_metadata(client):
    status, content = client.get("/v2")
    assert status == 200 and content["name"] == "tfpipe"
    assert "binary_tensor_data" in content["extensions"] and content["version"]
    assert client.get("/v2/health/live") == (200, {"live": True})
    assert client.get("/v2/health/ready") == (200, {"live": True, "ready": True})
    for place in ("", "/versions/1"):
        ready = client.get(f"/v2/models/tiny{place}/ready")
        assert ready == (200, {"name": "tiny", "ready": True})
        status, content = client.get(f"/v2/models/tiny{place}")
        assert (status, content["name"], content["versions"]) == (200, "tiny", ["1"])
        assert content["platform"] == "tensorflow_savedmodel"
        bytes_input = {"name": "image_bytes", "datatype": "BYTES", "shape": [-1]}
        assert content["inputs"] == [bytes_input]
        tensors = {one["name"]: (one["datatype"], one["shape"]) for one in content["outputs"]}
        assert tensors["probabilities"] == ("FP32", [-1, 2])
        assert tensors["label"] == ("INT64", [-1])
        assert tensors["classes"] == ("BYTES", [-1, 2])
    for path, expected in (
        ("/v2/models/other", 404),
        ("/v2/models/other/ready", 404),
        ("/v2/models/tiny/versions/7/ready", 404),
        ("/v2/models/tiny/versions/one", 400),
        ("/v2/nothing", 404),
    ):
        status, content = client.get(path)
        assert (path, status, list(content)) == (path, expected, ["error"])


@pytest.mark.parametrize("binary_outputs", [False, True])
@pytest.mark.parametrize(  # the bytes of an image are no text
    ("kind", "binary_inputs"), [("images", True), ("numbers", False), ("numbers", True)]
)
def test_every_form_of_a_request(client, expected, kind, binary_inputs, binary_outputs):
    inputs, parameters = {"image_bytes": ENCODED}, {}
    if kind == "numbers":
        inputs, parameters = {"image": IMAGES}, {"signature_name": "predict_tensor"}
    options = {"binary_inputs": binary_inputs, "binary_outputs": binary_outputs}
    answer = client.infer("tiny", inputs, id="42", parameters=parameters, **options)
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("tiny", "1", "42")
    data = outputs(answer)
    np.testing.assert_allclose(data["probabilities"], expected, atol=1e-6)
    assert data["label"].tolist() == expected.argmax(axis=1).tolist()
    assert data["classes"] == [b"dull", b"bright"] * len(IMAGES)
    answer = client.infer(
        "tiny",
        inputs,
        version="1",
        outputs=("label", "probabilities"),
        parameters=parameters,
        **options,
    )
    assert [output["name"] for output in answer["outputs"]] == ["label", "probabilities"]
    assert "id" not in answer
    np.testing.assert_allclose(outputs(answer)["probabilities"], expected, atol=1e-6)


def test_the_client_of_the_docs_gets_the_probabilities(
    server, expected, tmp_path, monkeypatch, capsys
):
    page = (Path(__file__).parents[2] / "docs" / "protocols.md").read_text()
    (snippet,) = re.findall(r"```python[^\n]*\n(.*?)```", page, re.DOTALL)
    snippet = snippet.replace("http://127.0.0.1:8501", server.url).replace("melt-layer", "tiny")
    (tmp_path / "window.png").write_bytes(ENCODED[0])
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "protocols.md", "exec"), {})
    (output,) = ast.literal_eval(capsys.readouterr().out)
    assert output["name"] == "probabilities"
    np.testing.assert_allclose(output["data"], expected[0], atol=1e-6)


def test_images_in_json_are_base64_as_in_the_other_protocol(server, expected):
    tensor = {"name": "image_bytes", "shape": [5], "datatype": "BYTES"}
    content = {"inputs": [tensor | {"data": [b64(data) for data in ENCODED]}]}
    status, answer, _ = server.ask(WHERE, content)
    assert status == 200
    data = {output["name"]: output["data"] for output in answer["outputs"]}
    flat = np.reshape(data["probabilities"], expected.shape)
    np.testing.assert_allclose(flat, expected, atol=1e-6)


NUMBERS = {"name": "image", "shape": [1, 16, 16, 1], "datatype": "UINT8"}
FLAT = IMAGES[0].ravel().tolist()
RAW = {"name": "image", "shape": [1, 16, 16, 1], "datatype": "UINT8"} | {
    "parameters": {"binary_data_size": 256}
}


def of(*tensors: dict, **rest) -> dict:
    return {"inputs": list(tensors), "parameters": {"signature_name": "predict_tensor"}} | rest


@pytest.mark.parametrize(
    ("content", "tail", "sentence"),
    [
        ({}, b"", '"inputs", a list of tensors'),
        ({"inputs": []}, b"", "The inputs must be"),
        (of(NUMBERS | {"data": FLAT}, NUMBERS | {"data": FLAT}), b"", "The inputs must be"),
        (of({"name": ["image"]}), b"", "The inputs must be"),
        (of(NUMBERS), b"", "has no data"),
        (of(NUMBERS | {"data": FLAT[1:]}), b"", "255 values"),
        (of(NUMBERS | {"data": [True, *FLAT[1:]]}), b"", "true or false"),
        (of(NUMBERS | {"data": [300, *FLAT[1:]]}), b"", "out of range"),
        (of(NUMBERS | {"data": [0.5, *FLAT[1:]]}), b"", "another type"),
        (of(NUMBERS | {"data": [[1], *FLAT[1:]]}), b"", "expected"),
        (of(NUMBERS | {"data": ["a", *FLAT[1:]]}), b"", "another type"),
        (of(NUMBERS | {"data": FLAT, "shape": [True, 16, 16, 1]}), b"", "has the shape"),
        (of(NUMBERS | {"data": FLAT, "shape": [1, 256]}), b"", "has the shape"),
        (of(NUMBERS | {"data": [], "shape": [0, 16, 16, 1]}), b"", "no instance"),
        (of(NUMBERS | {"data": FLAT, "datatype": "FP32"}), b"", "expected UINT8"),
        (of(NUMBERS | {"data": FLAT}, outputs=[{"name": "sum"}]), b"", "The outputs are"),
        (of(NUMBERS | {"data": FLAT}, outputs=[]), b"", '"outputs" must be'),
        (of(NUMBERS | {"data": FLAT}, outputs=[3]), b"", "must be an object"),
        (of(NUMBERS | {"data": FLAT}, id=7), b"", '"id" must be a string'),
        (of(NUMBERS | {"data": FLAT}, parameters=3), b"", "must be an object"),
        (of(NUMBERS | {"data": FLAT}, parameters={"binary_data_output": 1}), b"", ""),
        (of(RAW), b"x" * 255, "at most the 255 bytes"),
        (of(RAW), b"x" * 257, "257 bytes follow the JSON"),
        (of(RAW | {"data": FLAT}), b"x" * 256, "either data"),
        (of(RAW | {"parameters": {"binary_data_size": -1}}), b"x" * 256, "either data"),
        (of(RAW | {"parameters": {"binary_data_size": 200}}), b"x" * 200, "expected 256"),
        (of(RAW, parameters={"signature_name": "other"}), b"x" * 256, "no signature 'other'"),
        (of(RAW, parameters={"signature_name": [1]}), b"x" * 256, "no signature"),
    ],
)
def test_malformed_requests_are_refused_in_one_sentence(server, content, tail, sentence):
    text = json.dumps(content).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))} if tail else {}
    status, answer, _ = server.ask(WHERE, text + tail, **headers)
    assert status == 400 and list(answer) == ["error"] and sentence in answer["error"], answer
    assert 10 < len(answer["error"]) < 400


def bytes_tensor(data: bytes, *, rows: int = 1) -> tuple[dict, bytes]:
    tensor = {"name": "image_bytes", "shape": [rows], "datatype": "BYTES"}
    return {"inputs": [tensor | {"parameters": {"binary_data_size": len(data)}}]}, data


@pytest.mark.parametrize(
    ("request_", "length", "sentence"),
    [
        (bytes_tensor(b"\x08\0\0\0short"), None, "ends within its element 0"),
        (bytes_tensor(b"\xff\xff\xff\xff"), None, "ends within its element 0"),
        (bytes_tensor(b"\1\0\0\0xy"), None, "1 bytes after its last element"),
        (bytes_tensor(b"\1\0\0\0x", rows=512), None, "ends within its element 1"),
        (bytes_tensor(b"\1\0\0\0x", rows=513), None, "at most 512 instances"),
        (bytes_tensor(b"\1\0\0\0x"), None, "damaged or something else"),
        (bytes_tensor(b"\1\0\0\0x"), "9999", "at most"),
        (bytes_tensor(b"\1\0\0\0x"), "-1", "expected the length of the JSON"),
        (bytes_tensor(b"\1\0\0\0x"), "1", "not valid JSON"),
    ],
)
def test_bytes_that_lie_about_their_length_are_refused(server, request_, length, sentence):
    content, tail = request_
    text = json.dumps(content).encode()
    headers = {"Inference-Header-Content-Length": length or str(len(text))}
    status, answer, _ = server.ask(WHERE, text + tail, **headers)
    assert status == (413 if "instances" in sentence else 400)
    assert sentence in answer["error"]


def test_calls_are_in_the_metrics(server):
    assert server.ask(WHERE, of(NUMBERS | {"data": FLAT}))[0] == 200
    metrics = server.ask("/monitoring/prometheus/metrics")[1]
    assert 'tfpipe_requests_total{method="infer",model="tiny",status="200"}' in metrics
    assert WHERE.replace("tiny", "{name}") in server.ask("/openapi.json")[1]["paths"]


def test_a_unix_socket_answers_as_a_port_does(models, expected, tmp_path):
    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(str(tmp_path / "sock"))

    with server_process.running(models, "--unix-socket", tmp_path / "sock") as server:
        assert server.url == f"unix:{tmp_path / 'sock'}"
        connection = Connection("localhost")
        connection.request("POST", WHERE, json.dumps(of(NUMBERS | {"data": FLAT})))
        answer = json.loads(connection.getresponse().read())
        connection.close()
        data = {output["name"]: output["data"] for output in answer["outputs"]}
        np.testing.assert_allclose(data["probabilities"], expected[0], atol=1e-6)
        server.process.terminate()
        assert server.process.wait(60) == 0
    assert not (tmp_path / "sock").exists()
