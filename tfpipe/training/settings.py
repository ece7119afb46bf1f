"""What a training is told: how to learn, and from which examples."""

from dataclasses import dataclass

SEARCHED = (
    *("optimizer", "learning_rate", "schedule", "decay_steps", "decay_rate", "weight_decay"),
    *("clip", "batch_size", "loss", "unfreeze"),
)


@dataclass(frozen=True)
class Settings:
    """How a model is trained, apart from the model.

    Attributes:
      optimizer: "sgd" (momentum 0.9, Nesterov), "adam" or "nadam" (beta 0.9, 0.999).
      learning_rate: the highest.
      schedule: how it falls over the epochs, see `schedules.Schedule`.
      decay_steps: of "exponential".
      decay_rate: of "exponential".
      weight_decay: share of each weight taken off a step, times the rate (Loshchilov & Hutter 2019,
        arXiv:1711.05101); 0 for none.
      clip: largest size of a gradient's element, as seed 004's grad_clip; 0 for none.
      loss: of an autoencoder, "binary_crossentropy" ("auto", seed 003) or "mean_squared_error"
        (seed 000); classifiers always learn by cross-entropy.
      epochs: at most.
      patience: epochs without a better validation score before stopping.
      batch_size: examples a step.
      balance: see `sampling.Drawing`.
      mining: whether after a third of the epochs the hardest tenth of each class is drawn more
        often, with "sampling".
      unfreeze: stages of a pretrained body that are opened one after the other, from the top.
      augmentation: how training pictures are changed at random: the task's, or "none".
      seed: of weights, order and augmentation.
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
