"""The process that starts others which serve at one port, and watches over them.

All have the one socket that listens, so whoever is free takes the next connection, and when one
dies those that nobody has taken yet go to the others. (Of sockets that share a port by SO_REUSEPORT
each has a queue of its own, which is lost with it.)
"""

import contextlib
import json
import logging
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from prometheus_client import multiprocess

from tfpipe.base import processes
from tfpipe.base.errors import UserError
from tfpipe.serving import sockets
from tfpipe.serving.config import Wanted
from tfpipe.serving.limits import Limits
from tfpipe.serving.sockets import Where

LOG = logging.getLogger("tfpipe")
WORKER = (sys.executable, "-m", "tfpipe.serving.process_worker")
LOOK_S = 0.2
SOON_S = 10.0  # a worker that ends sooner after it began to serve, or before, has ended in vain
PAUSE_S = 60.0  # at most, before another worker is started; it doubles with each that ends in vain
TOLD = 2  # exit code of a worker that ends with a sentence


@dataclass(frozen=True)
class Orders:
    """What a worker process reads from its standard input, as a line of JSON.

    Attributes:
      wanted: fields of `Wanted`.
      listener: number of the socket that it inherits.
      where: fields of `Where`.
      limits: fields of `Limits`, of each worker.
      counts: folder in which all workers keep what they count, for /metrics of any of them.
    """

    wanted: dict[str, Any]
    listener: int
    where: dict[str, Any]
    limits: dict[str, Any]
    counts: str


@dataclass
class _Worker:
    process: subprocess.Popen
    told: dict[str, Any] = field(default_factory=dict)  # where it serves what, once it does
    since: float = 0.0
    error: str = ""  # why it does not

    def __post_init__(self):
        self.hearing = threading.Thread(target=self._hear, daemon=True)
        self.hearing.start()

    def _hear(self) -> None:
        line = self.process.stdout.readline()
        told = json.loads(line) if line.endswith(b"\n") else {}
        self.since, self.error = time.monotonic(), told.get("error", "")
        self.told = {} if self.error else told

    def close(self) -> str:
        """Ends it, if it has not ended by itself, and returns why it did."""
        self.process.kill()
        code = self.process.wait()
        self.hearing.join()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return self.error or (signal.Signals(-code).name if code < 0 else f"exit code {code}")


class Chief:
    """Keeps so many workers alive.

    Args:
      wanted: what is served.
      listener: from `binding.bound`.
      where: host, gRPC port and token.
      limits: what each worker refuses.
      size: workers.
    """

    def __init__(
        self,
        wanted: Wanted,
        listener: socket.socket,
        *,
        where: Where,
        limits: Limits,
        size: int,
    ):
        self.listener, self.where, self.size, self._is_over = listener, where, size, False
        self._orders = {"wanted": wanted._asdict() | {"models": str(wanted.models)}}
        self._orders["limits"], self._deadline_s = asdict(limits), limits.deadline_s
        self.workers: list[_Worker | None] = [None] * size
        self._vain, self._due = [0] * size, [0.0] * size

    def run(self, started: Callable[[dict], None]) -> None:
        """Serves until a SIGTERM or SIGINT, and then until all who asked have an answer.

        Args:
          started: told where it listens and what it serves, once all workers do.

        Raises:
          UserError: the gRPC port cannot be had, or there is nothing to serve.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        with contextlib.ExitStack() as kept:
            kept.callback(lambda: self.listener.close())  # whichever it is then
            if self.where.grpc_port is not None:
                host, port = self.where.host, self.where.grpc_port
                keeper = sockets.reserved(host, port, option="--grpc-port")
                number = kept.enter_context(keeper).getsockname()[1]
                self.where = self.where._replace(grpc_port=number, is_shared=True)
            counts = kept.enter_context(tempfile.TemporaryDirectory(prefix="tfpipe-serve-"))
            self._orders |= {"where": self.where._asdict(), "counts": counts}
            kept.callback(self._kill)
            is_told = False
            while not self._is_over:
                for place in range(self.size):
                    self._look(place, is_begun=is_told)
                if not is_told and all(worker and worker.told for worker in self.workers):
                    started(self.workers[0].told)
                    is_told = True
                time.sleep(LOOK_S)
            self._drain()

    def _look(self, place: int, *, is_begun: bool) -> None:
        """Looks after one worker: starts it, or another where it has ended."""
        worker = self.workers[place]
        if worker and worker.process.poll() is not None:
            self._mourn(place, worker, is_begun=is_begun)
        if not self.workers[place] and time.monotonic() >= self._due[place]:
            self.workers[place] = self._start()

    def _start(self) -> _Worker:
        counts, number = self._orders["counts"], self.listener.fileno()
        process = subprocess.Popen(
            WORKER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=processes.share_of_cores(self.size) | {"PROMETHEUS_MULTIPROC_DIR": counts},
            pass_fds=[number],
            start_new_session=True,  # Ctrl-C is for us
        )
        with contextlib.suppress(BrokenPipeError):  # it is mourned at the next look
            orders = Orders(**self._orders, listener=number)
            process.stdin.write(json.dumps(asdict(orders)).encode() + b"\n")
            process.stdin.flush()
        return _Worker(process)

    def _mourn(self, place: int, worker: _Worker, *, is_begun: bool) -> None:
        """Says that a worker ended, and when there will be another."""
        reason = worker.close()
        if not is_begun and worker.error:
            raise UserError(reason)
        self.workers[place] = None
        multiprocess.mark_process_dead(worker.process.pid, self._orders["counts"])
        if worker.told and time.monotonic() - worker.since > SOON_S:
            self._vain[place] = 0
        else:
            self._vain[place] += 1
        pause_s = pause(self._vain[place])
        self._due[place] = time.monotonic() + pause_s
        another = f"another starts in {pause_s:g} s" if pause_s else "another starts"
        LOG.warning("Worker %d ended (%s); %s.", worker.process.pid, reason, another)
        if not any(self.workers):
            # Nobody listens. With a new socket clients hear so at once.
            address = self.listener.getsockname()
            self.listener.close()
            self.listener = sockets.bound(*address[:2])

    def _end(self, *_) -> None:
        self._is_over = True

    def _drain(self) -> None:
        """Lets each worker answer who has asked it."""
        self.listener.close()  # else the system would go on taking connections
        for worker in filter(None, self.workers):
            worker.process.terminate()
        until = time.monotonic() + 2 * self._deadline_s + SOON_S
        for worker in filter(None, self.workers):
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.0, until - time.monotonic()))

    def _kill(self) -> None:
        for worker in filter(None, self.workers):
            worker.close()


def pause(vain: int) -> float:
    """Returns seconds until another worker is started after so many that ended in vain."""
    return min(PAUSE_S, 2.0**vain - 1)
