"""How each model is tuned on each task. One module of spaces a task; its docstring is the lab note.

A space is a function of KerasTuner's `hp` that returns keyword arguments of a model's builder.
This package knows nothing of models, data or searches, and imports none of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tuning import melt_layer


@dataclass(frozen=True)
class Search:
    """How one model is tuned on one task.

    Attributes:
      space: hp -> the keyword arguments of the model's builder.
      training: hp -> {"optimizer": "sgd" or "nadam", "learning_rate": float}.
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


SEARCHES: dict[tuple[str, str], Search] = {
    ("melt-layer", "simple-cnn"): Search(
        space=melt_layer.simple_cnn,
        training=melt_layer.sgd_or_nadam,
        quick_space=melt_layer.simple_cnn_quick,
    ),
    ("melt-layer", "enhanced-cnn"): Search(
        space=melt_layer.enhanced_cnn,
        training=melt_layer.sgd_or_nadam,
        quick_space=melt_layer.enhanced_cnn_quick,
    ),
    ("melt-layer", "resnet34"): Search(
        space=melt_layer.resnet34,
        training=melt_layer.sgd_or_nadam,
        quick_space=melt_layer.resnet34_quick,
    ),
    ("melt-layer", "vgg16"): Search(
        space=melt_layer.vgg16,
        training=melt_layer.nadam,
        quick_space=melt_layer.vgg16_quick,
    ),
}
