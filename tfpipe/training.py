"""Compiles and fits one model."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfpipe import inputs, scores
from tfpipe.errors import UserError
from tfpipe.task import choose

PRECISIONS = ("auto", "float32", "mixed_bfloat16")
CHUNK = 256  # pictures scored at once


@dataclass(frozen=True)
class Settings:
    """How a model is trained, apart from the model.

    Attributes:
      optimizer: "sgd" (momentum 0.9, Nesterov) or "nadam" (beta 0.9, 0.999), as seed 002 has them.
      learning_rate: constant, or where it begins.
      decay: whether it falls to 0 over the epochs by half a cosine (Loshchilov & Hutter 2017,
        arXiv:1608.03983, eq. 5, without restarts). Trials of a search do without: one that is
        promoted goes on.
      epochs: at most.
      patience: epochs without a better validation score before stopping.
      batch_size: examples a step.
      balance: "weights", "sampling" or "none", see `inputs.training_batches`.
      seed: of weights, order and augmentation.
    """

    optimizer: str = "nadam"
    learning_rate: float = 1e-3
    decay: bool = False
    epochs: int = 30
    patience: int = 10
    batch_size: int = 32
    balance: str = "sampling"
    seed: int = 0


@dataclass(frozen=True)
class Data:
    """A task's records, opened for training.

    Attributes:
      folder: the records.
      manifest: theirs, trusted.
      objective: name of the validation score that training maximises.
    """

    folder: Path
    manifest: dict
    objective: str


def compute_policy(precision: str) -> str:
    """Returns the Keras dtype policy for a `--precision`.

    "auto" takes bfloat16 where the processor computes with it (two times faster on such, eight
    times slower on one that must emulate it), or a GPU does; else float32.
    """
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if computes_bfloat16() else "float32"


def computes_bfloat16() -> bool:
    """Returns whether this machine multiplies bfloat16 in hardware."""
    gpus = [
        tf.config.experimental.get_device_details(g) for g in tf.config.list_physical_devices("GPU")
    ]
    if any(gpu.get("compute_capability", (0, 0)) >= (8, 0) for gpu in gpus):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def prepare(model: keras.Model, data: Data, *, settings: Settings) -> None:
    """Compiles a model; XLA is never asked for on a CPU, where it is 20 to 40 times slower."""
    rate = settings.learning_rate
    if settings.decay:
        steps = inputs.steps_per_epoch(
            data.manifest, batch_size=settings.batch_size, balance=settings.balance
        )
        rate = keras.optimizers.schedules.CosineDecay(rate, settings.epochs * steps)
    makers = {
        "sgd": lambda: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
        "nadam": lambda: keras.optimizers.Nadam(rate, beta_1=0.9, beta_2=0.999),
    }
    choose(settings.optimizer, makers, noun="optimizer")
    model.compile(
        optimizer=makers[settings.optimizer](),
        loss="sparse_categorical_crossentropy",
        jit_compile="auto" if tf.config.list_physical_devices("GPU") else False,
    )


def fit(
    model: keras.Model,
    data: Data,
    *,
    settings: Settings,
    first_epoch: int = 0,
    callbacks=(),
    hard: np.ndarray | None = None,
) -> dict[str, list[float]]:
    """Fits a compiled model and leaves it with the weights of its best epoch.

    With a decaying rate that is the last one, whatever its score: the schedule ends there, and on
    few validation pictures a higher score before is luck.

    Args:
      model: compiled.
      data: the records.
      settings: how.
      first_epoch: epochs it has seen before.
      callbacks: more Keras callbacks.
      hard: training examples to be drawn more often, see `inputs.training_batches`.

    Returns:
      Metric to its value per epoch: loss, val_loss, val_<objective>, seconds.
    """
    batches, steps = inputs.training_batches(
        data.folder,
        manifest=data.manifest,
        seed=settings.seed + 1000 * first_epoch,
        batch_size=settings.batch_size,
        balance=settings.balance,
        hard=hard,
    )
    weights = inputs.class_weights(data.manifest) if settings.balance == "weights" else None
    watches = [_Validation(data, batch_size=CHUNK), *callbacks]
    if not settings.decay:
        watches.append(
            keras.callbacks.EarlyStopping(
                monitor=f"val_{data.objective}",
                mode="max",
                patience=settings.patience,
                restore_best_weights=True,
            )
        )
    history = model.fit(
        batches,
        steps_per_epoch=steps,
        epochs=settings.epochs,
        initial_epoch=first_epoch,
        class_weight=weights,
        callbacks=watches,
        verbose=0,
        shuffle=False,
    )
    return {name: [float(v) for v in values] for name, values in history.history.items()}


def fit_to_end(
    model: keras.Model, data: Data, *, settings: Settings, callbacks=()
) -> dict[str, list[float]]:
    """Fits a compiled model by `fit`; after a third of the epochs it draws what it finds hard.

    Of thousands of pictures without a layer a handful show a crack or a break, and these are what
    a model mistakes (seed 002, "False Positives"): drawn at random, each is seen too seldom. With
    "sampling" the hardest tenth of each class is drawn besides from then on (bootstrapping: Sung
    & Poggio 1998, doi:10.1109/34.655648).
    """
    first = settings.epochs // 3 if settings.balance == "sampling" else 0
    told: dict[str, list[float]] = {}
    hard = None
    if first:
        begun = replace(settings, epochs=first)
        told = fit(model, data, settings=begun, callbacks=callbacks)
        hard = hardest(*predicted(model, data, "train"))
    rest = fit(model, data, settings=settings, first_epoch=first, callbacks=callbacks, hard=hard)
    return {name: told.get(name, []) + values for name, values in rest.items()}


def hardest(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns which examples [n] bool are among the tenth of their class with the highest loss."""
    likely = probabilities[np.arange(len(labels)), labels]
    found = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        found[own[np.argsort(likely[own], kind="stable")[: max(1, len(own) // 10)]]] = True
    return found


def predicted(model: keras.Model, data: Data, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels [n] int and probabilities [n, classes] float32 of a whole split, in order."""
    step = tf.function(lambda x: model(x, training=False), jit_compile=False, reduce_retracing=True)
    labels, said = [], []
    for features, label in inputs.batches(
        data.folder, split, manifest=data.manifest, batch_size=CHUNK
    ):
        said.append(step(features).numpy())
        labels.append(label.numpy())
    return np.concatenate(labels), np.concatenate(said)


class _Validation(keras.callbacks.Callback):
    """Scores the validation split once an epoch, by the task's own objective."""

    def __init__(self, data: Data, *, batch_size: int):
        super().__init__()
        self.data = data
        self.batches = inputs.batches(
            data.folder, "validation", manifest=data.manifest, batch_size=batch_size
        ).cache()
        self.step = None
        self.began = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if self.step is None:
            self.step = tf.function(
                lambda x: self.model(x, training=False), jit_compile=False, reduce_retracing=True
            )
        parts = [(label.numpy(), self.step(x).numpy()) for x, label in self.batches]
        labels, said = (np.concatenate(column) for column in zip(*parts, strict=True))
        if not np.isfinite(said).all():
            raise UserError(
                f"Training diverged in epoch {epoch + 1}: the model's answers are not numbers. "
                "Lower the learning rate by --hp learning_rate=..."
            )
        likely = np.clip(said[np.arange(len(labels)), labels], 1e-7, 1)
        logs["val_loss"] = float(-np.log(likely).mean())
        score = scores.OBJECTIVES[self.data.objective]
        logs[f"val_{self.data.objective}"] = score(labels, said)
        logs["seconds"] = time.perf_counter() - self.began
