"""What a search is: a space, how its trials learn, and a budget."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Search:
    """How one model is tuned on one task.

    Attributes:
      space: hp -> keyword arguments of the model's builder.
      training: hp -> how it learns: some of optimizer, learning_rate, schedule, weight_decay, clip,
        unfreeze.
      quick_space: as `space`, with the same names over smaller models, for laptops.
      max_epochs: that Hyperband gives to a trial which survives every round.
      quick_max_epochs: likewise, with `quick_space`.
      factor: Hyperband keeps one trial of this many after each round.
      max_trials: of a Bayesian search.
      quick_max_trials: likewise, with `quick_space`.
      epochs: of the winner's own training.
      quick_epochs: likewise, with `quick_space`.
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
