"""What this machine has, and what tfpipe will make of it."""

import os
import platform
from importlib import metadata
from pathlib import Path

import tensorflow as tf

from tfpipe import precision

PACKAGES = ("tfpipe", "tensorflow", "keras", "keras-tuner", "tensorflow-datasets", "numpy")
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def examine() -> dict[str, str]:
    """Returns what there is, by name: versions, processor, threads, GPUs, precision."""
    told = {"python": platform.python_version()}
    told |= {name: metadata.version(name) for name in PACKAGES}
    told["processor"] = ", ".join(_features()) or platform.processor() or platform.machine()
    told["threads"] = str(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    gpus = tf.config.list_physical_devices("GPU")
    told["GPU"] = (
        ", ".join(
            tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
            for gpu in gpus
        )
        or "none"
    )
    told["precision"] = f"{precision.compute_policy('auto')} (by --precision auto)"
    return told


def _features() -> list[str]:
    """Returns the vector instructions that matter here, as Linux names them."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return []
    return [feature for feature in FEATURES if feature in words]
