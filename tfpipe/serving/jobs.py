"""Jobs: work that outlasts a request, with its progress; held in memory only, and bounded."""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, NamedTuple

from tfpipe.serving.errors import FAILED, RequestError

LOG = logging.getLogger(__name__)
CLOSE_S = 10.0  # for jobs that run when the server stops


@dataclass(frozen=True)
class JobLimits:
    """What the jobs of a server may cost.

    Attributes:
      threads: jobs that run at the same time; the others wait.
      max_jobs: that a client may come back for, finished or not.
      max_answer_bytes: of one answer.
      max_held_bytes: of the answers that clients may come back for; the oldest make room.
      expiry_s: after which a finished job is forgotten.
      max_run_s: after which a running job is cancelled.
    """

    threads: int = 2
    max_jobs: int = 64
    max_answer_bytes: int = 64_000_000
    max_held_bytes: int = 256_000_000
    expiry_s: float = 600.0
    max_run_s: float = 1800.0


class JobAnswer(NamedTuple):
    """The answer of a job, ready to be sent.

    Attributes:
      content: the body.
      media_type: of the body.
      n_images: that a model has predicted for it.
    """

    content: bytes
    media_type: str
    n_images: int


class JobCancelled(Exception):
    """The work of a job ends, because nobody waits for its answer any more."""


class Job:
    """Work in another thread, whose progress others read.

    Attributes:
      progress: "files" in all, "files_done", the "part" of the next one that is done, and "images"
        that are predicted.
      future: its answer; `RequestError` where the request is refused, `JobCancelled`.
    """

    def __init__(self, limits: JobLimits):
        self.progress: dict[str, Any] = {"files": 0, "files_done": 0, "part": 0.0, "images": 0}
        self.future: Future[JobAnswer] = Future()
        self.finished_at = 0.0
        self._limits, self._end = limits, float("inf")
        self._is_cancelled = threading.Event()

    @property
    def state(self) -> str:
        """Returns "waiting", "running", "done" or "failed"."""
        if self.future.done():
            return "failed" if self.future.cancelled() or self.future.exception() else "done"
        return "running" if self.future.running() else "waiting"

    @property
    def n_bytes(self) -> int:
        """Returns the bytes of its answer, 0 if there is none yet."""
        return len(self.future.result().content) if self.state == "done" else 0

    def report(self, stage: str, info: Mapping[str, Any], /) -> None:
        """Records which files are done, as `progress.Reporter`; raises as `check`."""
        self.check()
        self.progress |= {
            "files": info.get("total", 0),
            "files_done": info.get("done", 0),
            "part": round(info.get("part", 0.0), 3),
        }

    def add_images(self, count: int) -> None:
        """Records that a model has predicted more images; raises as `check`."""
        self.check()
        self.progress["images"] += count

    def check(self) -> None:
        """Ends the work where it is in vain.

        Raises:
          JobCancelled: it was cancelled.
          RequestError: it has run for too long.
        """
        if self._is_cancelled.is_set():
            raise JobCancelled
        if time.monotonic() > self._end:
            raise RequestError(
                503, f"This took longer than {self._limits.max_run_s:g} s. Send fewer files."
            )

    def cancel(self) -> None:
        """Makes the work end at its next step, or never begin."""
        self._is_cancelled.set()
        self.future.cancel()

    def run(self, work: Callable[["Job"], JobAnswer]) -> None:
        """Does the work in this thread, unless it was cancelled before."""
        if not self.future.set_running_or_notify_cancel():
            return
        self._end = time.monotonic() + self._limits.max_run_s
        try:
            self.check()
            answer = work(self)
            self._check_size(answer)
        except (RequestError, JobCancelled) as error:
            self.finished_at = time.monotonic()
            # Its traceback would hold the uploaded files for as long as the job is held.
            error.__cause__ = error.__context__ = None
            self.future.set_exception(error.with_traceback(None))
        except Exception:
            LOG.exception("A job failed.")
            self.finished_at = time.monotonic()
            failed = RequestError(500, FAILED)
            self.future.set_exception(failed)
        else:
            self.finished_at = time.monotonic()
            self.future.set_result(answer)

    def _check_size(self, answer: JobAnswer) -> None:
        n_bytes, most = len(answer.content), self._limits.max_answer_bytes
        if n_bytes > most:
            raise RequestError(
                413,
                f"The answer has {n_bytes / 1e6:.0f} MB, expected at most {most / 1e6:g} MB. Send "
                "fewer files at once, or ask for less.",
            )


