"""Who may ask a server: tokens, names of the server, pages of other origins, ambiguous requests."""

import stat
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import stub_server
from server_process import received
from stub_server import head
from typer.testing import CliRunner

import tfpipe
from tfpipe.base.errors import UserError
from tfpipe.cli import app
from tfpipe.serving import sockets
from tfpipe.serving.limits import Admission, Limits

OWN = "127.0.0.1"


@pytest.fixture(scope="module")
def running():
    limits = Limits()
    models, admission = stub_server.StubStore(), Admission(limits)
    with stub_server.running(models, admission, limits, hosts=("core.example",)) as client:
        yield client


@pytest.fixture(scope="module")
def guarded():
    limits = Limits()
    models, admission = stub_server.StubStore(), Admission(limits)
    with stub_server.running(models, admission, limits, token="secret") as client:
        yield client


def test_the_client_takes_the_token_of_the_environment(monkeypatch):
    tokens = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            tokens.append(self.headers["Authorization"])
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"models": ["stub"]}')

        def log_message(self, *words):
            """Prints nothing."""

    monkeypatch.setenv("TFPIPE_TOKEN", "secret")
    with HTTPServer((OWN, 0), Handler) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        url = f"http://{OWN}:{listener.server_port}"
        for given in ({}, {"token": "own"}, {"token": ""}):
            assert tfpipe.Client(url, **given).models == ["stub"]
        listener.shutdown()
    assert tokens == ["Bearer secret", "Bearer own", None]


def status(client, *lines: str, body=b"{}", **rest) -> int:
    """Returns the status of a raw request."""
    sent = head("Connection: close", f"Content-Length: {len(body)}", *lines, **rest) + body
    return int(client.send(sent).split()[1])


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (OWN, 200),
        (f"{OWN}:9000", 200),
        ("localhost:9000", 200),
        ("LocalHost", 200),
        ("[::1]:8501", 200),
        ("192.168.3.4:8501", 200),
        ("core.example", 200),
        ("core.example:443", 200),
        ("evil.example", 403),
        ("evil.example:8501", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
    ],
)
def test_only_names_of_the_server_are_answered_without_a_token(running, host, expected):
    assert status(running, host=host) == expected
    assert status(running, host=host, method="GET", where="/metrics", body=b"") == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Origin: http://127.0.0.1"], 200),
        (["Origin: https://127.0.0.1", "Sec-Fetch-Site: same-origin"], 200),
        (["Sec-Fetch-Site: none"], 200),
        (["Origin: http://evil.example"], 403),
        (["Origin: http://127.0.0.1:9999"], 403),
        (["Origin: null"], 403),
        (["Sec-Fetch-Site: cross-site"], 403),
    ],
)
def test_pages_of_other_origins_are_refused(running, guarded, lines, expected):
    assert status(running, *lines) == expected
    assert status(guarded, *lines) == expected


def test_with_a_token_the_name_does_not_matter(guarded):
    assert status(guarded, host="evil.example") == 200
    assert status(guarded, host="evil.example", token="other") == 401


