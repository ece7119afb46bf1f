"""Time budget of a search: trials and epochs that fit into a time, by the first epochs' speed.

The default model of the space is trained for two epochs. Larger models of the space take longer and
smaller ones less, so the time is a plan and no limit.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras

from tfpipe.base import files, processes, resumable
from tfpipe.base.errors import UserError
from tfpipe.base.hardware import clear_session, dtype_policy
from tfpipe.base.progress import counted, duration
from tfpipe.data.dataset import Dataset
from tfpipe.models import build
from tfpipe.search import oracles
from tfpipe.search import plan as search_plan
from tfpipe.search.config import SearchConfig
from tfpipe.search.plan import SearchPlan
from tfpipe.search.run import LOCAL_ADDRESS
from tfpipe.tasks import catalog
from tfpipe.training import compile as training_compile
from tfpipe.training import loop, open_records
from tfpipe.training.config import TrainingConfig

FILE = "time_budget.json"  # beside the search's folder, so that a resumed search has the same plan
SEARCH_SHARE = 0.7  # of the time; the rest is for the best model's training
MOST_TRAININGS = 2  # of the best model: one more on a random split, for comparison
LEAST_EPOCHS = 2  # of a trial
LEAST_TRIALS = 6  # of a Bayesian or random search, before its epochs are reduced
MEASURED_EPOCHS = 2  # the first compiles, as that of each trial does


@dataclass(frozen=True)
class EpochSpeed:
    """EpochSpeed of the default model.

    Attributes:
      epoch_s: seconds of an epoch, with the scores of the validation split.
      start_s: seconds that a trial's first epoch takes longer.
    """

    epoch_s: float
    start_s: float


@dataclass(frozen=True)
class TimeBudget:
    """What fits into a time.

    Attributes:
      trials: of a Bayesian or random search; None for Hyperband, whose epochs decide them.
      trial_epochs: maximum epochs of a trial.
      epochs: maximum epochs of the best model's training.
      speed: what it was planned by.
    """

    trials: int | None
    trial_epochs: int
    epochs: int
    speed: EpochSpeed

    def in_words(self, time_s: float) -> str:
        """Returns the plan in a sentence."""
        trials = f"{counted(self.trials, 'trial')} of" if self.trials else "trials of at most"
        return (
            f"For {duration(time_s)}, where an epoch of the default model takes "
            f"{self.speed.epoch_s:.1f} s: {trials} {counted(self.trial_epochs, 'epoch')}, and "
            f"{counted(self.epochs, 'epoch')} of the best model."
        )


def planned(
    time_s: float,
    config: SearchConfig,
    folder: Path,
    *,
    data: Dataset,
    trainings: int,
) -> TimeBudget:
    """Returns what fits into a time; the search is what it was when the same was first planned.

    Args:
      time_s: seconds of search and final training together, by one worker.
      config: the search, without numbers of trials and epochs.
      folder: saved_models/<task>/<model>.
      data: the records.
      trainings: final trainings, 2 with a random split for comparison.

    Raises:
      UserError: the smallest search takes longer.
    """
    plan = search_plan.for_records(search_plan.plan_of(config), config, data)
    identity = {"time_s": time_s, "search": oracles.make_oracle(config, plan, data).plan}
    key = json.loads(json.dumps(identity))
    stored = resumable.read_json(folder / FILE) or {}
    if stored.get("of") == key:
        speed = EpochSpeed(**stored["speed"])
        trials, trial_epochs = stored["trials"], stored["trial_epochs"]
    else:
        speed = EpochSpeed(*processes.called(measure, asdict(config)))
        trials, trial_epochs = fit(time_s, speed, config, plan, data=data)
        folder.mkdir(parents=True, exist_ok=True)
        content = {"of": key, "speed": asdict(speed), "trials": trials}
        content["trial_epochs"] = trial_epochs
        files.replace(folder / FILE, json.dumps(content, indent=1).encode())
    epochs = int((1 - SEARCH_SHARE) * time_s / trainings / speed.epoch_s)
    return TimeBudget(trials, trial_epochs, min(plan.epochs, max(epochs, trial_epochs)), speed)


def check(config: SearchConfig, *, more_trials: int, epochs: int | None, chief: str) -> None:
    """Raises a UserError where a search cannot be planned by time."""
    if config.trials or config.trial_epochs or more_trials or epochs:
        raise UserError(
            "--time chooses trials and epochs. Leave out --trials, --more-trials, --trial-epochs "
            "and --epochs, or --time."
        )
    if chief != LOCAL_ADDRESS:
        raise UserError(
            "--time plans for this machine alone. With --chief, give --trials or --trial-epochs."
        )


def measure(config_fields: dict[str, Any]) -> tuple[float, float]:
    """Returns the fields of `EpochSpeed`, from a training of the default model in this process.

    Args:
      config_fields: of the `SearchConfig`.
    """
    config = SearchConfig(**config_fields)
    plan = search_plan.plan_of(config)
    task = catalog.find(config.task).for_model(config.model)
    records = Path(config.records)
    data, spec = open_records.opened(task, records, model=config.model, is_checked=True)
    data, spec = search_plan.training_sets(config, data, spec)[0]
    hp = search_plan.hyperparameters({})
    settings = replace(TrainingConfig(**config.training), **plan.training(hp))
    settings = replace(settings, epochs=plan.max_epochs, patience=plan.max_epochs)
    with dtype_policy(config.precision):
        clear_session()
        keras.utils.set_random_seed(settings.seed)
        with training_compile.strategy().scope():
            model = build(config.model, spec, plan.space(hp))
            loop.prepare(model, data, settings=settings)
        history = loop.fit(model, data, settings=settings, until=MEASURED_EPOCHS, caches_body=False)
    first, last = history["seconds"][0], history["seconds"][-1]
    return last, max(first - last, 0.0)


def fit(
    time_s: float, speed: EpochSpeed, config: SearchConfig, plan: SearchPlan, *, data: Dataset
) -> tuple[int | None, int]:
    """Returns the trials and their epochs of the largest search that fits.

    A trial has no more epochs than the plan has, nor than two final trainings may have. The number
    of trials is None for Hyperband, whose epochs decide it.

    Args:
      time_s: seconds of search and final training together.
      speed: of the default model.
      config: the search.
      plan: its plan, with the usual numbers of epochs.
      data: the records.

    Raises:
      UserError: the smallest search takes longer.
    """
    search_s = SEARCH_SHARE * time_s / max(config.folds, 1)
    final_epochs = (1 - SEARCH_SHARE) * time_s / MOST_TRAININGS / speed.epoch_s
    most_epochs = min(plan.max_epochs, int(final_epochs))

    def seconds(trials: int, all_epochs: int) -> float:
        return trials * speed.start_s + all_epochs * speed.epoch_s

    def search_seconds(trial_epochs: int) -> float:
        """Returns how long Hyperband takes, or a single trial of another search."""
        if plan.algorithm != "hyperband":
            return seconds(1, trial_epochs)
        oracle = oracles.make_oracle(config, replace(plan, max_epochs=trial_epochs), data)
        assert isinstance(oracle, oracles.Hyperband)
        return seconds(oracle.n_trials, oracle.count_epochs())

    least_s = search_seconds(LEAST_EPOCHS)
    if most_epochs < LEAST_EPOCHS or least_s > search_s:
        shortage = max(least_s / search_s, LEAST_EPOCHS / final_epochs)
        raise _too_short(time_s, shortage * time_s, speed)
    if plan.algorithm == "hyperband":
        epochs = range(most_epochs, LEAST_EPOCHS - 1, -1)
        return None, next(one for one in epochs if search_seconds(one) <= search_s)
    trial_epochs = int((search_s / LEAST_TRIALS - speed.start_s) / speed.epoch_s)
    trial_epochs = min(max(trial_epochs, LEAST_EPOCHS), most_epochs)
    return max(1, int(search_s / search_seconds(trial_epochs))), trial_epochs


def _too_short(time_s: float, least_s: float, speed: EpochSpeed) -> UserError:
    minutes = int(least_s / 60) + 1
    return UserError(
        f"--time of {duration(time_s)} is too short: an epoch of the default model takes "
        f"{speed.epoch_s:.1f} s, and the smallest search with its final training about "
        f"{duration(least_s)}. Give --time {minutes}m or more, or --quick."
    )
