"""Programs in other processes, which tests can kill; forked with TensorFlow imported."""

import contextlib
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
    """Exit code and output of a process that has ended."""

    returncode: int
    stdout: str
    stderr: str


class Process:
    """A running `python -m MODULE ARGUMENTS`, or `python FILE.py ARGUMENTS`, like a `Popen`.

    Args:
      program: name of the module, or path of the file.
      arguments: of the program.
      environment: variables added to those of this process.
    """

    def __init__(self, program: str, *arguments, **environment: str):
        read_end, write_end = os.pipe()
        self.stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.stdout = os.fdopen(read_end)
        self.process = processes.CONTEXT.Process(
            target=_run,
            args=(
                (str(program), *map(str, arguments)),
                reduction.DupFd(write_end),
                reduction.DupFd(self.stderr.fileno()),
                os.environ | environment,
            ),
        )
        processes.begin()
        self.process.start()
        os.close(write_end)
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
            with contextlib.suppress(ProcessLookupError):  # it has ended, and that is not told yet
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
        """Waits for its end, and returns its output."""
        stdout = self.stdout.read()
        code = self.wait()
        done = Done(code, stdout, self.complaints())
        self.close()
        return done

    def close(self) -> None:
        self.stdout.close()
        self.stderr.close()


def run(program: str, *arguments, **environment: str) -> Done:
    """Runs a program to its end."""
    return Process(program, *arguments, **environment).communicate()


def _run(arguments: tuple, stdout, stderr, environment: dict[str, str]) -> None:
    for number, stream in ((1, stdout), (2, stderr)):
        os.dup2(stream.detach(), number)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # else that of the process that was forked
    sys.argv = list(arguments)
    program = arguments[0]
    if program.endswith(".py"):
        sys.path.insert(0, str(Path(program).parent))
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
