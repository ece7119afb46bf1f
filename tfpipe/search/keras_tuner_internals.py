"""KerasTuner's internals: all that the search leans on and that KerasTuner does not document.

No other module imports `keras_tuner.src` or touches a private name of KerasTuner, and setup.cfg
bounds its version (keras-tuner<1.5). What is leaned on, as of 1.4.8:

* `engine.oracle.LOCKS`, from oracle to lock: the lock stays shut when the guarded call raises, so
  it is replaced by one that does nothing (`OpenOracle` has its own lock).
* `Oracle._retry_queue`: trial ids that are given out again, the last one first.
* `Oracle._random_values`, `Oracle._record_values`: draw values, and count them as tried.
* `Oracle._save_trial`: called before each `Oracle.save`, with the trial that changed.
* `Oracle._check_consecutive_failures`: called when a trial has ended, after `end_order` has it.
* `Oracle.trials`, `ongoing_trials`, `start_order`, `end_order`, `get_state`, `set_state`: the names
  are public, their contents are not documented.
* `HyperbandOracle._get_num_brackets`, `_get_size`, `_brackets`, `_remove_completed_brackets`: sizes
  of the brackets, and which trial is in which round; `_current_bracket`, `_current_iteration`,
  `_start_new_bracket`: where the search is; `_random_trial`: begins a trial of a first round, of
  `_get_epochs` epochs.
* `Oracle._compute_values_hash`: what makes two configurations the same.
* `BayesianOptimizationOracle._random_state`: draws the starting points of a proposal.
* `BaseTuner._activate_all_conditions`: declares hyperparameters behind conditions too.
* `engine.metrics_tracking.MetricsTracker`: the metrics of one trial.
* `distribute.oracle_chief.OracleServicer`, `distribute.oracle_client.OracleClient` and `TIMEOUT`,
  `protos`: the gRPC service by which workers get trials.
* `config.DEBUG`: prints the traceback of each failed trial.
"""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import grpc
import keras_tuner
import numpy as np
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle
from keras_tuner.src import config, protos
from keras_tuner.src.distribute import oracle_client
from keras_tuner.src.distribute.oracle_chief import OracleServicer as OracleServicer
from keras_tuner.src.engine import oracle as oracle_module
from keras_tuner.src.engine.metrics_tracking import MetricsTracker


class OpenOracle(keras_tuner.Oracle):
    """KerasTuner's oracle with names for the internals that a stored search needs.

    Attributes:
      lock: held by the caller while anything is read or changed.
    """

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.lock = threading.RLock()
        oracle_module.LOCKS[self] = _NoLock()
        self.verbose = 0

    def save_trial(self, trial: Trial) -> None:
        """Stores one trial; called before the whole state is saved."""

    def trial_ended(self) -> None:
        """Called after each end of a trial, the last one of `end_order`."""

    def retry_later(self, trial_id: str) -> None:
        """Has a trial given out again."""
        self._retry_queue.append(trial_id)

    def replace_retries(self, trial_ids: list[str]) -> None:
        """Has these trials given out again, and no others."""
        self._retry_queue = trial_ids

    def draw_values(self) -> dict[str, Any] | None:
        """Returns random values that no trial has yet; None if there are hardly any left."""
        return self._random_values()

    def count_as_tried(self, trial: Trial) -> None:
        """Has the values of a trial not proposed again."""
        self._record_values(trial)

    def _save_trial(self, trial: Trial) -> None:
        self.save_trial(trial)

    def _check_consecutive_failures(self) -> None:
        self.trial_ended()


