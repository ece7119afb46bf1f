"""One fit for every model: trained, scored once an epoch, resumed inside an epoch.

A loop of our own round Keras' training step, because `Model.fit` cannot go on in the middle of an
epoch: the state it would need (the running loss, the patience left, the place in the data, random
numbers) is spread over callbacks and iterators. Here it is one `Course`, kept with the weights.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfpipe.data import dataset
from tfpipe.data.dataset import Dataset, direction
from tfpipe.training import checkpoints, schedules
from tfpipe.training.compile import drawing_of, prepare, stages_open, steps_of, targets_of
from tfpipe.training.config import TrainingConfig
from tfpipe.training.validation import hardest, predicted, scorer

KEEP_EVERY_S = 30.0
KEEP_SHARE = 0.05  # and writing states takes no more than this share of the time

Told = Callable[[int, dict[str, float]], None]


@dataclass
class Course:
    """Where a training stands.

    Attributes:
      epoch: in work, from 0.
      step: batches of it done.
      begun: the epoch with which the stream of batches began: 0, or when hard examples came in.
      history: metric to its value per epoch.
      best: validation score of the best epoch.
      waited: epochs since then.
      over: whether it has ended, by patience or by its number of epochs.
    """

    epoch: int = 0
    step: int = 0
    begun: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    best: float | None = None
    waited: int = 0
    over: bool = False


def fit(
    model: keras.Model,
    data: Dataset,
    *,
    settings: TrainingConfig,
    until: int | None = None,
    kept: Path | None = None,
    told: Sequence[Told] = (),
) -> dict[str, list[float]]:
    """Fits a prepared model.

    A training that ends by a rate which does not fall to zero leaves the model with the weights of
    its best epoch. With one that does, they are the last epoch's: on few validation pictures a
    higher score before is luck.

    Args:
      model: prepared.
      data: the records.
      settings: how.
      until: epochs after which to stop for now; all of them by default.
      kept: folder of its state. A training whose state is there goes on with it, be it that it
        was killed (then to the same weights, bit by bit, as long as machine and settings are the
        same) or that it was to stop before.
      told: called with (epochs done, metrics) after each epoch.

    Returns:
      Metric to its value per epoch, those before included: loss, val_loss, val_<objective>,
      seconds.

    Raises:
      UserError: the model's answers are no numbers, or no kept state can be read.
    """
    run = _Run(model, data, settings, kept)
    last = settings.epochs if until is None else min(until, settings.epochs)
    while run.course.epoch < last and not run.course.over:
        logs = run.epoch(last=last)
        for tell in told:
            tell(run.course.epoch, logs)
    if run.course.over and run.best is not None:
        model.set_weights(run.best)
    return run.course.history


class _Run:
    """One call of `fit`."""

    def __init__(self, model, data: Dataset, settings: TrainingConfig, kept: Path | None):
        self.model, self.data, self.settings, self.kept = model, data, settings, kept
        self.course = Course()
        self.hard: np.ndarray | None = None
        self.best: list[np.ndarray] | None = None
        self.keeps_best = not schedules.ends_at_zero(settings.schedule)
        self.steps = steps_of(model, data, settings)
        self.batches = None
        model.reset_metrics()
        self._resume()
        self.scored = scorer(model, data)
        self.saved_at, self.save_took = time.monotonic(), 0.0

    def epoch(self, *, last: int) -> dict[str, float]:
        """Trains an epoch, or what is left of it, scores it, and returns its metrics."""
        course, began = self.course, time.monotonic()
        if course.step == 0:
            self._change()
        if self.batches is None:
            self.batches = self._stream()
        self.model.make_train_function()
        while course.step < self.steps:
            self.model.train_function(self.batches)
            course.step += 1
            self._keep()
        logs = {"loss": float(self.model.get_metrics_result()["loss"])}
        logs |= self.scored(course.epoch + 1)
        logs["seconds"] = time.monotonic() - began
        for name, value in logs.items():
            course.history.setdefault(name, []).append(value)
        course.epoch, course.step = course.epoch + 1, 0
        self._judge(logs[f"val_{self.data.objective}"])
        self.model.reset_metrics()
        self._keep(now=course.over or course.epoch == last)
        return logs

    def _change(self) -> None:
        """Does what falls due at the beginning of an epoch."""
        model, settings, epoch = self.model, self.settings, self.course.epoch
        opened = stages_open(model, settings, epoch)
        if epoch and opened != stages_open(model, settings, epoch - 1):
            self._open(epoch)
        samples = drawing_of(model, settings).samples
        if settings.mining and samples and 0 < epoch == settings.epochs // 3:
            self.hard = hardest(*predicted(model, self.data, self.data.train))
            self.course.begun, self.batches = epoch, None

    def _open(self, epoch: int) -> None:
        """Opens the stages of a pretrained body that are due, which takes a new optimizer."""
        with self.model.distribute_strategy.scope():
            prepare(self.model, self.data, settings=self.settings, begun=epoch)

    def _stream(self):
        """Returns an iterator over the batches that come next."""
        data, course = self.data, self.course
        drawing = drawing_of(self.model, self.settings)
        batches = dataset.training_batches(
            data.folder,
            replace(drawing, seed=drawing.seed + 1000 * course.begun, hard=self.hard),
            manifest=data.manifest,
            subset=data.train,
            skip=(course.epoch - course.begun) * self.steps + course.step,
        )
        batches = batches.map(targets_of(self.model, data, self.settings), tf.data.AUTOTUNE)
        batches = batches.prefetch(tf.data.AUTOTUNE)
        return iter(self.model.distribute_strategy.experimental_distribute_dataset(batches))

    def _judge(self, score: float) -> None:
        """Notes whether an epoch was the best so far, and whether there is to be another."""
        course, sign = self.course, 1 if direction(self.data) == "max" else -1
        course.waited += 1
        if course.best is None or sign * score > sign * course.best:
            course.best, course.waited = score, 0
            self.best = self.model.get_weights() if self.keeps_best else None
        impatient = self.keeps_best and course.waited >= self.settings.patience
        course.over = impatient or course.epoch >= self.settings.epochs

    def _keep(self, *, now: bool = False) -> None:
        """Keeps the state: at the end, and whenever some time has gone by."""
        waited = time.monotonic() - self.saved_at
        due = waited > max(KEEP_EVERY_S, self.save_took / KEEP_SHARE)
        if self.kept is None or not (now or due):
            return
        began = time.monotonic()
        arrays = {f"best{i}": array for i, array in enumerate(self.best or [])}
        if self.hard is not None:
            arrays["hard"] = self.hard
        number = self.course.epoch * self.steps + self.course.step
        where = asdict(self.course)
        checkpoints.add(self.kept, self.model, number=number, where=where, arrays=arrays)
        self.saved_at = time.monotonic()
        self.save_took = self.saved_at - began

    def _resume(self) -> None:
        """Goes on from the newest kept state, if there is one."""
        state = checkpoints.newest(self.kept) if self.kept else None
        if state is None:
            return
        course = Course(**state.where)
        # A state from the end of an epoch has the stages of that epoch, not of the one to come.
        epoch = course.epoch if course.step else max(course.epoch - 1, 0)
        if stages_open(self.model, self.settings, epoch):
            self._open(epoch)
        checkpoints.put(state, self.model)
        arrays = dict(state.arrays)
        self.course, self.hard = course, arrays.pop("hard", None)
        self.best = [arrays[f"best{i}"] for i in range(len(arrays))] or None
