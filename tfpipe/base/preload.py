"""What the server of `fresh` imports, once, for all processes that are forked from it."""

import gc
from importlib import import_module

from tfpipe.base.tensorflow import start_tensorflow

start_tensorflow()
for name in ("tfpipe.registry.parity", "tfpipe.search.worker"):
    import_module(name)
gc.freeze()  # looking for garbage would copy the pages that processes share
