"""What a search is told, as JSON that any worker understands, and what follows from it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras_tuner

import tuning
from tfpipe import tasks
from tfpipe.base import files, user_modules
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.data.dataset import Dataset
from tfpipe.models.calls import arguments_of
from tfpipe.models.spec import Spec
from tfpipe.training import cross_validation
from tfpipe.training.settings import SEARCHED, Settings

ALGORITHMS = ("hyperband", "bayesian", "random")


@dataclass(frozen=True)
class Job:
    """One search, in the user's words.

    Attributes:
      task: a name, or the path of a Python file.
      model: name of the model.
      records: folder of the packed records.
      algorithm: one of `ALGORITHMS`.
      quick: smaller models and budget.
      space: path of a Python file with `space(hp)` and perhaps `training(hp)`; None for the task's
        own.
      trials: of a Bayesian or random search; None for the space's own number.
      trial_epochs: of a trial, at most; None for the space's own number.
      folds: each trial is trained on so many; 0 for the held-out validation split.
      fixed: builder's arguments and training values that the user holds fixed.
      settings: of `Settings`; a trial's epochs and patience are the search's.
      precision: "auto", "float32" or "mixed_bfloat16".
    """

    task: str
    model: str
    records: str
    algorithm: str = "hyperband"
    quick: bool = False
    space: str | None = None
    trials: int | None = None
    trial_epochs: int | None = None
    folds: int = 0
    fixed: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    precision: str = "auto"


@dataclass(frozen=True)
class Plan:
    """What a job comes to.

    Attributes:
      space: hp -> keyword arguments of the builder.
      training: hp -> those of `Settings` that are searched.
      algorithm: one of `ALGORITHMS`.
      max_epochs: of a trial.
      factor: Hyperband's.
      max_trials: of Bayesian or random search.
      epochs: of the winner's own training.
    """

    space: Callable[[Any], dict]
    training: Callable[[Any], dict]
    algorithm: str
    max_epochs: int
    factor: int
    max_trials: int
    epochs: int


def plan_of(job: Job) -> Plan:
    """Returns what a job comes to, after trying its space at its default values.

    Raises:
      UserError: there is no space for the model, or it names what the builder does not take.
    """
    task = tasks.find(job.task)
    known = tuning.search_of(task.name, job.model)
    if job.space:
        known = _own(Path(job.space), tuning.SEARCHES.get((task.name, job.model)))
    if known is None:
        there = ", ".join(model for name, model in tuning.SEARCHES if name == task.name) or "none"
        raise UserError(
            f"There is no search space for {job.model} on {task.name}, only for: {there}. Write "
            "one, and give it by --space my_space.py."
        )
    if job.trials and job.algorithm == "hyperband":
        raise UserError(
            "--trials is of a Bayesian or random search; how many Hyperband runs follows from "
            "--trial-epochs."
        )
    arguments, values = fixed_parts(job.fixed, model=job.model)
    space = known.quick_space if job.quick else known.space
    plan = Plan(
        space=lambda hp: task.arguments.get(job.model, {}) | space(hp) | arguments,
        training=lambda hp: known.training(hp) | values,
        algorithm=choose(job.algorithm, ALGORITHMS, noun="search algorithm"),
        max_epochs=job.trial_epochs or (known.quick_max_epochs if job.quick else known.max_epochs),
        factor=known.factor,
        max_trials=job.trials or (known.quick_max_trials if job.quick else known.max_trials),
        epochs=known.quick_epochs if job.quick else known.epochs,
    )
    _check(plan, job)
    return plan


def fixed_parts(fixed: dict[str, Any], *, model: str) -> tuple[dict, dict]:
    """Returns the user's values as builder's arguments and as training values.

    Raises:
      UserError: a name is neither, and which is nearest.
    """
    for name in fixed:
        choose(name, [*arguments_of(model), *SEARCHED], noun=f"hyperparameter of {model}")
    values = {name: value for name, value in fixed.items() if name in SEARCHED}
    return {name: fixed[name] for name in fixed if name not in values}, values


def parts_of(job: Job, data: Dataset, spec: Spec) -> list[tuple[Dataset, Spec]]:
    """Returns what each trial is trained on: the folds, or the training split."""
    return cross_validation.of(data, spec, job.folds) if job.folds else [(data, spec)]


def hyperparameters(values: dict[str, Any]) -> keras_tuner.HyperParameters:
    """Returns an `hp` that answers with these values, and with defaults to all other names."""
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    return hp


def identity(job: Job, plan: Plan, data: Dataset, *, space: list[dict]) -> dict[str, Any]:
    """Returns what makes two searches the same; how the winner is trained is no part of it.

    Args:
      job: the job.
      plan: what it comes to.
      data: the records.
      space: each hyperparameter as KerasTuner describes it.
    """
    settings = asdict(Settings(**job.settings))
    budget = ("algorithm", "max_epochs", "factor", "max_trials")
    defaults = [plan.space(hyperparameters({})), plan.training(hyperparameters({}))]
    return {
        "space": space,
        "defaults": defaults,
        "model": job.model,
        "plan": {name: getattr(plan, name) for name in budget},
        "fixed": job.fixed,
        "folds": job.folds,
        "settings": {k: v for k, v in settings.items() if k not in ("epochs", "patience")},
        "precision": job.precision,
        "data": data.manifest["fingerprint"],
    }


def _own(path: Path, known: tuning.Search | None) -> tuning.Search:
    """Returns the search of the user's own file, with the task's budget where it has one."""
    module = user_modules.load(path, expected="a Python file with a function space(hp)")
    if not callable(getattr(module, "space", None)):
        raise UserError(f"{files.shown(path)} has no function space(hp). Write one in it.")
    default = known.training if known else lambda hp: {}
    functions = {"space": module.space, "training": getattr(module, "training", default)}

    def guarded(name: str) -> Callable[[Any], dict]:
        def function(hp) -> dict:
            told = user_modules.called(functions[name], hp, path=path)
            if not isinstance(told, dict):
                kind = type(told).__name__
                raise UserError(f"{name}(hp) in {path.name} returned a {kind}, expected a dict.")
            return told

        return function

    given = {"space": guarded("space"), "training": guarded("training")}
    given["quick_space"] = given["space"]
    return replace(known, **given) if known else tuning.Search(**given)


def _check(plan: Plan, job: Job) -> None:
    """Refuses a space that names what the builder or the training does not take."""
    for function, known, noun in (
        (plan.space, arguments_of(job.model), f"argument of {job.model}"),
        (plan.training, SEARCHED, "training value"),
    ):
        for name in function(hyperparameters({})):
            choose(name, known, noun=noun)
