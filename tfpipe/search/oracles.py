"""KerasTuner's oracles: they propose trials, give them out to workers and take in results.

KerasTuner ends a search for good when a worker is lost, and its lock stays shut when what it guards
raises. Here a trial is its worker's until that one ends it or is lost; then it is given out again.
"""

import logging
import math
import threading
from types import SimpleNamespace
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine import trial as trials
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle, RandomSearchOracle
from keras_tuner.src.engine import oracle as engine
from keras_tuner.src.engine.metrics_tracking import MetricsTracker

from tfpipe.data.dataset import Dataset, direction
from tfpipe.search import plan as search_plan
from tfpipe.search.config import SearchConfig
from tfpipe.search.oracle_state import COMPLETED, FAILED, Kept
from tfpipe.search.plan import SearchPlan

LOG = logging.getLogger("tfpipe")
LOSSES = 5  # times that a trial's worker may be killed before the trial is given up
FAILURES = 3  # trials in a row that may fail before the search is given up


def made(config: SearchConfig, plan: SearchPlan, data: Dataset):
    """Returns the oracle of a search: its space is declared, and `plan` and `asked` are set."""
    rules = {
        "objective": keras_tuner.Objective(f"val_{data.objective}", direction(data)),
        "seed": config.training.get("seed", 0) or 1,
    }
    if plan.algorithm == "hyperband":
        oracle = Hyperband(max_epochs=plan.max_epochs, factor=plan.factor, **rules)
    elif plan.algorithm == "bayesian":
        oracle = Bayesian(max_trials=plan.max_trials, **rules)
    else:
        oracle = Random(max_trials=plan.max_trials, **rules)
    _declare(oracle, plan)
    space = [hp.get_config() for hp in oracle.get_space().space]
    oracle.plan = search_plan.identity(config, plan, data, space=space)
    oracle.asked = number_of_trials(oracle)
    return oracle


def number_of_trials(oracle) -> int:
    """Returns how many trials a search will have (Hyperband: Li et al. 2018, algorithm 1)."""
    if not isinstance(oracle, Hyperband):
        return oracle.max_trials
    brackets = oracle._get_num_brackets()
    return sum(oracle._get_size(b, r) for b in range(brackets) for r in range(b + 1))


class _Shared(Kept):
    """Gives trials out and takes results in.

    Attributes:
      lock: held while anything is read or changed.
      over: whether nothing more is to be given out.
    """

    over = False
    failed = 0  # in a row

    def __init__(self, **rules):
        super().__init__(**rules)
        self.lock = threading.RLock()
        engine.LOCKS[self] = _Open()
        self.verbose = 0

    def create_trial(self, tuner_id: str):
        with self.lock:
            if self.given_up or self.over:
                return trials.Trial(self.get_space(), "", trials.TrialStatus.STOPPED)
            trial = super().create_trial(tuner_id)
            if trial.status == trials.TrialStatus.STOPPED:
                # As long as others are at work there may be a trial to be given out again.
                self.over = not self.ongoing_trials
                trial.status = trial.status if self.over else trials.TrialStatus.IDLE
            trial.metrics = MetricsTracker()  # of a worker that was lost before it ended the trial
            return trial

    def end(
        self,
        tuner_id: str,
        *,
        status: str,
        message: str | None = None,
        metrics: dict[str, float] | None = None,
        seconds: float | None = None,
    ) -> None:
        """Takes in a worker's result, unless its trial was taken away from it meanwhile."""
        with self.lock:
            trial = self.ongoing_trials.get(tuner_id)
            if trial is None:
                return
            if metrics and not math.isfinite(metrics.get(self.objective.name, 0.0)):
                status, message, metrics = FAILED, "Its score is not a number.", None
            if metrics:
                self.update_trial(trial.trial_id, metrics)
            self.note(trial.trial_id, worker=tuner_id, seconds=seconds)
            trial.status, trial.message = status, message
            self.end_trial(trial)

    def lose(self, tuner_id: str) -> None:
        """Takes the trial away from a worker that was killed, to give it out again."""
        with self.lock:
            trial = self.ongoing_trials[tuner_id]
            losses = self.notes.get(trial.trial_id, {}).get("losses", 0) + 1
            self.note(trial.trial_id, losses=losses)
            if losses >= LOSSES:
                self.end(tuner_id, status=FAILED, message=f"Its worker was killed {losses} times.")
                return
            del self.ongoing_trials[tuner_id]
            self._retry_queue.append(trial.trial_id)
            self.save()

    def going_on(self) -> set[str]:
        """Returns the trials whose training may go on, in themselves or in one promoted."""
        return {name for name in self.trials if name not in self.end_order}

    def _check_consecutive_failures(self):
        """Notes what KerasTuner raises, and says why a trial failed."""
        trial = self.trials[self.end_order[-1]]
        if trial.status == COMPLETED:
            self.failed = 0
            return
        self.failed += 1
        LOG.warning("Trial %s failed and is left out: %s", trial.trial_id, trial.message)
        if self.failed == FAILURES:
            self.given_up = trial.message


class Hyperband(_Shared, HyperbandOracle):
    """Successive halving (Li et al. 2018)."""

    small = ("seed_state", "brackets", "current_bracket", "current_iteration", "places")

    def __init__(self, **rules):
        self.places: dict[str, dict[str, Any]] = {}  # trial -> its values that begin with "tuner/"
        super().__init__(**rules)

    def going_on(self) -> set[str]:
        open_ones = super().going_on()
        parents = {self.places[name].get("tuner/trial_id", name) for name in open_ones}
        rounds = [infos for bracket in self._brackets for infos in bracket["rounds"][:-1]]
        return open_ones | parents | {info["id"] for infos in rounds for info in infos}

    def populate_space(self, trial_id):
        told = super().populate_space(trial_id)
        if told.get("values"):
            place = {k: v for k, v in told["values"].items() if k.startswith("tuner/")}
            self.places[trial_id] = place
        return told

    def get_state(self):
        return super().get_state() | {"places": self.places}

    def set_state(self, state):
        super().set_state(state)
        self.places = state["places"]

    def _other_values(self, name: str) -> dict[str, Any]:
        place = self.places[name]
        past = self.trials.get(place.get("tuner/trial_id"))
        return (past.hyperparameters.values if past else super()._other_values(name)) | place


class Bayesian(_Shared, BayesianOptimizationOracle):
    """A Gaussian process over the space."""

    def populate_space(self, trial_id):
        # By trial, so that a search that was stopped proposes what it would have.
        self._random_state = np.random.RandomState(self.seed + int(trial_id))
        return super().populate_space(trial_id)


class Random(_Shared, RandomSearchOracle):
    """Values at random."""


class _Open:
    """In place of KerasTuner's lock, which stays shut when what it guards raises."""

    def acquire(self) -> None:
        """`_Shared.lock` is held already."""

    def release(self) -> None:
        """Likewise."""


def _declare(oracle, plan: SearchPlan) -> None:
    """Tells an oracle every hyperparameter, those behind conditions too; no model is built."""
    space = SimpleNamespace(build=lambda hp: plan.space(hp) | plan.training(hp))
    BaseTuner._activate_all_conditions(SimpleNamespace(oracle=oracle, hypermodel=space))
