"""A server process of tiny versions: its contract, bad requests, many clients, new versions."""

import json
import os
import re
import shutil
import signal
import socket
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bad_cards
import browser
import cv2
import grpc
import hostile_versions
import numpy as np
import psutil
import pytest
import server_process
import tensorflow as tf
from server_process import b64, pixels, png
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

import tfpipe
from tfpipe.base.errors import UserError
from tfpipe.registry import load

pytestmark = pytest.mark.slow

COUNT = 12
IMAGES = pixels(COUNT)
NAME = "/v1/models/tiny"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two versions, of which the server has none yet."""
    folder = tmp_path_factory.mktemp("store") / "tiny" / "simple-cnn"
    for seed in (1, 2):
        server_process.published(folder, seed=seed)
    return folder


@pytest.fixture(scope="module")
def models(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    copied(store / "1", folder / "tiny" / "simple-cnn" / "1")
    return folder


@pytest.fixture(scope="module")
def expected(store):
    """Probabilities [n, 2] of both versions, by number."""
    return {n: load.open_version(store / str(n)).predict_proba(IMAGES) for n in (1, 2)}


@pytest.fixture(scope="module")
def server(models):
    with server_process.running(models, "--grpc-port", "0", "--max-body", "2") as running:
        yield running


def copied(version: Path, target: Path) -> None:
    """Copies a version beside its target and renames it, as `tfpipe` publishes."""
    draft = target.parent / ".draft"
    shutil.copytree(version, draft)
    draft.rename(target)


def instances(rows=slice(None)) -> dict:
    return {"instances": [b64(png(image)) for image in IMAGES[rows]]}


def probabilities(answer: dict) -> np.ndarray:
    return np.array([row["probabilities"] for row in answer["predictions"]])


def wait_for(condition) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_status_and_metadata_are_those_of_tensorflow_serving(server):
    status = {"error_code": "OK", "error_message": ""}
    state = {"version": "1", "state": "AVAILABLE", "status": status}
    for path in ("", "/versions/1", "/labels/latest"):
        assert server.ask(NAME + path)[:2] == (200, {"model_version_status": [state]})
    metadata = server.ask(f"{NAME}/metadata")[1]
    assert metadata["model_spec"] == {"name": "tiny", "signature_name": "", "version": "1"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["image_bytes"]["dtype"] == "DT_STRING"
    assert signature["inputs"]["image_bytes"]["tensor_shape"]["dim"][0]["size"] == "-1"
    status, health, _ = server.ask("/healthz")
    assert (status, health["status"]) == (200, "ok")
    assert health.keys() == {"status", "seconds_since_check"}
    assert 0 <= health["seconds_since_check"] < 20
    assert server.ask("/v1/models")[1]["models"] == ["tiny"]


def test_every_form_of_a_request_gets_the_outputs_of_the_saved_model(server, expected):
    encoded, numbers = instances(), IMAGES.tolist()
    by_name = [{"image_bytes": one} for one in encoded["instances"]]
    tensors = {"signature_name": "predict_tensor"}
    for content in (
        encoded,
        {"instances": by_name},
        {"instances": numbers, **tensors},
        {"instances": [{"image": one} for one in numbers], **tensors},
    ):
        status, answer, _ = server.ask(f"{NAME}:predict", content)
        assert status == 200
        np.testing.assert_allclose(probabilities(answer), expected[1], atol=1e-6)
        assert answer["predictions"][0]["classes"] == ["dull", "bright"]
    for content in (
        {"inputs": encoded["instances"]},
        {"inputs": {"image_bytes": encoded["instances"]}},
        {"inputs": {"image": numbers}, **tensors},
    ):
        answer = server.ask(f"{NAME}/versions/1:predict", content)[1]["outputs"]
        np.testing.assert_allclose(answer["probabilities"], expected[1], atol=1e-6)
        assert answer["label"] == expected[1].argmax(axis=1).tolist()
    rows = server.ask(f"{NAME}:classify", {"examples": by_name})[1]["results"]
    assert [[name for name, _ in row] for row in rows] == [["dull", "bright"]] * COUNT
    np.testing.assert_allclose([[p for _, p in row] for row in rows], expected[1], atol=1e-6)
    embedded = server.ask(f"{NAME}:predict", {"instances": numbers, "signature_name": "embed"})
    assert np.shape(embedded[1]["predictions"]) == (COUNT, 8)  # one output has no name


def test_explanations_have_label_abstention_novelty_and_grad_cam(server, expected):
    request = instances() | {"grad_cam": True}
    explanations = server.ask(f"{NAME}:explain", request)[1]["explanations"]
    for explanation, row in zip(explanations, expected[1], strict=True):
        assert explanation["label"] == ("dull", "bright")[row.argmax()]
        assert explanation["probabilities"]["bright"] == pytest.approx(row[1], abs=1e-6)
        assert explanation["abstain"] == (explanation["label"] == "bright" or row[0] < 0.6)
        # The test split's maximum probabilities are 0.5, 0.55 ... 0.95.
        novelty = np.mean(0.5 + np.arange(10) / 20 > row.max())
        assert explanation["novelty"] == pytest.approx(novelty, abs=0.1001)
    assert {explanation["label"] for explanation in explanations} == {"dull", "bright"}
    url = data_url(explanations[0]["grad_cam"])
    heatmap = np.frombuffer(urllib.request.urlopen(url).read(), np.uint8)
    assert np.shape(cv2.imdecode(heatmap, cv2.IMREAD_COLOR)) == (16, 16, 3)
    answer = server.ask(f"{NAME}:explain", png(IMAGES[0]), **{"Content-Type": "image/png"})[1]
    (raw,) = answer["explanations"]
    assert raw.keys() == explanations[0].keys() - {"grad_cam"}
    for key in ("label", "abstain"):
        assert raw[key] == explanations[0][key]


def test_drift_is_reported_by_health_and_metrics(server):
    dark = {"instances": [b64(png(image // 4)) for image in pixels(8, seed=3)]}

    def drifted() -> list:
        assert server.ask(f"{NAME}:predict", dark)[0] == 200
        status, health, _ = server.ask("/healthz")
        assert status == 200
        return health.get("drift", {}).get("tiny/1", [])

    wait_for(lambda: "brightness" in drifted())
    labels = '{model="tiny",quantity="brightness",version="1"}'
    assert f"tfpipe_drifted{labels} 1.0" in server.ask("/metrics")[1]


def data_url(encoded: dict) -> str:
    return f"data:image/png;base64,{encoded['b64']}"


def test_pages_and_metrics_need_no_network(server):
    for path in ("/", "/docs"):
        status, page, _ = server.ask(path)
        assert status == 200 and "src=" not in page.split("<script>")[0]
        assert not [word for word in page.split() if "https://" in word or "//cdn" in word]
    paths = server.ask("/openapi.json")[1]["paths"]
    for method in ("predict", "classify", "explain"):
        assert f"/v1/models/{{name}}:{method}" in paths
    # This needs no earlier test: the server counts this request.
    assert server.ask(f"{NAME}:predict", instances(slice(1)))[0] == 200
    metrics = server.ask("/metrics")[1]
    assert 'tfpipe_requests_total{method="predict",model="tiny",status="200"}' in metrics
    assert 'tfpipe_version{model="tiny"} 1.0' in metrics


ONE = b64(png(IMAGES[0]))
LARGE = b64(png(np.zeros((5000, 5000), np.uint8)))
TENSOR = '{"signature_name": "predict_tensor", "instances": '
FLAT = json.dumps(IMAGES[0].tolist())


def true_first() -> str:
    """Returns the numbers of an image, of which the first is `true`."""
    numbers = IMAGES[0].tolist()
    numbers[0][0][0] = True
    return json.dumps(numbers)


BAD = {
    "no JSON": (b"{", 400),
    "no text": (b"\xff\xfe\x00", 400),
    "no object": (b"[]", 400),
    "nothing": (b"", 400),
    "neither form": (b"{}", 400),
    "both forms": ({"instances": [ONE], "inputs": [ONE]}, 400),
    "no row": ({"instances": []}, 400),
    "rows that are none": ({"instances": "abc"}, 400),
    "a million rows": (b'{"instances":[' + b"0," * 999_999 + b"0]}", 413),
    "wrong name": ({"instances": [{"picture": ONE}]}, 400),
    "name too many": ({"instances": [{"image_bytes": ONE, "b": 1}]}, 400),
    "mixed rows": ({"instances": [{"image_bytes": ONE}, 1]}, 400),
    "number for bytes": ({"instances": [1]}, 400),
    "text for bytes": ({"instances": ["abc"]}, 400),
    "bad base64": ({"instances": [{"b64": "a$b="}]}, 400),
    "no image": ({"instances": [b64(b"no image")]}, 400),
    "image of another size": ({"instances": [b64(png(np.zeros((9, 9), np.uint8)))]}, 400),
    "16 bits": ({"instances": [b64(png(np.zeros((16, 16), np.uint16)))]}, 400),
    "half an image": ({"instances": [b64(png(IMAGES[0])[:-30])]}, 400),
    "bomb": ({"instances": [LARGE]}, 413),
    "deep": (b"[" * 100_000, 400),
    "deep objects": (b'{"instances":' * 100_000, 400),
    "twice": (b'{"instances": [], "instances": []}', 400),
    "unknown signature": ({"instances": [ONE], "signature_name": "other"}, 400),
    "signature that is no name": ({"instances": [ONE], "signature_name": ["a"]}, 400),
    "ragged": ((TENSOR + "[[1, 2], [3]]}").encode(), 400),
    "wrong shape": ((TENSOR + "[[1, 2], [3, 4]]}").encode(), 400),
    "fractions": ((TENSOR + f"[{FLAT.replace('[[[', '[[[0.5', 1)}]}}").encode(), 400),
    "too high": ((TENSOR + f"[{FLAT.replace('[[[', '[[[9', 1)}]}}").encode(), 400),
    "NaN": ((TENSOR + f"[{FLAT.replace('[[[', '[[[NaN],[', 1)}]}}").encode(), 400),
    "huge": ((TENSOR + f"[{FLAT.replace('[[[', '[[[1' + '0' * 5000, 1)}]}}").encode(), 400),
    "true for a number": ((TENSOR + f"[{true_first()}]}}").encode(), 400),
    "text among numbers": ((TENSOR + '[[["a"]]]}').encode(), 400),
    "column of no rows": ({"inputs": {"image_bytes": ONE["b64"]}}, 400),
}


def test_malformed_requests_are_refused_in_one_sentence(server, expected):
    for name, (content, expected_status) in BAD.items():
        status, answer, _ = server.ask(f"{NAME}:predict", content)
        assert (name, status) == (name, expected_status)
        assert list(answer) == ["error"] and 10 < len(answer["error"]) < 400, name
        assert "Traceback" not in answer["error"] and "/site-packages" not in answer["error"]
    for path, status in {
        "/v1/models/other:predict": 404,
        f"{NAME}/versions/7:predict": 404,
        f"{NAME}/versions/one:predict": 400,
        f"{NAME}/labels/best:predict": 400,
        "/v1/models/..%2f..%2fetc:predict": 404,
        f"{NAME}:regress": 400,
    }.items():
        assert server.ask(path, instances(slice(1)))[0] == status, path
    assert server.ask(f"{NAME}:predict")[0] == 400
    assert server.ask(f"{NAME}:predict", {"examples": 1})[0] == 400
    assert server.ask(f"{NAME}:predict", b"\x1f\x8b", **{"Content-Encoding": "gzip"})[0] == 415
    answer = server.ask(f"{NAME}:predict", instances())[1]
    np.testing.assert_allclose(probabilities(answer), expected[1], atol=1e-6)


def test_each_of_64_good_and_bad_clients_gets_the_answer_to_its_own_request(server, expected):
    before = server.rss_mb()
    bad = [BAD[name][0] for name in ("half an image", "no image", "no row", "deep")]

    def client(number: int) -> Counter:
        rng = np.random.default_rng(number)
        correct: Counter[bool] = Counter()
        for _ in range(6):
            kind = rng.integers(4)
            if kind == 0:
                content = bad[rng.integers(len(bad))]
                correct[server.ask(f"{NAME}:predict", content)[0] == 400] += 1
            elif kind == 1:  # leaves before the answer
                with socket.create_connection((server.host, server.port)) as connection:
                    body = json.dumps(instances(slice(2))).encode()
                    head = f"POST {NAME}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: "
                    connection.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body)
            else:
                rows = rng.permutation(COUNT)[: rng.integers(1, 4)]
                status, answer, _ = server.ask(f"{NAME}:predict", instances(rows))
                is_correct = status == 200 and np.allclose(
                    probabilities(answer), expected[1][rows], atol=1e-6
                )
                correct[is_correct] += 1
        return correct

    with ThreadPoolExecutor(64) as executor:
        correct = sum(executor.map(client, range(64)), Counter())
    assert set(correct) == {True} and correct[True] > 200
    assert server.process.poll() is None
    assert server.rss_mb() - before < 400


def test_the_stubs_of_tensorflow_serving_get_the_same_outputs(server, expected):
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "tiny"
        encoded = [png(image) for image in IMAGES]
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(encoded))
        answer = stub.Predict(request, timeout=60)
        outputs = tf.make_ndarray(answer.outputs["probabilities"])
        np.testing.assert_allclose(outputs, expected[1], atol=1e-6)
        assert answer.model_spec.version.value == 1
        metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        metadata.model_spec.name = "tiny"
        assert "signature_def" in stub.GetModelMetadata(metadata, timeout=60).metadata
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = "tiny"
        states = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status)
        assert [state.version for state in states.model_version_status] == [1]
        shape = request.inputs["image_bytes"].tensor_shape
        shape.dim[0].size = 2**40  # claims more values than it has
        with pytest.raises(grpc.RpcError) as refused:
            stub.Predict(request, timeout=60)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        request.model_spec.name = "other"
        with pytest.raises(grpc.RpcError) as refused:
            stub.Predict(request, timeout=60)
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND


def example(**features) -> tf.train.Example:
    """Returns an example of bytes, or of whole numbers."""
    message = tf.train.Example()
    for name, values in features.items():
        feature = message.features.feature[name]
        is_bytes = isinstance(values[0], bytes)
        (feature.bytes_list if is_bytes else feature.int64_list).value.extend(values)
    return message


def test_classify_by_grpc_has_every_class_of_every_example(server, expected):
    encoded = [example(image_bytes=[png(image)]) for image in IMAGES]
    numbers = [example(image=image.ravel().tolist()) for image in IMAGES]
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def classification(examples: list, signature: str = ""):
            request = classification_pb2.ClassificationRequest()
            request.model_spec.name, request.model_spec.signature_name = "tiny", signature
            request.input.example_list.examples.extend(examples)
            return request

        for examples, signature in ((encoded, ""), (numbers, "predict_tensor")):
            answer = stub.Classify(classification(examples, signature), timeout=60)
            rows = [row.classes for row in answer.result.classifications]
            assert [[one.label for one in row] for row in rows] == [["dull", "bright"]] * COUNT
            scores = [[one.score for one in row] for row in rows]
            np.testing.assert_allclose(scores, expected[1], atol=1e-6)
            assert answer.model_spec.version.value == 1
            assert answer.model_spec.signature_name == (signature or "serving_default")
        shared = classification([])
        shared.input.example_list_with_context.context.CopyFrom(encoded[0])
        shared.input.example_list_with_context.examples.extend([example()] * 2)
        assert len(stub.Classify(shared, timeout=60).result.classifications) == 2
        twice = classification_pb2.ClassificationRequest.FromString(shared.SerializeToString())
        twice.input.example_list_with_context.examples[0].CopyFrom(encoded[1])
        encoded_image = png(IMAGES[0])
        for wrong in (
            classification([]),
            classification([example()]),
            classification([example(picture=[encoded_image])]),
            classification([example(image_bytes=[encoded_image, encoded_image])]),
            classification([example(image_bytes=[1])]),
            classification([example(image_bytes=[b"no image"])]),
            classification([example(image=[1, 2])], "predict_tensor"),
            classification([example(image=[encoded_image])], "predict_tensor"),
            classification([example(image=[999] * 256)], "predict_tensor"),
            classification(numbers, "embed"),
            classification(numbers, "other"),
            twice,
        ):
            with pytest.raises(grpc.RpcError) as refused:
                stub.Classify(wrong, timeout=60)
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT, wrong
        for method, request in (
            (stub.Regress, regression_pb2.RegressionRequest()),
            (stub.MultiInference, inference_pb2.MultiInferenceRequest()),
        ):
            with pytest.raises(grpc.RpcError, match="Use Predict or Classify") as refused:
                method(request, timeout=60)
            assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_the_client_returns_a_table(server, expected, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(40)]
    for i, path in enumerate(paths):
        path.write_bytes(png(IMAGES[i % COUNT]))
    table = tfpipe.Client(server.url).predict(paths)
    assert table["file"].tolist() == [str(path) for path in paths]
    np.testing.assert_allclose(
        table[["p_dull", "p_bright"]], expected[1][np.arange(40) % COUNT], atol=1e-6
    )
    with pytest.raises(UserError, match="no image.png does not exist"):
        tfpipe.Client(server.url).predict([tmp_path / "no image.png"])
    with pytest.raises(UserError, match="refuses the request: Could not find any versions"):
        tfpipe.Client(server.url, model="other").predict(paths)
    with pytest.raises(UserError, match="gives no answer"):
        tfpipe.Client("http://127.0.0.1:9").predict(paths)


@pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no chromium here")
def test_an_image_dropped_on_the_page_is_answered_there(server, expected, tmp_path):
    drop = f"""
      const held = new DataTransfer();
      const data = Uint8Array.from(atob('{ONE["b64"]}'), c => c.charCodeAt(0));
      held.items.add(new File([data], 'a <b>.png', {{type: 'image/png'}}));
      held.items.add(new File(['no'], 'bad.png', {{type: 'image/png'}}));
      dropZone.dispatchEvent(new DragEvent('drop', {{dataTransfer: held}}))
    """
    with browser.opened(f"{server.url}/", tmp_path / "profile") as page:
        page.wait("typeof dropZone === 'object'")
        page.value("byId('grad-cam').checked = true")
        page.value(drop)
        bad, good = "#results article:nth-child(1)", "#results article:nth-child(2)"
        label = ("dull", "bright")[expected[1][0].argmax()]
        assert page.wait(f"document.querySelector('{good} b')?.textContent") == label
        shares = (
            f"[...document.querySelectorAll('{good} td:nth-child(2)')].map(e => +e.textContent)"
        )
        np.testing.assert_allclose(page.value(shares), sorted(expected[1][0])[::-1], atol=6e-4)
        assert page.wait(f"document.querySelector('{good} img:last-child').naturalWidth") == 16
        assert page.value(f"document.querySelector('{good} span').textContent") == "a <b>.png"
        assert "damaged" in page.wait(f"document.querySelector('{bad} .error')?.textContent")


def test_new_versions_are_served_under_load_and_bad_ones_refused(store, expected, tmp_path):
    folder, asking = tmp_path / "tiny" / "simple-cnn", True
    counts: Counter[int | str] = Counter()
    copied(store / "1", folder / "1")

    with server_process.running(tmp_path) as server, ThreadPoolExecutor(4) as executor:

        def client(number: int) -> None:
            rows = slice(number, number + 2)
            while asking:
                status, answer, _ = server.ask(f"{NAME}:predict", instances(rows))
                outputs = probabilities(answer) if status == 200 else None
                for n in (1, 2):
                    if outputs is not None and np.allclose(outputs, expected[n][rows], atol=1e-6):
                        counts[n] += 1
                        break
                else:
                    counts["wrong"] += 1

        def states() -> dict:
            statuses = server.ask(NAME)[1]["model_version_status"]
            return {status["version"]: status for status in statuses}

        clients = [executor.submit(client, number) for number in range(4)]
        try:
            wait_for(lambda: counts[1] > 20)
            (folder / "2").mkdir()  # half copied: all but the weights and the card
            shutil.copy(store / "2" / "saved_model.pb", folder / "2")
            wait_for(lambda: "2" in states())
            assert states()["2"]["state"] == "END"
            assert "no readable card.json" in states()["2"]["status"]["error_message"]
            shutil.copytree(store / "2", folder / "2", dirs_exist_ok=True)
            wait_for(lambda: states().get("2", {}).get("state") == "AVAILABLE")
            wait_for(lambda: counts[2] > 20)
            shutil.copytree(store / "1", folder / "3")
            weights = folder / "3" / "variables" / "variables.data-00000-of-00001"
            weights.write_bytes(weights.read_bytes()[:-1] + b"x")
            wait_for(lambda: "not what was exported" in str(states().get("3")))
            assert str(folder) not in str(states())  # a client has no use for it
            log = server.process.complaints()
            assert re.search(r"^\d{4}-.* tiny: version 2 is served, in place of 1\.$", log, re.M)
            assert states()["2"]["state"] == "AVAILABLE"
        finally:
            asking = False
        for one in clients:
            one.result()
        assert counts["wrong"] == 0
        assert server.ask(f"{NAME}/versions/1:predict", instances())[0] == 404
        shutil.rmtree(folder)  # what is loaded goes on serving
        time.sleep(0.5)
        answer = server.ask(f"{NAME}:predict", instances())
        np.testing.assert_allclose(probabilities(answer[1]), expected[2], atol=1e-6)


def test_hostile_versions_are_refused_while_a_good_one_serves(store, expected, tmp_path):
    folder = tmp_path / "models" / "tiny" / "simple-cnn"
    copied(store / "1", folder / "1")
    hostile_versions.with_writing_initializer(tmp_path / "writing", tmp_path / "written")
    bad = bad_cards.contents(json.loads((folder / "1" / "assets.extra" / "card.json").read_text()))
    with server_process.running(tmp_path / "models") as server:
        for number, name in enumerate(("null", "deep", "drift-as-text", "sums-as-list"), start=2):
            bad_cards.write(folder / str(number), bad[name])
        copied(tmp_path / "writing", folder / "6")
        os.mkfifo(folder / "5" / "assets.extra" / "predictions.csv")
        wait_for(lambda: len(server.ask("/healthz")[1].get("refused", ())) == 5)
        states = server.ask(NAME)[1]["model_version_status"]
        assert {one["version"] for one in states if one["state"] == "END"} == set("23456")
        assert all(one["status"]["error_message"] for one in states if one["state"] == "END")
        answer = server.ask(f"{NAME}:predict", instances())
        np.testing.assert_allclose(probabilities(answer[1]), expected[1], atol=1e-6)
        copied(store / "2", folder / "8")
        wait_for(lambda: server.ask(f"{NAME}/versions/8")[0] == 200)
        assert server.ask("/healthz")[1]["seconds_since_check"] < 60
        server.process.terminate()
        assert server.process.wait(60) == 0
    assert not (tmp_path / "written").exists()


def test_a_version_whose_graph_never_ends_is_refused_while_a_good_one_answers(
    store, expected, tmp_path
):
    folder = tmp_path / "models" / "tiny" / "simple-cnn"
    copied(store / "1", folder / "1")
    hostile_versions.endless(tmp_path / "endless")
    with server_process.running(tmp_path / "models", "--deadline", "2") as server:

        def is_answered() -> None:
            answer = server.ask(f"{NAME}:predict", instances())
            np.testing.assert_allclose(probabilities(answer[1]), expected[1], atol=1e-6)

        copied(tmp_path / "endless", folder / "7")
        while "tiny/simple-cnn/7" not in server.ask("/healthz")[1].get("refused", ()):
            is_answered()
        is_answered()
        cpu_s = psutil.Process(server.process.pid).cpu_times().user
        time.sleep(0.5)
        assert psutil.Process(server.process.pid).cpu_times().user - cpu_s < 0.25
        wait_for(lambda: "tiny/simple-cnn/7" in server.ask("/healthz")[1].get("refused", ()))
        bad_cards.write(folder / "8", b"null")
        wait_for(lambda: "tiny/simple-cnn/8" in server.ask("/healthz")[1].get("refused", ()))


def test_a_killed_server_starts_again_and_a_stopped_one_answers_what_it_was_asked(store, expected):
    models = store.parents[1]
    with server_process.running(models) as first:
        first.process.kill()
        first.process.wait()
    pinned = ("tiny/simple-cnn/1", "tiny/simple-cnn")
    with server_process.running(models, *pinned, port=first.port, TFPIPE_TOKEN="secret") as server:
        assert server.info["models"] == {"tiny_simple-cnn": 2}
        path = "/v1/models/tiny_simple-cnn/versions/2:predict"
        assert server.ask(path, instances())[0] == 401

        def ask(n: int) -> bool:
            url = f"/v1/models/tiny_simple-cnn/versions/{n}:predict"
            answer = server.ask(url, instances(), Authorization="Bearer secret")[1]
            return np.allclose(probabilities(answer), expected[n], atol=1e-6)

        with ThreadPoolExecutor(16) as executor:  # the two versions share no batch
            assert all(executor.map(ask, [1, 2] * 80))
        body = json.dumps(instances()).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        address = (server.host, server.port)
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(head.encode() + body[:100])
            # This is answered later, so by then the head above has arrived.
            wait_for(lambda: server.ask("/healthz")[0] == 200)
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: is_closed(server))
            connection.sendall(body[100:])
            answer = server_process.received(connection)
        assert answer.startswith(b"HTTP/1.1 200")
        outputs = probabilities(json.loads(answer[answer.index(b"{") :]))
        np.testing.assert_allclose(outputs, expected[2], atol=1e-6)
        assert server.process.wait(60) == 0


def is_closed(server: server_process.Server) -> bool:
    try:
        socket.create_connection((server.host, server.port)).close()
    except ConnectionRefusedError:
        return True
    return False
