"""How a process begins quietly, shares its machine with others, and ends with who started it."""

import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable


def start_tensorflow() -> None:
    """Imports TensorFlow without its start-up lines, which it writes past Python to stderr."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow leaves oneDNN off on processors without AVX512-VNNI, where it still is 1.4 to 2.6
    # times as fast in training.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.ERROR)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module="keras")


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
