"""What a forked process is like; in a module that such a process can import."""

import os
import signal
import sys


def describe() -> tuple[int, bool]:
    """Returns a process's parent, and whether TensorFlow is imported and has computed nothing."""
    from tensorflow.python.eager import context

    return os.getppid(), "tensorflow" in sys.modules and context.context_safe() is None


def can_be_interrupted() -> bool:
    """Returns whether Ctrl-C ends a process."""
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler
