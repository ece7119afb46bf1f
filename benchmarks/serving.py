"""Throughput and latency of `tfpipe serve`, beside the SavedModel called directly.

    python benchmarks/serving.py                 # about two minutes on two quiet cores
    python benchmarks/serving.py --runtimes savedmodel openvino onnx litert    # about five

The model is the simple CNN of Zoumis et al. 2022 (seed document 002) at its published size, on
windows of 50 x 200. It is untrained, which takes the same time. Both sides decode the same PNGs, in
one process each, and take turns:

- "in batches": the signature serving_default called with 64 images at once, and a client that
  sends as many in each request, four requests at once;
- "one": one image at a time, one caller.

Then 64 clients send one image each, over and over: once to that model, once to a tiny one, which
costs next to nothing, so that what remains is the server. The clients share the machine with it;
they are one thread that does no more than it must. At the end the server is killed and
started again: seconds until it answers.

With `--runtimes` a server of each runtime takes turns; direct calls are those of the SavedModel.
With `--against FOLDER` so does the server of another checkout, as the side "before".
"""

import argparse
import base64
import contextlib
import http.client
import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import machine
import numpy as np

from tfpipe.base.tensorflow import start_tensorflow

SHAPE, BATCH, CLIENTS = (50, 200, 3), 64, 64
MODELS = ("bench", "tiny")
BEFORE = "before"
RUNTIMES = ("savedmodel", "openvino", "onnx", "litert", "auto")


def encoded(count: int) -> list[bytes]:
    """Returns windows as PNG: noise over a slope, which compresses as photographs do."""
    rng, slope = np.random.default_rng(0), np.linspace(60, 200, SHAPE[1])[None, :, None]
    windows = [np.clip(rng.normal(slope, 12, SHAPE), 0, 255).astype(np.uint8) for _ in range(count)]
    return [cv2.imencode(".png", window)[1].tobytes() for window in windows]


def publish(folder: Path) -> None:
    """Publishes the simple CNN at its published size, and a tiny model: mean, dense layer."""
    start_tensorflow()
    import keras

    from tfpipe.models.layers import head, image_input
    from tfpipe.models.spec import Spec
    from tfpipe.models.zoo import simple_cnn
    from tfpipe.registry import store
    from tfpipe.registry.card import VersionCard
    from tfpipe.registry.export import NetworkExport

    spec = Spec(SHAPE, ("no-layer", "melt-layer"), (128.0,) * 3, (40.0,) * 3)
    images = np.stack([cv2.imdecode(np.frombuffer(one, np.uint8), 1) for one in encoded(8)])
    image, scaled = image_input(spec)
    embedding = keras.layers.GlobalAveragePooling2D(name="embedding")(scaled)
    tiny = keras.Model({"image": image}, head(embedding, spec))
    for task, model in zip(MODELS, (simple_cnn.build_simple_cnn(spec), tiny), strict=True):
        card = VersionCard(task=task, model="simple-cnn", classes=spec.classes)
        network = NetworkExport(model, spec, {"image": images})
        store.publish(network, folder / task / "simple-cnn", card=card)


class Direct:
    """The SavedModel's concrete function."""

    def __init__(self, models: Path):

        start_tensorflow()
        import tensorflow as tf

        self._model = tf.saved_model.load(str(models / "bench" / "simple-cnn" / "1"))
        self._call, self._tensor = self._model.signatures["serving_default"], tf.constant

    def ask(self, images: list[bytes]) -> None:
        self._call(image_bytes=self._tensor(images))["probabilities"].numpy()

    def batches(self, images: list[bytes], count: int) -> None:
        for _ in range(count):
            self.ask(images)


