"""KerasTuner's oracles with a state that survives a kill.

KerasTuner writes the search's state to several files in place: a kill in the middle leaves JSON
that cannot be read, or a trial that is counted and never run. Here the whole state is one file,
replaced at once; a trial that was running is given out again.
"""

import json
from pathlib import Path

from keras_tuner.engine import trial as trials
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle

from tfpipe import files


class _Kept:
    """An oracle whose whole state, trials included, is one file that is replaced at once."""

    state_path: Path

    def save(self):
        state = {
            "oracle": self.get_state(),
            "trials": {name: trial.get_state() for name, trial in self.trials.items()},
        }
        files.replace(self.state_path, json.dumps(state).encode())

    def reload(self):
        state = json.loads(self.state_path.read_bytes())
        self.trials = {
            name: trials.Trial.from_state(told) for name, told in state["trials"].items()
        }
        self.set_state(state["oracle"])
        # KerasTuner saves a trial's end before it takes the trial off the list of running ones.
        running = [trial.trial_id for trial in self.ongoing_trials.values()]
        self._retry_queue += [name for name in running if name not in self.end_order]
        self.ongoing_trials = {}

    def _save_trial(self, trial):
        """A trial is part of the state."""


class Hyperband(_Kept, HyperbandOracle):
    """Successive halving (Li et al. 2018)."""


class Bayesian(_Kept, BayesianOptimizationOracle):
    """A Gaussian process over the space."""


def number_of_trials(oracle: Hyperband | Bayesian) -> int:
    """Returns how many trials a search will have (Hyperband: Li et al. 2018, algorithm 1)."""
    if isinstance(oracle, Bayesian):
        return oracle.max_trials
    brackets = oracle._get_num_brackets()
    return sum(oracle._get_size(b, r) for b in range(brackets) for r in range(b + 1))
