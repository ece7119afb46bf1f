"""A file has one answer, whoever is asked: `tfpipe predict`, HTTP, gRPC, the client, each runtime.

And images that are made to take long lock nobody out.
"""

import io
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import grpc
import numpy as np
import pandas as pd
import pytest
import server_process
import tensorflow as tf
from PIL import Image
from server_process import b64
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import tfpipe
from tfpipe.base import images as base_images
from tfpipe.inference import images as inference
from tfpipe.inference.request import PredictionRequest
from tfpipe.models.spec import Spec
from tfpipe.registry.checked_files import checked_copy
from tfpipe.serving.errors import RequestError
from tfpipe.serving.http import handlers
from tfpipe.serving.limits import Admission, Limits
from tfpipe.serving.model.loaded import Servable
from tfpipe.serving.model.store import ModelSelector, ModelStore
from tfpipe.serving.runtimes import available, backends
from tfpipe.tasks.image_folder import folder_task

pytestmark = pytest.mark.slow

CLASSES = server_process.SPEC.classes
RGB = Spec((16, 16, 3), CLASSES, (100.0,) * 3, (50.0,) * 3)
VERSIONS = {  # name of the model -> spec, options
    "grey": (server_process.SPEC, {"size": "16", "channels": "grey", "bits": 12}),
    "colour": (RGB, {"size": "16", "channels": "colour", "bits": 12, "fit": "pad"}),
    "cropped": (RGB, {"size": "16", "channels": "colour", "bits": 0, "fit": "crop"}),
}
ORIENTATION = 274  # tag of EXIF
SIZES = {"its size": (16, 16), "smaller": (9, 7), "larger": (40, 61), "one row": (1, 30)}


def scene(shape: tuple[int, ...], *, high: int = 255) -> np.ndarray:
    """Returns an image with a gradient, so that turning it changes what it shows."""
    rows, columns = np.indices(shape[:2])
    light = (rows / shape[0]) ** 2 + 0.3 * columns / shape[1]
    if len(shape) == 3:
        light = light[:, :, None] * np.linspace(0.4, 1, shape[2])
    noise = np.random.default_rng(3).random(shape)
    scaled = high * (0.9 * light / light.max() + 0.1 * noise)
    return scaled.astype(np.uint16 if high > 255 else np.uint8)


def saved(image: Image.Image, format_: str, *, orientation: int = 1, **options) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = io.BytesIO()
    image.save(file, format_, **({"exif": exif} if orientation > 1 else {}), **options)
    return file.getvalue()


def every_file() -> dict[str, bytes]:
    """Returns files of each format, number of bits, orientation, kind of channels and size."""
    found = {}
    for name, size in SIZES.items():
        grey, rgb = Image.fromarray(scene(size)), Image.fromarray(scene((*size, 3)))
        rgba = Image.fromarray(scene((*size, 4)))
        for mode, image in {"grey": grey, "rgb": rgb}.items():
            for format_ in ("PNG", "JPEG", "BMP", "GIF"):
                found[f"{name} {mode} {format_}"] = saved(image, format_)
        found[f"{name} progressive"] = saved(rgb, "JPEG", progressive=True, quality=60)
        found[f"{name} CMYK"] = saved(rgb.convert("CMYK"), "JPEG")
        found[f"{name} rgba"] = saved(rgba, "PNG")
        found[f"{name} LA"] = saved(rgba.convert("LA"), "PNG")
        found[f"{name} palette"] = saved(rgb.quantize(16), "PNG")
        found[f"{name} bilevel"] = saved(grey.convert("1"), "PNG")
        for bits in (12, 16):
            deep = scene(size, high=2**bits - 1)
            found[f"{name} {bits} bits"] = saved(Image.fromarray(deep), "PNG")
    for orientation in range(2, 9):
        image = Image.fromarray(scene((40, 61, 3)))
        found[f"turned {orientation} JPEG"] = saved(image, "JPEG", orientation=orientation)
        found[f"turned {orientation} PNG"] = saved(image, "PNG", orientation=orientation)
    return found


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for i, (name, (spec, options)) in enumerate(VERSIONS.items()):
        server_process.published(folder / "tiny" / name, seed=i + 1, spec=spec, options=options)
    return folder


@pytest.fixture(scope="module")
def server(models):
    names = [f"tiny/{name}" for name in VERSIONS]
    with server_process.running(models, *names, "--grpc-port", "0") as running:
        yield running


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, data in every_file().items():
        (folder / f"{name}.img").write_bytes(data)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("name", VERSIONS)
def test_a_file_has_one_answer_whoever_is_asked(server, models, paths, name, tmp_path):
    version = models / "tiny" / name / "1"
    task = folder_task(paths[0].parent)
    inference.predict(PredictionRequest(task, version, paths, tmp_path / "table.csv"))
    table = pd.read_csv(tmp_path / "table.csv").set_index("key")
    columns = [f"p_{label}" for label in CLASSES]
    expected = table.loc[[str(path) for path in paths], columns].to_numpy()
    assert np.ptp(expected[:, 0]) > 0.3  # the files are different
    encoded = [path.read_bytes() for path in paths]
    answers = {"client": tfpipe.Client(server.url, model=f"tiny_{name}").predict(paths)[columns]}

    where = f"/v1/models/tiny_{name}"
    rows = server.ask(f"{where}:predict", {"instances": [b64(data) for data in encoded]})[1]
    answers["HTTP"] = [row["probabilities"] for row in rows["predictions"]]
    raw = [
        server.ask(f"{where}:explain", data, **{"Content-Type": "image/unknown"})[1]
        for data in encoded
    ]
    explanations = [row["explanations"][0]["probabilities"] for row in raw]
    answers["raw body"] = [[row[label] for label in CLASSES] for row in explanations]

    with grpc.insecure_channel(server.grpc) as channel:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = f"tiny_{name}"
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(encoded))
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        outputs = stub.Predict(request, timeout=60).outputs
        answers["gRPC"] = tf.make_ndarray(outputs["probabilities"])

    features = {"image_bytes": np.array(encoded, object)}
    for runtime in ("savedmodel", *backends.BACKENDS):
        if not available.missing_packages(runtime):
            with checked_copy(version) as copy:
                servable = Servable(copy, folder=version, limits=Limits(), runtime=runtime)
            outputs = servable.predict(features, signature="serving_default")
            answers[runtime] = outputs["probabilities"]
    for who, probabilities in answers.items():
        differences = np.abs(np.asarray(probabilities) - expected).max(axis=1)
        worst = {path.stem: d for path, d in zip(paths, differences, strict=True) if d > 1e-5}
        assert not worst, (who, worst)


