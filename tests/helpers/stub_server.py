"""A server over a real socket whose model is a stub, which can be made to wait."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from server_process import Client

from tfpipe.serving import server, sockets
from tfpipe.serving.errors import RequestError
from tfpipe.serving.http import app, handlers
from tfpipe.serving.http.analyze import UploadConfig
from tfpipe.serving.limits import Admission, Limits
from tfpipe.serving.metrics import ServerMetrics

WHERE = "/v1/models/stub:predict"


class StubStore:
    """A model store of one model, whose answers wait until `free` is set."""

    names, is_ready, servable = ["stub"], True, SimpleNamespace(version=1)
    seconds_since_check, refused = 0.0, ()

    def __init__(self):
        self.free, self.inside = threading.Event(), threading.Semaphore(0)
        self.free.set()
        self.n_answered = 0

    def get(self, name, **place):
        if name != "stub":
            raise RequestError(404, "none")
        return self

    def statuses(self, name):
        return []

    def drift_monitors(self):
        return {}


def answer(version: StubStore, request: handlers.HandlerRequest) -> handlers.Answer:
    """Waits, and answers with the length of the body, or with a body of the length asked for."""
    if request.body == b"broken":
        raise ZeroDivisionError("a secret of the inside")
    version.inside.release()
    assert version.free.wait(60)
    request.budget.check()
    version.n_answered += 1
    if request.body.startswith(b"answer "):
        content = b"[" + b"0," * (int(request.body.split()[1]) // 2) + b"0]"
        request.budget.add_answer(len(content))
        return handlers.Answer(content, 1)
    return handlers.Answer(json.dumps({"n_bytes": len(request.body)}).encode(), 1)


def n_left(client: Client, **headers: str) -> int:
    """Returns how many clients have left before their answer."""
    lines = client.ask("/metrics", **headers)[1].splitlines()
    counts = [line for line in lines if line.startswith("tfpipe_requests_total") and "499" in line]
    return sum(int(float(line.split()[-1])) for line in counts)


@contextlib.contextmanager
def running(
    models: StubStore,
    admission: Admission,
    limits: Limits,
    *,
    token: str = "",
    hosts: tuple[str, ...] = (),
    proxy_headers: bool = False,
    handler: handlers.Handler = answer,
    uploads: UploadConfig | None = None,
) -> Iterator[Client]:
    """Serves a stub until the end of the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(handlers.HANDLERS, "predict", handler)
        context = app.AppContext(models, limits, admission, token, hosts, uploads)
        api = app.create_app(context, ServerMetrics(models, admission))
    listener = sockets.bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    listeners = [listener]
    if uploads and uploads.siblings:
        listeners.append(uploads.siblings.listener)
    config = server.uvicorn_config(api, limits=limits, proxy_headers=proxy_headers)
    serving = uvicorn.Server(config)
    thread = threading.Thread(target=serving.run, kwargs={"sockets": listeners})
    thread.start()
    while not serving.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield Client({"url": url})
    models.free.set()
    serving.should_exit = True
    thread.join()


def fixtures(limits: Limits, **options: Any) -> tuple[Any, Any, Any]:
    """Returns fixtures of a test module: the stub, its admission, and a client of its server.

    Args:
      limits: of the server.
      options: of `running`.
    """

    @pytest.fixture(scope="module")
    def models() -> StubStore:
        return StubStore()

    @pytest.fixture(scope="module")
    def admission() -> Admission:
        return Admission(limits)

    @pytest.fixture(scope="module", name="running")
    def client(models, admission) -> Iterator[Client]:
        with running(models, admission, limits, **options) as served:
            yield served

    return models, admission, client


def head(*lines: str, token="secret", where=WHERE, method="POST", host="127.0.0.1") -> bytes:
    """Returns the head of a request."""
    first = [f"{method} {where} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {token}"]
    return "\r\n".join([*first, *lines, "", ""]).encode()


def connect(client: Client, data: bytes = b"") -> socket.socket:
    """Returns a connection over which some bytes were sent."""
    connection = socket.create_connection((client.host, client.port), timeout=60)
    connection.sendall(data)
    return connection


def wait_for(condition) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
