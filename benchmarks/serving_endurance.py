"""Endurance of `tfpipe serve`: answers under good and bad clients and swaps, and memory after them.

    python benchmarks/serving_endurance.py                   # some minutes on two quiet cores
    python benchmarks/serving_endurance.py --seconds 10 --swaps 2 --requests 500

The model is that of `serving.py`. Two versions of other weights are published in turns under rising
numbers, which the server swaps while it answers.

First 64 clients ask for `--seconds`, with three swaps meanwhile: six of ten requests are good, the
others have a malformed body, arrive in slow pieces, break off in the middle of their body, or leave
before the answer. Each answer must be that of its own images, by a version that was served between
its request and its arrival: "wrong" counts the others, and "refused" those of status 429 and 503.

Then the same clients send `--requests`, with `--swaps` between them, all at equal distances, and
the memory of the server (RSS) is compared with that before.
"""

import argparse
import base64
import contextlib
import http.client
import itertools
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import machine
import numpy as np
import psutil
import serving

from tfpipe.base.tensorflow import start_tensorflow

N_IMAGES, N_SOURCES, N_LOAD_SWAPS = 16, 2, 3
TOLERANCE = (
    1e-5  # of a probability; those of two images or versions differ by more than twice as much
)
MALFORMED = (b"{", b"[]", b'{"instances": []}', b'{"instances": [{"b64": "AAAA"}]}', b"[" * 50_000)
REFUSED = (429, 503)
KINDS = ("good", "malformed", "slow", "breaks off", "leaves")
SHARES = (0.6, 0.1, 0.1, 0.1, 0.1)
URL = "/v1/models/bench"


def varied_images() -> list[bytes]:
    """Returns windows as PNG, none like another: coarse random patterns."""
    rng, (height, width, channels) = np.random.default_rng(0), serving.SHAPE
    coarse = rng.integers(0, 256, (N_IMAGES, 5, 20, channels), dtype=np.uint8)
    windows = [cv2.resize(one, (width, height), interpolation=cv2.INTER_NEAREST) for one in coarse]
    return [cv2.imencode(".png", window)[1].tobytes() for window in windows]


def publish(folder: Path) -> None:
    """Publishes the versions that are copied later, and writes what they answer for the images."""
    expected = []
    start_tensorflow()
    import keras

    for seed in range(1, N_SOURCES + 1):
        keras.utils.set_random_seed(seed)
        serving.publish(folder / "sources")
    from tfpipe.registry import load

    images = [cv2.imdecode(np.frombuffer(one, np.uint8), 1) for one in varied_images()]
    for number in range(1, N_SOURCES + 1):
        version = load.open_version(folder / "sources" / "bench" / "simple-cnn" / str(number))
        expected.append(version.predict_proba(np.stack(images)[..., ::-1]))
    first = np.sort(np.stack(expected)[..., 0].ravel())
    assert np.diff(first).min() > 2 * TOLERANCE, "two images have one answer"
    np.save(folder / "expected.npy", np.stack(expected))


class Versions:
    """Versions that are published one after the other, and which of them may answer now.

    Attributes:
      newest: number of the newest version that may be served.
      oldest: number of the oldest that may answer a request which begins now.
    """

    def __init__(self, sources: Path, models: Path):
        self._sources, self._models = sources, models / "bench" / "simple-cnn"
        self._models.mkdir(parents=True)
        self.newest, self.oldest = 0, 1

    def publish(self) -> None:
        """Publishes the next version."""
        draft = self._models / ".draft"
        shutil.copytree(self._sources / str(self.newest % N_SOURCES + 1), draft)
        self.newest += 1
        draft.rename(self._models / str(self.newest))

    def serve(self, connect: Callable[[], http.client.HTTPConnection]) -> None:
        """Notes how a server that serves them is reached."""
        self._connect = connect

    def swap(self) -> None:
        """Publishes the next version, and waits until the server has it in the last one's place."""
        self.publish()
        while not self._is_served(self.newest):
            time.sleep(0.1)
        self.oldest = self.newest
        shutil.rmtree(self._models / str(self.newest - 1))

    def can_answer(self, oldest: int) -> set[int]:
        """Returns the sources, counted from 0, of the versions from `oldest` to the newest."""
        return {(number - 1) % N_SOURCES for number in range(oldest, self.newest + 1)}

    def _is_served(self, number: int) -> bool:
        with contextlib.closing(self._connect()) as line:
            line.request("GET", f"{URL}/versions/{number}")
            return line.getresponse().status == 200