def test_a_request_of_two_lengths_is_refused_and_the_connection_closed(running):
    hidden = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    sent = head("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + hidden
    with stub_server.connect(running, sent) as connection:
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 400") and answer.count(b"HTTP/1.1") == 1
    assert b"Invalid HTTP request" in answer


def test_nothing_is_redirected_to_the_host_of_the_request(running):
    for path in ("/docs/", "/healthz/", "/v1/models/"):
        answer = running.send(head("Connection: close", method="GET", where=path, host="[::1]:1"))
        assert answer.split()[1] in (b"404", b"400") and b"ocation" not in answer, path


@pytest.mark.parametrize(
    ("method", "path", "expected", "sentence"),
    [
        ("POST", "/v1/models/stub:sum", 400, "Malformed request: POST /v1/models/stub:sum"),
        ("POST", "/v1/models/stub", 400, "Malformed request: POST /v1/models/stub"),
        ("POST", "/v1/models/stub/versions/one:predict", 400, "Malformed request: POST"),
        ("POST", f"/v1/models/stub/versions/{9**30}:predict", 400, "Malformed request: POST"),
        ("POST", "/v1/models/stub:regress", 400, "no signature for :regress"),
        ("GET", "/v1/models/stub:predict", 400, "Malformed request: GET /v1/models/stub:predict"),
        ("DELETE", "/v1/models/stub", 400, "Malformed request: DELETE /v1/models/stub"),
        ("POST", "/v1/models/a%2fb:predict", 404, "Could not find any versions of model"),
        ("GET", "/nothing", 404, "Malformed request: GET /nothing"),
    ],
)
def test_what_tensorflow_serving_calls_malformed(running, method, path, expected, sentence):
    sent = head("Connection: close", "Content-Length: 0", method=method, where=path)
    answer = running.send(sent).decode()
    assert (int(answer.split()[1]), sentence in answer) == (expected, True), answer


def test_metrics_are_where_tensorflow_serving_has_them(running):
    assert "tfpipe_waiting" in running.ask("/monitoring/prometheus/metrics")[1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--host", "0.0.0.0"], "Other machines can reach --host 0.0.0.0. Set a token by"),
        (["--host", "::"], "Other machines can reach --host ::."),
        (["--host", "192.168.1.5"], "or let everybody in with --no-token"),
        (["--host", "core.example"], "Other machines can reach --host core.example."),
        (["--token-file", "none.txt"], "--token-file none.txt cannot be read"),
        (["--token-file", "empty.txt"], "--token-file empty.txt is empty"),
        (["--token-file", "two.txt"], "printable ASCII characters, and no space"),
        (["--token-file", "good.txt", "--no-token"], "Leave one out"),
        (["--host", "0.0.0.0", "--no-token"], "has no version yet"),
        (["--host", "0.0.0.0", "--token-file", "good.txt"], "has no version yet"),
        (["--host", "127.0.0.1"], "has no version yet"),
        (["--host", "::1"], "has no version yet"),
    ],
)
def test_others_are_let_in_only_where_that_was_said(tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    for name, text in {"empty": "\n", "two": "a b", "good": "secret\n"}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    result = CliRunner().invoke(app, ["serve", "--port", "0", *arguments])
    assert isinstance(result.exception, UserError) and sentence in str(result.exception)


def test_the_token_is_no_option():
    result = CliRunner().invoke(app, ["serve", "--token", "secret"])
    assert result.exit_code == 2 and "No such option" in result.output


def test_a_unix_socket_is_this_users_alone_and_replaces_one_that_was_left(tmp_path):
    path = tmp_path / "tfpipe.sock"
    for _ in range(2):  # the first one is closed, and its file left
        with sockets.bind_unix(path) as listener:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert sockets.url(listener) == f"unix:{path}"
            sockets.listen(listener)
            with pytest.raises(UserError, match="cannot listen at .*--unix-socket"):
                sockets.bind_unix(path)
    path.unlink()
    path.write_text("mine")
    with pytest.raises(UserError, match="Choose another with --unix-socket"):
        sockets.bind_unix(path)
    assert path.read_text() == "mine"


def test_clients_are_counted_by_the_proxy_only_where_it_is_trusted():
    limits = Limits(max_per_client=1)
    for proxy_headers, expected in ((False, 429), (True, 200)):
        models, admission = stub_server.StubStore(), Admission(limits)
        with stub_server.running(models, admission, limits, proxy_headers=proxy_headers) as client:
            models.free.clear()
            sent = head("X-Forwarded-For: 192.0.2.1", "Content-Length: 2") + b"{}"
            with stub_server.connect(client, sent):
                assert models.inside.acquire(timeout=30)
                release = threading.Timer(0.2, models.free.set)
                release.start()
                assert status(client, "X-Forwarded-For: 192.0.2.2") == expected
                release.join()
