"""The commands about versions: retrain, rollback, versions."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tfpipe import tasks
from tfpipe.base import processes
from tfpipe.base.errors import UserError
from tfpipe.base.progress import ProgressBar
from tfpipe.cli import options
from tfpipe.tasks.task import raw_folder

Line = Annotated[
    str | None, typer.Option(help="Name of the model; the one written last by default.")
]
WIDE = 180  # letters in a line where there is no terminal to ask


def retrain(
    task: options.TaskName,
    model: Line = None,
    begin: Annotated[
        int | None,
        typer.Option("--from", help="Version whose weights are gone on with; the newest's."),
    ] = None,
    afresh: Annotated[bool, typer.Option("--afresh", help="Begin with random weights.")] = False,
    epochs: options.Epochs = None,
    force: Annotated[
        bool, typer.Option("--force", help="Publish what is worse; train though nothing changed.")
    ] = False,
    skip_bad: Annotated[
        int | None, typer.Option(min=0, help="Unreadable files; as many as before by default.")
    ] = None,
    data: options.Data = options.DATA,
    models: options.Models = options.MODELS,
    seed: Annotated[int | None, typer.Option(help="The version's own by default.")] = None,
    json: options.Json = False,
) -> None:
    """Trains a version's model again on more data; publishes it unless it is worse."""
    found = tasks.find(task)
    if afresh and begin is not None:
        raise UserError("--from and --afresh exclude each other. Give one of them.")
    processes.begin("tfpipe.registry.parity")
    options.start_tensorflow()
    from tfpipe.data import pack
    from tfpipe.registry import store
    from tfpipe.workflows import retrain as workflows_retrain

    version = store.find(models, task=found.name, model=model, version=None)
    begun = workflows_retrain.beginning(version, begin, afresh=afresh)
    told = workflows_retrain.packing(found, version)
    told |= {} if skip_bad is None else {"skip_bad": skip_bad}
    raw, folder = raw_folder(found, data), data / "records" / found.name
    place = {"command": "retrain", "task": found.name, "model": version.parent.name}
    try:
        with ProgressBar(options.err) as progress:
            told["progress"] = lambda done, all: progress("pack", {"done": done, "total": all})
            manifest = pack.pack(found, raw, folder, **told)
            made = workflows_retrain.retrain(
                found,
                version,
                raw=raw,
                records=folder,
                wish=workflows_retrain.Wish(begun, epochs, force, seed),
                tell=progress,
            )
    except workflows_retrain.Refused as refused:
        if json:
            options.print_json(place | {"version": None, "comparison": refused.told})
        else:
            _compared(refused.told)
        raise
    options.print_notes(manifest)
    if not json:
        _compared(made.pop("comparison"))
    options.done(json, **place, **made)


def rollback(
    task: options.TaskName,
    version: Annotated[int, typer.Argument(help="Number to go back to.")],
    model: Line = None,
    models: options.Models = options.MODELS,
    json: options.Json = False,
) -> None:
    """Publishes a copy of an earlier version as the next one, so that it is served again."""
    name = tasks.find(task).name
    options.start_tensorflow()
    from tfpipe.registry import history, store

    made = history.rollback(store.find(models, task=name, model=model, version=version))
    told = {"model": made.parent.name, "version": int(made.name), "path": made}
    options.done(json, command="rollback", task=name, **told, copied_from=version)


def versions(
    task: options.TaskName, models: options.Models = options.MODELS, json: options.Json = False
) -> None:
    """Shows a task's versions: which is served, scores, size, speed, date, data."""
    name = tasks.find(task).name
    options.start_tensorflow()
    from tfpipe.registry import history

    rows = history.table(models, task=name)
    if json:
        options.print_json({"command": "versions", "task": name, "versions": rows})
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    console.print(_table([_shown(row) for row in rows]))


def _compared(told: dict[str, Any]) -> None:
    """Prints a comparison: each set of test groups, then each class."""
    from tfpipe.evaluation import version_comparison

    console = Console(highlight=False)
    for sentence in version_comparison.in_words(told):
        console.print(sentence, markup=False, soft_wrap=True)
    rows = [
        {"class": name, **{k: "" if v is None else v for k, v in one.items()}}
        for name, one in told["classes"].items()
    ]
    if rows:
        console.print("F1 of each class:")
        console.print(options.rows_shown(rows))


def _shown(row: dict[str, Any]) -> dict[str, str]:
    """Returns what the table of versions shows of one."""
    between = row["between"]
    interval = f" ({between[0]:.3f} to {between[1]:.3f})" if between else ""
    batch = row["batch_ms"] and 1000 * row["batch"] / row["batch_ms"]
    told = {
        **{name: row[name] for name in ("model", "version", "served")},
        "date": row["date"] and row["date"][:16].replace("T", " "),
        "test score": row["score"] and f"{row['score']} {row['value']:.4f}{interval}",
        "size": row["bytes"] and f"{row['bytes'] / 1e6:.1f} MB",
        "one picture": row["one_ms"] and f"{row['one_ms']:.3g} ms",
        "in batches": batch and f"{batch:,.0f} pictures/s",
        "data": row["pictures"] and f"{row['pictures']:,} of {row['groups']} groups, {row['data']}",
        "from": row["from"],
    }
    return {name: "" if value is None else str(value) for name, value in told.items()}


def _table(rows: list[dict[str, str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(value) for value in row.values()))
    return table