class LoadClient:
    """A client that sends good and bad requests, and counts what comes back.

    Attributes:
      counts: of requests by kind, and of answers: "right", "wrong", "refused", "disconnected".
    """

    def __init__(self, seed: int, server: serving.Server, versions: Versions, expected: np.ndarray):
        self._rng, self._line = np.random.default_rng(seed), server.line()
        self._versions, self._expected, self._images = versions, expected, varied_images()
        self.counts: Counter[str] = Counter()

    def ask(self) -> None:
        """Sends one request of a random kind."""
        kind = str(self._rng.choice(KINDS, p=SHARES))
        self.counts[kind] += 1
        rows = self._rng.permutation(N_IMAGES)[: self._rng.integers(1, 5)]
        encoded = [{"b64": base64.b64encode(self._images[row]).decode()} for row in rows]
        body = json.dumps({"instances": encoded}).encode()
        oldest = self._versions.oldest
        if kind == "malformed":
            status, _ = self._answer([MALFORMED[self._rng.integers(len(MALFORMED))]])
            self._count(status, is_right=status == 400)
        elif kind == "breaks off":
            self._leave(body[: len(body) // 2], len(body))
        elif kind == "leaves":
            self._leave(body, len(body))
        else:
            n_pieces = 3 if kind == "slow" else 1
            ends = np.linspace(0, len(body), n_pieces + 1).astype(int)
            pieces = [body[start:end] for start, end in itertools.pairwise(ends)]
            status, content = self._answer(pieces)
            self._count(status, is_right=status == 200 and self._is_own(content, rows, oldest))

    def _answer(self, pieces: list[bytes]) -> tuple[int, bytes]:
        """Returns (status, body) for a request in pieces, on a connection that may be old."""

        def body() -> Iterator[bytes]:
            for piece in pieces:
                yield piece
                if len(pieces) > 1:
                    time.sleep(self._rng.uniform(0.05, 0.3))

        headers = {"Content-Length": str(sum(map(len, pieces)))}
        for is_last in (False, True):
            try:
                self._line.request("POST", f"{URL}:predict", body(), headers)
                response = self._line.getresponse()
                return response.status, response.read()
            except (http.client.HTTPException, ConnectionError):
                self._line.close()  # the server closes a connection that was silent, or after 408
                if is_last:
                    return 0, b""
        raise AssertionError("unreachable")

    def _leave(self, sent: bytes, length: int) -> None:
        """Sends a body, or a part of it, and leaves at once or a little later."""
        address = (self._line.host, self._line.port)
        head = f"POST {URL}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        with contextlib.suppress(ConnectionError), socket.create_connection(address) as connection:
            connection.sendall(head.encode() + sent)
            time.sleep(self._rng.uniform(0, 0.05))

    def _is_own(self, content: bytes, rows: np.ndarray, oldest: int) -> bool:
        """Returns whether an answer is that of these images, by a version that may answer."""
        predictions = json.loads(content)["predictions"]
        given = np.array([one["probabilities"] for one in predictions])
        expected = [self._expected[i][rows] for i in self._versions.can_answer(oldest)]
        return any(
            given.shape == one.shape and np.abs(given - one).max() < TOLERANCE for one in expected
        )

    def _count(self, status: int, *, is_right: bool) -> None:
        if status == 0:
            self.counts["disconnected"] += 1
        else:
            self.counts["right" if is_right else "refused" if status in REFUSED else "wrong"] += 1


def run_clients(clients: list[LoadClient], goes_on: Callable[[], bool], swap_all: Callable) -> None:
    """Lets all clients ask while `goes_on`, and calls `swap_all` meanwhile."""

    def ask(client: LoadClient) -> None:
        while goes_on():
            client.ask()

    with ThreadPoolExecutor(len(clients)) as executor:
        futures = [executor.submit(ask, client) for client in clients]
        swap_all()
        for future in futures:
            future.result()


def load(clients: list[LoadClient], versions: Versions, *, seconds: float) -> dict:
    """Returns how requests of all kinds went in some seconds with swaps."""
    end, begin = time.monotonic() + seconds, time.monotonic()
    waited = []

    def swap_all() -> None:
        for number in range(N_LOAD_SWAPS):
            time.sleep(max(0.0, begin + seconds * (number + 0.5) / 4 - time.monotonic()))
            before = time.monotonic()
            versions.swap()
            waited.append(round(time.monotonic() - before, 1))

    # A busy machine may take longer for the swaps: the clients go on until all have been made.
    run_clients(clients, lambda: time.monotonic() < end or len(waited) < N_LOAD_SWAPS, swap_all)
    counts = sum((client.counts for client in clients), Counter())
    seconds = round(time.monotonic() - begin)
    return {"seconds": seconds, "wrong": 0, **counts, "swap_s": waited}


def growth(
    clients: list[LoadClient], versions: Versions, server: serving.Server, *, swaps: int, count: int
) -> dict:
    """Returns the server's memory before and after requests with swaps between them."""
    before, numbers, done = rss_mb(server), itertools.count(), []
    n_asked = [0]

    def goes_on() -> bool:
        n_asked[0] = next(numbers)
        return n_asked[0] < count or len(done) < swaps

    def swap_all() -> None:
        for number in range(swaps):
            while n_asked[0] < count * (number + 0.5) / swaps:
                time.sleep(0.05)
            versions.swap()
            done.append(round(rss_mb(server)))

    for client in clients:
        client.counts.clear()
    begin = time.monotonic()
    run_clients(clients, goes_on, swap_all)
    counts = sum((client.counts for client in clients), Counter())
    return {
        "seconds": round(time.monotonic() - begin),
        "requests": sum(counts[kind] for kind in KINDS),
        "wrong": counts["wrong"],
        "rss_mb_before": round(before),
        "rss_mb_after_each_swap": done,
        "rss_mb_after": round(rss_mb(server)),
    }


def rss_mb(server: serving.Server) -> float:
    return psutil.Process(server.process.pid).memory_info().rss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--publish", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.publish:
        publish(given.publish)
        return
    results = machine.about()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, sys.argv[0], f"--publish={folder}"], check=True)
        expected = np.load(folder / "expected.npy")
        versions = Versions(folder / "sources" / "bench" / "simple-cnn", folder / "models")
        versions.publish()
        server = serving.Server(folder / "models", runtime="savedmodel")
        try:
            versions.serve(server.line)
            clients = [LoadClient(i, server, versions, expected) for i in range(given.clients)]
            results["load"] = load(clients, versions, seconds=given.seconds)
            results["growth"] = growth(
                clients, versions, server, swaps=given.swaps, count=given.requests
            )
        finally:
            server.process.kill()
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
