"""Searches hyperparameters by KerasTuner's Hyperband or Bayesian optimisation, losing nothing."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
from keras_tuner.src import config

from tfpipe import files, oracles, training
from tfpipe.errors import UserError

LOG = logging.getLogger("tfpipe")
ALGORITHMS = ("hyperband", "bayesian")
FAILURES = 3  # trials in a row that may fail before the search is given up

Build = Callable[..., keras.Model]
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Plan:
    """One search.

    Attributes:
      space: hp -> keyword arguments of the builder.
      training: hp -> optimizer and learning_rate.
      algorithm: "hyperband" or "bayesian".
      max_epochs: of a trial.
      factor: Hyperband's.
      max_trials: of Bayesian search.
      fixed: hyperparameters that the user holds fixed; part of what makes two searches the same.
    """

    space: Callable[[Any], dict]
    training: Callable[[Any], dict]
    algorithm: str
    max_epochs: int
    factor: int
    max_trials: int
    fixed: dict[str, Any] = field(default_factory=dict)


def tune(
    build: Callable[[dict], keras.Model],
    data: training.Data,
    folder: Path,
    *,
    plan: Plan,
    settings: training.Settings,
    report: Report = lambda told: None,
) -> dict[str, Any]:
    """Runs a search to its end, or the rest of it.

    Args:
      build: builder's keyword arguments -> model.
      data: the records.
      folder: where the search is kept.
      plan: what is searched.
      settings: how each trial is trained; epochs, optimizer and learning rate are the search's.
      report: told {"trial", "trials", "best", "epoch", "epochs"} as it goes.

    Returns:
      {"model": builder's arguments, "training": optimizer and learning rate, "score", "trials": a
      row each}, also written to best.json.

    Raises:
      UserError: if the default values do not train, or three trials in a row fail.
    """
    tuner = _Tuner(build, data, folder, plan=plan, settings=settings, report=report)
    _quiet()
    tuner.resume()
    try:
        tuner.search(verbose=0)
    except RuntimeError as error:
        last = [t.message for t in tuner.oracle.trials.values() if t.message][-1:]
        reason = last[0].strip().splitlines()[-1] if last else error
        raise UserError(
            f"The search was given up after {FAILURES} failed trials: {reason}"
        ) from error
    best = tuner.outcome()
    files.replace(folder / "best.json", json.dumps(best, indent=1).encode())
    return best


def read_best(folder: Path) -> dict[str, Any] | None:
    """Returns what the finished search in a folder found, or None."""
    path = folder / "best.json"
    return json.loads(path.read_bytes()) if path.is_file() else None


class _Tuner(keras_tuner.Tuner):
    def __init__(self, build, data, folder: Path, *, plan: Plan, settings, report: Report):
        objective = keras_tuner.Objective(f"val_{data.objective}", direction="max")
        rules = {"seed": settings.seed or 1, "max_consecutive_failed_trials": FAILURES}
        if plan.algorithm == "hyperband":
            oracle = oracles.Hyperband(
                objective, max_epochs=plan.max_epochs, factor=plan.factor, **rules
            )
        else:
            oracle = oracles.Bayesian(objective, max_trials=plan.max_trials, **rules)
        oracle.state_path = folder / "state.json"
        self.plan, self.data, self.settings, self.report = plan, data, settings, report
        self.make, self.folder = build, folder
        super().__init__(
            oracle=oracle,
            hypermodel=self._build,
            directory=str(folder.parent),
            project_name=folder.name,
            overwrite=False,
        )

    def save(self):
        """The tuner has no state beside its oracle's."""

    def reload(self):
        """See `resume`."""

    def resume(self):
        """Goes on with a search that was stopped; another search is moved aside first."""
        told = json.dumps(self._identity(), sort_keys=True)
        plan, state = self.folder / "plan.json", self.oracle.state_path
        if plan.is_file() and plan.read_text() != told:
            aside = files.free(self.folder)
            self.folder.replace(aside)
            LOG.warning("An earlier search with another plan is now %s.", aside)
        files.replace(plan, told.encode())
        if not state.is_file():
            return
        try:
            self.oracle.reload()
        except (ValueError, KeyError, TypeError):
            aside = files.free(state)
            state.replace(aside)
            LOG.warning("%s was damaged and is now %s; the search begins anew.", state, aside.name)

    def _identity(self) -> dict:
        """Returns what makes two searches the same; how the winner is trained is no part of it."""
        settings = asdict(self.settings)
        return {
            "space": [hp.get_config() for hp in self.oracle.get_space().space],
            "plan": asdict(replace(self.plan, space=None, training=None)),
            "settings": {name: settings[name] for name in ("batch_size", "balance", "seed")},
            "data": self.data.manifest["fingerprint"],
        }

    def _build(self, hp) -> keras.Model:
        model = self.make(self.plan.space(hp))
        settings = replace(self.settings, **self.plan.training(hp))
        training.prepare(model, self.data, settings=settings)
        return model

    def run_trial(self, trial, **_):
        """Trains one trial; a promoted one goes on with its weights, optimizer state and epoch."""
        values = trial.hyperparameters.values
        keras.backend.clear_session(free_memory=True)
        seed = self.settings.seed + 1 + int(trial.trial_id)
        keras.utils.set_random_seed(seed)
        epochs = values.get("tuner/epochs", self.plan.max_epochs)
        before = values.get("tuner/initial_epoch", 0)
        if values.get("tuner/trial_id"):
            model = keras.models.load_model(self._kept(values["tuner/trial_id"]))
        else:
            model = self._build(trial.hyperparameters)
        settings = replace(self.settings, epochs=epochs, seed=seed, patience=epochs)
        last = _LastEpoch(self._kept(trial.trial_id), told=self._tell(trial, epochs=epochs))
        history = training.fit(
            model, self.data, settings=settings, first_epoch=before, callbacks=[last]
        )
        best = int(np.argmax(history[self.oracle.objective.name]))
        return {name: values[best] for name, values in history.items()}

    def on_trial_end(self, trial):
        """Says why a trial failed; the search goes on."""
        if trial.message:
            reason = trial.message.strip().splitlines()[-1]
            LOG.warning("Trial %s failed and is left out: %s", trial.trial_id, reason)
        super().on_trial_end(trial)

    def _kept(self, trial_id: str) -> Path:
        return self.folder / f"trial_{trial_id}" / "model.keras"

    def _tell(self, trial, *, epochs: int) -> Callable[[int], None]:
        def tell(epoch: int) -> None:
            scores = [t.score for t in self.oracle.trials.values() if t.score is not None]
            self.report(
                {
                    "trial": len(self.oracle.end_order) + 1,
                    "trials": oracles.number_of_trials(self.oracle),
                    "best": max(scores, default=None),
                    "epoch": epoch,
                    "epochs": epochs,
                }
            )

        return tell

    def outcome(self) -> dict[str, Any]:
        best = self.oracle.get_best_trials(1)
        if not best:
            raise UserError("No trial of the search gave a score. Widen its space or its budget.")
        hp = best[0].hyperparameters
        rows = [
            {
                "trial": trial.trial_id,
                "status": trial.status,
                "score": trial.score,
                "epochs": trial.hyperparameters.values.get("tuner/epochs", self.plan.max_epochs),
                **{k: v for k, v in trial.hyperparameters.values.items() if "/" not in k},
            }
            for trial in self.oracle.trials.values()
        ]
        return {
            "model": self.plan.space(hp),
            "training": self.plan.training(hp),
            "score": best[0].score,
            "objective": self.oracle.objective.name,
            "algorithm": self.plan.algorithm,
            "trials": rows,
        }


class _LastEpoch(keras.callbacks.Callback):
    """Keeps the model as its last epoch left it, optimizer included, and tells of epochs."""

    def __init__(self, path: Path, *, told: Callable[[int], None]):
        super().__init__()
        self.path, self.told = path, told

    def on_train_begin(self, logs=None):
        self.told(0)

    def on_epoch_end(self, epoch, logs=None):
        self.told(epoch + 1)

    def on_train_end(self, logs=None):
        beside = self.path.with_name(".model.keras")
        beside.parent.mkdir(parents=True, exist_ok=True)
        self.model.save(beside)
        beside.replace(self.path)


def _quiet() -> None:
    """Keeps KerasTuner from printing a failed trial's traceback; `on_trial_end` tells of it."""
    config.DEBUG = False
