"""Several devices on one machine: run as a process with two logical processors."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import subprocesses
import tensorflow as tf
import tiny

from tfpipe.training import loop
from tfpipe.training.config import TrainingConfig

SETTINGS = TrainingConfig(epochs=2, batch_size=16, learning_rate=0.01, seed=1, schedule="cosine")


@pytest.mark.slow
def test_two_devices_learn_what_one_learns_and_go_on_after_a_stop(tmp_path):
    run = subprocesses.run(__file__, tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.splitlines()[-1] == "2 replicas"


def compare(folder: Path) -> None:
    """Trains on one device, on two, and on two with a stop between the epochs."""
    (processor,) = tf.config.list_physical_devices("CPU")
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(processor, halves)
    data = tiny.packed(folder)
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    def trained(strategy, **rest):
        keras.utils.set_random_seed(1)
        with strategy.scope():
            model = tiny.build(tiny.spec_of(data))
            loop.prepare(model, data, settings=SETTINGS)
        return model, loop.fit(model, data, settings=SETTINGS, **rest)

    one, history = trained(tf.distribute.get_strategy())
    two, shared = trained(mirrored)
    np.testing.assert_allclose(shared["loss"], history["loss"], rtol=1e-3)
    np.testing.assert_allclose(shared["val_loss"], history["val_loss"], rtol=1e-3)
    trained(mirrored, checkpoint_folder=folder / "kept", until=1)
    again, _ = trained(mirrored, checkpoint_folder=folder / "kept")
    for a, b in zip(two.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    print(mirrored.num_replicas_in_sync, "replicas")


if __name__ == "__main__":
    compare(Path(sys.argv[1]))
