"""What this machine has, and what tfpipe will make of it."""

import os
import platform
import re
from importlib import metadata
from pathlib import Path

import tensorflow as tf

from tfpipe.base import precision

PACKAGES = ("tfpipe", "tensorflow", "keras", "keras-tuner", "tensorflow-datasets", "numpy")
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def examine() -> dict[str, str]:
    """Returns what there is, by name: versions, processor, threads, GPUs, precision."""
    told = {"python": platform.python_version()}
    told |= {name: metadata.version(name) for name in PACKAGES}
    told["processor"] = ", ".join(_features()) or platform.processor() or platform.machine()
    told["threads"] = str(_threads())
    told["GPU"] = ", ".join(_gpus()) or "none"
    told["precision"] = f"{precision.compute_policy('auto')} (by --precision auto)"
    return told


def machine() -> str:
    """Returns what computes here, in a few words, as tables of times name it."""
    names = re.findall(r"^model name\s*: (.*)$", _processors(), re.MULTILINE)
    processor = names[0] if names else platform.processor() or platform.machine()
    gpus = _gpus()
    return ", ".join(gpus) if gpus else f"{processor}, {_threads()} threads"


def _threads() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _gpus() -> list[str]:
    details = tf.config.experimental.get_device_details
    gpus = tf.config.list_physical_devices("GPU")
    return [details(gpu).get("device_name", gpu.name) for gpu in gpus]


def _processors() -> str:
    """Returns what Linux tells of its processors; "" elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def _features() -> list[str]:
    """Returns the vector instructions that matter here, as Linux names them."""
    words = set(_processors().split())
    return [feature for feature in FEATURES if feature in words]
