"""The commands about models: tune, train, predict, report, doctor."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tfpipe import tasks
from tfpipe.cli import parts
from tfpipe.cli.data import packed
from tfpipe.errors import UserError
from tfpipe.progress import Progress
from tfpipe.task import choose, options_of


def tune(
    task: parts.TaskName,
    model: parts.Model = None,
    algorithm: Annotated[str, typer.Option(help="hyperband or bayesian.")] = "hyperband",
    quick: Annotated[bool, typer.Option("--quick", help="Smaller models and budget.")] = False,
    hp: parts.Hp = None,
    epochs: parts.Epochs = None,
    precision: parts.Precision = "auto",
    balance: parts.Balance = "sampling",
    naive_split: parts.Naive = True,
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
    choose(algorithm, ("hyperband", "bayesian"), noun="search algorithm")
    settings = {"balance": balance, "seed": seed}
    run = _run(task, packing, model, models, hp, precision, settings)
    with Progress(parts.err) as progress:
        from tfpipe import pipeline

        run = replace(run, tell=progress, with_naive=naive_split)
        made = pipeline.tune(run, quick=quick, algorithm=algorithm, epochs=epochs)
    parts.done(json, command="tune", task=task, **{"model": run.model, **made})


def train(
    task: parts.TaskName,
    model: parts.Model = None,
    hp: parts.Hp = None,
    epochs: parts.Epochs = 30,
    precision: parts.Precision = "auto",
    balance: parts.Balance = "sampling",
    naive_split: parts.Naive = True,
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
    run = _run(task, packing, model, models, hp, precision, settings)
    with Progress(parts.err) as progress:
        from tfpipe import pipeline

        made = pipeline.train(replace(run, tell=progress, with_naive=naive_split))
    parts.done(json, command="train", task=task, **{"model": run.model, **made})


def predict(
    task: parts.TaskName,
    files: Annotated[list[Path], typer.Argument(help="Raw files, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Table of answers; overlays go beside it.")],
    model: parts.Model = None,
    version: parts.Version = None,
    photos_table: Annotated[Path | None, typer.Option(help="What is known of the files.")] = None,
    windows: Annotated[Path | None, typer.Option(help="Also write every window here.")] = None,
    option: parts.Option = None,
    data: parts.Data = parts.DATA,
    models: parts.Models = parts.MODELS,
    seed: parts.Seed = 0,
    json: parts.Json = False,
) -> None:
    """Answers the task's question for new raw files."""
    found = tasks.find(task)
    parts.start_tensorflow()
    from tfpipe import predict as prediction
    from tfpipe import saved

    folder = saved.find(models, task=found.name, model=model, version=version)
    with Progress(parts.err) as progress:
        made = prediction.predict(
            found,
            folder,
            files,
            out=out,
            table=photos_table,
            windows=windows,
            settings=tuple(option or ()),
            progress=lambda done, total: progress("predict", {"done": done, "total": total}),
        )
    place = {"model": folder.parent.name, "version": int(folder.name), "path": out}
    told = {"files": made.files, "rows": made.rows, "bad": made.bad, "notes": made.notes}
    parts.done(json, command="predict", task=task, **place, **told)
    if made.bad:
        reasons = " ".join(made.bad.values())
        raise UserError(
            f"{len(made.bad)} files could not be read; the others are in {out}. {reasons}"
        )


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
    parts.done(json, command="report", task=task, **place, scores=scores)


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
    """Checks every word of the user's, packs if need be, and returns what the pipeline takes."""
    found = tasks.find(task)
    name = choose(model or found.models[0], found.models, noun=f"model for {found.name}")
    fixed = dict(parts.hyperparameter(setting) for setting in hp or ())
    options = options_of(found, packing.option or ())
    parts.start_tensorflow()
    from tfpipe import inputs, pipeline, training

    choose(settings["balance"], inputs.BALANCES, noun="balance")
    run = pipeline.Run(
        task=found,
        model=name,
        raw=packing.data / "raw" / found.name,
        folder=packing.data / "records" / found.name,
        models=models / found.name / name,
        options=options,
        settings=training.Settings(**settings),
        precision=choose(precision, training.PRECISIONS, noun="precision"),
        fixed=fixed,
    )
    pipeline.model_part(run)
    packed(task, packing)
    return run
