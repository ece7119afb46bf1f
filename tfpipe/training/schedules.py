"""Learning rate schedules: constant, cosine, exponential, one-cycle."""

import math

import keras
from keras import ops

SCHEDULES = ("constant", "cosine", "exponential", "one-cycle")
WARM_UP = 0.3  # of a one-cycle training, until the rate is highest
FIRST, LAST = 1 / 25, 1 / 250_000  # of the highest rate; all three as torch's OneCycleLR


@keras.saving.register_keras_serializable(package="tfpipe")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate as a function of the step.

    - "constant": `rate`.
    - "cosine": from `rate` to 0 by half a cosine (Loshchilov & Hutter 2017, arXiv:1608.03983, eq.
      5, without restarts).
    - "exponential": `rate * decay_rate ** (step / decay_steps)` (seed document 001,
      "Hyperparameters CNN").
    - "one-cycle": up to `rate` and down again by half cosines (Smith & Topin 2018,
      arXiv:1708.07120; seed document 004, max_lr).

    Args:
      kind: one of `SCHEDULES`.
      rate: highest learning rate.
      steps: of the whole training.
      initial_step: steps done before the optimizer's first.
      decay_steps: of "exponential".
      decay_rate: of "exponential".
    """

    def __init__(
        self,
        kind: str,
        rate: float,
        *,
        steps: int,
        initial_step: int = 0,
        decay_steps: int = 3866,
        decay_rate: float = 0.9122,
    ):
        self.config = {"kind": kind, "rate": rate, "steps": steps, "initial_step": initial_step}
        self.config |= {"decay_steps": decay_steps, "decay_rate": decay_rate}

    def get_config(self) -> dict:
        return dict(self.config)

    def __call__(self, step):
        kind, rate = self.config["kind"], self.config["rate"]
        step = ops.cast(step, "float32") + self.config["initial_step"]
        share = ops.minimum(step / self.config["steps"], 1.0)
        if kind == "cosine":
            return rate * _half_cosine(share)
        if kind == "exponential":
            return rate * self.config["decay_rate"] ** (step / self.config["decay_steps"])
        if kind == "one-cycle":
            rising = FIRST + (1 - FIRST) * (1 - _half_cosine(ops.minimum(share / WARM_UP, 1.0)))
            falling = LAST + (1 - LAST) * _half_cosine((share - WARM_UP) / (1 - WARM_UP))
            return rate * ops.where(share < WARM_UP, rising, falling)
        return rate * ops.ones_like(step)


def ends_at_zero(kind: str) -> bool:
    """Returns whether the learning rate falls to zero at the last step."""
    return kind in ("cosine", "one-cycle")


def _half_cosine(share):
    """Returns half a cosine from 1 to 0."""
    return 0.5 * (1 + ops.cos(math.pi * share))
