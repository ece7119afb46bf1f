"""Worker pool: starts worker processes and watches over them; one that ends early is replaced."""

import logging
import os
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tfpipe.base import processes, resources
from tfpipe.base.errors import UserError
from tfpipe.search.access import TOKEN_VARIABLE
from tfpipe.search.config import SearchConfig

LOG = logging.getLogger(__name__)
MAX_CONSECUTIVE_FAILURES = 5  # workers in a row that may end without having had a trial
EXIT_WITH_MESSAGE = 2  # exit code of a worker that ends with a sentence


@dataclass(frozen=True)
class WorkerArguments:
    """Arguments of a worker process, as JSON.

    Attributes:
      config: fields of the `SearchConfig`.
      folder: the search's folder.
      chief: the chief's address.
      wait_s: how long to try to reach the chief.
      name: name of the worker, used once.
      index: index of the worker on its machine, from 0.
      n_workers: number of workers on its machine.
    """

    config: dict[str, Any]
    folder: str
    chief: str
    wait_s: float
    name: str
    index: int
    n_workers: int


@dataclass
class Worker:
    """A worker process as its pool sees it.

    Attributes:
      process: the process.
      name: name of the worker.
      log: what the process writes to standard output and error.
      trial: the trial that it runs, or None.
      oom_kills: the machine's count of `oom_kills` when the worker took its trial.
    """

    process: BaseProcess
    name: str
    log: Path
    trial: str | None = None
    oom_kills: int = 0


class WorkerPool:
    """The workers of one machine.

    Args:
      config: what is searched.
      folder: the search's folder.
      chief: the chief's address.
      size: number of workers at once.
      wait_s: how long they try to reach the chief.
      token: the chief's token, which they get by their environment.
      call: calls a method of the chief: `ChiefConnection.call`, or the chief itself.
    """

    def __init__(
        self,
        config: SearchConfig,
        folder: Path,
        *,
        chief: str,
        size: int,
        wait_s: float,
        token: str,
        call: Callable[..., dict[str, Any]],
    ):
        self.config, self.folder, self.call = config, folder, call
        self.chief, self.wait_s, self._token = chief, wait_s, token
        self.name = process_name()
        self.size, self.n_started, self.consecutive_failures = size, 0, 0
        self.workers: list[Worker] = []

    def watch(self) -> bool:
        """Checks every worker once; returns whether the search is over.

        Raises:
          UserError: workers cannot run here, or the chief is gone; the message has the reason.
        """
        status = self.call("poll", pool=self.name, workers=[worker.name for worker in self.workers])
        if status["is_over"]:
            return True
        trials = status["trials"]
        if trials:
            self.consecutive_failures = 0
        for index, worker in enumerate(self.workers):
            if worker.trial != trials.get(worker.name):
                worker.trial, worker.oom_kills = trials.get(worker.name), resources.oom_kills()
            if worker.name in status["dismissed"]:
                _end(worker)
                # In case it was given another trial meanwhile.
                self.call("worker_exited", worker=worker.name, reason=None)
                self.workers[index] = self._start(index)
            elif worker.process.exitcode not in (None, 0):
                self._handle_exit(worker)
                self.workers[index] = self._start(index)
        while len(self.workers) < self.size:
            self.workers.append(self._start(len(self.workers)))
        return False

    def close(self) -> None:
        """Ends all workers."""
        for worker in self.workers:
            _end(worker)
            worker.log.unlink(missing_ok=True)

    def _start(self, index: int) -> Worker:
        self.n_started += 1
        name = f"{self.name}-{self.n_started}"
        log = self.folder / "logs" / f"{name.replace(':', '-')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        arguments = WorkerArguments(
            config=asdict(self.config),
            folder=str(self.folder),
            chief=self.chief,
            wait_s=self.wait_s,
            name=name,
            index=index,
            n_workers=self.size,
        )
        environment = processes.share_of_cores(self.size) | {TOKEN_VARIABLE: self._token}
        process = processes.started(
            "tfpipe.search.worker", asdict(arguments), log=log, environment=environment
        )
        return Worker(process, name, log, oom_kills=resources.oom_kills())

    def _handle_exit(self, worker: Worker) -> None:
        """Reports to the chief that a worker ended, and why."""
        _end(worker)
        reason = exit_reason(worker)
        trial = self.call("worker_exited", worker=worker.name, reason=reason)["trial"]
        if trial:
            LOG.info("Worker %s ended with trial %s: %s", worker.name, trial, reason or "killed")
            return
        if worker.process.exitcode == EXIT_WITH_MESSAGE:
            raise UserError(_last_line(worker.log).removeprefix("tfpipe: "))
        self.consecutive_failures += 1
        if self.consecutive_failures == MAX_CONSECUTIVE_FAILURES:
            raise UserError(
                f"{MAX_CONSECUTIVE_FAILURES} workers in a row ended before they had a trial. "
                f"{reason or 'They were killed.'}"
            )


def process_name() -> str:
    """Returns a name for this process that is unique among machines."""
    return f"{socket.gethostname()}:{os.getpid()}"


def exit_reason(worker: Worker) -> str | None:
    """Returns why a worker's process ended, or None if it was ended from outside."""
    code = worker.process.exitcode
    if code in processes.EXTERNAL_EXIT_CODES:
        if code == processes.KILLED and resources.oom_kills() > worker.oom_kills:
            return "It took more memory than there is: its worker was killed."
        return None
    if code is not None and code < 0:
        return f"Its worker crashed ({processes.exit_name(code)}), see {worker.log}."
    return f"Its worker ended ({_last_line(worker.log)}), see {worker.log}."


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _end(worker: Worker) -> None:
    """Ends a worker, if it has not ended by itself."""
    worker.process.kill()
    worker.process.join()
