"""Runs one trial of a search after the other: builds, trains, and tells how good it was."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import tensorflow as tf
from keras_tuner.src import config as keras_tuner_config

from tfpipe.base import resumable
from tfpipe.base.errors import UserError
from tfpipe.data.dataset import Dataset, direction
from tfpipe.models import build
from tfpipe.models.spec import Spec
from tfpipe.search import plan as search_plan
from tfpipe.search.config import SearchConfig
from tfpipe.search.plan import SearchPlan
from tfpipe.search.search_folder import FOLD
from tfpipe.training import checkpoints, loop
from tfpipe.training import compile as training_compile
from tfpipe.training.config import TrainingConfig

LOG = logging.getLogger("tfpipe")


class Tuner(keras_tuner.Tuner):
    """KerasTuner's, which keeps nothing: the oracle does.

    Args:
      config: what is searched.
      plan: what it comes to.
      parts: what each trial is trained on: the folds, or the training split.
      folder: where states of trainings are kept.
      oracle: gives out the trials.

    Attributes:
      progress: {"epoch", "epochs"} of the trial being trained.
    """

    def __init__(
        self,
        config: SearchConfig,
        plan: SearchPlan,
        parts: list[tuple[Dataset, Spec]],
        *,
        folder: Path,
        oracle,
    ):
        self.config, self.plan, self.parts, self.folder = config, plan, parts, folder
        self.settings = TrainingConfig(**config.training)
        self.progress, self.reason = {"epoch": 0, "epochs": 1}, None
        keras_tuner_config.DEBUG = False  # KerasTuner would print each failed trial's traceback
        super().__init__(oracle=oracle, directory=str(folder.parent), project_name=folder.name)

    def save(self):
        """Nothing: the oracle keeps the search."""

    def reload(self):
        """Likewise."""

    def run_trial(self, trial, **_) -> dict[str, float]:
        """Trains a trial on each of its parts and returns the mean metrics of the best epoch."""
        try:
            histories = [self._trained(trial, place) for place in range(len(self.parts))]
            return _summary(histories, self.parts[0][0])
        except Exception as error:
            self.reason = _sentence(error)
            LOG.warning("Trial %s failed.", trial.trial_id, exc_info=True)
            raise

    def on_trial_end(self, trial):
        """Says in a sentence why a trial failed."""
        if trial.message:
            trial.message, self.reason = self.reason or trial.message, None
        self.progress = {"epoch": 0, "epochs": 1}
        super().on_trial_end(trial)

    def _trained(self, trial, place: int) -> dict[str, list[float]]:
        """Returns the history of a training on one part; one that was begun before goes on.

        A promoted trial goes on where the one it comes from stood, with its seed: it becomes what
        that one would have been, had it been trained for longer from the beginning.
        """
        data, spec = self.parts[place]
        values = trial.hyperparameters.values
        epochs = values.get("tuner/epochs", self.plan.max_epochs)
        self.progress = {"epoch": 0, "epochs": epochs}
        hp = search_plan.hyperparameters(values)
        seed = self.settings.seed + 1 + int(self._first(trial))
        chosen = {"epochs": self.plan.max_epochs, "patience": self.plan.max_epochs, "seed": seed}
        settings = replace(self.settings, **self.plan.training(hp), **chosen)
        kept = self._state(trial.trial_id, place)
        if values.get("tuner/trial_id"):
            _copy(self._state(values["tuner/trial_id"], place), kept)
        _forget_if_damaged(kept)
        keras.backend.clear_session(free_memory=True)
        keras.utils.set_random_seed(seed)
        with training_compile.strategy().scope():
            model = build(self.config.model, spec, self.plan.space(hp))
            loop.prepare(model, data, settings=settings)
        return loop.fit(model, data, settings=settings, until=epochs, kept=kept, told=[self._tell])

    def _first(self, trial) -> str:
        """Returns the trial that a promoted one began as."""
        while past := trial.hyperparameters.values.get("tuner/trial_id"):
            trial = self.oracle.get_trial(past)
        return trial.trial_id

    def _state(self, trial_id: str, place: int) -> Path:
        return self.folder / f"trial_{trial_id}" / f"fold_{place}"

    def _tell(self, epoch: int, metrics: dict[str, float]) -> None:
        self.progress = self.progress | {"epoch": epoch}


def _summary(histories: list[dict[str, list[float]]], data: Dataset) -> dict[str, float]:
    """Returns each metric's mean over the folds at the best epoch, and each fold's score there."""
    goal = f"val_{data.objective}"
    means = {name: np.mean([one[name] for one in histories], axis=0) for name in histories[0]}
    scores = means[goal] if direction(data) == "max" else -means[goal]
    if not np.isfinite(scores).any():
        raise UserError("Its score is not a number.")
    best = int(np.nanargmax(scores))
    told = {name: float(values[best]) for name, values in means.items()}
    if len(histories) > 1:
        told |= {f"{FOLD}{i + 1}": one[goal][best] for i, one in enumerate(histories)}
    return told


def _sentence(error: Exception) -> str:
    """Returns why a trial failed."""
    first = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, UserError):
        return first
    if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        return f"It took more memory than there is: {first or 'no more could be had'}"
    return f"{type(error).__name__}: {first}"


def _copy(state: Path, kept: Path) -> None:
    """Copies a training's state, beside and renamed; where there is none, nothing goes on."""
    if kept.exists() or not state.exists():
        return
    beside = kept.with_name(f".{kept.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(state, beside)
    beside.replace(kept)


def _forget_if_damaged(kept: Path) -> None:
    """Has a trial begin anew if none of its states can be read: it costs that trial's time."""
    try:
        checkpoints.newest(kept)
    except UserError as error:
        LOG.warning("%s The trial begins anew.", error)
        resumable.move_aside(kept)
