"""Jobs: bounded, cancelled, expiring; no network."""

import threading
import time

import pytest

from tfpipe.serving import jobs
from tfpipe.serving.errors import RequestError
from tfpipe.serving.jobs import JobAnswer, JobLimits, JobQueue


@pytest.fixture
def open_queue():
    queues = []

    def make(**limits) -> JobQueue:
        queues.append(JobQueue(JobLimits(**limits)))
        return queues[-1]

    yield make
    for queue in queues:
        queue.close()


def answer(content: bytes = b"done") -> JobAnswer:
    return JobAnswer(content, "text/csv", 1)


def wait(job) -> None:
    end = time.monotonic() + 20
    while not job.future.done():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_job_reports_its_progress_and_ends_once(open_queue):
    queue, begun, go, ends = open_queue(), threading.Event(), threading.Event(), []

    def work(job):
        job.report("predict", {"done": 1, "total": 4, "part": 0.25})
        job.add_images(7)
        begun.set()
        assert go.wait(20)
        return answer()

    job = queue.submit(work, on_end=lambda: ends.append(1))
    assert begun.wait(20)
    assert job.progress == {"files": 4, "files_done": 1, "part": 0.25, "images": 7}
    assert job.state == "running" and ends == []
    identifier = queue.hold(job)
    go.set()
    wait(job)
    assert jobs.answer_of(queue.get(identifier)) == answer()
    queue.remove(identifier)
    assert ends == [1]
    with pytest.raises(RequestError, match="no such job") as error:
        queue.get(identifier)
    assert error.value.status == 404


def test_more_jobs_than_threads_wait_and_a_cancelled_one_never_begins(open_queue):
    queue, go, ends = open_queue(threads=1), threading.Event(), []
    first = queue.submit(lambda job: go.wait(20) and answer())
    second = queue.submit(lambda job: ends.append("work"), on_end=lambda: ends.append("end"))
    assert second.state == "waiting"
    second.cancel()
    go.set()
    wait(first)
    wait(second)
    assert second.state == "failed" and ends == ["end"]
    with pytest.raises(RequestError, match="cancelled"):
        jobs.answer_of(second)


def test_a_running_job_ends_at_its_next_step_once_it_is_cancelled_or_late(open_queue):
    def endless(job):
        while True:
            job.add_images(1)
            time.sleep(0.001)

    cancelled = open_queue().submit(endless)
    while not cancelled.progress["images"]:
        time.sleep(0.001)
    cancelled.cancel()
    wait(cancelled)
    assert cancelled.state == "failed"
    late = open_queue(max_run_s=0.05).submit(endless)
    wait(late)
    with pytest.raises(RequestError, match=r"longer than 0\.05 s"):
        jobs.answer_of(late)


def test_held_jobs_are_bounded_in_number_bytes_and_age(open_queue):
    queue = open_queue(max_jobs=3, max_held_bytes=25, max_answer_bytes=20)
    done = []
    for content in (b"x" * 10, b"y" * 10, b"z" * 10):
        queue.check_room()
        done.append(queue.submit(lambda job, content=content: answer(content)))
        wait(done[-1])
    identifiers = [queue.hold(job) for job in done]
    assert len(set(identifiers)) == 3 and all(len(name) > 20 for name in identifiers)
    with pytest.raises(RequestError, match="no such job"):  # the oldest made room
        queue.get(identifiers[0])
    assert jobs.answer_of(queue.get(identifiers[1])).content == b"y" * 10
    queue.check_room()
    queue.hold(queue.submit(lambda job: answer(b"")))
    with pytest.raises(RequestError, match="already holds 3 jobs") as error:
        queue.check_room()
    assert error.value.status == 503 and error.value.retry_after_s
    large = queue.submit(lambda job: answer(b"x" * 21))
    wait(large)
    with pytest.raises(RequestError, match="expected at most") as error:
        jobs.answer_of(large)
    assert error.value.status == 413

    queue = open_queue(expiry_s=0.0)
    job = queue.submit(lambda job: answer())
    wait(job)
    identifier = queue.hold(job)
    time.sleep(0.01)
    with pytest.raises(RequestError, match="no such job"):
        queue.get(identifier)


def test_a_failure_holds_no_upload_and_shows_no_traceback(open_queue, caplog):
    def fails(job):
        raise ZeroDivisionError("a secret of the inside")

    def refuses(job):
        raise RequestError(400, "a.png is damaged.") from ValueError("inside")

    failed, refused = (open_queue().submit(work) for work in (fails, refuses))
    for job, status in ((failed, 500), (refused, 400)):
        wait(job)
        error = job.future.exception()
        assert error.status == status and error.__cause__ is None
        assert "secret" not in str(error)
    assert refused.future.exception().__traceback__ is None
    assert "a secret of the inside" in caplog.text


def test_a_closed_queue_has_cancelled_all_jobs(open_queue):
    queue = open_queue(threads=1)

    def endless(job):
        while True:
            job.check()
            time.sleep(0.001)

    every = [queue.submit(endless) for _ in range(3)]
    queue.close()
    assert [job.state for job in every] == ["failed"] * 3
