"""How a process shares its machine with others, and ends with who started it."""

import os
import sys
import threading
from collections.abc import Callable


def share(of: int) -> dict[str, str]:
    """Returns the environment of one of several processes that divide this machine's cores."""
    environment = dict(os.environ)
    if of > 1:
        threads = max(1, len(os.sched_getaffinity(0)) // of)
        names = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")
        environment |= dict.fromkeys(names, str(threads))
    return environment


def end_with_whoever_started_us(last: Callable[[], None] = lambda: None) -> None:
    """Ends this process once the other end of its standard input is closed, by death or at will.

    Args:
      last: is done before.
    """

    def wait() -> None:
        sys.stdin.read()
        last()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
