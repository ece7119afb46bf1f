"""The commands that train: tune, train, rerun, report."""

import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from tfpipe import project
from tfpipe.base import storage
from tfpipe.base.errors import UserError
from tfpipe.cli import options
from tfpipe.data.config import PackingConfig
from tfpipe.version import Version


def tune(
    task: options.TaskHere,
    model: options.Model = None,
    algorithm: Annotated[
        str, typer.Option(help="Search algorithm: hyperband, bayesian or random.")
    ] = "hyperband",
    quick: Annotated[
        bool, typer.Option("--quick", help="Use smaller models and a smaller budget.")
    ] = False,
    space: options.Space = None,
    trials: options.Trials = None,
    more_trials: options.MoreTrials = 0,
    trial_epochs: options.TrialEpochs = None,
    trial_limit: options.TrialLimit = None,
    time: options.Time = None,
    folds: options.Folds = 0,
    workers: options.Workers = 1,
    chief: options.Chief = None,
    worker: options.Worker = False,
    wait: options.Wait = 60.0,
    token_file: options.TokenFile = None,
    hp: options.Hp = None,
    weights: options.Weights = None,
    epochs: options.Epochs = None,
    precision: options.Precision = "auto",
    balance: options.Balance = "sampling",
    random_split: options.RandomSplit = True,
    tensorboard: options.Tensorboard = None,
    mlflow: options.Mlflow = None,
    option: options.Option = None,
    split: options.Split = options.SHARES,
    salt: options.Salt = "",
    skip_bad: options.SkipBad = 0,
    data: options.Data = options.DATA,
    models: options.Models = options.MODELS,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Searches hyperparameters, trains the winner, and exports it as the next version."""
    if worker and not chief:
        raise UserError("--worker needs --chief HOST:PORT, the address of the search's chief.")
    if not workers and (worker or not chief):
        raise UserError("--workers is 0, so no trial would run. Give 1 or more.")
    if more_trials and trials:
        raise UserError("Give --trials or --more-trials, not both: --more-trials goes on.")
    if worker and time:
        raise UserError("--time belongs to the command that searches; a worker takes its trials.")
    time_min = options.minutes(time)
    loaded = options.project(data, models).resolve(task)
    here = options.project(data, models, seed)
    if worker and chief:
        folder = here.work(
            loaded,
            chief=chief,
            model=model,
            workers=workers,
            wait_s=wait,
            token_file=token_file,
            algorithm=algorithm,
            quick=quick,
            space=space,
            trials=trials,
            trial_epochs=trial_epochs,
            trial_limit_min=trial_limit,
            folds=folds,
            hyperparameters=options.hyperparameters(hp, weights),
            precision=precision,
            balance=balance,
            packing=PackingConfig(options.settings(option)),
        )
        options.done(json, command="tune", task=loaded.name, path=folder, model=folder.parent.name)
        return
    version = here.tune(
        loaded,
        model=model,
        algorithm=algorithm,
        quick=quick,
        space=space,
        trials=trials,
        more_trials=more_trials,
        trial_epochs=trial_epochs,
        trial_limit_min=trial_limit,
        time_min=time_min,
        folds=folds,
        workers=workers,
        chief=chief,
        wait_s=wait,
        token_file=token_file,
        hyperparameters=options.hyperparameters(hp, weights),
        epochs=epochs,
        precision=precision,
        balance=balance,
        random_split=random_split,
        tensorboard=tensorboard,
        mlflow=mlflow,
        packing=options.packing(option, split, salt, skip_bad),
    )
    _published(version, json=json, command="tune", here=here)


def train(
    task: options.TaskHere,
    model: options.Model = None,
    hp: options.Hp = None,
    weights: options.Weights = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Maximum epochs; by default those of the model.")
    ] = None,
    precision: options.Precision = "auto",
    balance: options.Balance = "sampling",
    random_split: options.RandomSplit = True,
    tensorboard: options.Tensorboard = None,
    mlflow: options.Mlflow = None,
    option: options.Option = None,
    split: options.Split = options.SHARES,
    salt: options.Salt = "",
    skip_bad: options.SkipBad = 0,
    data: options.Data = options.DATA,
    models: options.Models = options.MODELS,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Trains one model by given, else best-known hyperparameters, and exports it."""
    here = options.project(data, models, seed)
    version = here.train(
        task,
        model=model,
        hyperparameters=options.hyperparameters(hp, weights),
        epochs=epochs,
        precision=precision,
        balance=balance,
        random_split=random_split,
        tensorboard=tensorboard,
        mlflow=mlflow,
        packing=options.packing(option, split, salt, skip_bad),
    )
    _published(version, json=json, command="train", here=here)


def rerun(
    run_yaml: Annotated[Path, typer.Argument(help="run.yaml of a version, in its assets.extra/.")],
    data: options.Data = options.DATA,
    models: options.Models = options.MODELS,
    json: options.Json = False,
) -> None:
    """Repeats the run that made a version: same records, same search, same training."""
    here = options.project(data, models)
    _published(here.rerun(run_yaml), json=json, command="rerun", here=here)


def report(
    task: options.TaskHere,
    model: options.SavedModel = None,
    version: options.Version = None,
    data: options.Data = options.DATA,
    models: options.Models = options.MODELS,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Writes a version's report anew from its card, predictions and records."""
    loaded = options.project(data, models).resolve(task)
    saved = options.project(data, models, seed).version(loaded, model=model, number=version)
    page = saved.report().path
    options.done(
        json,
        command="report",
        task=loaded.name,
        path=page,
        model=saved.model,
        version=saved.number,
        metrics=saved.metrics,
    )


def _published(version: Version, *, json: bool, command: str, here: project.Project) -> None:
    """Prints what was left out of the records, the version, and what may be run next."""
    options.print_notes(here.records(version.task).manifest)
    options.done(
        json,
        command=command,
        task=version.task.name,
        path=version.path,
        model=version.model,
        version=version.number,
        metrics=version.metrics,
    )
    if sentence := _no_better_than_guessing(version.metrics.get("test", {})):
        options.err.print(f"note: {sentence}", markup=False, highlight=False, soft_wrap=True)
    if not json:
        page = version.path / "assets.extra" / "report.html"
        options.next_steps(*_next_steps(version, here), report=page)


def _no_better_than_guessing(test: dict[str, Any]) -> str:
    """Returns a sentence on a model that is no better than always the same class; or ""."""
    accuracy, other = test.get("accuracy"), test.get("accuracy_of_commonest_class")
    if accuracy is None or other is None or accuracy > other:
        return ""
    return (
        f"On the test split the model is right in {accuracy:.0%} of cases. Naming always the "
        f"commonest class would be right in {other:.0%}. Train longer by --epochs, search without "
        "--quick, or label more."
    )


def _next_steps(version: Version, here: project.Project) -> list[str]:
    """Returns the commands for a version: predict new files and serve it, or map its images."""
    from tfpipe.tasks import catalog

    origin = catalog.origin_of(version.task)
    typed = shlex.quote(os.path.relpath(origin) if os.path.isabs(origin) else origin)
    models = _place("models", here.saved_models, options.MODELS)
    if version.card.kind == "autoencoder":
        data = _place("data", here.data, options.DATA)
        return [f"tfpipe explore {typed} --model {version.model}{data}{models}"]
    return [
        f"tfpipe predict {typed} NEW_FILES --out predictions.csv{models}",
        f"tfpipe serve {version.task.name}/{version.model}{models}",
    ]


def _place(name: str, place: Path, default: Path) -> str:
    """Returns the option that names a folder; "" for the default one."""
    return "" if place == default else f" --{name} {shlex.quote(storage.with_urls(str(place)))}"
