"""Pool of worker processes that serve at one port: start, restart, drain.

All workers have the same listening socket, so whichever is free takes the next connection. When one
dies, the connections that it has not accepted go to the others. (Sockets that share a port by
SO_REUSEPORT have a queue each, which is lost with the process.)
"""

import contextlib
import json
import logging
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from prometheus_client import multiprocess

from tfpipe.base import processes
from tfpipe.base.errors import UserError
from tfpipe.serving import sockets
from tfpipe.serving.config import Endpoint, ServerConfig
from tfpipe.serving.limits import Limits

LOG = logging.getLogger(__name__)
WORKER_COMMAND = (sys.executable, "-m", "tfpipe.serving.process_worker")
POLL_S = 0.2
MIN_UPTIME_S = 10.0  # a worker that serves for less has failed
MAX_BACKOFF_S = 60.0  # before another worker starts; the backoff doubles with each failure in a row
EXIT_USER_ERROR = 2  # exit code of a worker that ends with a UserError


@dataclass(frozen=True)
class ServerWorkerConfig:
    """What a worker process reads from its standard input, as a line of JSON.

    Attributes:
      server: fields of `ServerConfig`.
      listener: file descriptor of the socket that it inherits.
      endpoint: fields of `Endpoint`.
      limits: fields of `Limits`, for this worker alone.
      metrics_folder: where all workers write their metrics, so that any can answer /metrics for
        all of them; their sockets for each other are there, too.
    """

    server: dict[str, Any]
    listener: int
    endpoint: dict[str, Any]
    limits: dict[str, Any]
    metrics_folder: str


