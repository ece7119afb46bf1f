"""Search plan: what a search configuration comes to, with its space, budget and folds."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras_tuner

import tuning
from tfpipe.base import files, user_modules
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.data.dataset import Dataset
from tfpipe.models.calls import arguments_of
from tfpipe.models.spec import Spec
from tfpipe.search.config import ALGORITHMS, SearchConfig
from tfpipe.tasks import catalog
from tfpipe.training import compile as training_compile
from tfpipe.training import cross_validation
from tfpipe.training.config import SEARCHABLE, TrainingConfig

Space = Callable[[keras_tuner.HyperParameters], dict[str, Any]]

# What differs between two searches, by the fields of `identity`.
DIFFERENCES = {
    "data": "records are",
    "model": "model is",
    "space": "space is",
    "defaults": "space is",
    "plan": "algorithm or budget is",
    "fixed": "values held fixed are",
    "folds": "number of folds is",
    "settings": "training settings are",
    "precision": "precision is",
}


@dataclass(frozen=True)
class SearchPlan:
    """What a search configuration comes to.

    Attributes:
      space: function from `hp` to keyword arguments of the builder.
      training: function from `hp` to the training values that are searched.
      algorithm: "hyperband", "bayesian" or "random".
      max_epochs: maximum epochs of a trial.
      factor: reduction factor of Hyperband.
      max_trials: number of trials of a Bayesian or random search.
      epochs: maximum epochs of the final training of the best trial.
      steps: gradient steps of that training, where there are more than in those epochs.
    """

    space: Space
    training: Space
    algorithm: str
    max_epochs: int
    factor: int
    max_trials: int
    epochs: int
    steps: int = 0


def plan_of(config: SearchConfig) -> SearchPlan:
    """Returns the plan of a search, after trying its space at its default values.

    Raises:
      UserError: there is no space for the model, or the space names what the builder does not
        take.
    """
    task = catalog.find(config.task).for_model(config.model)
    search = tuning.search_of(task.name, config.model)
    if config.space:
        search = _user_search(Path(config.space), tuning.SEARCHES.get((task.name, config.model)))
    if search is None:
        models = [model for name, model in tuning.SEARCHES if name == task.name]
        raise UserError(
            f"There is no search space for {config.model} on {task.name}, only for: "
            f"{', '.join(models) or 'none'}. Write one, and pass it by --space my_space.py."
        )
    if config.trials and config.algorithm == "hyperband":
        raise UserError(
            "--trials belongs to a Bayesian or random search. The number of Hyperband trials "
            "follows from --trial-epochs."
        )
    arguments, values = fixed_parts(config.fixed, model=config.model)
    space = search.quick_space if config.quick else search.space
    task_arguments = task.model_arguments.get(config.model, {})
    max_epochs = search.quick_max_epochs if config.quick else search.max_epochs
    max_trials = search.quick_max_trials if config.quick else search.max_trials
    plan = SearchPlan(
        space=lambda hp: task_arguments | space(hp) | arguments,
        training=lambda hp: search.training(hp) | values,
        algorithm=choose(config.algorithm, ALGORITHMS, noun="search algorithm"),
        max_epochs=config.trial_epochs or max_epochs,
        factor=search.factor,
        max_trials=config.trials or max_trials,
        epochs=search.quick_epochs if config.quick else search.epochs,
        steps=0 if config.quick else search.steps,
    )
    _check(plan, config)
    return plan


def for_records(
    plan: SearchPlan, config: SearchConfig, data: Dataset, *, epochs: int | None = None
) -> SearchPlan:
    """Returns a plan whose final training has as many epochs as its steps take on some records.

    Args:
      plan: the plan.
      config: its search.
      data: the records.
      epochs: of the final training; None for as many as its steps take.
    """
    if epochs:
        return replace(plan, epochs=epochs)
    settings = TrainingConfig(**config.training)
    settings = replace(settings, **plan.training(hyperparameters({})))
    least = training_compile.epochs_of(plan.steps, data, settings)
    return replace(plan, epochs=max(plan.epochs, least))


def recipe_of(search: tuning.Search | None) -> dict[str, Any]:
    """Returns the training values that `train` takes without a search; {} without a recipe."""
    return search.training(hyperparameters({})) if search and search.has_recipe else {}


def fixed_parts(fixed: dict[str, Any], *, model: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the user's fixed values: builder's arguments, and training values.

    Raises:
      UserError: a name is neither; the message has the nearest name.
    """
    for name in fixed:
        choose(name, [*arguments_of(model), *SEARCHABLE], noun=f"hyperparameter of {model}")
    training_values = {name: value for name, value in fixed.items() if name in SEARCHABLE}
    arguments = {name: value for name, value in fixed.items() if name not in training_values}
    return arguments, training_values


def training_sets(config: SearchConfig, data: Dataset, spec: Spec) -> list[tuple[Dataset, Spec]]:
    """Returns what each trial is trained on: the folds, or the training split alone."""
    return cross_validation.folds_of(data, spec, config.folds) if config.folds else [(data, spec)]


def hyperparameters(values: dict[str, Any]) -> keras_tuner.HyperParameters:
    """Returns an `hp` with these values; every other name has its default."""
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    return hp


def identity(
    config: SearchConfig, plan: SearchPlan, data: Dataset, *, space: list[dict[str, Any]]
) -> dict[str, Any]:
    """Returns what makes two searches the same; the final training is no part of it.

    Args:
      config: the search.
      plan: its plan.
      data: the records.
      space: each hyperparameter as KerasTuner describes it.
    """
    settings = asdict(TrainingConfig(**config.training))
    budget = ("algorithm", "max_epochs", "factor", "max_trials")
    defaults = [plan.space(hyperparameters({})), plan.training(hyperparameters({}))]
    return {
        "space": space,
        "defaults": defaults,
        "model": config.model,
        "plan": {name: getattr(plan, name) for name in budget},
        "fixed": config.fixed,
        "folds": config.folds,
        "settings": {k: v for k, v in settings.items() if k not in ("epochs", "patience")},
        "precision": config.precision,
        "data": data.manifest.fingerprint,
    }


def _user_search(path: Path, default: tuning.Search | None) -> tuning.Search:
    """Returns the search of the user's file, with the task's budget where there is one."""
    module = user_modules.load(path, expected="a Python file with a function space(hp)")
    if not callable(getattr(module, "space", None)):
        raise UserError(f"{files.shown(path)} has no function space(hp). Write one in it.")
    default_training = default.training if default else lambda hp: {}
    space = _checked_space(module.space, name="space", path=path)
    training = _checked_space(
        getattr(module, "training", default_training), name="training", path=path
    )
    if default is None:
        return tuning.Search(space=space, training=training, quick_space=space)
    return replace(default, space=space, training=training, quick_space=space)


def _checked_space(function: Space, *, name: str, path: Path) -> Space:
    """Returns a user's function whose errors are sentences and whose result is a dict."""

    def checked(hp: keras_tuner.HyperParameters) -> dict[str, Any]:
        result = user_modules.called(function, hp, path=path)
        if not isinstance(result, dict):
            kind = type(result).__name__
            raise UserError(f"{name}(hp) in {path.name} returned a {kind}, expected a dict.")
        return result

    return checked


def _check(plan: SearchPlan, config: SearchConfig) -> None:
    """Raises a UserError where the builder or the training does not take a name of the space."""
    hp = hyperparameters({})
    for name in plan.space(hp):
        choose(name, arguments_of(config.model), noun=f"argument of {config.model}")
    for name in plan.training(hp):
        choose(name, SEARCHABLE, noun="training value")