def test_an_explained_image_is_opened_and_decoded_once(models, monkeypatch):
    store = ModelStore(models, [ModelSelector("tiny", "colour")], limits=Limits())
    store.refresh()
    calls = {"open": Image.open, "imdecode": cv2.imdecode}
    counts = dict.fromkeys(calls, 0)

    def counted(name):
        def call(*args, **kwargs):
            counts[name] += 1
            return calls[name](*args, **kwargs)

        return call

    monkeypatch.setattr(Image, "open", counted("open"))
    monkeypatch.setattr(cv2, "imdecode", counted("imdecode"))
    request = handlers.HandlerRequest(
        "tiny_colour",
        saved(Image.fromarray(scene((40, 61, 3))), "PNG"),
        {"content-type": "image/png"},
        {"grad_cam": "true"},
        Admission(Limits()).budget(),
    )
    answer = handlers.explain(store.get("tiny_colour"), request)
    assert answer.n_instances == 1 and b"grad_cam" in answer.content
    assert counts == {"open": 1, "imdecode": 1}


def test_formats_that_only_predict_reads_are_refused(server):
    image = Image.fromarray(scene((16, 16, 3)))
    for format_ in ("TIFF", "WEBP", "PPM"):
        content = {"instances": [b64(saved(image, format_))]}
        status, answer, _ = server.ask("/v1/models/tiny_colour:predict", content)
        assert status == 400 and "expected a PNG, JPEG, GIF or BMP" in answer["error"]


def progressive(height: int, width: int, *, scans: int) -> bytes:
    """Returns a JPEG of 14 bytes a scan, each of which makes the decoder pass over all pixels."""
    data = saved(Image.fromarray(scene((height, width))), "JPEG", progressive=True, quality=5)
    refinement = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x10"
    return data[:-2] + refinement * scans + data[-2:]


def test_the_cost_of_a_jpeg_is_known_before_it_is_paid():
    for data, n_pixels in (
        (saved(Image.fromarray(scene((100, 200))), "JPEG"), 20_000),
        (saved(Image.fromarray(scene((100, 200))), "PNG"), 20_000),
        (progressive(100, 200, scans=994), 1_000 * 20_000),
        (progressive(8, 8, scans=994), 1_000 * 4096),
    ):
        assert base_images.decoded_pixels(base_images.open_bytes(data, "image")) == n_pixels


def test_a_jpeg_of_thousands_of_scans_locks_nobody_out(server):
    where = "/v1/models/tiny_colour:predict"
    attack = {"instances": [b64(progressive(4000, 5000, scans=8000))]}
    good = {"instances": [b64(saved(Image.fromarray(scene((16, 16))), "PNG"))]}
    begin = time.monotonic()
    with ThreadPoolExecutor(8) as executor:
        attacks = [executor.submit(server.ask, where, attack) for _ in range(7)]
        assert server.ask(where, good)[0] == 200
    assert time.monotonic() - begin < 20  # one of them took minutes
    for one in attacks:
        status, answer, _ = one.result()
        assert status == 413 and "megapixels to decode" in answer["error"]
    many = {"instances": [b64(progressive(1000, 1000, scans=14)) for _ in range(12)]}
    assert server.ask(where, many)[0] == 413  # 12 x 20 megapixels


def test_large_images_take_one_core_and_few_threads(server):
    where = "/v1/models/tiny_colour:predict"
    large = {"instances": [b64(progressive(4000, 5000, scans=3))]}
    good = {"instances": [b64(saved(Image.fromarray(scene((16, 16))), "PNG"))]}
    with ThreadPoolExecutor(24) as executor:
        waiting = [executor.submit(server.ask, where, large) for _ in range(24)]
        statuses, slowest = [], 0.0
        while not all(one.done() for one in waiting):
            begin = time.monotonic()
            statuses.append(server.ask(where, good)[0])
            slowest = max(slowest, time.monotonic() - begin)
    answered = {one.result()[0] for one in waiting}
    assert answered == {200, 503}  # few may wait
    assert set(statuses) == {200} and slowest < 5


def test_an_abandoned_request_is_not_decoded(models):
    version = models / "tiny" / "grey" / "1"
    with checked_copy(version) as copy:
        servable = Servable(copy, folder=version, limits=Limits())
    features = {"image_bytes": np.array([saved(Image.fromarray(scene((16, 16))), "PNG")] * 9)}
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 5:
            raise RequestError(503, "gone")

    with pytest.raises(RequestError, match="gone"):
        servable.predict(features, signature="serving_default", check=check)
    assert len(calls) == 5
