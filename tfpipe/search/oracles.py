"""Oracles: Hyperband, Bayesian optimization and random search for several workers.

KerasTuner ends a search for good when a worker is lost. Here a trial belongs to its worker until
the worker ends it or is lost; a lost trial is given out again.
"""

import logging
import math
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.oracles import RandomSearchOracle

from tfpipe.data.dataset import Dataset, direction
from tfpipe.search import plan as search_plan
from tfpipe.search.config import SearchConfig
from tfpipe.search.extension import MoreTrials
from tfpipe.search.keras_tuner_internals import (
    OpenBayesianOracle,
    OpenHyperbandOracle,
    declare_space,
    forget_metrics,
)
from tfpipe.search.oracle_state import COMPLETED, FAILED, StoredOracle
from tfpipe.search.plan import SearchPlan

LOG = logging.getLogger(__name__)
MAX_LOSSES = 5  # times that a trial's worker may be killed before the trial is given up
MAX_CONSECUTIVE_FAILURES = 3  # failed trials in a row after which the search is given up


def make_oracle(config: SearchConfig, plan: SearchPlan, data: Dataset) -> "SearchOracle":
    """Returns the oracle of a search: its space is declared, `plan` and `n_trials` are set."""
    objective = keras_tuner.Objective(f"val_{data.objective}", direction(data))
    seed = config.training.get("seed", 0) or 1
    oracle: SearchOracle
    if plan.algorithm == "hyperband":
        oracle = Hyperband(
            objective=objective, seed=seed, max_epochs=plan.max_epochs, factor=plan.factor
        )
    elif plan.algorithm == "bayesian":
        oracle = Bayesian(objective=objective, seed=seed, max_trials=plan.max_trials)
    else:
        oracle = Random(objective=objective, seed=seed, max_trials=plan.max_trials)
    declare_space(oracle, lambda hp: plan.space(hp) | plan.training(hp))
    space = [hp.get_config() for hp in oracle.get_space().space]
    oracle.plan = search_plan.identity(config, plan, data, space=space)
    oracle.n_trials = number_of_trials(oracle)
    return oracle


def number_of_trials(oracle: "SearchOracle") -> int:
    """Returns how many trials a search will have (Hyperband: Li et al. 2018, algorithm 1)."""
    return oracle.count_trials() if isinstance(oracle, Hyperband) else oracle.max_trials


def iteration_size(oracle: "SearchOracle") -> int:
    """Returns how many trials a search can only have together."""
    return oracle.count_trials() if isinstance(oracle, Hyperband) else 1


def add_trials(oracle: "SearchOracle", more: MoreTrials) -> None:
    """Has a search, before it is resumed, have more trials than its plan says."""
    if isinstance(oracle, Hyperband):
        per_iteration = oracle.count_trials()
        iterations = math.ceil((more.trials - more.earlier_more) / per_iteration)
        oracle.hyperband_iterations = iterations + (not more.earlier_trials)
        oracle.n_trials = more.earlier_trials + per_iteration * oracle.hyperband_iterations
    else:
        oracle.max_trials = oracle.n_trials = oracle.plan["plan"]["max_trials"] + more.trials


class SearchOracle(StoredOracle):
    """Gives trials to workers and receives their results.

    Attributes:
      is_over: whether no more trials will be given out.
      consecutive_failures: how many of the last trials failed.
    """

    is_over = False
    consecutive_failures = 0

    def create_trial(self, tuner_id: str) -> Trial:
        """Returns a worker's next trial; its status is IDLE or STOPPED where there is none."""
        with self.lock:
            if self.given_up or self.is_over:
                return Trial(self.get_space(), "", TrialStatus.STOPPED)
            trial = super().create_trial(tuner_id)
            if trial.status == TrialStatus.STOPPED:
                # As long as other workers run trials, one of these may have to be run again.
                self.is_over = not self.ongoing_trials
                trial.status = trial.status if self.is_over else TrialStatus.IDLE
            forget_metrics(trial)  # of a worker that was lost before it ended the trial
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
        """Receives a worker's result, unless its trial was taken away from it meanwhile."""
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

    def worker_lost(self, tuner_id: str) -> None:
        """Takes the trial away from a worker that was killed, to give it out again."""
        with self.lock:
            trial = self.ongoing_trials[tuner_id]
            losses = self.notes.get(trial.trial_id, {}).get("losses", 0) + 1
            self.note(trial.trial_id, losses=losses)
            if losses >= MAX_LOSSES:
                self.end(tuner_id, status=FAILED, message=f"Its worker was killed {losses} times.")
                return
            del self.ongoing_trials[tuner_id]
            self.retry_later(trial.trial_id)
            self.save()

    def resumable_trials(self) -> set[str]:
        """Returns the trials whose training may be resumed, by themselves or when promoted."""
        return {name for name in self.trials if name not in self.end_order}

    def trial_ended(self) -> None:
        """Logs why a trial failed, and gives the search up after several failures in a row."""
        trial = self.trials[self.end_order[-1]]
        if trial.status == COMPLETED:
            self.consecutive_failures = 0
            return
        self.consecutive_failures += 1
        LOG.warning("Trial %s failed and is left out: %s", trial.trial_id, trial.message)
        if self.consecutive_failures == MAX_CONSECUTIVE_FAILURES:
            self.given_up = trial.message


