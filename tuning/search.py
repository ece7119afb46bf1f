"""Search: a hyperparameter space, a training space and a budget."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Search:
    """The search of a model on a task.

    Attributes:
      space: hp -> keyword arguments of the model's builder.
      training: hp -> some fields of `TrainingConfig`: optimizer, learning_rate, schedule,
        weight_decay, clip, unfreeze.
      quick_space: as `space`, with the same names but smaller models, for laptops.
      max_epochs: of a trial that survives all rounds of Hyperband.
      quick_max_epochs: the same, with `quick_space`.
      factor: Hyperband keeps one trial of this many after each round.
      max_trials: of a Bayesian search.
      quick_max_trials: the same, with `quick_space`.
      epochs: of the final training with the best hyperparameters.
      quick_epochs: the same, with `quick_space`.
      steps: gradient steps of that training, where there are more than in `epochs` epochs.
      has_recipe: whether `train` takes the training space's default values without a search.
    """

    space: Callable[[Any], dict]
    training: Callable[[Any], dict]
    quick_space: Callable[[Any], dict]
    max_epochs: int = 30
    quick_max_epochs: int = 3
    factor: int = 3
    max_trials: int = 40
    quick_max_trials: int = 8
    epochs: int = 30
    quick_epochs: int = 10
    steps: int = 0
    has_recipe: bool = False
