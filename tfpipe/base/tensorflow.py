"""TensorFlow imported: quietly, and soon."""

import gc
import logging
import os
import warnings


def set_environment() -> None:
    """Sets what TensorFlow reads as it is imported, unless the user has."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow leaves oneDNN off on processors without AVX512-VNNI, where it still is 1.4 to 2.6
    # times as fast in training.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def start_tensorflow() -> None:
    """Imports TensorFlow without its start-up lines, which it writes past Python to stderr."""
    set_environment()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    gc.disable()  # a sixth of the time goes by looking for garbage in modules, where there is none
    try:
        import tensorflow  # noqa: F401
    finally:
        gc.enable()
        gc.freeze()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.ERROR)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module="keras")
