"""Programs in processes of their own, which can be killed: forked with TensorFlow imported."""

import os
import runpy
import signal
import subprocess
import sys
import tempfile
from multiprocessing import reduction
from pathlib import Path
from typing import NamedTuple

from tfpipe.base import processes


class Done(NamedTuple):
    """How a process ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


class Process:
    """A running `python -m MODULE WORDS`, or `python FILE.py WORDS`, much like `subprocess.Popen`.

    Args:
      program: the module's name or the file's path.
      words: its arguments.
      environment: what it has besides ours.
    """

    def __init__(self, program: str, *words, **environment: str):
        written = os.pipe()
        self.stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.stdout = os.fdopen(written[0])
        self.process = processes.CONTEXT.Process(
            target=_run,
            args=(
                (str(program), *map(str, words)),
                reduction.DupFd(written[1]),
                reduction.DupFd(self.stderr.fileno()),
                os.environ | environment,
            ),
        )
        processes.begin()
        self.process.start()
        os.close(written[1])
        self.pid = self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired("a process", timeout)
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        if self.process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def complaints(self) -> str:
        """Returns what it has written to stderr."""
        self.stderr.seek(0)
        return self.stderr.read()

    def communicate(self) -> Done:
        """Waits for its end."""
        said = self.stdout.read()
        code = self.wait()
        done = Done(code, said, self.complaints())
        self.close()
        return done

    def close(self) -> None:
        self.stdout.close()
        self.stderr.close()


def run(program: str, *words, **environment: str) -> Done:
    """Runs a program to its end."""
    return Process(program, *words, **environment).communicate()


def _run(words: tuple, stdout, stderr, environment: dict[str, str]) -> None:
    for stream, held in ((1, stdout), (2, stderr)):
        os.dup2(held.detach(), stream)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = list(words)
    program = words[0]
    if program.endswith(".py"):
        sys.path.insert(0, str(Path(program).parent))
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
