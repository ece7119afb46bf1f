"""Imports of the server in `processes`, made once for all processes that are forked from it."""

import gc
import os
from importlib import import_module

from tfpipe.base import processes
from tfpipe.base.tensorflow import start_tensorflow

with processes.without_interrupts():
    start_tensorflow()
    for name in os.environ.get(processes.PRELOADED, "").split():
        import_module(name)
gc.freeze()  # a garbage collection would copy the pages that the processes share
