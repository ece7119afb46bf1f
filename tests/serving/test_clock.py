"""A wall clock that jumps by a day, either way, at each look: nothing waits or ends by it."""

import itertools
import threading
import time

import pytest
import stub_server

from tfpipe.base import locks
from tfpipe.serving.jobs import JobAnswer, JobLimits, JobQueue
from tfpipe.serving.limits import Admission, Limits

DAY_S = 86_400


@pytest.fixture(autouse=True)
def jumping_clock(monkeypatch):
    jumps, now, now_ns = itertools.cycle([DAY_S, 0, -DAY_S, 0]), time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: now() + next(jumps))
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + next(jumps) * 10**9)


def test_requests_are_answered_and_end_at_their_deadline():
    models, limits = stub_server.StubStore(), Limits(deadline_s=0.3, header_timeout_s=5)
    with stub_server.running(models, Admission(limits), limits) as client:
        for _ in range(8):
            assert client.ask(stub_server.WHERE, b"four")[:2] == (200, {"n_bytes": 4})
        models.free.clear()
        begun = time.monotonic()
        status, content, _ = client.ask(stub_server.WHERE, b"four")
        assert status == 503 and "no answer within 0.3 s" in content["error"]
        assert 0.2 < time.monotonic() - begun < 10


def test_jobs_run_and_are_held():
    queue, go = JobQueue(JobLimits()), threading.Event()
    job = queue.submit(lambda job: job.add_images(1) or go.wait(20) and JobAnswer(b"", "", 1))
    name = queue.hold(job)
    for _ in range(4):
        queue.check_room()
        assert queue.get(name) is job
    go.set()
    assert job.future.result(20) is not None
    assert queue.get(name).state == "done"
    queue.close()


def test_a_lock_is_waited_for(tmp_path):
    order = []

    def second() -> None:
        with locks.hold(tmp_path / "lock", busy=None):
            order.append("second")

    thread = threading.Thread(target=second)
    with locks.hold(tmp_path / "lock", busy=None):
        thread.start()
        thread.join(0.05)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]