class OpenHyperbandOracle(HyperbandOracle):
    """KerasTuner's Hyperband with names for its brackets."""

    def count_trials(self) -> int:
        """Returns how many trials the search will have (Li et al. 2018, algorithm 1)."""
        brackets = self._get_num_brackets()
        return sum(self._get_size(b, r) for b in range(brackets) for r in range(b + 1))

    def count_epochs(self) -> int:
        """Returns how many epochs the search trains at most; promoted trials go on from theirs."""
        total = 0
        for bracket in range(self._get_num_brackets()):
            before = 0
            for round_number in range(bracket + 1):
                epochs = self._get_epochs(bracket, round_number)
                total += self._get_size(bracket, round_number) * (epochs - before)
                before = epochs
        return total

    def promotable_trials(self) -> set[str]:
        """Returns the trials of unfinished brackets, except those of the last rounds."""
        rounds = [infos for bracket in self._brackets for infos in bracket["rounds"][:-1]]
        return {info["id"] for infos in rounds for info in infos}

    def inherited_values(self) -> dict[str, Any] | None:
        """Returns the values of the next new configuration; None to draw it."""
        return None

    def _random_trial(self, trial_id: str, bracket: dict[str, Any]) -> dict[str, Any]:
        values = self.inherited_values()
        if values is None:
            return super()._random_trial(trial_id, bracket)
        bracket["rounds"][0].append({"past_id": None, "id": trial_id})
        place = {
            "tuner/epochs": self._get_epochs(bracket["bracket_num"], 0),
            "tuner/initial_epoch": 0,
            "tuner/bracket": self._current_bracket,
            "tuner/round": 0,
        }
        return {"status": "RUNNING", "values": values | place}

    def begin_anew(self, max_epochs: int) -> None:
        """Begins with the first bracket of a budget; trials and their number stay."""
        self.max_epochs = max_epochs
        self._brackets: list[dict[str, Any]] = []
        self._current_iteration = 0
        self._current_bracket = self._get_num_brackets() - 1
        self._start_new_bracket()

    def first_size(self) -> int:
        """Returns how many configurations the first bracket begins with."""
        return self._get_size(self._get_num_brackets() - 1, 0)

    def ranked_trials(self) -> list[Trial]:
        """Returns the trials that have a score, the best one first."""
        scored = [
            t for t in self.trials.values() if t.status == "COMPLETED" and t.score is not None
        ]
        return sorted(scored, key=lambda t: t.score, reverse=self.objective.direction == "max")

    def configuration(self, trial: Trial) -> str:
        """Returns what two trials with the same values share, at whatever number of epochs."""
        values = {k: v for k, v in trial.hyperparameters.values.items() if k != "tuner/trial_id"}
        return self._compute_values_hash(values)

    def remove_completed_brackets(self) -> None:
        """Forgets the brackets whose last round has all its trials."""
        self._remove_completed_brackets()


class OpenBayesianOracle(BayesianOptimizationOracle):
    """KerasTuner's Bayesian optimization with a seed for each proposal."""

    def seed_proposal(self, seed: int) -> None:
        """Seeds the next proposal."""
        self._random_state = np.random.RandomState(seed)


class OracleClient(oracle_client.OracleClient):
    """KerasTuner's client of the chief's gRPC service.

    Args:
      oracle: an oracle of the same search; only its objective is used.
      channel: the gRPC channel to the chief; KerasTuner would take the address from the
        environment.
      worker: name of the worker.
      timeout_s: for how long a call waits for an answer.
    """

    def __init__(self, oracle: Any, channel: grpc.Channel, *, worker: str, timeout_s: float):
        self._oracle, self.tuner_id = oracle, worker
        self.stub = protos.get_service_grpc().OracleStub(channel)
        self.multi_worker, self.should_report = False, True
        oracle_client.TIMEOUT = timeout_s


def add_servicer(servicer: OracleServicer, server: grpc.Server) -> None:
    """Adds KerasTuner's gRPC service to a server."""
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)


def idle_response(oracle: keras_tuner.Oracle) -> Any:
    """Returns KerasTuner's message that there is no trial at present."""
    idle = Trial(oracle.get_space(), "", TrialStatus.IDLE)
    return protos.get_service().CreateTrialResponse(trial=idle.to_proto())


def forget_metrics(trial: Trial) -> None:
    """Removes the metrics of a trial that begins again."""
    trial.metrics = MetricsTracker()


def declare_space(
    oracle: keras_tuner.Oracle, space: Callable[[keras_tuner.HyperParameters], Any]
) -> None:
    """Declares every hyperparameter of a space, those behind conditions too; builds no model."""
    tuner = SimpleNamespace(oracle=oracle, hypermodel=SimpleNamespace(build=space))
    BaseTuner._activate_all_conditions(tuner)


def silence_tracebacks() -> None:
    """Has KerasTuner not print the traceback of each failed trial."""
    config.DEBUG = False


class _NoLock:
    """Takes the place of KerasTuner's lock; `OpenOracle.lock` is held already."""

    def acquire(self) -> None:
        """Does nothing."""

    def release(self) -> None:
        """Does nothing."""
