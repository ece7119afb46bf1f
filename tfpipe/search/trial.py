"""Trial runner: builds and trains the model of each trial, and returns its metrics."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import tensorflow as tf
from keras_tuner.engine.trial import Trial

from tfpipe.base import hardware, resumable
from tfpipe.base.errors import UserError
from tfpipe.data.dataset import Dataset, direction
from tfpipe.models import build
from tfpipe.models.spec import Spec
from tfpipe.search import keras_tuner_internals
from tfpipe.search import plan as search_plan
from tfpipe.search.config import SearchConfig
from tfpipe.search.plan import SearchPlan
from tfpipe.search.results import FOLD
from tfpipe.training import checkpoints, loop
from tfpipe.training import compile as training_compile
from tfpipe.training.config import TrainingConfig

LOG = logging.getLogger(__name__)


class TrialRunner(keras_tuner.Tuner):
    """KerasTuner's tuner; the oracle stores the search.

    Args:
      config: the search.
      plan: its plan.
      training_sets: what each trial is trained on: the folds, or the training split.
      folder: the search's folder, for checkpoints of the trainings.
      oracle: gives out the trials.

    Attributes:
      progress: {"epoch", "epochs"} of the trial being trained.
    """

    def __init__(
        self,
        config: SearchConfig,
        plan: SearchPlan,
        training_sets: list[tuple[Dataset, Spec]],
        *,
        folder: Path,
        oracle: keras_tuner.Oracle,
    ):
        self.config, self.plan, self.folder = config, plan, folder
        self.training_sets = training_sets
        self.training_config = TrainingConfig(**config.training)
        self.progress = {"epoch": 0, "epochs": 1}
        self.failure_reason: str | None = None
        keras_tuner_internals.silence_tracebacks()
        super().__init__(oracle=oracle, directory=str(folder.parent), project_name=folder.name)

    def save(self) -> None:
        """Does nothing: the oracle stores the search."""

    def reload(self) -> None:
        """Does nothing: the oracle stores the search."""

    def run_trial(self, trial: Trial, **_: Any) -> dict[str, float]:
        """Trains a trial on each of its training sets; returns the mean metrics, best epoch."""
        try:
            histories = [self._train(trial, fold) for fold in range(len(self.training_sets))]
            return mean_metrics(histories, self.training_sets[0][0])
        except Exception as error:
            self.failure_reason = _sentence(error)
            LOG.warning("Trial %s failed.", trial.trial_id, exc_info=True)
            raise

    def on_trial_end(self, trial: Trial) -> None:
        """Puts the reason of a failure in a sentence."""
        if trial.message:
            trial.message = self.failure_reason or trial.message
            self.failure_reason = None
        self.progress = {"epoch": 0, "epochs": 1}
        super().on_trial_end(trial)

    def _train(self, trial: Trial, fold: int) -> dict[str, list[float]]:
        """Returns the history of a training on one fold; a training begun before is resumed.

        A promoted trial resumes its parent's training, with the parent's seed: it becomes what the
        parent would have been, had it been trained for longer from the beginning.
        """
        data, spec = self.training_sets[fold]
        values = trial.hyperparameters.values
        epochs = values.get("tuner/epochs", self.plan.max_epochs)
        self.progress = {"epoch": 0, "epochs": epochs}
        hp = search_plan.hyperparameters(values)
        seed = self.training_config.seed + 1 + int(self._first_trial(trial))
        budget = {"epochs": self.plan.max_epochs, "patience": self.plan.max_epochs, "seed": seed}
        training_config = replace(self.training_config, **(self.plan.training(hp) | budget))
        checkpoint = self._checkpoint(trial.trial_id, fold)
        parent = values.get("tuner/trial_id")
        if parent:
            _copy(self._checkpoint(parent, fold), checkpoint)
        _discard_if_damaged(checkpoint)
        hardware.clear_session()
        keras.utils.set_random_seed(seed)
        with training_compile.strategy().scope():
            model = build(self.config.model, spec, self.plan.space(hp))
            loop.prepare(model, data, settings=training_config)
        return loop.fit(
            model,
            data,
            settings=training_config,
            until=epochs,
            checkpoint_folder=checkpoint,
            callbacks=[self._note_progress],
        )

    def _first_trial(self, trial: Trial) -> str:
        """Returns the trial that a promoted trial descends from."""
        while parent := trial.hyperparameters.values.get("tuner/trial_id"):
            trial = self.oracle.get_trial(parent)
        return trial.trial_id

    def _checkpoint(self, trial_id: str, fold: int) -> Path:
        return self.folder / f"trial_{trial_id}" / f"fold_{fold}"

    def _note_progress(self, epoch: int, metrics: dict[str, float]) -> None:
        self.progress = self.progress | {"epoch": epoch}


def mean_metrics(histories: list[dict[str, list[float]]], data: Dataset) -> dict[str, float]:
    """Returns each metric's mean over the folds at the best epoch, and each fold's score there."""
    objective = f"val_{data.objective}"
    means: dict[str, np.ndarray] = {
        name: np.mean([history[name] for history in histories], axis=0) for name in histories[0]
    }
    scores = means[objective] if direction(data) == "max" else -means[objective]
    if not np.isfinite(scores).any():
        raise UserError("Its score is not a number.")
    best = int(np.nanargmax(scores))
    metrics = {name: float(values[best]) for name, values in means.items()}
    if len(histories) > 1:
        metrics |= {
            f"{FOLD}{i + 1}": history[objective][best] for i, history in enumerate(histories)
        }
    return metrics


def _sentence(error: Exception) -> str:
    """Returns why a trial failed."""
    first_line = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, UserError):
        return first_line
    if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        return f"It took more memory than there is: {first_line or 'an allocation failed'}"
    return f"{type(error).__name__}: {first_line}"


def _copy(source: Path, target: Path) -> None:
    """Copies a checkpoint to a temporary name and renames it; where there is none, does nothing."""
    if target.exists() or not source.exists():
        return
    temporary = target.with_name(f".{target.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary)
    temporary.replace(target)


def _discard_if_damaged(checkpoint: Path) -> None:
    """Moves a checkpoint aside that cannot be read; the trial then begins from nothing."""
    try:
        checkpoints.newest(checkpoint)
    except UserError as error:
        LOG.warning("%s The trial begins anew.", error)
        resumable.move_aside(checkpoint)
