"""Raw requests that programs read differently: refused, so that no proxy sees another request."""

import pytest
import stub_server
from server_process import received
from stub_server import head

from tfpipe.serving.limits import Admission, Limits

TOKEN = {"Authorization": "Bearer secret"}
LIMITS = Limits(max_body_bytes=1000, header_timeout_s=20.0, deadline_s=20.0)
GET, HOST, CLOSE = b"GET /healthz HTTP/1.1\r\n", b"Host: 127.0.0.1\r\n", b"Connection: close\r\n"
CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"
GOOD = GET + HOST + CLOSE + b"\r\n"


def post(*lines: str, body: bytes = b"") -> bytes:
    """Returns a POST request with a token."""
    return head("Connection: close", *lines) + body


def chunked(body: bytes, encoding: str = "chunked") -> bytes:
    """Returns a POST request whose body comes in chunks."""
    return post(f"Transfer-Encoding: {encoding}", body=body)


@pytest.fixture(scope="module")
def models():
    return stub_server.StubStore()


@pytest.fixture(scope="module")
def running(models):
    with stub_server.running(models, Admission(LIMITS), LIMITS, token="secret") as client:
        yield client


def statuses(client, sent: bytes) -> list[int]:
    """Returns the statuses of all answers to some bytes, after which the server hangs up."""
    with stub_server.connect(client, sent) as connection:
        answer = received(connection)
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


