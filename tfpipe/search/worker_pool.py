"""Starts worker processes and watches over them: one that ends too early is replaced."""

import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tfpipe.base import processes as base_processes
from tfpipe.base.errors import UserError
from tfpipe.search.config import SearchConfig

LOG = logging.getLogger("tfpipe")
VAIN = 5  # workers in a row that may end without having had a trial
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
FROM_OUTSIDE = (*(-sent for sent in SIGNALS), base_processes.WITHOUT_SERVER)
TOLD = 2  # exit code of a worker that ends with a sentence


@dataclass(frozen=True)
class Orders:
    """What a worker process is told to do.

    Attributes:
      config: fields of the `SearchConfig`.
      folder: where the search is kept.
      chief: its address.
      wait_s: how long to try to reach it.
      name: of the worker, used once.
      place: which of its machine's workers it is, from 0.
      places: how many workers its machine has.
    """

    config: dict[str, Any]
    folder: str
    chief: str
    wait_s: float
    name: str
    place: int
    places: int


@dataclass
class _Worker:
    process: BaseProcess
    name: str
    log: Path
    trial: str | None = None
    kills: int = 0  # of processes for want of memory, when it took its trial


class Crew:
    """The workers of one machine, and whoever they work for.

    Args:
      config: what is searched.
      folder: where the search is kept.
      chief: the chief's address.
      size: workers at once.
      wait_s: how long they try to reach the chief.
      call: asks the chief: `Line.call`, or the chief's own.
    """

    def __init__(
        self,
        config: SearchConfig,
        folder: Path,
        *,
        chief: str,
        size: int,
        wait_s: float,
        call: Callable[..., dict],
    ):
        self.config, self.folder, self.call = config, folder, call
        self.name = name_here()
        self.orders = {
            "config": asdict(config),
            "folder": str(folder),
            "chief": chief,
            "wait_s": wait_s,
        }
        self.size, self.started, self.vain = size, 0, 0
        self.workers: list[_Worker] = []

    def watch(self) -> bool:
        """Looks once after every worker; returns whether the search is over.

        Raises:
          UserError: workers cannot work here, and why; or the chief is gone.
        """
        told = self.call("watch", crew=self.name, workers=[worker.name for worker in self.workers])
        if told["over"]:
            return True
        if told["trials"]:
            self.vain = 0
        for place, worker in enumerate(self.workers):
            if worker.trial != told["trials"].get(worker.name):
                worker.trial, worker.kills = told["trials"].get(worker.name), memory_kills()
            if worker.name in told["dismissed"]:
                _end(worker)
                self.call("died", worker=worker.name, reason=None)  # should it have another trial
                self.workers[place] = self._start(place)
            elif worker.process.exitcode not in (None, 0):
                self._mourn(worker)
                self.workers[place] = self._start(place)
        while len(self.workers) < self.size:
            self.workers.append(self._start(len(self.workers)))
        return False

    def close(self) -> None:
        """Ends all workers."""
        for worker in self.workers:
            _end(worker)
            worker.log.unlink(missing_ok=True)

    def _start(self, place: int) -> _Worker:
        self.started += 1
        name = f"{self.name}-{self.started}"
        log = self.folder / "logs" / f"{name.replace(':', '-')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = base_processes.share_of_cores(self.size)
        orders = Orders(**self.orders, name=name, place=place, places=self.size)
        process = base_processes.started(
            "tfpipe.search.worker", asdict(orders), log=log, environment=environment
        )
        return _Worker(process, name, log, kills=memory_kills())

    def _mourn(self, worker: _Worker) -> None:
        """Tells the chief of a worker that ended, and why."""
        _end(worker)
        code = worker.process.exitcode
        reason = _reason(worker, code)
        had = self.call("died", worker=worker.name, reason=reason)["trial"]
        if had:
            LOG.info("Worker %s ended with trial %s: %s", worker.name, had, reason or "killed")
            return
        if code == TOLD:
            raise UserError(_last_line(worker.log).removeprefix("tfpipe: "))
        self.vain += 1
        if self.vain == VAIN:
            raise UserError(
                f"{VAIN} workers in a row ended before they had a trial. "
                f"{reason or 'They were killed.'}"
            )


def memory_kills() -> int:
    """Returns how many processes this machine has killed for want of memory; 0 if it keeps that."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def name_here() -> str:
    """Returns a name for this process that no other machine's has."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _reason(worker: _Worker, code: int) -> str | None:
    """Returns why a worker ended, or None if somebody else ended it."""
    if code in FROM_OUTSIDE:
        if code == -signal.SIGKILL and memory_kills() > worker.kills:
            return "It took more memory than the machine has: its worker was killed."
        return None
    if code < 0:
        return f"Its worker crashed ({signal.Signals(-code).name}), see {worker.log}."
    return f"Its worker ended ({_last_line(worker.log)}), see {worker.log}."


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _end(worker: _Worker) -> None:
    """Ends a worker, if it has not ended by itself."""
    worker.process.kill()
    worker.process.join()
