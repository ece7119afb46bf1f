"""Every command: parse, call one function, print. TensorFlow is imported where it is needed."""

import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import tfpipe
from tfpipe import tasks
from tfpipe.errors import UserError
from tfpipe.progress import Progress
from tfpipe.task import options_of

app = typer.Typer(
    help="From raw pictures to a served model and back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
err = Console(stderr=True)

TaskName = Annotated[str, typer.Argument(help="Name of the task; `tfpipe tasks` lists them.")]
Data = Annotated[Path, typer.Option(help="Folder that holds raw/TASK and records/TASK.")]
Models = Annotated[Path, typer.Option(help="Folder of saved versions.")]
Seed = Annotated[int, typer.Option(help="Of everything random in this run.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Option = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", help="A task option, name=value; `tfpipe tasks` lists them."),
]
Split = Annotated[str, typer.Option(help="Shares of train/validation/test, in per cent.")]
Salt = Annotated[str, typer.Option(help="Another word draws another split.")]
SkipBad = Annotated[int, typer.Option(min=0, help="Files that may be unreadable and left out.")]
Model = Annotated[str | None, typer.Option(help="Name of the model; the task's first by default.")]
Hp = Annotated[
    list[str] | None,
    typer.Option("--hp", help="A hyperparameter held fixed, name=value, such as filters=32."),
]
Precision = Annotated[str, typer.Option(help="auto, float32 or mixed_bfloat16.")]
Balance = Annotated[str, typer.Option(help="Against rare classes: sampling, weights or none.")]
Naive = Annotated[
    bool, typer.Option(help="Also measure what a random split of the pictures would have claimed.")
]
DATA, MODELS = Path("data"), Path("saved_models")


@app.callback(invoke_without_command=True)
def version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(f"tfpipe {tfpipe.__version__}")
        raise typer.Exit


@app.command("tasks")
def tasks_command(data: Data = DATA, models: Models = MODELS, json: Json = False) -> None:
    """Lists the tasks: what raw files each expects, its options, and what state it is in."""
    from tfpipe import state

    told = [state.of(task, data=data, models=models) for task in tasks.TASKS.values()]
    if json:
        _print_json({"command": "tasks", "tasks": told})
        return
    out = Console()
    for one in told:
        table = Table.grid(padding=(0, 2))
        for name, value in one.items():
            table.add_row(f"[bold]{name}", value if isinstance(value, str) else "\n".join(value))
        out.print(table)


@app.command()
def sample(
    task: TaskName,
    photos: Annotated[int, typer.Option(help="How many.")] = 24,
    px_per_m: Annotated[float, typer.Option(help="Resolution of the photos.")] = 2000.0,
    data: Data = DATA,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Draws a small raw data set in the task's own format, with the truth beside it."""
    from tfpipe import samples

    name = tasks.find(task).name
    folder = data / "raw" / name
    drawn = samples.find(name)(folder, photos=photos, seed=seed, px_per_m=px_per_m)
    _done(json, command="sample", task=name, path=folder, **drawn)


@app.command()
def pack(
    task: TaskName,
    option: Option = None,
    split: Split = "60/20/20",
    salt: Salt = "",
    skip_bad: SkipBad = 0,
    data: Data = DATA,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Packs raw files into records; stopped at any moment, the same command goes on."""
    manifest = _packed(task, option, split, salt, skip_bad, data, say_unchanged=True)
    summary = {key: manifest[key] for key in ("counts", "groups", "notes", "bad", "fingerprint")}
    _done(json, command="pack", task=task, path=data / "records" / task, **summary)


@app.command()
def verify(task: TaskName, data: Data = DATA, json: Json = False) -> None:
    """Checks every record of a packed task against its manifest."""
    _quiet()
    from tfpipe import manifests

    folder = data / "records" / tasks.find(task).name
    manifest = manifests.trusted(folder)
    shards = manifest["shards"]
    whole = {"shards": len(shards), "records": sum(shard["count"] for shard in shards)}
    _done(json, command="verify", task=task, path=folder, **whole)


@app.command()
def tune(
    task: TaskName,
    model: Model = None,
    algorithm: Annotated[str, typer.Option(help="hyperband or bayesian.")] = "hyperband",
    quick: Annotated[bool, typer.Option("--quick", help="Smaller models and budget.")] = False,
    hp: Hp = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of the winner's training, at most.")] = 30,
    precision: Precision = "auto",
    balance: Balance = "sampling",
    naive_split: Naive = True,
    option: Option = None,
    split: Split = "60/20/20",
    salt: Salt = "",
    skip_bad: SkipBad = 0,
    data: Data = DATA,
    models: Models = MODELS,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Searches hyperparameters, trains the winner, exports it as the next version."""
    from tfpipe import search
    from tfpipe.task import choose

    choose(algorithm, search.ALGORITHMS, noun="search algorithm")
    run, options = _run(
        task,
        model,
        hp,
        epochs,
        precision,
        balance,
        option,
        split,
        salt,
        skip_bad,
        data,
        models,
        seed,
    )
    from tfpipe import pipeline

    with Progress(err) as progress:
        made = pipeline.tune(
            pipeline.told(run, progress),
            options=options,
            quick=quick,
            algorithm=algorithm,
            with_naive=naive_split,
        )
    _done(json, command="tune", task=task, model=run.model, **made)


@app.command()
def train(
    task: TaskName,
    model: Model = None,
    hp: Hp = None,
    epochs: Annotated[int, typer.Option(min=1, help="At most.")] = 30,
    precision: Precision = "auto",
    balance: Balance = "sampling",
    naive_split: Naive = True,
    option: Option = None,
    split: Split = "60/20/20",
    salt: Salt = "",
    skip_bad: SkipBad = 0,
    data: Data = DATA,
    models: Models = MODELS,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Trains one model, by the best hyperparameters known or those given, and exports it."""
    run, options = _run(
        task,
        model,
        hp,
        epochs,
        precision,
        balance,
        option,
        split,
        salt,
        skip_bad,
        data,
        models,
        seed,
    )
    from tfpipe import pipeline

    with Progress(err) as progress:
        made = pipeline.train(pipeline.told(run, progress), options=options, with_naive=naive_split)
    _done(json, command="train", task=task, model=run.model, **made)


@app.command()
def predict(
    task: TaskName,
    files: Annotated[list[Path], typer.Argument(help="Raw files, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Table of answers; overlays go beside it.")],
    model: Model = None,
    version: Annotated[int | None, typer.Option(help="Number; the newest by default.")] = None,
    photos_table: Annotated[Path | None, typer.Option(help="What is known of the files.")] = None,
    windows: Annotated[Path | None, typer.Option(help="Also write every window here.")] = None,
    option: Option = None,
    models: Models = MODELS,
    data: Data = DATA,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Answers the task's question for new raw files."""
    found = tasks.find(task)
    _quiet()
    from tfpipe import predict as predicting
    from tfpipe import saved

    folder = saved.find(models, task=found.name, model=model, version=version)
    with Progress(err) as progress:
        made = predicting.predict(
            found,
            folder,
            files,
            out=out,
            table=photos_table,
            windows=windows,
            settings=tuple(option or ()),
            progress=lambda done, total: progress("predict", {"done": done, "total": total}),
        )
    summary = {"files": made.files, "rows": made.rows, "bad": made.bad, "notes": made.notes}
    place = {"model": folder.parent.name, "version": int(folder.name), "path": out}
    _done(json, command="predict", task=task, **place, **summary)
    if made.bad:
        raise UserError(f"{len(made.bad)} files could not be read, the others are in {out}.")


@app.command()
def report(
    task: TaskName,
    model: Model = None,
    version: Annotated[int | None, typer.Option(help="Number; the newest by default.")] = None,
    data: Data = DATA,
    models: Models = MODELS,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Writes a version's report anew from its card, predictions and records."""
    found = tasks.find(task)
    _quiet()
    from tfpipe import report as reporting
    from tfpipe import saved

    folder = saved.find(models, task=found.name, model=model, version=version)
    card = saved.read_card(folder)
    page = reporting.write(folder, data / "records" / found.name)
    place = {"model": folder.parent.name, "version": int(folder.name), "path": page}
    _done(json, command="report", task=task, **place, scores=card["scores"])


@app.command()
def doctor(json: Json = False) -> None:
    """Says what this machine has: versions, processor, threads, GPU, precision."""
    _quiet()
    from tfpipe import doctor as checking

    told = checking.examine()
    if json:
        _print_json({"command": "doctor", **told})
        return
    table = Table.grid(padding=(0, 2))
    for name, value in told.items():
        table.add_row(f"[bold]{name}", str(value))
    Console().print(table)


def _packed(task, option, split, salt, skip_bad, data: Path, *, say_unchanged=False) -> dict:
    """Packs if need be, saying so, and prints what was left out."""
    found = tasks.find(task)
    options = options_of(found, option or ())
    _quiet()
    from tfpipe import records

    with Progress(err) as progress:
        manifest = records.pack(
            found,
            data / "raw" / found.name,
            data / "records" / found.name,
            options=options,
            split=(_fractions(split), salt),
            skip_bad=skip_bad,
            progress=lambda done, total: progress("pack", {"done": done, "total": total}),
        )
    for note in [*manifest["notes"], *manifest["bad"].values()]:
        err.print(f"left out: {note}", style="yellow", markup=False, highlight=False)
    return manifest


def _run(
    task, model, hp, epochs, precision, balance, option, split, salt, skip_bad, data, models, seed
):
    found = tasks.find(task)
    from tfpipe.task import choose

    name = choose(model or found.models[0], found.models, noun=f"model for {found.name}")
    _packed(task, option, split, salt, skip_bad, data)
    from tfpipe import inputs, pipeline, training

    choose(balance, inputs.BALANCES, noun="balance")
    choose(precision, training.PRECISIONS, noun="precision")
    run = pipeline.Run(
        task=found,
        model=name,
        raw=data / "raw" / found.name,
        folder=data / "records" / found.name,
        models=models / found.name / name,
        settings=training.Settings(epochs=epochs, balance=balance, seed=seed),
        precision=precision,
        fixed=dict(_parsed(one) for one in hp or ()),
    )
    return run, options_of(found, option or ())


def _parsed(setting: str) -> tuple[str, Any]:
    name, equals, text = setting.partition("=")
    if not equals:
        raise UserError(f"--hp {setting!r} has no '='. Write it as name=value.")
    for kind in (int, float):
        try:
            return name, kind(text)
        except ValueError:
            continue
    return name, text


def _fractions(text: str) -> tuple[float, float, float]:
    try:
        shares = [float(part) for part in text.split("/")]
    except ValueError:
        shares = []
    if len(shares) != 3 or min(shares) <= 0 or abs(sum(shares) - 100) > 1e-6:
        raise UserError(f"--split is {text!r}, expected three shares above 0 that add up to 100.")
    return tuple(share / 100 for share in shares)


def _done(
    as_json: bool, *, command: str, task: str, path, model=None, version=None, **rest
) -> None:
    summary = {"command": command, "task": task, "model": model, "version": version}
    summary |= {"path": str(path), **rest}
    if as_json:
        _print_json(summary)
        return
    out = Console(highlight=False)
    for name, value in summary.items():
        if value in (None, {}, [], ()) or name in ("command", "task", "scores"):
            continue
        out.print(f"{name}: {value}", markup=False, soft_wrap=True)
    for split, metrics in rest.get("scores", {}).items():
        shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        out.print(f"{split}: {shown}", markup=False, soft_wrap=True)


def _print_json(summary: dict) -> None:
    print(json.dumps(summary, default=str))


def _quiet() -> None:
    """Imports TensorFlow without its start-up lines, which it writes past Python to stderr."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.ERROR)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module="keras")


def main() -> None:
    """Runs the command line: exit code 0, 2 for what a user can mend, 1 for the rest."""
    try:
        app(standalone_mode=True)
    except UserError as error:
        err.print(f"tfpipe: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        err.print(f"tfpipe: {where}{error.strerror or error}.", markup=False, soft_wrap=True)
        sys.exit(2)
