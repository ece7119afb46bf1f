"""Forecast: what a search will do, in a sentence, and how long it takes, by its first trial."""

from tfpipe.base.progress import counted, duration
from tfpipe.search.oracle_state import COMPLETED
from tfpipe.search.oracles import Hyperband, SearchOracle, iteration_size
from tfpipe.search.plan import SearchPlan


def beginning(
    oracle: SearchOracle, plan: SearchPlan, *, images: int, folds: int, workers: int
) -> str:
    """Returns what a search will do, before it begins.

    Args:
      oracle: with the trials of a search that is resumed.
      plan: its plan.
      images: images of the training split.
      folds: number of cross-validation folds; 0 for none.
      workers: processes on this machine.
    """
    done = len(oracle.end_order)
    by = counted(workers, "worker") if workers else "workers of other machines"
    often = f", {folds} times each for {folds} folds" if folds else ""
    sentence = (
        f"The search ({plan.algorithm}) has {counted(oracle.n_trials, 'trial')} of at most "
        f"{counted(plan.max_epochs, 'epoch')}, on {counted(images, 'training image')}{often}, by "
        f"{by}. The best one is then trained for at most {counted(plan.epochs, 'epoch')}."
    )
    return f"{sentence} {counted(done, 'trial')} ended before." if done else sentence


def remainder(oracle: SearchOracle, plan: SearchPlan, *, workers: int) -> str:
    """Returns how long the rest takes if its epochs take as long as those of the last trial.

    Args:
      oracle: whose last trial was just completed.
      plan: its plan.
      workers: processes that share the trials.

    Returns:
      A sentence; "" where the last trial failed, or nothing of the search is left.
    """
    trial = oracle.end_order[-1]
    seconds = oracle.notes.get(trial, {}).get("seconds")
    left = _epochs(oracle, plan) - sum(_epochs_of(oracle, plan, name) for name in oracle.end_order)
    if oracle.trials[trial].status != COMPLETED or not seconds or left <= 0:
        return ""
    epochs = _epochs_of(oracle, plan, trial)
    each_s = seconds / epochs
    return (
        f"Trial {trial} took {duration(seconds)} for {counted(epochs, 'epoch')}. At that rate the "
        f"rest of the search takes {duration(left * each_s / max(workers, 1))}, and "
        f"{counted(plan.epochs, 'epoch')} of the best model {duration(plan.epochs * each_s)}."
    )


def _epochs(oracle: SearchOracle, plan: SearchPlan) -> int:
    """Returns how many epochs the trials of a search have in all, at most."""
    if isinstance(oracle, Hyperband):
        return oracle.count_epochs() * oracle.n_trials // iteration_size(oracle)
    return oracle.n_trials * plan.max_epochs


def _epochs_of(oracle: SearchOracle, plan: SearchPlan, trial: str) -> int:
    """Returns how many epochs a trial trains at most, without those of its parent."""
    place = oracle.places.get(trial, {}) if isinstance(oracle, Hyperband) else {}
    epochs = place.get("tuner/epochs", plan.max_epochs) - place.get("tuner/initial_epoch", 0)
    return max(epochs, 1)
