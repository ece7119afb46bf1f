"""Imports of the server in `processes`, made once for all processes that are forked from it."""

import gc
import os
import signal
from importlib import import_module

# Ctrl-C reaches every process of a terminal; who began the server ends it.
handler = signal.signal(signal.SIGINT, signal.SIG_IGN)

from tfpipe.base.processes import PRELOADED  # noqa: E402
from tfpipe.base.tensorflow import start_tensorflow  # noqa: E402

start_tensorflow()
for name in os.environ.get(PRELOADED, "").split():
    import_module(name)
gc.freeze()  # a garbage collection would copy the pages that the processes share
signal.signal(signal.SIGINT, handler)  # which processes that are forked take over
