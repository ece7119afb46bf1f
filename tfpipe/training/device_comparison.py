"""Comparison of devices: the same training steps on each, against the processor's in float32.

Drivers and plugins of GPUs may compute something else without an error: on some, the loss of a
network grows that falls elsewhere.
"""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from tfpipe.base import hardware
from tfpipe.base.choose import listed
from tfpipe.models.spec import Spec
from tfpipe.models.zoo.simple_cnn import build_simple_cnn

STEPS, BATCH_SIZE, SIDE_PX, SEED = 20, 32, 32, 0
CLASSES = ("rows", "columns", "plain")
PROCESSOR = "CPU:0"
# Largest difference of a loss or a probability. On one processor, over 12 seeds, another order of
# sums made 0.0014 in float32, and bfloat16 0.22; the loss falls by 0.8. TF32 of GPUs is in between.
TOLERANCES = {"float32": 0.05, "mixed_bfloat16": 0.25}
# What TensorFlow and Keras raise where a device lacks an operation, memory or a precision.
DEVICE_ERRORS = (tf.errors.OpError, NotImplementedError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class DeviceComparison:
    """What a device computed, and how far it is from the processor in float32.

    Attributes:
      device: such as "CPU:0" or "GPU:0".
      precision: dtype policy of Keras.
      verdict: "reference", "agrees", "differs", or "fails: " and why.
      first_loss: cross-entropy of the first batch; None where it is no number, as all below.
      last_loss: that of the last batch.
      loss_difference: the largest of all steps.
      output_difference: the largest of all probabilities of new images after the last step.
    """

    device: str
    precision: str
    verdict: str
    first_loss: float | None = None
    last_loss: float | None = None
    loss_difference: float | None = None
    output_difference: float | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether models should not be trained there."""
        return self.verdict not in ("reference", "agrees")


def compare_devices() -> list[DeviceComparison]:
    """Trains on each device, in float32 and in what `--precision auto` takes on this machine.

    Returns:
      A comparison for each, of the processor in float32 first.
    """
    devices = [
        f"{kind}:{i}"
        for kind in ("CPU", "GPU")
        for i in range(len(tf.config.list_logical_devices(kind)))
    ]
    policies = dict.fromkeys(["float32", hardware.compute_policy("auto")])
    reference = train(PROCESSOR, "float32")
    return [
        compare(device, precision, reference)
        if (device, precision) != (PROCESSOR, "float32")
        else _comparison(device, precision, reference, reference, verdict="reference")
        for device in devices
        for precision in policies
    ]


def advice(wrong: list[DeviceComparison]) -> str:
    """Returns what to do where devices do not agree with the processor in float32."""
    names = listed([f"{one.device} in {one.precision}" for one in wrong])
    sentence = f"Training does not agree with the processor's in float32: {names}."
    if all(one.precision != "float32" for one in wrong):
        return f"{sentence} Train with --precision float32, or set TFPIPE_PRECISION=float32."
    return (
        f"{sentence} Update the driver of the GPU or TensorFlow's plugin for it, or train without "
        "it: set CUDA_VISIBLE_DEVICES=-1 for CUDA, or uninstall tensorflow-metal."
    )


def compare(
    device: str, precision: str, reference: tuple[np.ndarray, np.ndarray]
) -> DeviceComparison:
    """Trains on a device, and compares what it computed with what `train` gave elsewhere."""
    try:
        result = train(device, precision)
    except DEVICE_ERRORS as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return DeviceComparison(device, precision, f"fails: {lines[0][:200]}")
    return _comparison(device, precision, result, reference)


def train(device: str, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """Trains a small network on drawn images, the same ones with the same first weights each time.

    It has no dropout: devices draw random numbers of their own.

    Args:
      device: such as "GPU:0".
      precision: dtype policy of Keras.

    Returns:
      The loss of each step [steps], and probabilities of new images [n, classes].

    Raises:
      RuntimeError: TensorFlow put the weights elsewhere, as it does without a word.
    """
    images, labels = _draw(STEPS * BATCH_SIZE, seed=SEED)
    new_images, _ = _draw(2 * BATCH_SIZE, seed=SEED + 1)
    spec = Spec(images.shape[1:], CLASSES, (float(images.mean()),), (float(images.std()),))
    keras.utils.set_random_seed(SEED)
    scope = tf.distribute.OneDeviceStrategy(f"/{device}").scope()
    with hardware.dtype_policy(precision), scope:
        model = build_simple_cnn(spec, filters=16, dropout=0.0, dense_units=32, dense_dropout=0.0)
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", jit_compile=False)
        if elsewhere := {w.value.device for w in model.weights if device not in w.value.device}:
            raise RuntimeError(f"its weights are on {listed(sorted(elsewhere))}")
        losses = []
        for step in range(STEPS):
            batch = slice(step * BATCH_SIZE, (step + 1) * BATCH_SIZE)
            model.reset_metrics()
            losses.append(model.train_on_batch({"image": images[batch]}, labels[batch]))
        outputs = model.predict_on_batch({"image": new_images})
    return np.array(losses, float), np.asarray(outputs, float)


def _comparison(
    device: str,
    precision: str,
    result: tuple[np.ndarray, np.ndarray],
    reference: tuple[np.ndarray, np.ndarray],
    *,
    verdict: str = "",
) -> DeviceComparison:
    """Returns the comparison of what `train` gave on a device and on the reference."""
    losses, _ = result
    differences = [np.abs(a - b).max() for a, b in zip(result, reference, strict=True)]
    agrees = all(difference <= TOLERANCES[precision] for difference in differences)  # nan is not
    numbers = [losses[0], losses[-1], *differences]
    return DeviceComparison(
        device,
        precision,
        verdict or ("agrees" if agrees else "differs"),
        *(float(number) if np.isfinite(number) else None for number in numbers),
    )


def _draw(count: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns noisy stripes [n, height, width, 1] uint8 and their classes [n] int."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASSES), count)
    wave = np.tile((np.arange(SIDE_PX) % 8 < 4) - 0.5, (SIDE_PX, 1))
    stripes = np.stack([wave.T, wave, np.zeros_like(wave)])[labels]
    images = 128 + 60 * stripes + rng.normal(0, 40, stripes.shape)
    return images.clip(0, 255).astype(np.uint8)[..., None], labels