REFUSED = {
    "lines end with LF": GOOD.replace(b"\r\n", b"\n"),
    "lines end with CR": GOOD.replace(b"\r\n", b"\r"),
    "a header goes on in the next line": GET + HOST + b"A: b\r\n c\r\n\r\n",
    "space before a colon": GET + HOST + b"Content-Length : 3\r\n\r\n",
    "space before the first header": GET + b" " + HOST + b"\r\n",
    "no host": GET + b"\r\n",
    "two hosts": GET + HOST + HOST + b"\r\n",
    "another host second": GET + HOST + b"Host: evil.example\r\n\r\n",
    "NUL in a header": GET + HOST + b"A: b\0c\r\n\r\n",
    "control character in a header": GET + HOST + b"A: b\x01c\r\n\r\n",
    "header without a name": GET + HOST + b": b\r\n\r\n",
    "header without a colon": GET + HOST + b"abc\r\n\r\n",
    "unknown method": b"FOO /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "method in lower case": b"get /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "tunnel": b"CONNECT a:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "URL with a host": b"GET http://evil.example/healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    "space in the path": b"GET /health z HTTP/1.1\r\n" + HOST + b"\r\n",
    "NUL in the path": b"GET /health\0z HTTP/1.1\r\n" + HOST + b"\r\n",
    "path that is not ASCII": b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n",
    "no version": b"GET /healthz\r\n" + HOST + b"\r\n",
    "HTTP/1.2": b"GET /healthz HTTP/1.2\r\n" + HOST + b"\r\n",
    "HTTP/2": b"GET /healthz HTTP/2.0\r\n" + HOST + b"\r\n",
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": bytes.fromhex("16030100b8010000b40303") + bytes(100),
    "length with a sign": post("Content-Length: +3", body=b"abc"),
    "length in hexadecimal": post("Content-Length: 0x3", body=b"abc"),
    "length without digits": post("Content-Length: "),
    "length with a space": post("Content-Length: 1 2", body=b"ab"),
    "list of lengths": post("Content-Length: 3, 3", body=b"abc"),
    "two lengths that agree": post("Content-Length: 3", "Content-Length: 3", body=b"abc"),
    "length beyond 64 bits": post(f"Content-Length: {9**30}"),
    "chunks and a length": post(
        "Transfer-Encoding: chunked", "Content-Length: 3", body=CHUNKS
    ),
    "a length and chunks": post(
        "Content-Length: 3", "Transfer-Encoding: chunked", body=CHUNKS
    ),
    "gzip": chunked(b"abc", "gzip"),
    "gzip in chunks": chunked(CHUNKS, "gzip, chunked"),
    "chunks in gzip": chunked(CHUNKS, "chunked, gzip"),
    "chunks twice": chunked(CHUNKS, "chunked, chunked"),
    "another encoding": chunked(CHUNKS, "xchunked"),
    "vertical tab before chunked": chunked(CHUNKS, "\x0bchunked"),
    "chunk of negative size": chunked(b"-3\r\nabc\r\n0\r\n\r\n"),
    "size with a space": chunked(b"3 \r\nabc\r\n0\r\n\r\n"),
    "size with 0x": chunked(b"0x3\r\nabc\r\n0\r\n\r\n"),
    "size beyond 64 bits": chunked(b"fffffffffffffffff\r\nabc"),
    "sizes end with LF": chunked(b"3\nabc\n0\n\n"),
    "chunk longer than its size": chunked(b"3\r\nabcd\r\n0\r\n\r\n"),
    "LF in an extension of a chunk": chunked(b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    "length after the chunks": chunked(b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
def test_what_programs_read_differently_is_refused(running, models, sent):
    before = models.n_answered
    assert statuses(running, sent + GOOD) == [400]
    assert models.n_answered == before


TAKEN = {
    "HTTP/1.0 without a host": b"GET /healthz HTTP/1.0\r\n\r\n",
    "an empty line first": b"\r\n" + GOOD,
    "a header in Latin-1": GET + HOST + b"A: \xff\r\n" + CLOSE + b"\r\n",
    "many headers": GET + HOST + b"".join(b"A%d: b\r\n" % i for i in range(2000)) + CLOSE + b"\r\n",
    "spaces after a length": post("Content-Length: 3  ", body=b"abc"),
    "chunks": chunked(CHUNKS),
    "chunks in capitals": chunked(CHUNKS, "CHUNKED"),
    "extension of a chunk": chunked(b"3;a=b\r\nabc\r\n0\r\n\r\n"),
    "header after the chunks": chunked(b"3\r\nabc\r\n0\r\nA: b\r\n\r\n"),
    "body of a GET": GET + HOST + CLOSE + b"Content-Length: 3\r\n\r\nabc",
}


@pytest.mark.parametrize("sent", TAKEN.values(), ids=TAKEN)
def test_what_all_programs_read_alike_is_answered(running, sent):
    assert statuses(running, sent) == [200]


def test_nothing_is_answered_after_close_or_an_upgrade(running):
    assert statuses(running, GOOD + GOOD) == [200]
    upgrade = GET + HOST + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert statuses(running, upgrade + GOOD) == [200]


def test_answers_before_what_is_no_request_are_sent(running):
    first = GET + HOST + b"\r\n"
    assert statuses(running, first + first + b"\0\1\2\r\n\r\n") == [200, 200]
    broken = head("Transfer-Encoding: chunked") + b"zz\r\n"
    assert statuses(running, first + broken) == [200]


def test_a_connection_has_not_endless_requests_that_wait(running, models):
    models.free.clear()
    body = head("Content-Length: 2") + b"{}"
    with stub_server.connect(running, body * 100) as connection:
        answer = received(connection)
    models.free.set()
    assert answer.startswith(b"HTTP/1.1 400") and b"64 requests wait on this connection" in answer


def test_a_client_that_closes_its_connection_is_noticed_before_its_answer(running, models):
    """Until something is sent to it, it looks like one that only sends no more."""
    models.free.clear()
    before, n_answered = stub_server.n_left(running, **TOKEN), models.n_answered
    with stub_server.connect(running, head("Content-Length: 2") + b"{}"):
        assert models.inside.acquire(timeout=30)
    stub_server.wait_for(lambda: stub_server.n_left(running, **TOKEN) == before + 1)
    models.free.set()
    assert running.ask(stub_server.WHERE, b"{}", **TOKEN)[0] == 200
    assert models.n_answered == n_answered + 1  # the work of the other was dropped


def test_a_client_that_leaves_ends_the_request_that_others_wait_for(running, models):
    """A pipelined request has arrived behind the one that is computed when the client leaves."""
    models.free.clear()
    body = head("Content-Length: 2") + b"{}"
    with stub_server.connect(running, body + body):
        assert models.inside.acquire(timeout=30)
    models.free.set()
    stub_server.wait_for(
        lambda: b"499" in running.ask("/metrics", Authorization="Bearer secret")[1].encode()
    )
