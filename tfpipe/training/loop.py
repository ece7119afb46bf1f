"""Training loop of every model: epochs, validation scores, checkpoints inside an epoch, resuming.

`keras.Model.fit` cannot resume in the middle of an epoch: the state it would need (the running
loss, the patience left, the position in the data, random numbers) is spread over callbacks and
iterators. This loop calls Keras' training step and has that state in one `TrainingProgress`, which
is saved with the weights.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfpipe.base.progress import Reporter, silent
from tfpipe.data import dataset
from tfpipe.data.dataset import Dataset, direction
from tfpipe.models.fused import fused_operations
from tfpipe.training import checkpoints, embedding_cache, schedules
from tfpipe.training.compile import (
    batch_targets,
    prepare,
    sampling_config,
    stages_open,
    steps_per_epoch,
)
from tfpipe.training.config import TrainingConfig
from tfpipe.training.validation import hardest_examples, predict, scorer, validation_batches

SAVE_EVERY_S = 30.0
SAVE_SHARE = 0.05  # largest share of the time that writing checkpoints takes

EpochCallback = Callable[[int, dict[str, float]], None]


@dataclass
class TrainingProgress:
    """The state of a training, besides weights and random numbers.

    Attributes:
      epoch: index of the current epoch, from 0.
      step: batches of it that are done.
      stream_epoch: epoch in which the stream of batches began: 0, or that of hard-example mining.
      history: metric -> its value in each epoch.
      best: validation score of the best epoch.
      epochs_since_best: epochs done since then.
      is_finished: whether training has ended, by patience or by its number of epochs.
    """

    epoch: int = 0
    step: int = 0
    stream_epoch: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    best: float | None = None
    epochs_since_best: int = 0
    is_finished: bool = False


def fit(
    model: keras.Model,
    data: Dataset,
    *,
    settings: TrainingConfig,
    until: int | None = None,
    checkpoint_folder: Path | None = None,
    callbacks: Sequence[EpochCallback] = (),
    report: Reporter = silent,
    caches_body: bool = True,
) -> dict[str, list[float]]:
    """Fits a prepared model and returns its history.

    With a learning rate that does not fall to zero, the model ends with the weights of its best
    epoch. With one that does, it ends with those of the last epoch: on few validation images an
    earlier, higher score is chance.

    Args:
      model: prepared by `compile.prepare`.
      data: the records.
      settings: the training configuration.
      until: number of epochs after which to stop for now; None for all of them.
      checkpoint_folder: where checkpoints are saved. If one is there, training resumes from it,
        whether it was killed or stopped by `until`. The resumed weights are the same, bit by bit,
        on the same machine with the same settings.
      callbacks: functions of (epochs done, metrics), called after each epoch.
      report: receives notes on how the model is trained.
      caches_body: whether the outputs of a frozen body are computed once, if that is cheaper. Then
        the first epochs take longer than later ones.

    Returns:
      Metric -> its value in each epoch, earlier ones included: loss, val_loss, val_<objective>,
      seconds.

    Raises:
      UserError: the model's outputs are not finite, or no checkpoint of the folder can be read.
    """
    run = _TrainingLoop(
        model, data, settings, checkpoint_folder, report=report, caches_body=caches_body
    )
    last = settings.epochs if until is None else min(until, settings.epochs)
    while run.progress.epoch < last and not run.progress.is_finished:
        with fused_operations(model):
            logs = run.train_epoch(last=last)
        for callback in callbacks:
            callback(run.progress.epoch, logs)
    if run.progress.is_finished and run.best is not None:
        model.set_weights(run.best)
    return run.progress.history


class _TrainingLoop:
    """One call of `fit`."""

    def __init__(
        self,
        model: keras.Model,
        data: Dataset,
        settings: TrainingConfig,
        folder: Path | None,
        *,
        report: Reporter,
        caches_body: bool,
    ):
        self.model, self.data, self.settings, self.folder = model, data, settings, folder
        self.report, self.caches_body = report, caches_body
        self.progress = TrainingProgress()
        self.hard: np.ndarray | None = None
        self.best: list[np.ndarray] | None = None
        self.restores_best = not schedules.ends_at_zero(settings.schedule)
        self.steps = steps_per_epoch(model, data, settings)
        self.batches = None
        self.trained: Any = None  # the model, or its head on cached embeddings
        self.cache: embedding_cache.EmbeddingCache | None = None
        model.reset_metrics()
        self._resume()
        self.saved_at, self.save_seconds = time.monotonic(), 0.0

    def train_epoch(self, *, last: int) -> dict[str, float]:
        """Trains an epoch, or the rest of it, and returns its metrics."""
        progress, start = self.progress, time.monotonic()
        if progress.step == 0:
            self._begin_epoch()
        if self.trained is None:
            self._choose_trained()
        if self.batches is None:
            self.batches = self._stream()
        self.trained.make_train_function()
        while progress.step < self.steps:
            self.trained.train_function(self.batches)
            progress.step += 1
            self._save()
        logs = {"loss": float(self.model.get_metrics_result()["loss"])}
        logs |= self.score(progress.epoch + 1)
        logs["seconds"] = time.monotonic() - start
        for name, value in logs.items():
            progress.history.setdefault(name, []).append(value)
        progress.epoch, progress.step = progress.epoch + 1, 0
        self._record_score(logs[f"val_{self.data.objective}"])
        self.model.reset_metrics()
        self._save(now=progress.is_finished or progress.epoch == last)
        return logs

    def _begin_epoch(self) -> None:
        """Opens the stages that are due, and mines hard examples."""
        model, settings, epoch = self.model, self.settings, self.progress.epoch
        n_open = stages_open(model, settings, epoch)
        if epoch and n_open != stages_open(model, settings, epoch - 1):
            self._open_stages(epoch)
        samples = sampling_config(model, settings).samples
        if settings.mining and samples and 0 < epoch == settings.epochs // 3:
            self.hard = hardest_examples(*predict(model, self.data, self.data.train))
            self.progress.stream_epoch, self.batches = epoch, None
        if self.cache and self.cache.begins_stream(epoch):
            self.batches = None

    def _open_stages(self, epoch: int) -> None:
        """Opens the due stages of a pretrained network. This makes a new optimizer."""
        with self.model.distribute_strategy.scope():
            prepare(self.model, self.data, settings=self.settings, initial_epoch=epoch)
        self.trained = None

    def _choose_trained(self) -> None:
        """Chooses what is trained and scored from now on: a head on cached embeddings, or all."""
        model, data = self.model, self.data
        had_cache = self.cache is not None
        self.cache = None
        if self.caches_body:
            self.cache = embedding_cache.cache_of(model, data, self.settings, report=self.report)
        if self.cache:
            self.trained, batches = self.cache.head, self.cache.validation_batches()
        else:
            self.trained, batches = model, validation_batches(model, data)
        if had_cache or self.cache:
            self.batches = None
        self.score = scorer(self.trained, data, batches)

    def _stream(self):
        """Returns an iterator over the next batches."""
        data, progress = self.data, self.progress
        drawing = sampling_config(self.model, self.settings)
        seed = drawing.seed + 1000 * progress.stream_epoch
        drawing = replace(drawing, seed=seed, hard=self.hard)
        skip = (progress.epoch - progress.stream_epoch) * self.steps + progress.step
        if self.cache:
            batches = self.cache.training_batches(drawing, epoch=progress.epoch, skip=skip)
        else:
            batches = dataset.training_batches(
                data.folder, drawing, manifest=data.manifest, subset=data.train, skip=skip
            )
        batches = batches.map(batch_targets(self.trained, data, self.settings), tf.data.AUTOTUNE)
        batches = batches.prefetch(tf.data.AUTOTUNE)
        return iter(self.model.distribute_strategy.experimental_distribute_dataset(batches))

    def _record_score(self, score: float) -> None:
        """Records an epoch's score, and whether it was the best or the last one."""
        progress, sign = self.progress, 1 if direction(self.data) == "max" else -1
        progress.epochs_since_best += 1
        if progress.best is None or sign * score > sign * progress.best:
            progress.best, progress.epochs_since_best = score, 0
            self.best = self.model.get_weights() if self.restores_best else None
        is_out_of_patience = (
            self.restores_best and progress.epochs_since_best >= self.settings.patience
        )
        progress.is_finished = is_out_of_patience or progress.epoch >= self.settings.epochs

    def _save(self, *, now: bool = False) -> None:
        """Writes a checkpoint if it is due by time, or `now`."""
        seconds = time.monotonic() - self.saved_at
        is_due = seconds > max(SAVE_EVERY_S, self.save_seconds / SAVE_SHARE)
        if self.folder is None or not (now or is_due):
            return
        start = time.monotonic()
        arrays = {f"best{i}": array for i, array in enumerate(self.best or [])}
        if self.hard is not None:
            arrays["hard"] = self.hard
        number = self.progress.epoch * self.steps + self.progress.step
        progress = asdict(self.progress)
        checkpoints.add(self.folder, self.model, number=number, progress=progress, arrays=arrays)
        self.saved_at = time.monotonic()
        self.save_seconds = self.saved_at - start

    def _resume(self) -> None:
        """Resumes from the newest checkpoint, if the folder has one."""
        state = checkpoints.newest(self.folder) if self.folder else None
        if state is None:
            return
        progress = TrainingProgress(**state.progress)
        # A checkpoint of an epoch's end has the stages of that epoch, not of the next one.
        epoch = progress.epoch if progress.step else max(progress.epoch - 1, 0)
        if stages_open(self.model, self.settings, epoch):
            self._open_stages(epoch)
        checkpoints.restore(state, self.model)
        arrays = dict(state.arrays)
        self.progress, self.hard = progress, arrays.pop("hard", None)
        self.best = [arrays[f"best{i}"] for i in range(len(arrays))] or None
