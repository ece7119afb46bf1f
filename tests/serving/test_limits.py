"""What a server refuses to go beyond, over real sockets; what it serves is a stub that can wait."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import uvicorn
from server_process import Server, received

from tfpipe.base.errors import UserError
from tfpipe.serving import server, sockets
from tfpipe.serving.errors import Refused
from tfpipe.serving.http import app, handlers
from tfpipe.serving.limits import Limits, Load

LIMITS = Limits(
    body_bytes=1000,
    held_bytes=1500,
    waiting=3,
    of_one_client=2,
    connections=6,
    header_s=0.3,
    deadline_s=1.0,
)
WHERE = "/v1/models/stub:predict"


class Shelf:
    """One model, whose answers wait until they are let go."""

    names, is_ready, servable = ["stub"], True, SimpleNamespace(version=1)

    def __init__(self):
        self.free, self.inside = threading.Event(), threading.Semaphore(0)

    def get(self, name, **place):
        if name != "stub":
            raise Refused(404, "none")
        return self

    def statuses(self, name):
        return []

    def drifts(self):
        return {}


@pytest.fixture(scope="module")
def shelf():
    return Shelf()


@pytest.fixture(scope="module")
def load():
    return Load(LIMITS)


@pytest.fixture(scope="module")
def running(shelf, load) -> Iterator[Server]:
    def answer(version, asked):
        """Waits."""
        if asked.body == b"broken":
            raise ZeroDivisionError("a secret of the inside")
        version.inside.release()
        assert version.free.wait(60)
        return json.dumps({"came": len(asked.body)}).encode(), 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(handlers.VERBS, "predict", answer)
        api = app.app(app.Served(shelf, LIMITS, load, "secret"))
    listener = sockets.bound("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    serving = uvicorn.Server(server.configured(api, limits=LIMITS))
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [listener]})
    thread.start()
    while not serving.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield Server(None, {"url": url})
    shelf.free.set()
    serving.should_exit = True
    thread.join()


@pytest.fixture(autouse=True)
def go_on(shelf):
    shelf.free.set()
    while shelf.inside.acquire(blocking=False):
        pass


def ask(running, body=b"{}", where=WHERE, **headers):
    return running.ask(where, body, Authorization="Bearer secret", **headers)


def settle(load):
    until = time.monotonic() + 30
    while load.waiting:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_good_request_is_answered(running):
    assert ask(running, b"x" * 1000)[:2] == (200, {"came": 1000})


def test_too_many_at_once_of_one_client_are_told_when_to_come_again(running, shelf, load):
    shelf.free.clear()
    with ThreadPoolExecutor(2) as pool:
        first = [pool.submit(ask, running) for _ in range(2)]
        for _ in first:
            assert shelf.inside.acquire(timeout=30)
        status, told, headers = ask(running)
        shelf.free.set()
        assert (status, headers["Retry-After"]) == (429, "1")
        assert "waits for 2 answers already" in told["error"]
        assert [one.result()[0] for one in first] == [200, 200]
    settle(load)


def test_a_full_queue_is_told_when_to_come_again(running, load):
    for i in range(LIMITS.waiting):
        load.enter(f"another {i}")
    status, told, headers = ask(running)
    for i in range(LIMITS.waiting):
        load.leave(f"another {i}")
    assert (status, headers["Retry-After"]) == (503, "1")
    assert told == {"error": "3 requests wait already. Send this one again in a second."}
    assert ask(running)[0] == 200


def test_bodies_that_are_too_large_together_wait(running, load):
    with load.holding() as held:
        held.add(600)
        assert ask(running, b"x" * 950)[0] == 503
    assert ask(running, b"x" * 950)[0] == 200


def test_who_waits_beyond_the_deadline_is_told_and_still_counted(running, shelf, load):
    shelf.free.clear()
    status, told, headers = ask(running)
    assert (status, told["error"]) == (503, "There was no answer within 1 s. Try again.")
    assert load.waiting == 1  # its thread is not free yet
    shelf.free.set()
    settle(load)


def test_a_client_that_leaves_keeps_no_place(running, shelf, load):
    shelf.free.clear()
    with socket.create_connection((running.host, running.port)) as line:
        line.sendall(head("Content-Length: 2") + b"{}")
        assert shelf.inside.acquire(timeout=30)
    shelf.free.set()
    settle(load)
    assert ask(running)[0] == 200


def head(*lines: str, token="secret", where=WHERE) -> bytes:
    every = [f"POST {where} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", *lines, "", ""]
    return "\r\n".join(every).encode()


@pytest.mark.parametrize(
    ("sent", "status", "sentence"),
    [
        (head(), 411, "There is no Content-Length"),
        (head("Content-Length: 5000") + b"x" * 5000, 413, "larger than 0.001 MB"),
        (head("Content-Length: 99999999999999"), 413, "larger than 0.001 MB"),
        (
            head("Transfer-Encoding: chunked") + b"5dc\r\n" + b"x" * 1500 + b"\r\n0\r\n\r\n",
            413,
            "larger than 0.001 MB",
        ),
        (head("Content-Length: 2", "Content-Encoding: gzip") + b"{}", 415, "compressed"),
        (head("Content-Length: 20") + b"{}", 408, "did not come in within 1 s"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nA: ", 408, "head did not come in within 0.3 s"),
        (b"", 408, "head did not come in within 0.3 s"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 200_000, 400, "Invalid HTTP request"),
        (b"\0\1\2\r\n\r\n", 400, "Invalid HTTP request"),
        (head("Content-Length: -1"), 400, "Invalid HTTP request"),
        (head("Content-Length: 2", "Content-Length: 3") + b"{}", 400, "Invalid HTTP request"),
        (head("Transfer-Encoding: chunked") + b"zz\r\n", 400, "Invalid HTTP request"),
        (head("Content-Length: 2", token="guessed") + b"{}", 401, "token is missing or wrong"),
        (head("Content-Length: 6") + b"broken", 500, "The server failed; its log says why."),
        (head("Content-Length: 2", where="/v1/models/..%2f:predict") + b"{}", 404, "Malformed"),
        (head("Content-Length: 2", where="/v1/models/other:predict") + b"{}", 404, "none"),
    ],
)
def test_what_is_malformed_is_refused_in_one_sentence(running, sent, status, sentence):
    with socket.create_connection((running.host, running.port), timeout=60) as line:
        line.sendall(sent)
        got = answer_of(line)
    lines = got.decode().splitlines()
    assert lines[0].split()[1] == str(status)
    told = json.loads(lines[-1])
    assert list(told) == ["error"] and sentence in told["error"]
    assert "secret" not in told["error"] and "Traceback" not in told["error"]
    assert ask(running)[0] == 200


def answer_of(line: socket.socket) -> bytes:
    """Returns the first answer that comes in."""
    got = b""
    while b"}" not in got:
        part = line.recv(65536)
        assert part, got
        got += part
    return got


def test_pipelined_requests_are_answered_in_their_order(running):
    bodies = [b"x" * n for n in (3, 1, 2)]
    sent = b"".join(head(f"Content-Length: {len(body)}") + body for body in bodies[:-1])
    last = head("Content-Length: 2", "Connection: close") + bodies[-1]
    got = running.send(sent + last).decode()
    assert [int(part[0]) for part in got.split('"came": ')[1:]] == [3, 1, 2]


def test_more_connections_than_allowed_are_refused_and_the_others_live(running):
    lines = [socket.create_connection((running.host, running.port)) for _ in range(8)]
    try:
        got = [received(line) for line in lines]  # all end: these are slow with their heads, too
    finally:
        for line in lines:
            line.close()
    statuses = sorted(one.split()[1] for one in got)
    assert statuses[0] == b"408" and statuses[-1] == b"503"
    assert ask(running)[0] == 200


def test_the_token_opens_and_what_people_look_at_first_needs_none(running):
    assert running.ask("/metrics")[0] == 401
    assert running.ask("/metrics", Authorization="Bearer secret")[0] == 200
    for path in ("/", "/docs", "/healthz"):
        assert running.ask(path)[0] == 200


def test_a_port_that_is_taken_is_said():
    taken = "Nothing can listen at 127.0.0.1 port .*--port"
    with sockets.bound("127.0.0.1", 0) as first:
        address = first.getsockname()
        with pytest.raises(ConnectionRefusedError):  # nobody waits while models are loaded
            socket.create_connection(address)
        with sockets.bound(*address) as second:
            sockets.listen(first)
            with pytest.raises(UserError, match=taken):
                sockets.listen(second)
        with pytest.raises(UserError, match=taken):
            sockets.bound(*address)


def test_an_answer_does_not_wait_for_its_head_to_be_received():
    with sockets.bound("127.0.0.1", 0) as listener:
        sockets.listen(listener)
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
