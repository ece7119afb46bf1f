"""Fresh processes that need not import TensorFlow: forked from a server that has, and no more.

Importing takes seconds, a fork does not; and where nothing was done but importing, a fork is as
new as a process started from nothing. Some libraries of macOS do not outlive a fork, so that there
each process starts from nothing; so it does where the server's socket has no room for its name.
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
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from tfpipe.base import tensorflow

LONGEST = 70  # letters of the folder that the socket lies in: 107 hold them and its own name
FORKS = sys.platform == "linux" and len(tempfile.gettempdir()) <= LONGEST
CONTEXT = multiprocessing.get_context("forkserver" if FORKS else "spawn")
CONTEXT.set_forkserver_preload(["tfpipe.base.preload"])
PRELOADED = "TFPIPE_PRELOAD"  # environment variable: the modules that the server imports
WITHOUT_SERVER = 255  # the exit code of a process that was ended because the server was
PR_SET_PDEATHSIG = 1  # of linux/prctl.h: a signal for when the parent, here the server, has ended


def begin(*modules: str) -> None:
    """Starts the server, which imports while we go on; else the first process waits for it.

    Args:
      modules: names of what the server imports besides TensorFlow, for all processes to come. A
        server that runs already imports no more; the process itself does then.
    """
    tensorflow.set_environment()
    preloaded = os.environ.get(PRELOADED, "").split()
    os.environ[PRELOADED] = " ".join(dict.fromkeys([*preloaded, *modules]))
    if FORKS:
        forkserver.ensure_running()


def called(function, *arguments: Any) -> Any:
    """Returns what a function returns in a fresh process.

    Raises:
      whatever the function raises; BrokenProcessPool if the process ended before it had answered.
    """
    _begin_for(getattr(function, "__module__", None) or "")
    with _without_main(), ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        return pool.submit(function, *arguments).result()


def started(module: str, *arguments: Any, log: Path, environment: dict[str, str]) -> BaseProcess:
    """Starts a fresh process, apart from our terminal, that calls `main` of a module.

    Args:
      module: its name.
      arguments: what `main` takes.
      log: a file for all that it prints.
      environment: what it has of it, as far as it is read after importing.
    """
    _begin_for(module)
    # As a daemon it is ended with us should we not have done so.
    process = CONTEXT.Process(
        target=_main, args=(module, arguments, str(log), environment), daemon=True
    )
    with _without_main():
        process.start()
    return process


def end_with_parent() -> None:
    """Waits until whoever started this process is gone, by death or at will, and ends it."""
    multiprocessing.parent_process().join()
    os._exit(0)


def _begin_for(module: str) -> None:
    """Starts the server for a function's module; one that is not ours stays out of the server."""
    begin(*([module] if module.startswith("tfpipe.") else []))


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Keeps fresh processes from running the user's script again, of which they need nothing."""
    main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def share_of_cores(n_processes: int) -> dict[str, str]:
    """Returns the environment of one of several processes that divide this machine's cores."""
    environment = dict(os.environ)
    if n_processes > 1:
        threads = max(1, len(os.sched_getaffinity(0)) // n_processes)
        names = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")
        environment |= dict.fromkeys(names, str(threads))
    return environment


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


def _main(module: str, arguments: tuple, log: str, environment: dict[str, str]) -> None:
    if FORKS:  # whoever started us would not know any more whether we live
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()  # Ctrl-C is for who started us
    with open(log, "wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.clear()
    os.environ.update(environment)
    tensorflow.start_tensorflow()
    importlib.import_module(module).main(*arguments)
