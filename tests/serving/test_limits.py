"""Limits of a server, over real sockets; its model is a stub that can be made to wait."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import stub_server
from server_process import received
from stub_server import WHERE, head

from tfpipe.base.errors import UserError
from tfpipe.serving import sockets
from tfpipe.serving.limits import Limits

LIMITS = Limits(
    max_body_bytes=1000,
    max_buffered_bytes=1500,
    max_waiting=3,
    max_per_client=2,
    max_connections=6,
    header_timeout_s=0.3,
    deadline_s=1.0,
)

models, admission, running = stub_server.fixtures(LIMITS, token="secret")


@pytest.fixture(autouse=True)
def open_stub(models, admission):
    models.free.set()
    wait_until_idle(admission)  # threads of the test before may still end
    while models.inside.acquire(blocking=False):
        pass


def ask(running, body=b"{}", where=WHERE, **headers):
    return running.ask(where, body, Authorization="Bearer secret", **headers)


def wait_until_idle(admission):
    stub_server.wait_for(lambda: not admission.waiting)


def test_a_good_request_is_answered(running):
    assert ask(running, b"x" * 1000)[:2] == (200, {"n_bytes": 1000})


def test_too_many_requests_of_one_client_get_a_time_to_retry(running, models, admission):
    models.free.clear()
    with ThreadPoolExecutor(2) as pool:
        first = [pool.submit(ask, running) for _ in range(2)]
        for _ in first:
            assert models.inside.acquire(timeout=30)
        status, content, headers = ask(running)
        models.free.set()
        assert (status, headers["Retry-After"]) == (429, "1")
        assert "already has 2 requests without an answer" in content["error"]
        assert [one.result()[0] for one in first] == [200, 200]
    wait_until_idle(admission)


def test_a_full_queue_gives_a_time_to_retry(running, admission):
    for i in range(LIMITS.max_waiting):
        admission.enter(f"another {i}")
    status, content, headers = ask(running)
    for i in range(LIMITS.max_waiting):
        admission.leave(f"another {i}")
    assert (status, headers["Retry-After"]) == (503, "1")
    assert content == {
        "error": "The server already has 3 requests without an answer. "
        "Send this one again in a second."
    }
    assert ask(running)[0] == 200


def test_bodies_that_are_too_large_together_are_refused(running, admission):
    budget = admission.budget()
    budget.add(600)
    assert ask(running, b"x" * 950)[0] == 503
    budget.release()
    assert ask(running, b"x" * 950)[0] == 200


def test_a_request_beyond_its_deadline_is_refused_and_still_counted(running, models, admission):
    models.free.clear()
    status, content, headers = ask(running)
    assert (status, content["error"]) == (503, "There was no answer within 1 s. Try again.")
    assert admission.waiting == 1  # its thread is not free yet
    models.free.set()
    wait_until_idle(admission)


def test_a_client_that_leaves_is_not_counted_any_more(running, models, admission):
    models.free.clear()
    with stub_server.connect(running, head("Content-Length: 2") + b"{}"):
        assert models.inside.acquire(timeout=30)
    models.free.set()
    wait_until_idle(admission)
    assert ask(running)[0] == 200


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
        (head("Content-Length: 20") + b"{}", 408, "did not arrive within 1 s"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nA: ", 408, "head did not arrive within 0.3 s"),
        (b"", 408, "head did not arrive within 0.3 s"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 200_000, 400, "more than 65536 bytes"),
        (b"\0\1\2\r\n\r\n", 400, "Invalid HTTP request"),
        (head("Content-Length: -1"), 400, "Invalid HTTP request"),
        (head("Content-Length: 2", "Content-Length: 3") + b"{}", 400, "Invalid HTTP request"),
        (head("Transfer-Encoding: chunked") + b"zz\r\n", 400, "Invalid HTTP request"),
        (head("Content-Length: 2", token="guessed") + b"{}", 401, "token is missing or wrong"),
        (
            head("Content-Length: 6") + b"broken",
            500,
            "The server failed; the reason",
        ),
        (head("Content-Length: 2", where="/v1/models/..%2f:predict") + b"{}", 404, "Could not"),
        (head("Content-Length: 2", where="/v1/models/other:predict") + b"{}", 404, "none"),
    ],
)
def test_what_is_malformed_is_refused_in_one_sentence(running, sent, status, sentence):
    with socket.create_connection((running.host, running.port), timeout=60) as connection:
        connection.sendall(sent)
        lines = first_answer(connection).decode().splitlines()
    assert lines[0].split()[1] == str(status)
    content = json.loads(lines[-1])
    assert list(content) == ["error"] and sentence in content["error"]
    assert "secret" not in content["error"] and "Traceback" not in content["error"]
    assert ask(running)[0] == 200


def first_answer(connection: socket.socket) -> bytes:
    """Returns the first answer that arrives."""
    data = b""
    while b"}" not in data:
        part = connection.recv(65536)
        assert part, data
        data += part
    return data


def test_pipelined_requests_are_answered_in_their_order(running):
    bodies = [b"x" * n for n in (3, 1, 2)]
    sent = b"".join(head(f"Content-Length: {len(body)}") + body for body in bodies[:-1])
    last = head("Content-Length: 2", "Connection: close") + bodies[-1]
    answers = running.send(sent + last).decode()
    assert [int(part[0]) for part in answers.split('"n_bytes": ')[1:]] == [3, 1, 2]


def test_more_connections_than_allowed_are_refused_and_the_others_live(running):
    connections = [socket.create_connection((running.host, running.port)) for _ in range(8)]
    try:
        answers = [received(one) for one in connections]  # those admitted send no head in time
    finally:
        for connection in connections:
            connection.close()
    statuses = sorted(answer.split()[1] for answer in answers)
    assert statuses[0] == b"408" and statuses[-1] == b"503"
    assert ask(running)[0] == 200


def test_the_token_is_required_except_for_pages_and_health(running):
    assert running.ask("/metrics")[0] == 401
    assert running.ask("/metrics", Authorization="Bearer secret")[0] == 200
    for path in ("/", "/docs", "/healthz"):
        assert running.ask(path)[0] == 200


def test_a_port_that_is_taken_is_refused():
    taken = "The server cannot listen at 127.0.0.1 port .*--port"
    with sockets.bind("127.0.0.1", 0) as first:
        address = first.getsockname()
        with pytest.raises(ConnectionRefusedError):  # nobody waits while models are loaded
            socket.create_connection(address)
        with sockets.bind(*address) as second:
            sockets.listen(first)
            with pytest.raises(UserError, match=taken):
                sockets.listen(second)
        with pytest.raises(UserError, match=taken):
            sockets.bind(*address)


def test_connections_send_without_delay():
    with sockets.bind("127.0.0.1", 0) as listener:
        sockets.listen(listener)
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_small_container_lowers_what_requests_may_hold(caplog):
    usual = Limits()
    assert usual.within(8_000_000_000) == usual and not caplog.text
    small = usual.within(1_000_000_000)
    assert small.max_body_bytes * 60 + small.max_buffered_bytes < 500_000_000
    assert small.max_body_bytes <= small.max_answer_bytes <= small.max_buffered_bytes
    assert "1.0 GB of memory, so requests of up to 6 MB are taken, and 100 MB of" in caplog.text
    tight = Limits(max_body_bytes=1000, max_answer_bytes=1000, max_buffered_bytes=2500)
    assert tight.within(1_000_000_000) == tight


def test_the_largest_body_that_is_taken_fits_among_those_that_are_held():
    raised = Limits(max_body_bytes=500_000_000).within(100_000_000_000)
    assert raised.max_body_bytes == 500_000_000 <= raised.max_buffered_bytes
