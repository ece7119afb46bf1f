"""Devices are compared with the processor: one that computes something else is named."""

import numpy as np
import pytest
import run_command

from tfpipe.base import hardware
from tfpipe.training import device_comparison
from tfpipe.training.device_comparison import STEPS

FALLING = np.linspace(1.1, 0.3, STEPS)
OUTPUTS = np.full((4, 3), 1 / 3)


def computes(monkeypatch, losses, outputs=OUTPUTS):
    """Lets bfloat16 compute some losses and outputs, and float32 those above."""
    results = {"float32": (FALLING, OUTPUTS), "mixed_bfloat16": (losses, outputs)}
    monkeypatch.setattr(device_comparison, "train", lambda device, precision: results[precision])
    monkeypatch.setenv(hardware.PRECISION_VARIABLE, "mixed_bfloat16")


@pytest.mark.slow
def test_a_network_learns_on_the_processor_and_bfloat16_agrees(monkeypatch):
    monkeypatch.setenv(hardware.PRECISION_VARIABLE, "mixed_bfloat16")
    reference, rounded = run_command.run("doctor", "--train")["devices"]
    assert reference["verdict"] == "reference" and reference["loss_difference"] == 0
    assert reference["last_loss"] < 0.5 * reference["first_loss"]
    assert rounded["verdict"] == "agrees" and rounded["loss_difference"] > 0


@pytest.mark.parametrize(
    ("losses", "outputs", "verdict"),
    [
        (FALLING + 0.2, OUTPUTS, "agrees"),
        (FALLING[::-1], OUTPUTS, "differs"),
        (FALLING, OUTPUTS[:, ::-1] + [0, 0.3, -0.3], "differs"),
        (np.where(np.arange(STEPS) > 3, np.nan, FALLING), OUTPUTS, "differs"),
    ],
)
def test_losses_and_outputs_within_the_tolerance_agree(monkeypatch, losses, outputs, verdict):
    computes(monkeypatch, losses, outputs)
    assert [run.verdict for run in device_comparison.compare_devices()] == ["reference", verdict]


def test_a_device_that_differs_is_a_sentence_with_what_to_do(monkeypatch, capsys):
    computes(monkeypatch, FALLING[::-1])
    sentence = run_command.refusal(monkeypatch, capsys, "doctor", "--train")
    assert "CPU:0 in mixed_bfloat16. Train with --precision float32" in sentence


def test_a_device_that_fails_is_named_with_the_reason():
    comparison = device_comparison.compare("GPU:7", "float32", (FALLING, OUTPUTS))
    assert comparison.is_wrong and comparison.verdict.startswith("fails: its weights are on")
    assert "GPU:7 in float32. Update the driver" in device_comparison.advice([comparison])