class ServerWorker:
    """A worker process, and the thread that reads its first line.

    Attributes:
      process: the process, with pipes to its standard input and output.
      info: what it serves where, as `server.run` has it; empty until it serves.
      started_at: time.monotonic() when it began to serve or failed to.
      error: why it serves nothing; "" where it does.
    """

    def __init__(self, process: subprocess.Popen[bytes]):
        self.process = process
        self.info: dict[str, Any] = {}
        self.started_at, self.error = 0.0, ""
        self._reader = threading.Thread(target=self._read_info, daemon=True)
        self._reader.start()

    def _read_info(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        info = json.loads(line) if line.endswith(b"\n") else {}
        self.started_at, self.error = time.monotonic(), info.get("error", "")
        self.info = {} if self.error else info

    def close(self) -> str:
        """Kills the process, if it still runs, and returns why it ended."""
        self.process.kill()
        code = self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        return self.error or processes.exit_name(code)


class ServerPool:
    """A fixed number of workers, each of them replaced when it ends.

    Attributes:
      listener: the socket that all workers have; replaced when all of them have died.
      workers: None for one that is to be started.
      metrics_folder: see `ServerWorkerConfig`; "" until `run`.
    """

    def __init__(
        self,
        config: ServerConfig,
        listener: socket.socket,
        *,
        endpoint: Endpoint,
        limits: Limits,
        size: int,
    ):
        """Prepares the pool and starts nothing.

        Args:
          config: which versions are served, and how.
          listener: socket from `sockets.bind`.
          endpoint: host, gRPC port and token.
          limits: of each worker.
          size: number of workers.
        """
        self._config, self._endpoint, self._limits = config, endpoint, limits
        self.listener, self.metrics_folder = listener, ""
        self.workers: list[ServerWorker | None] = [None] * size
        self._consecutive_failures, self._start_at = [0] * size, [0.0] * size
        self._is_stopping = False

    def run(self, started: Callable[[dict[str, Any]], None]) -> None:
        """Serves until a SIGTERM or SIGINT, and returns after every request has its answer.

        Args:
          started: called as that of `server.run`, once all workers serve.

        Raises:
          UserError: the gRPC port cannot be bound, or there is nothing to serve.
        """
        processes.call_on_stop(self.stop)
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: self.listener.close())  # the one that it has by then
            if self._endpoint.grpc_port is not None:
                host, port = self._endpoint.host, self._endpoint.grpc_port
                reservation = sockets.reserve(host, port, option="--grpc-port")
                port = stack.enter_context(reservation).getsockname()[1]
                self._endpoint = self._endpoint._replace(grpc_port=port, shares_grpc_port=True)
            folder = tempfile.TemporaryDirectory(prefix="tfpipe-serve-")
            self.metrics_folder = stack.enter_context(folder)
            stack.callback(self._kill)
            has_started = False
            while not self._is_stopping:
                for index in range(len(self.workers)):
                    self._check(index, has_started=has_started)
                serving = [worker for worker in self.workers if worker and worker.info]
                if not has_started and len(serving) == len(self.workers):
                    started(serving[0].info)
                    has_started = True
                time.sleep(POLL_S)
            self._drain()

    def stop(self) -> None:
        """Makes `run` drain the workers and return."""
        self._is_stopping = True

    def _check(self, index: int, *, has_started: bool) -> None:
        """Handles the exit of a worker, and starts it when it is due."""
        worker = self.workers[index]
        if worker and worker.process.poll() is not None:
            self._handle_exit(index, worker, has_started=has_started)
        if not self.workers[index] and time.monotonic() >= self._start_at[index]:
            self.workers[index] = self._start()

    def _start(self) -> ServerWorker:
        descriptor = self.listener.fileno()
        environment = processes.share_of_cores(len(self.workers))
        process = subprocess.Popen(
            WORKER_COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment | {"PROMETHEUS_MULTIPROC_DIR": self.metrics_folder},
            pass_fds=[descriptor],
            start_new_session=True,  # Ctrl-C is for the pool
        )
        worker_config = ServerWorkerConfig(
            server=self._config._asdict() | {"models": str(self._config.models)},
            listener=descriptor,
            endpoint=self._endpoint._replace(siblings=self.metrics_folder)._asdict(),
            limits=asdict(self._limits),
            metrics_folder=self.metrics_folder,
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the next check handles its exit
            process.stdin.write(json.dumps(asdict(worker_config)).encode() + b"\n")
            process.stdin.flush()
        return ServerWorker(process)

    def _handle_exit(self, index: int, worker: ServerWorker, *, has_started: bool) -> None:
        """Logs why a worker ended, and sets when another starts."""
        reason = worker.close()
        if not has_started and worker.error:
            raise UserError(reason)
        self.workers[index] = None
        multiprocess.mark_process_dead(worker.process.pid, self.metrics_folder)
        if worker.info and time.monotonic() - worker.started_at > MIN_UPTIME_S:
            self._consecutive_failures[index] = 0
        else:
            self._consecutive_failures[index] += 1
        wait_s = backoff_s(self._consecutive_failures[index])
        self._start_at[index] = time.monotonic() + wait_s
        when = f"in {wait_s:g} s" if wait_s else "now"
        LOG.warning(
            "Worker %d ended (%s); another one starts %s.", worker.process.pid, reason, when
        )
        if not any(self.workers):
            # No process accepts connections. With a new socket clients are refused at once.
            self.listener = sockets.rebind(self.listener)

    def _drain(self) -> None:
        """Lets each worker answer the requests that it has."""
        self.listener.close()  # else the system would go on queueing connections
        workers = [worker for worker in self.workers if worker]
        for worker in workers:
            worker.process.terminate()
        end = time.monotonic() + 2 * self._limits.deadline_s + MIN_UPTIME_S
        for worker in workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.0, end - time.monotonic()))

    def _kill(self) -> None:
        for worker in self.workers:
            if worker:
                worker.close()


def backoff_s(consecutive_failures: int) -> float:
    """Returns the seconds to wait before another worker starts."""
    return min(MAX_BACKOFF_S, 2.0**consecutive_failures - 1)
