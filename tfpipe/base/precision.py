"""The numbers a model computes in: bfloat16 where the machine has it, else float32."""

from pathlib import Path

import tensorflow as tf

PRECISIONS = ("auto", "float32", "mixed_bfloat16")


def compute_policy(precision: str) -> str:
    """Returns the Keras dtype policy for a `--precision`.

    "auto" takes bfloat16 where the processor computes with it (two times faster on such, eight
    times slower on one that must emulate it), or a GPU does; else float32.
    """
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
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
