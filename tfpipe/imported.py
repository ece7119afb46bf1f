"""What the server of `fresh` imports, once, for all processes that are forked from it."""

import gc
from importlib import import_module

from tfpipe.starting import start_tensorflow

start_tensorflow()
for name in ("tfpipe.parity", "tfpipe.workers"):
    import_module(name)
gc.freeze()  # looking for garbage would copy the pages that processes share
