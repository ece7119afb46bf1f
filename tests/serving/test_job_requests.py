"""Analyses that take long, over real sockets: abandoned, too late, reported, fetched later."""

import contextlib
import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import stub_server
from made_card import made_card
from server_process import received
from stub_server import connect, wait_for

from tfpipe.serving import analyze
from tfpipe.serving.http.analyze import UploadConfig
from tfpipe.serving.http.siblings import Siblings
from tfpipe.serving.jobs import JobAnswer, JobLimits, JobQueue
from tfpipe.serving.limits import Admission, Limits

pytestmark = pytest.mark.slow

LIMITS = Limits(max_body_bytes=1000, max_waiting=4, max_per_client=4, deadline_s=0.5)
WHERE = "/v1/models/stub:analyze?name=a.png"


class Analyses:
    """What stands for the analysis: it goes on until it is told to end, or cancelled."""

    def __init__(self):
        self.running, self.cancelled, self.ends = 0, 0, False

    def __call__(self, version, request, job, *, folder, limits) -> JobAnswer:
        self.running += 1
        try:
            while not self.ends:
                job.add_images(1)
                time.sleep(0.002)
            return JobAnswer(b'{"rows":[]}', "application/json", 1)
        except BaseException:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


@pytest.fixture
def analyses(monkeypatch):
    made = Analyses()
    monkeypatch.setattr(analyze, "analyze", made)
    return made


@pytest.fixture
def admission():
    return Admission(LIMITS)


def stub_models() -> stub_server.StubStore:
    models = stub_server.StubStore()
    card = made_card(task="melt-layer", classes=("no-layer", "melt-layer"))
    models.servable = SimpleNamespace(version=1, card=card)
    return models


@pytest.fixture
def client(analyses, admission, tmp_path):
    models = stub_models()
    with contextlib.closing(JobQueue(JobLimits(threads=1))) as queue:
        uploads = UploadConfig(tmp_path, queue)
        with stub_server.running(models, admission, LIMITS, uploads=uploads) as running:
            yield running


def head(**headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return stub_server.head("Content-Length: 1", *lines, where=WHERE)


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_an_analysis_ends_when_its_client_leaves(client, analyses, admission, accept):
    with connect(client, head(Accept=accept) + b"x"):
        wait_for(lambda: analyses.running == 1)
    wait_for(lambda: analyses.cancelled == 1)
    wait_for(lambda: admission.waiting == admission.buffered_bytes == 0)


def test_an_analysis_that_takes_too_long_is_refused_and_ends(client, analyses, admission):
    status, answer, _ = client.ask(WHERE, b"x")
    assert status == 503 and "Prefer: respond-async" in answer["error"]
    wait_for(lambda: analyses.cancelled == 1)
    wait_for(lambda: admission.waiting == admission.buffered_bytes == 0)


def test_events_report_progress_beyond_the_deadline(client, analyses):
    with connect(client, head(Accept="text/event-stream", Connection="close") + b"x") as stream:
        wait_for(lambda: analyses.running == 1)
        time.sleep(2 * LIMITS.deadline_s)
        analyses.ends = True
        text = received(stream).decode()
    assert text.startswith("HTTP/1.1 200") and text.count("event: progress") > 3
    assert 'event: result\ndata: {"rows":[]}' in text


def test_a_job_outlives_its_request_and_counts_until_it_ends(client, analyses, admission):
    status, _, headers = client.ask(WHERE, b"x", Prefer="respond-async, wait=5")
    assert (status, headers["Preference-Applied"]) == (202, "respond-async")
    wait_for(lambda: analyses.running == 1)
    assert admission.waiting == 1 and admission.buffered_bytes == 1
    status, progress, after = client.ask(headers["Location"])
    assert status == 202 and progress["state"] == "running" and after["Retry-After"] == "1"
    second = client.ask(WHERE, b"x", Prefer="respond-async")[2]["Location"]
    assert client.ask(second)[1]["state"] == "waiting"
    for _ in range(2):
        client.ask(WHERE, b"x", Prefer="respond-async")
    assert client.ask(WHERE, b"x", Prefer="respond-async")[0] == 429  # of one client
    analyses.ends = True
    wait_for(lambda: client.ask(headers["Location"])[:2] == (200, {"rows": []}))
    wait_for(lambda: admission.waiting == admission.buffered_bytes == 0)


def test_deleting_a_job_ends_it(client, analyses):
    where = client.ask(WHERE, b"x", Prefer="respond-async")[2]["Location"]
    wait_for(lambda: analyses.running == 1)
    request = stub_server.head("Connection: close", where=where, method="DELETE")
    with connect(client, request) as connection:
        assert received(connection).startswith(b"HTTP/1.1 204")
    wait_for(lambda: analyses.cancelled == 1)
    assert client.ask(where)[0] == 404


@contextlib.contextmanager
def worker(folder: Path, name: str, *, token: str):
    """Serves as a worker of a pool."""
    siblings = Siblings(folder, name)
    with contextlib.closing(siblings), contextlib.ExitStack() as stack:
        queue = stack.enter_context(
            contextlib.closing(JobQueue(JobLimits(), prefix=siblings.prefix))
        )
        uploads = UploadConfig(folder, queue, siblings)
        admission = Admission(LIMITS)
        running = stub_server.running(
            stub_models(), admission, LIMITS, token=token, uploads=uploads
        )
        yield stack.enter_context(running), admission


def test_each_worker_of_a_pool_answers_for_the_jobs_of_all(analyses, tmp_path):
    key = {"Authorization": "Bearer secret"}
    with worker(tmp_path, "2", token="secret") as (second, admission):
        with worker(tmp_path, "1", token="secret") as (first, _):
            status, _, headers = first.ask(WHERE, b"x", Prefer="respond-async", **key)
            where = headers["Location"]
            assert status == 202 and where.startswith("/v1/jobs/1.")
            wait_for(lambda: analyses.running == 1)
            status, progress, headers = second.ask(where, **key)
            assert (status, progress["state"], headers["Retry-After"]) == (202, "running", "1")
            assert second.ask(where)[0] == 401
            for odd in ("/v1/jobs/1.%0d%0aX", "/v1/jobs/3.x", "/v1/jobs/1", "/v1/jobs/..%2f1.x"):
                status, answer, _ = second.ask(odd, **key)
                assert status in (400, 404) and list(answer) == ["error"]
            analyses.ends = True
            wait_for(lambda: second.ask(where, **key)[:2] == (200, {"rows": []}))
            wait_for(lambda: admission.buffered_bytes == 0)
            request = stub_server.head("Connection: close", where=where, method="DELETE")
            with connect(second, request) as connection:
                assert received(connection).startswith(b"HTTP/1.1 204")
            assert first.ask(where, **key)[0] == second.ask(where, **key)[0] == 404
        assert second.ask(where, **key)[0] == 404  # that process has ended


def test_a_body_that_is_too_large_or_no_form_is_refused_before_any_work(client, analyses):
    assert client.ask(WHERE, b"x" * 1001)[0] == 413
    refused = client.ask(WHERE, b"{}", **{"Content-Type": "application/json"})
    assert refused[0] == 415 and json.dumps(refused[1]).count("JSON")
    assert client.ask("/v1/models/other:analyze", b"x")[0] == 404
    assert not analyses.running and not analyses.cancelled
