"""The commands about models: tune, train, report, doctor."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tfpipe import tasks
from tfpipe.base import processes
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.base.progress import ProgressBar
from tfpipe.cli import options as cli_options
from tfpipe.cli.data import packed
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.task import raw_folder


def tune(
    task: cli_options.TaskName,
    model: cli_options.Model = None,
    algorithm: Annotated[str, typer.Option(help="hyperband, bayesian or random.")] = "hyperband",
    quick: Annotated[bool, typer.Option("--quick", help="Smaller models and budget.")] = False,
    space: cli_options.Space = None,
    trials: cli_options.Trials = None,
    trial_epochs: cli_options.TrialEpochs = None,
    trial_limit: cli_options.TrialLimit = None,
    folds: cli_options.Folds = 0,
    workers: cli_options.Workers = 1,
    chief: cli_options.Chief = None,
    worker: cli_options.Worker = False,
    wait: cli_options.Wait = 60.0,
    hp: cli_options.Hp = None,
    weights: cli_options.Weights = None,
    epochs: cli_options.Epochs = None,
    precision: cli_options.Precision = "auto",
    balance: cli_options.Balance = "sampling",
    naive_split: cli_options.Naive = True,
    tensorboard: cli_options.Tensorboard = None,
    mlflow: cli_options.Mlflow = None,
    option: cli_options.Option = None,
    split: cli_options.Split = cli_options.SHARES,
    salt: cli_options.Salt = "",
    skip_bad: cli_options.SkipBad = 0,
    data: cli_options.Data = cli_options.DATA,
    models: cli_options.Models = cli_options.MODELS,
    seed: cli_options.Seed = 0,
    json: cli_options.Json = False,
) -> None:
    """Searches hyperparameters, trains the winner, exports it as the next version."""
    packing = cli_options.Packing(option, split, salt, skip_bad, data)
    if worker and not chief:
        raise UserError("--worker needs --chief HOST:PORT, the address of the search's chief.")
    if not workers and (worker or not chief):
        raise UserError("--workers is 0, so nobody would work. Give 1 or more.")
    settings = {"balance": balance, "seed": seed}
    hp = [*(hp or ()), *([f"weights={weights}"] if weights else ())]
    logs = {"tensorboard": tensorboard, "mlflow": mlflow}
    run = _run(task, packing, model, models, hp, precision, settings)
    from tfpipe.search import plan as search_plan
    from tfpipe.search import run as search_run
    from tfpipe.search.config import SearchConfig
    from tfpipe.workflows import train as workflows_train

    config = SearchConfig(
        task=tasks.lasting(task),
        model=run.model,
        records=str(run.records.resolve()),
        algorithm=algorithm,
        quick=quick,
        space=str(space.resolve()) if space else None,
        trials=trials,
        trial_epochs=trial_epochs,
        folds=folds,
        fixed=run.hyperparameters,
        training=asdict(run.config),
        precision=precision,
    )
    search_plan.plan_of(config)
    limit_s = trial_limit and 60 * trial_limit
    worker_config = search_run.WorkerConfig(
        workers, chief or search_run.LOCAL_ADDRESS, limit_s, wait
    )
    if worker:
        workflows_train.work(run, config, workers=worker_config)
        folder = run.models / "search"
        cli_options.done(json, command="tune", task=run.task.name, path=folder, model=run.model)
        return
    packed(task, packing)
    with ProgressBar(cli_options.err) as progress:
        run = replace(run, report=progress, random_split=naive_split, **logs)
        made = workflows_train.tune(run, config, workers=worker_config, epochs=epochs)
    cli_options.done(json, command="tune", task=run.task.name, **{"model": run.model, **made})


def train(
    task: cli_options.TaskName,
    model: cli_options.Model = None,
    hp: cli_options.Hp = None,
    weights: cli_options.Weights = None,
    epochs: cli_options.Epochs = 30,
    precision: cli_options.Precision = "auto",
    balance: cli_options.Balance = "sampling",
    naive_split: cli_options.Naive = True,
    tensorboard: cli_options.Tensorboard = None,
    mlflow: cli_options.Mlflow = None,
    option: cli_options.Option = None,
    split: cli_options.Split = cli_options.SHARES,
    salt: cli_options.Salt = "",
    skip_bad: cli_options.SkipBad = 0,
    data: cli_options.Data = cli_options.DATA,
    models: cli_options.Models = cli_options.MODELS,
    seed: cli_options.Seed = 0,
    json: cli_options.Json = False,
) -> None:
    """Trains one model, by the hyperparameters given or the best known, and exports it."""
    packing = cli_options.Packing(option, split, salt, skip_bad, data)
    settings = {"balance": balance, "seed": seed, "epochs": epochs}
    hp = [*(hp or ()), *([f"weights={weights}"] if weights else ())]
    logs = {"tensorboard": tensorboard, "mlflow": mlflow}
    run = _run(task, packing, model, models, hp, precision, settings)
    packed(task, packing)
    with ProgressBar(cli_options.err) as progress:
        from tfpipe.workflows import train as workflows_train

        run = replace(run, report=progress, random_split=naive_split, **logs)
        made = workflows_train.train(run)
    cli_options.done(json, command="train", task=run.task.name, **{"model": run.model, **made})


def report(
    task: cli_options.TaskName,
    model: cli_options.Model = None,
    version: cli_options.Version = None,
    data: cli_options.Data = cli_options.DATA,
    models: cli_options.Models = cli_options.MODELS,
    seed: cli_options.Seed = 0,
    json: cli_options.Json = False,
) -> None:
    """Writes a version's report anew from its card, predictions and records."""
    found = tasks.find(task)
    cli_options.start_tensorflow()
    from tfpipe.registry import store
    from tfpipe.report import write as reporting

    folder = store.find(models, task=found.name, model=model, version=version)
    page = reporting.write(folder, data / "records" / found.name)
    place = {"model": folder.parent.name, "version": int(folder.name), "path": page}
    scores = store.read_card(folder).metrics
    cli_options.done(json, command="report", task=found.name, **place, scores=scores)