class Hyperband(SearchOracle, OpenHyperbandOracle):
    """Successive halving (Li et al. 2018).

    Attributes:
      places: from trial to its values that begin with "tuner/": its bracket, round and epochs.
      inherited: trials of a smaller budget whose configurations the next ones begin with.
    """

    hyperband_iterations: int
    essential_state = (
        "seed_state",
        "brackets",
        "current_bracket",
        "current_iteration",
        "places",
        "max_epochs",
        "inherited",
    )

    def __init__(self, **options: Any):
        self.places: dict[str, dict[str, Any]] = {}
        self.inherited: list[str] = []
        super().__init__(**options)

    def resumable_trials(self) -> set[str]:
        """Returns the trials that did not end, their parents, and those that may be promoted."""
        unfinished = super().resumable_trials()
        parents = {self.places[name].get("tuner/trial_id", name) for name in unfinished}
        return unfinished | parents | self.promotable_trials()

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the values of a new trial, as KerasTuner does, and notes its place."""
        proposal = super().populate_space(trial_id)
        values = proposal.get("values")
        if values:
            place = {name: value for name, value in values.items() if name.startswith("tuner/")}
            self.places[trial_id] = place
        return proposal

    def inherited_values(self) -> dict[str, Any] | None:
        """Returns the values of the next configuration that is inherited, or None."""
        if not self.inherited:
            return None
        values = self.trials[self.inherited.pop(0)].hyperparameters.values
        return {name: value for name, value in values.items() if not name.startswith("tuner/")}

    def get_state(self) -> dict[str, Any]:
        """Returns KerasTuner's state, the places, and what is inherited."""
        return super().get_state() | {"places": self.places, "inherited": self.inherited}

    def set_state(self, state: dict[str, Any]) -> None:
        """Sets what `get_state` returned; of a smaller budget, its trials but not its brackets."""
        iterations, max_epochs = self.hyperband_iterations, self.max_epochs
        ranges = [hp.get_config() for hp in self.get_space().space]  # of now, not of the state
        super().set_state(state)
        self.hyperband_iterations = iterations  # the state may be that of a search with fewer
        self.places, self.inherited = state["places"], state.get("inherited", [])
        if self.max_epochs != max_epochs:
            self.begin_anew(max_epochs)
            self.inherited = self._best_trials(ranges, most=self.first_size() // self.factor)

    def _best_trials(self, ranges: list[dict[str, Any]], *, most: int) -> list[str]:
        """Returns the best trials of different configurations in the same ranges."""
        best: dict[str, str] = {}
        for trial in self.ranked_trials():
            if [hp.get_config() for hp in trial.hyperparameters.space] == ranges:
                best.setdefault(self.configuration(trial), trial.trial_id)
        return list(best.values())[:most]

    def replacement_values(self, trial_id: str) -> dict[str, Any]:
        """Returns the parent's values for a promoted trial, else random ones, at its place."""
        place = self.places[trial_id]
        parent = self.trials.get(place.get("tuner/trial_id"))
        if parent:
            return parent.hyperparameters.values | place
        return super().replacement_values(trial_id) | place


class Bayesian(SearchOracle, OpenBayesianOracle):
    """A Gaussian process over the space."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the values of a new trial; a search that was stopped proposes the same."""
        self.seed_proposal(self.seed + int(trial_id))
        return super().populate_space(trial_id)


class Random(SearchOracle, RandomSearchOracle):
    """Values at random."""
