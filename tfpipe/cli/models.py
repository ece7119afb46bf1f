"""The commands about models: tune, train, report, doctor."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tfpipe import fresh, tasks
from tfpipe.cli import parts
from tfpipe.cli.data import packed
from tfpipe.errors import UserError
from tfpipe.options import options_of
from tfpipe.progress import Progress
from tfpipe.task import choose, raw_folder


def tune(
    task: parts.TaskName,
    model: parts.Model = None,
    algorithm: Annotated[str, typer.Option(help="hyperband, bayesian or random.")] = "hyperband",
    quick: Annotated[bool, typer.Option("--quick", help="Smaller models and budget.")] = False,
    space: parts.Space = None,
    trials: parts.Trials = None,
    trial_epochs: parts.TrialEpochs = None,
    trial_limit: parts.TrialLimit = None,
    folds: parts.Folds = 0,
    workers: parts.Workers = 1,
    chief: parts.Chief = None,
    worker: parts.Worker = False,
    wait: parts.Wait = 60.0,
    hp: parts.Hp = None,
    weights: parts.Weights = None,
    epochs: parts.Epochs = None,
    precision: parts.Precision = "auto",
    balance: parts.Balance = "sampling",
    naive_split: parts.Naive = True,
    tensorboard: parts.Tensorboard = None,
    mlflow: parts.Mlflow = None,
    option: parts.Option = None,
    split: parts.Split = parts.SHARES,
    salt: parts.Salt = "",
    skip_bad: parts.SkipBad = 0,
    data: parts.Data = parts.DATA,
    models: parts.Models = parts.MODELS,
    seed: parts.Seed = 0,
    json: parts.Json = False,
) -> None:
    """Searches hyperparameters, trains the winner, exports it as the next version."""
    packing = parts.Packing(option, split, salt, skip_bad, data)
    if worker and not chief:
        raise UserError("--worker needs --chief HOST:PORT, the address of the search's chief.")
    if not workers and (worker or not chief):
        raise UserError("--workers is 0, so nobody would work. Give 1 or more.")
    settings = {"balance": balance, "seed": seed}
    hp = [*(hp or ()), *([f"weights={weights}"] if weights else ())]
    logs = {"tensorboard": tensorboard, "mlflow": mlflow}
    run = _run(task, packing, model, models, hp, precision, settings)
    from tfpipe import jobs, pipeline, searching

    job = jobs.Job(
        task=tasks.lasting(task),
        model=run.model,
        records=str(run.folder.resolve()),
        algorithm=algorithm,
        quick=quick,
        space=str(space.resolve()) if space else None,
        trials=trials,
        trial_epochs=trial_epochs,
        folds=folds,
        fixed=run.fixed,
        settings=asdict(run.settings),
        precision=precision,
    )
    jobs.plan_of(job)
    limit_s = trial_limit and 60 * trial_limit
    team = searching.Team(workers, chief or searching.HERE, limit_s, wait)
    if worker:
        pipeline.work(run, job, team=team)
        folder = run.models / "search"
        parts.done(json, command="tune", task=run.task.name, path=folder, model=run.model)
        return
    packed(task, packing)
    with Progress(parts.err) as progress:
        run = replace(run, tell=progress, with_naive=naive_split, **logs)
        made = pipeline.tune(run, job, team=team, epochs=epochs)
    parts.done(json, command="tune", task=run.task.name, **{"model": run.model, **made})


def train(
    task: parts.TaskName,
    model: parts.Model = None,
    hp: parts.Hp = None,
    weights: parts.Weights = None,
    epochs: parts.Epochs = 30,
    precision: parts.Precision = "auto",
    balance: parts.Balance = "sampling",
    naive_split: parts.Naive = True,
    tensorboard: parts.Tensorboard = None,
    mlflow: parts.Mlflow = None,
    option: parts.Option = None,
    split: parts.Split = parts.SHARES,
    salt: parts.Salt = "",
    skip_bad: parts.SkipBad = 0,
    data: parts.Data = parts.DATA,
    models: parts.Models = parts.MODELS,
    seed: parts.Seed = 0,
    json: parts.Json = False,
) -> None:
    """Trains one model, by the hyperparameters given or the best known, and exports it."""
    packing = parts.Packing(option, split, salt, skip_bad, data)
    settings = {"balance": balance, "seed": seed, "epochs": epochs}
    hp = [*(hp or ()), *([f"weights={weights}"] if weights else ())]
    logs = {"tensorboard": tensorboard, "mlflow": mlflow}
    run = _run(task, packing, model, models, hp, precision, settings)
    packed(task, packing)
    with Progress(parts.err) as progress:
        from tfpipe import pipeline

        run = replace(run, tell=progress, with_naive=naive_split, **logs)
        made = pipeline.train(run)
    parts.done(json, command="train", task=run.task.name, **{"model": run.model, **made})


def report(
    task: parts.TaskName,
    model: parts.Model = None,
    version: parts.Version = None,
    data: parts.Data = parts.DATA,
    models: parts.Models = parts.MODELS,
    seed: parts.Seed = 0,
    json: parts.Json = False,
) -> None:
    """Writes a version's report anew from its card, predictions and records."""
    found = tasks.find(task)
    parts.start_tensorflow()
    from tfpipe import report as reporting
    from tfpipe import saved

    folder = saved.find(models, task=found.name, model=model, version=version)
    page = reporting.write(folder, data / "records" / found.name)
    place = {"model": folder.parent.name, "version": int(folder.name), "path": page}
    scores = saved.read_card(folder)["scores"]
    parts.done(json, command="report", task=found.name, **place, scores=scores)


def doctor(json: parts.Json = False) -> None:
    """Says what this machine has: versions, processor, threads, GPU, precision."""
    parts.start_tensorflow()
    from tfpipe import doctor as checking

    told = checking.examine()
    if json:
        parts.print_json({"command": "doctor", **told})
        return
    table = Table.grid(padding=(0, 2))
    for name, value in told.items():
        table.add_row(f"[bold]{name}", value)
    Console().print(table)


def _run(
    task: str,
    packing: parts.Packing,
    model: str | None,
    models: Path,
    hp: list[str] | None,
    precision: str,
    settings: dict,
):
    """Checks every word of the user's, and returns what the pipeline takes."""
    found = tasks.find(task)
    name = choose(model or found.models[0], found.models, noun=f"model for {found.name}")
    fixed = dict(parts.hyperparameter(setting) for setting in hp or ())
    options = options_of(found, packing.option or ())
    fresh.begin()  # for workers and the export's check: it imports while this process does
    parts.start_tensorflow()
    from tfpipe import pipeline, training
    from tfpipe.balance import BALANCES
    from tfpipe.precision import PRECISIONS

    choose(settings["balance"], BALANCES, noun="balance")
    run = pipeline.Run(
        task=found,
        model=name,
        raw=raw_folder(found, packing.data),
        folder=packing.data / "records" / found.name,
        models=models / found.name / name,
        options=options,
        settings=training.Settings(**settings, augmentation=found.augmentation),
        precision=choose(precision, PRECISIONS, noun="precision"),
        fixed=fixed,
    )
    pipeline.model_part(run)
    return run
