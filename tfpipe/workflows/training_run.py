"""What a run of the stages is told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from tfpipe.evaluation.evaluate import Evaluation
from tfpipe.tasks.task import Task
from tfpipe.training.config import TrainingConfig

Tell = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Run:
    """One run of a task on one model.

    Attributes:
      task: the question.
      model: name of the model.
      raw: raw folder.
      folder: packed records.
      models: saved_models/<task>/<model>.
      options: the task's.
      settings: how to train.
      precision: "auto", "float32" or "mixed_bfloat16".
      fixed: builder's arguments and training values given by the user.
      with_naive: whether to train once more on a random split, for comparison.
      tensorboard: folder of event files, or None.
      mlflow: tracking URI, or None.
      tell: told (stage, facts) as it goes.
      begin: version whose weights are gone on with, or None.
      judge: asked of the trained model before anything is published; returns what the card tells
        besides, or raises a UserError.
    """

    task: Task
    model: str
    raw: Path
    folder: Path
    models: Path
    options: Any
    settings: TrainingConfig
    precision: str = "auto"
    fixed: dict[str, Any] = field(default_factory=dict)
    with_naive: bool = True
    tensorboard: Path | None = None
    mlflow: str | None = None
    tell: Tell = lambda stage, facts: None
    begin: Path | None = None
    judge: Callable[[keras.Model, Evaluation], dict[str, Any]] = lambda model, known: {}
