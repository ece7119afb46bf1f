"""Fresh processes, forked from a server that has imported TensorFlow; signals and exit codes.

Importing takes seconds, a fork does not. As the server only imports, a fork of it is as new as a
process that starts from nothing. On macOS some libraries do not survive a fork, so each process
starts from nothing there, and also where the name of the server's socket would be too long.

What systems do differently with processes is here alone.
"""

import contextlib
import ctypes
import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tfpipe.base import tensorflow
from tfpipe.base.resources import cores

if TYPE_CHECKING:  # Windows has no fork
    from multiprocessing.context import ForkServerContext, SpawnContext

MAX_FOLDER_LETTERS = 70  # of the socket's folder: a socket's whole name has at most 107
FORKS = sys.platform == "linux" and len(tempfile.gettempdir()) <= MAX_FOLDER_LETTERS
CONTEXT: "ForkServerContext | SpawnContext" = (
    multiprocessing.get_context("forkserver") if FORKS else multiprocessing.get_context("spawn")
)
CONTEXT.set_forkserver_preload(["tfpipe.base.preload"])
PRELOADED = "TFPIPE_PRELOAD"  # environment variable: the modules that the server imports
STARTS, PAUSE_S = 40, 0.25  # attempts to start a process: its server may be killed meanwhile
WITHOUT_SERVER = 255  # exit code of a process that ended because the server did
PR_SET_PDEATHSIG = 1  # of linux/prctl.h: the signal to send when the parent (the server) ends
NICENESS = 5  # of processes whose work can wait
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
KILLED = -9  # exit code of a process that was killed, also for want of memory
# Of processes that somebody ended: by SIGKILL, SIGTERM, SIGINT, SIGHUP, or with their server.
EXTERNAL_EXIT_CODES = (KILLED, -15, -2, -1, WITHOUT_SERVER)


def begin(*modules: str) -> None:
    """Starts the server, which imports while the caller goes on, so that no process waits for it.

    Args:
      modules: names of modules that the server imports besides TensorFlow. A server that is
        running already imports no more; then each process does.
    """
    tensorflow.set_environment()
    preloaded = os.environ.get(PRELOADED, "").split()
    os.environ[PRELOADED] = " ".join(dict.fromkeys([*preloaded, *modules]))
    if FORKS:
        forkserver.ensure_running()


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Lets Ctrl-C pass in this process: a terminal sends it to all, and who began this one ends it.

    What Ctrl-C did before is put back; processes that are forked then have that.
    """
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def end() -> None:
    """Ends the server, whose imports take 0.3 GB, unless a process of it runs; `begin` restarts it.

    A server that another process has started goes on.
    """
    if FORKS and not multiprocessing.active_children():
        forkserver._forkserver._stop()  # type: ignore[attr-defined]  # there is no public way


def called(function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what a function returns in a fresh process.

    Raises:
      Exception: whatever the function raises.
      BrokenProcessPool: the process ended before the function returned.
    """
    _begin_for(getattr(function, "__module__", None) or "")
    with _without_main(), ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        return pool.submit(function, *arguments).result()


def started(module: str, *arguments: Any, log: Path, environment: dict[str, str]) -> BaseProcess:
    """Starts a fresh process without a terminal, which calls `main` of a module.

    Args:
      module: its name.
      arguments: of `main`.
      log: a file for all that the process prints.
      environment: its environment variables; those that are read by an import come too late.
    """
    _begin_for(module)
    # A daemon ends with this process at the latest.
    process = CONTEXT.Process(
        target=_main, args=(module, arguments, str(log), environment), daemon=True
    )
    with _without_main():
        for _ in range(STARTS - 1):
            try:
                process.start()
            except (EOFError, OSError):  # the server is ending; once it has, another one begins
                time.sleep(PAUSE_S)
                continue
            return process
        process.start()
    return process


def end_with_parent() -> None:
    """Waits for the end of the process that started this one, and ends this one too."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
    os._exit(0)


def _begin_for(module: str) -> None:
    """Starts the server with a module of this package; it imports no others, such as a user's."""
    begin(*([module] if module.startswith("tfpipe.") else []))


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Keeps fresh processes from running the user's script again: they need nothing of it."""
    main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def exit_name(code: int | None) -> str:
    """Returns how a process ended: the name of a signal, else its exit code."""
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def is_running(pid: int) -> bool:
    """Returns whether a process of this machine runs; True where the system does not tell."""
    if sys.platform == "win32":  # where `os.kill` would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def call_on_stop(function: Callable[[], None]) -> None:
    """Calls a function whenever this process is asked to stop, by SIGTERM or Ctrl-C."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: function())


def yield_to_others() -> None:
    """Lets other processes go first, and be the last to end where memory is short."""
    with contextlib.suppress(OSError, AttributeError):  # where the system allows neither
        os.nice(NICENESS)
        Path("/proc/self/oom_score_adj").write_text("1000")


def share_of_cores(n_processes: int) -> dict[str, str]:
    """Returns the environment of one of several processes that divide this machine's cores."""
    environment = dict(os.environ)
    if n_processes > 1:
        threads = max(1, cores() // n_processes)
        names = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")
        environment |= dict.fromkeys(names, str(threads))
    return environment


def end_within(seconds: float) -> None:
    """Ends this process after some seconds, if a thread has not ended that Python waits for."""
    timer = threading.Timer(seconds, os._exit, [0])
    timer.daemon = True
    timer.start()


def end_with_stdin(last: Callable[[], None] = lambda: None) -> None:
    """Ends this process once its standard input is closed, as it is when the parent dies.

    Args:
      last: is called before.
    """

    def wait() -> None:
        sys.stdin.read()
        last()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def _main(module: str, arguments: tuple[Any, ...], log: str, environment: dict[str, str]) -> None:
    if FORKS:  # without the server, the process that started this one loses sight of it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C is for the process that started this one
    with open(log, "wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.clear()
    os.environ.update(environment)
    tensorflow.start_tensorflow()
    importlib.import_module(module).main(*arguments)
