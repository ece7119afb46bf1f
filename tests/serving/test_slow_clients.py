"""Clients that send or read slowly, or leave, over real sockets: they lock nobody out."""

import contextlib
import socket
import time

import pytest
import stub_server
from server_process import received
from stub_server import head

from tfpipe.serving.limits import Limits

LIMITS = Limits(
    max_body_bytes=1000,
    max_answer_bytes=6_000_000,
    max_buffered_bytes=8_000_000,
    max_waiting=4,
    max_connections=8,
    max_connections_per_client=7,
    header_timeout_s=5.0,
    deadline_s=1.0,
)

models, admission, running = stub_server.fixtures(LIMITS)


def test_a_body_that_nobody_reads_does_not_keep_its_connection(running):
    sent = head("Content-Length: 1000", method="GET", where="/healthz")
    with contextlib.ExitStack() as stack:
        attackers = [
            stack.enter_context(stub_server.connect(running, sent))
            for _ in range(LIMITS.max_connections_per_client)
        ]
        for attacker in attackers:
            assert attacker.recv(15) == b"HTTP/1.1 200 OK"
        begin = time.monotonic()
        stub_server.wait_for(lambda: all(list(map(is_reset, attackers))))
        assert time.monotonic() - begin < 4
        assert running.ask("/healthz")[0] == 200


def is_reset(connection: socket.socket) -> bool:
    """Sends one byte more, and returns whether nobody takes it."""
    try:
        connection.sendall(b"x")
    except OSError:
        return True
    return False


@pytest.mark.parametrize(
    "sent",
    [
        head("Content-Length: 900", where="/v1/models/other:predict"),
        head("Content-Length: 900", "Content-Encoding: gzip"),
        head("Content-Length: 900", host="evil.example"),
    ],
)
def test_a_refused_body_is_not_waited_for(running, sent):
    begin = time.monotonic()
    with stub_server.connect(running, sent) as connection:
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 4") and answer.endswith(b"}")
    assert time.monotonic() - begin < 4


def test_a_client_that_ends_its_side_after_a_whole_request_gets_the_answer(running, models):
    models.free.clear()
    sent = head("Content-Length: 3") + b"abc"
    with stub_server.connect(running, sent + sent) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert models.inside.acquire(timeout=30)
        models.free.set()
        assert received(connection).count(b'{"n_bytes": 3}') == 2
    with stub_server.connect(running, sent[:-1]) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert received(connection) == b""


def test_one_address_has_not_every_connection(running):
    with contextlib.ExitStack() as stack:
        for _ in range(LIMITS.max_connections_per_client):
            stack.enter_context(stub_server.connect(running))
        one_more = stack.enter_context(stub_server.connect(running))
        assert b"127.0.0.1 already has 7 connections" in received(one_more)
    stub_server.wait_for(lambda: running.ask("/healthz")[0] == 200)


def test_an_answer_counts_until_the_client_has_taken_it(running, admission):
    body = b"answer 5000000"
    with stub_server.connect(running, head(f"Content-Length: {len(body)}") + body) as slow:
        stub_server.wait_for(lambda: admission.buffered_bytes > 5_000_000 and not admission.waiting)
        assert running.ask(stub_server.WHERE, body)[0] == 503
        assert running.ask(stub_server.WHERE, b"{}")[0] == 200
        stub_server.wait_for(lambda: admission.buffered_bytes == 0)  # it is given `deadline_s`
        assert len(received(slow)) < 5_000_000
    status, numbers, _ = running.ask(stub_server.WHERE, body)
    assert status == 200 and len(numbers) == 2_500_001
    status, refused, _ = running.ask(stub_server.WHERE, b"answer 7000000")
    assert status == 413 and "The answer would have 7 MB" in refused["error"]
    assert admission.buffered_bytes == 0


def test_a_request_whose_client_is_gone_is_not_answered(running, models, admission):
    models.free.clear()
    before, n_answered = stub_server.n_left(running), models.n_answered
    waiting = [stub_server.connect(running, head("Content-Length: 2") + b"{}") for _ in range(3)]
    for _ in waiting:
        assert models.inside.acquire(timeout=30)
    for connection in waiting:
        # Closed with a reset, which is not taken for a client that has ended its side only.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    stub_server.wait_for(lambda: stub_server.n_left(running) == before + 3)
    models.free.set()
    stub_server.wait_for(lambda: not admission.waiting)
    assert admission.buffered_bytes == 0
    assert models.n_answered == n_answered