class JobQueue:
    """The jobs of a server: some run, some wait, and those that clients come back for are held."""

    def __init__(self, limits: JobLimits, *, prefix: str = ""):
        """Starts the threads.

        Args:
          limits: what the jobs may cost.
          prefix: of their identifiers.
        """
        self._limits, self._prefix = limits, prefix
        self._executor = ThreadPoolExecutor(limits.threads, thread_name_prefix="job")
        self._lock = threading.Lock()
        self._held: dict[str, Job] = {}
        self._unfinished: set[Job] = set()

    def submit(
        self, work: Callable[[Job], JobAnswer], *, on_end: Callable[[], None] = lambda: None
    ) -> Job:
        """Returns a job for work, which begins when a thread is free.

        Args:
          work: takes the job, to report its progress, and returns the answer.
          on_end: called once when the job has ended, even if its work never began.
        """
        job = Job(self._limits)
        with self._lock:
            self._unfinished.add(job)

        def end(_: Future) -> None:
            with self._lock:
                self._unfinished.discard(job)
            on_end()

        job.future.add_done_callback(end)
        self._executor.submit(job.run, work)
        return job

    def check_room(self) -> None:
        """Raises a RequestError, status 503, if no further job can be held."""
        with self._lock:
            self._expire()
            if len(self._held) >= self._limits.max_jobs:
                raise RequestError(
                    503,
                    f"The server already holds {len(self._held)} jobs. Fetch or delete some, or "
                    "wait until they expire.",
                    retry_after_s=10,
                )

    def hold(self, job: Job) -> str:
        """Returns the identifier by which a client gets a job; nobody can guess it."""
        identifier = self._prefix + secrets.token_urlsafe(16)
        with self._lock:
            self._held[identifier] = job
        return identifier

    def get(self, identifier: str) -> Job:
        """Returns a job that is held.

        Raises:
          RequestError: status 404 if there is none, or it has expired.
        """
        with self._lock:
            self._expire()
            if identifier in self._held:
                return self._held[identifier]
        raise RequestError(
            404,
            "There is no such job. A finished one is held for "
            f"{self._limits.expiry_s:g} s, and none outlives the server.",
        )

    def remove(self, identifier: str) -> None:
        """Cancels a job and forgets it; raises as `get`."""
        self.get(identifier).cancel()
        with self._lock:
            self._held.pop(identifier, None)

    def close(self) -> None:
        """Cancels every job, and returns after the running ones have ended, or `CLOSE_S`.

        One whose graph never ends would hold the server for ever.
        """
        with self._lock:
            jobs, self._held = list(self._unfinished), {}
        for job in jobs:
            job.cancel()
        wait([job.future for job in jobs], timeout=CLOSE_S)
        self._executor.shutdown(wait=False)

    def _expire(self) -> None:
        """Forgets finished jobs that are too old, and the oldest if all are too large."""
        now = time.monotonic()
        finished = sorted(
            ((job.finished_at, name) for name, job in self._held.items() if job.future.done())
        )
        n_bytes = sum(job.n_bytes for job in self._held.values())
        for finished_at, name in finished:
            is_old = now - finished_at > self._limits.expiry_s
            if is_old or n_bytes > self._limits.max_held_bytes:
                n_bytes -= self._held.pop(name).n_bytes


def answer_of(job: Job) -> JobAnswer:
    """Returns the answer of a finished job.

    Raises:
      RequestError: it failed, or was cancelled.
    """
    try:
        return job.future.result()
    except (JobCancelled, CancelledError) as error:
        raise RequestError(503, "This was cancelled before it was done. Try again.") from error
