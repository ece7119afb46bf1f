"""Training configuration: optimizer, learning rate, epochs, balance, augmentation, seed."""

from dataclasses import dataclass

# What a search space's `training(hp)` or `--hp` may set.
SEARCHABLE = (
    "optimizer",
    "learning_rate",
    "schedule",
    "decay_steps",
    "decay_rate",
    "weight_decay",
    "clip",
    "batch_size",
    "loss",
    "unfreeze",
)


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is fitted.

    Attributes:
      optimizer: "sgd" (momentum 0.9, Nesterov), "adam" or "nadam" (beta 0.9, 0.999).
      learning_rate: the highest learning rate.
      schedule: how the learning rate falls over the epochs, see `schedules.Schedule`.
      decay_steps: gradient steps of "exponential".
      decay_rate: factor of "exponential" in that many steps.
      weight_decay: share of each weight subtracted in a step, times the learning rate (Loshchilov &
        Hutter 2019, arXiv:1711.05101); 0 for none.
      clip: largest absolute value of a gradient's element (`clipvalue` of Keras); 0 for none.
      loss: of an autoencoder, "binary_crossentropy" ("auto", seed document 003) or
        "mean_squared_error" (seed document 000); a classifier's loss is always cross-entropy.
      epochs: maximum number of epochs.
      patience: epochs without a better validation score before training stops.
      batch_size: examples in a gradient step.
      balance: how rare classes are balanced, see `sampling.Drawing`.
      mining: whether after a third of the epochs the hardest tenth of each class is drawn more
        often. Only with the balance "sampling".
      unfreeze: stages of a pretrained network that are unfrozen one after the other, from the top.
      augmentation: random change of training images: the task's, or "none".
      seed: random seed of weights, order of examples and augmentation.
    """

    optimizer: str = "nadam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    decay_steps: int = 3866
    decay_rate: float = 0.9122
    weight_decay: float = 0.0
    clip: float = 0.0
    loss: str = "auto"
    epochs: int = 30
    patience: int = 10
    batch_size: int = 32
    balance: str = "sampling"
    mining: bool = False
    unfreeze: int = 2
    augmentation: str = "slices"
    seed: int = 0