class Server:
    """A server in a process of its own, over HTTP on this machine."""

    def __init__(self, models: Path, *, runtime: str, checkout: Path | None = None):
        self._models, self._runtime, self._bodies = models, runtime, {}
        self._checkout = checkout
        self._start()

    def _start(self) -> None:
        words = ["serve", "--models", str(self._models), "--port", "0", "--json"]
        words += ["--runtime", self._runtime]
        others = {"PYTHONPATH": str(self._checkout)} if self._checkout else {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tfpipe", *words],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **others},
            cwd=self._checkout,
        )
        self._host = json.loads(self.process.stdout.readline())["url"].removeprefix("http://")

    def line(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._host)

    def ask(self, images: list[bytes], line: http.client.HTTPConnection | None = None) -> None:
        if line is None:
            line = self._line = getattr(self, "_line", None) or self.line()
        line.request("POST", "/v1/models/bench:predict", self.body(images))
        answer = line.getresponse()
        text = answer.read()
        assert answer.status == 200, text

    def body(self, images: list[bytes]) -> bytes:
        """Returns the body of a request, made once: clients are no part of the server."""
        key = (len(images), images[0])
        if key not in self._bodies:
            instances = [{"b64": base64.b64encode(one).decode()} for one in images]
            self._bodies[key] = json.dumps({"instances": instances}).encode()
        return self._bodies[key]

    def batches(self, images: list[bytes], count: int) -> None:
        self._line = None  # the server hangs up on who was silent while the other side measured

        def client(_) -> None:
            with contextlib.closing(self.line()) as line:
                for _ in range(count // 4):
                    self.ask(images, line)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(client, range(4)))

    def clients(self, images: list[bytes], *, requests: int, model: str) -> dict[str, float]:
        """Measures 64 clients, each of which sends its next image when it has its answer."""
        address, sent = self._host.split(":"), {}
        begun, waited = time.perf_counter(), []
        with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
            for number in range(CLIENTS):
                body = self.body(images[number : number + 1])
                head = f"POST /v1/models/{model}:predict HTTP/1.1\r\nHost: {self._host}\r\n"
                request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
                line = socket.create_connection((address[0], int(address[1])))
                stack.enter_context(line)
                selector.register(line, selectors.EVENT_READ, request)
                sent[line] = time.perf_counter()
                line.sendall(request)
            while len(waited) < requests * CLIENTS:
                for key, _ in selector.select():
                    answer = key.fileobj.recv(65536)
                    if not answer.endswith(b"}"):  # the head came without the body
                        continue
                    assert b"predictions" in answer, answer
                    now = time.perf_counter()
                    waited.append(now - sent.pop(key.fileobj))
                    if len(waited) + len(sent) < requests * CLIENTS:
                        sent[key.fileobj] = now
                        key.fileobj.sendall(key.data)
        seconds = time.perf_counter() - begun
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        rss = next(int(one.split()[1]) / 1024 for one in lines if one.startswith("VmRSS"))
        results = {"requests_s": len(waited) / seconds, "rss_mb": rss}
        results |= {f"p{p}_ms": 1e3 * float(np.percentile(waited, p)) for p in (50, 99)}
        return {f"{model}_{key}": value for key, value in results.items()}

    def restart_s(self, images: list[bytes]) -> float:
        self.process.kill()
        self.process.wait()
        begun = time.perf_counter()
        self._start()
        self._line = None
        self.ask(images[:1])
        return time.perf_counter() - begun


def side_of(name: str, models: Path, *, against: Path | None) -> Direct | Server:
    """Returns the side of a name: "direct", "before", or the runtime of a server."""
    if name == "direct":
        return Direct(models)
    if name == BEFORE:
        return Server(models, runtime="savedmodel", checkout=against)
    return Server(models, runtime=name)


def measured(side: Direct | Server, images: list[bytes], *, batches: int) -> dict:
    """Measures one side once."""
    side.batches(images, 8)
    begun = time.perf_counter()
    side.batches(images, batches)
    rate = batches * len(images) / (time.perf_counter() - begun)
    waited = []
    for i in range(100):
        begun = time.perf_counter()
        side.ask(images[i % BATCH :][:1])
        waited.append(time.perf_counter() - begun)
    results = {"images_s": rate, "one_p50_ms": 1e3 * float(np.median(waited))}
    if isinstance(side, Server):
        for model in MODELS:
            results |= side.clients(images, requests=20, model=model)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=24, help="a round; a multiple of 4")
    parser.add_argument("--runtimes", nargs="+", default=["savedmodel"], choices=RUNTIMES)
    parser.add_argument("--against", type=Path, help="checkout of another commit")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    sides = ["direct", "publish", BEFORE, *RUNTIMES]
    parser.add_argument("--side", choices=sides, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side == "publish":
        publish(given.folder)
        return
    images = encoded(BATCH)
    if given.side:
        side = side_of(given.side, given.folder, against=given.against)
        try:
            machine.measure_each_round(lambda one: measured(side, images, batches=given.batches))
        finally:
            if isinstance(side, Server):
                side.process.kill()
        return
    results = machine.about()
    with tempfile.TemporaryDirectory() as name:
        words = [f"--folder={name}", f"--batches={given.batches}"]
        servers = list(given.runtimes)
        if given.against:
            words.append(f"--against={given.against.resolve()}")
            servers.append(BEFORE)
        subprocess.run([sys.executable, sys.argv[0], *words, "--side=publish"], check=True)
        rounds_of = machine.take_turns(["direct", *servers], rounds=given.rounds, words=words)
        server = Server(Path(name), runtime=given.runtimes[0])
        results["restart_s"] = machine.spread([server.restart_s(images) for _ in range(2)])
        server.process.kill()
    for side, rounds in rounds_of.items():
        results[side] = {key: machine.spread([one[key] for one in rounds]) for key in rounds[0]}
    pairs = [(side, "direct", key) for side in servers for key in ("images_s", "one_p50_ms")]
    if given.against:
        rates = [f"{model}_requests_s" for model in MODELS]
        pairs += [(given.runtimes[0], BEFORE, key) for key in ("one_p50_ms", *rates)]
    for side, other, key in pairs:
        ours, theirs = ([one[key] for one in rounds_of[name]] for name in (side, other))
        results[f"{side} / {other}, {key}"] = machine.ratio(ours, theirs)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
