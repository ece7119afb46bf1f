"""Hardware: processor, GPUs, versions of packages, and the precision that models compute in."""

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

import keras
import tensorflow as tf

from tfpipe.base import resources
from tfpipe.base.choose import choose
from tfpipe.base.resources import cores

PACKAGES = ("tfpipe", "tensorflow", "keras", "keras-tuner", "tensorflow-datasets", "numpy")
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
PRECISIONS = ("auto", "float32", "mixed_bfloat16")
PRECISION_VARIABLE = "TFPIPE_PRECISION"  # of the environment: what "auto" takes on this machine


@contextmanager
def dtype_policy(precision: str) -> Iterator[str]:
    """Sets the Keras dtype policy for a block; afterwards it is what it was.

    Args:
      precision: one of `PRECISIONS`.

    Yields:
      The policy's name, see `compute_policy`.
    """
    previous = keras.config.dtype_policy()
    name = compute_policy(precision)
    keras.config.set_dtype_policy(name)
    try:
        yield name
    finally:
        keras.config.set_dtype_policy(previous)


def clear_session() -> None:
    """Frees the memory of earlier models; the dtype policy stays, which Keras would reset."""
    policy = keras.config.dtype_policy()
    keras.backend.clear_session(free_memory=True)
    keras.config.set_dtype_policy(policy)


def compute_policy(precision: str) -> str:
    """Returns the Keras dtype policy for a `--precision`.

    "auto" takes what the environment variable `TFPIPE_PRECISION` says. Without it, "auto" takes
    bfloat16 where the processor or the GPU computes with it (twice as fast), else float32
    (bfloat16 that is emulated is eight times slower).

    Raises:
      UserError: the precision is none of `PRECISIONS`.
    """
    if precision == "auto":
        precision = os.environ.get(PRECISION_VARIABLE) or "auto"
    precision = choose(precision, PRECISIONS, noun="precision")
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if computes_bfloat16() else "float32"


def computes_bfloat16() -> bool:
    """Returns whether this machine multiplies bfloat16 in hardware."""
    gpus = [
        tf.config.experimental.get_device_details(g) for g in tf.config.list_physical_devices("GPU")
    ]
    if any(gpu.get("compute_capability", (0, 0)) >= (8, 0) for gpu in gpus):
        return True
    flags = resources.processors()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def examine() -> dict[str, str]:
    """Returns a summary of this machine: versions, processor, threads, GPUs, precision."""
    summary = {"python": platform.python_version()}
    summary |= {name: metadata.version(name) for name in PACKAGES}
    summary["processor"] = ", ".join(_features()) or platform.processor() or platform.machine()
    summary["threads"] = str(cores())
    summary["GPU"] = ", ".join(_gpus()) or "none"
    summary["precision"] = f"{compute_policy('auto')} (by --precision auto)"
    return summary


def machine() -> str:
    """Returns the name of the GPUs, else of the processor, as tables of times show it."""
    names = re.findall(r"^model name\s*: (.*)$", resources.processors(), re.MULTILINE)
    processor = names[0] if names else platform.processor() or platform.machine()
    gpus = _gpus()
    return ", ".join(gpus) if gpus else f"{processor}, {cores()} threads"


def _gpus() -> list[str]:
    details = tf.config.experimental.get_device_details
    gpus = tf.config.list_physical_devices("GPU")
    return [details(gpu).get("device_name", gpu.name) for gpu in gpus]


def _features() -> list[str]:
    """Returns those of `FEATURES` that the processor has."""
    words = set(resources.processors().split())
    return [feature for feature in FEATURES if feature in words]
