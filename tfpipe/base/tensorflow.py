"""Import of TensorFlow, without its start-up lines and without needless garbage collections."""

import gc
import logging
import os
import warnings

from tfpipe.base import resources


def set_environment() -> None:
    """Sets the environment variables that TensorFlow reads on import, unless the user has."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow leaves oneDNN off on processors without AVX512-VNNI, although training is 1.4 to
    # 2.6 times as fast with it there.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # TensorFlow counts the machine's cores. More threads than a container's share of their time
    # only wait for each other.
    if (threads := resources.cores()) < (os.cpu_count() or 1):
        for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
            os.environ.setdefault(name, str(threads))


def start_tensorflow() -> None:
    """Imports TensorFlow without its start-up lines, which it writes past Python to stderr."""
    set_environment()
    stderr, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    gc.disable()  # collections take a sixth of the time, and modules hold no garbage
    try:
        import tensorflow  # noqa: F401
    finally:
        gc.enable()
        gc.freeze()
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.ERROR)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module="keras")
