"""A server process on tiny versions, and the requests that tests send to it."""

import base64
import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np
import subprocesses
import tiny
from made_card import made_card

from tfpipe.base import processes
from tfpipe.evaluation import drift
from tfpipe.models.spec import Spec
from tfpipe.registry import store
from tfpipe.registry.export import NetworkExport

SPEC = Spec((16, 16, 1), tiny.CLASSES, (100.0,), (50.0,))
CARD = made_card(classes=tiny.CLASSES, abstention={"thresholds": {"dull": 0.6, "bright": None}})
PREDICTIONS = "split,key,group,label,p_dull,p_bright\n" + "".join(
    f"test,k{i},g{i},0,{0.5 + i / 20},{0.5 - i / 20}\n" for i in range(10)
)


def published(folder: Path, *, seed: int, spec: Spec = SPEC, options: dict | None = None) -> Path:
    """Publishes an untrained version whose outputs depend on the seed and on the image.

    Args:
      folder: of the model.
      seed: of the weights.
      spec: of images of 16 x 16 px.
      options: of the task.
    """
    keras.utils.set_random_seed(seed)
    model, channels = tiny.build(spec), spec.image_shape[-1]
    rng = np.random.default_rng(seed)
    embed = keras.Model(model.input, model.get_layer("embedding").output)
    weights = rng.normal(0, 2, (embed.output.shape[-1], 1))
    examples = pixels(12).repeat(channels, axis=-1)
    middle = np.median(embed({"image": examples}).numpy() @ weights, axis=0)
    model.get_layer("positive").set_weights([weights, -middle])
    values = drift.measure(pixels(1000, seed=1).repeat(channels, axis=-1), None)
    histograms = drift.histograms(values, np.arange(1000).astype(str))
    card = replace(CARD, drift=histograms, options=options or {})

    called = processes.called
    processes.called = lambda function, *args: function(*args)
    try:
        network = NetworkExport(model, spec, {"image": examples[:4]})
        version = store.publish(network, folder, card=card)
    finally:
        processes.called = called
    (version / "assets.extra" / "predictions.csv").write_text(PREDICTIONS)
    return version


def pixels(count: int, *, seed: int = 0) -> np.ndarray:
    """Returns different images [n, 16, 16, 1] uint8."""
    return np.random.default_rng(seed).integers(0, 255, (count, 16, 16, 1), dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


class Client:
    """A client of a server, by what the server printed when it started."""

    def __init__(self, info: dict):
        self.info, self.url, self.grpc = info, info["url"], info.get("grpc")
        self.host, _, port = self.url.removeprefix("http://").partition(":")
        self.port = int(port) if port.isdecimal() else 0  # of a Unix socket

    def ask(self, path: str, content=None, *, timeout: float = 60, **headers) -> tuple:
        """Returns (status, JSON or text, headers) of a GET, or of a POST of JSON or bytes."""
        is_raw = content is None or isinstance(content, bytes)
        body = content if is_raw else json.dumps(content).encode()
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request("GET" if body is None else "POST", path, body, headers)
            response = connection.getresponse()
            text = response.read().decode()
        is_json = response.headers["content-type"] == "application/json"
        return response.status, json.loads(text) if is_json else text, response.headers

    def send(self, data: bytes) -> bytes:
        """Returns all that comes back for raw bytes, until the server closes the connection."""
        with socket.create_connection((self.host, self.port), timeout=60) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
            return received(connection)


class Server(Client):
    """A running `tfpipe serve`, and a client of it."""

    def __init__(self, process: subprocesses.Process, info: dict):
        super().__init__(info)
        self.process = process

    def rss_mb(self) -> float:
        return self._memory_mb("VmRSS")

    def peak_mb(self) -> float:
        return self._memory_mb("VmHWM")

    def _memory_mb(self, kind: str) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(kind))


def received(connection: socket.socket) -> bytes:
    """Returns what arrives until the other side closes the connection."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            data += part
    return data


@contextlib.contextmanager
def running(models: Path, *options: str, port: int = 0, **environment: str) -> Iterator[Server]:
    """Runs a server, by default on any free port of this machine, until the end of the block."""
    arguments = (*options, "--models", models, "--port", port, "--poll", "0.1", "--json")
    process = subprocesses.Process("tfpipe", "serve", *arguments, **environment)
    try:
        line = process.stdout.readline()
        assert line, process.complaints()
        yield Server(process, json.loads(line))
    finally:
        process.kill()
        process.wait()
        process.close()
