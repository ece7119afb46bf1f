"""Search configuration: what is searched, as JSON that every worker understands."""

from dataclasses import dataclass, field
from typing import Any

ALGORITHMS = ("hyperband", "bayesian", "random")


@dataclass(frozen=True)
class SearchConfig:
    """Configuration of one hyperparameter search; every field is plain JSON.

    Attributes:
      task: name of a task, or path of a Python file.
      model: name of the model.
      records: folder of the packed records.
      algorithm: one of `ALGORITHMS`.
      quick: smaller models and a smaller budget.
      space: path of a Python file with `space(hp)` and perhaps `training(hp)`; None for the
        task's space in `tuning`.
      trials: number of trials of a Bayesian or random search; None for the space's number.
      more_trials: how many trials the search has more than planned; Hyperband rounds up to whole
        iterations.
      trial_epochs: maximum epochs of a trial; None for the space's number.
      folds: number of cross-validation folds of each trial; 0 for the held-out validation split.
      fixed: builder's arguments and training values that the user holds fixed.
      training: fields of the training configuration; a trial's epochs and patience come from the
        search.
      precision: "auto", "float32" or "mixed_bfloat16".
    """

    task: str
    model: str
    records: str
    algorithm: str = "hyperband"
    quick: bool = False
    space: str | None = None
    trials: int | None = None
    more_trials: int = 0
    trial_epochs: int | None = None
    folds: int = 0
    fixed: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    precision: str = "auto"