def doctor(json: cli_options.Json = False) -> None:
    """Says what this machine has: versions, processor, threads, GPU, precision."""
    cli_options.start_tensorflow()
    from tfpipe.base import hardware as checking

    told = checking.examine()
    if json:
        cli_options.print_json({"command": "doctor", **told})
        return
    table = Table.grid(padding=(0, 2))
    for name, value in told.items():
        table.add_row(f"[bold]{name}", value)
    Console().print(table)


def _run(
    task: str,
    packing: cli_options.Packing,
    model: str | None,
    models: Path,
    hp: list[str] | None,
    precision: str,
    settings: dict,
):
    """Checks every word of the user's, and returns what the pipeline takes."""
    found = tasks.find(task)
    name = choose(model or found.models[0], found.models, noun=f"model for {found.name}")
    fixed = dict(cli_options.hyperparameter(setting) for setting in hp or ())
    options = parse_options(found, packing.option or ())
    # For workers and the export's check: the server imports while this process does.
    processes.begin("tfpipe.registry.parity", "tfpipe.search.worker")
    cli_options.start_tensorflow()
    from tfpipe.base.hardware import PRECISIONS
    from tfpipe.data.sampling import BALANCES
    from tfpipe.training.config import TrainingConfig
    from tfpipe.workflows import train as workflows_train

    choose(settings["balance"], BALANCES, noun="balance")
    run = workflows_train.TrainingRun(
        task=found,
        model=name,
        raw=raw_folder(found, packing.data),
        records=packing.data / "records" / found.name,
        models=models / found.name / name,
        options=options,
        config=TrainingConfig(**settings, augmentation=found.preprocessing.augmentation),
        precision=choose(precision, PRECISIONS, noun="precision"),
        hyperparameters=fixed,
    )
    workflows_train.model_part(run)
    return run
