"""The commands to look around: tasks, doctor."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tfpipe.base.errors import UserError
from tfpipe.base.tensorflow import start_tensorflow
from tfpipe.cli import options

if TYPE_CHECKING:
    from tfpipe.tasks.status import TaskDetails


def tasks(
    task: Annotated[
        str | None, typer.Argument(help="Task to describe (default: a table of all tasks).")
    ] = None,
    data: options.LocalData = options.DATA,
    models: options.LocalModels = options.MODELS,
    json: options.Json = False,
) -> None:
    """Lists the tasks and their state; `tfpipe tasks NAME` describes one."""
    from tfpipe.tasks import status
    from tfpipe.tasks.catalog import TASKS

    if task is not None:
        loaded = options.project(data, models).resolve(task)
        details = status.task_details(loaded, data=data, models=models)
        if json:
            options.print_json({"command": "tasks", "task": asdict(details)})
        else:
            Console(highlight=False).print(_details_table(details))
        return
    rows = [status.task_status(one, data=data, models=models) for one in TASKS.values()]
    if json:
        options.print_json({"command": "tasks", "tasks": [asdict(row) for row in rows]})
        return
    table = options.empty_table("task", "what for", "raw files", "packed", "versions")
    for row in rows:
        table.add_row(
            row.task,
            row.title,
            "yes" if row.has_raw_files else "no",
            f"{row.n_examples} examples" if row.is_packed else "no",
            str(row.n_versions or "none"),
        )
    console = Console(highlight=False)
    console.print(table)
    console.print("`tfpipe tasks NAME` shows the raw files and options of a task.")


def doctor(
    train: Annotated[
        bool,
        typer.Option("--train", help="Train 20 steps on each device, and compare the results."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Shows what this machine has: versions, processor, threads, GPU, precision."""
    start_tensorflow()
    from tfpipe.base import hardware

    summary: dict[str, Any] = {"command": "doctor", **hardware.examine()}
    if not json:
        table = Table.grid(padding=(0, 2))
        for name in list(summary)[1:]:
            table.add_row(f"[bold]{name}", summary[name])
        Console(highlight=False).print(table)
    if train:
        from tfpipe.training import device_comparison

        runs = device_comparison.compare_devices()
        summary["devices"] = [asdict(run) for run in runs]
        if not json:
            options.wide_console().print(options.table_of(summary["devices"]))
        if wrong := [run for run in runs if run.is_wrong]:
            error = UserError(device_comparison.advice(wrong))
            error.summary = summary
            raise error
    if json:
        options.print_json(summary)


def _details_table(details: "TaskDetails") -> Table:
    table = Table.grid(padding=(0, 2))
    packed = [
        f"{split}: {', '.join(f'{count} {name}' for name, count in classes.items())}"
        for split, classes in (details.counts or {}).items()
    ]
    versions = [
        f"{model}: {', '.join(map(str, numbers))}" for model, numbers in details.versions.items()
    ]
    options = [f"{one.name}={one.default}: {one.help}" for one in details.options]
    lines = {
        "task": details.task,
        "what for": details.title,
        "classes": ", ".join(details.classes) or "those of the raw folder",
        "models": ", ".join(details.models),
        "expects": f"{details.raw}/: {details.expects}",
        "raw files": "yes" if details.has_raw_files else "no",
        "packed": "\n".join(packed) or "no",
        "versions": "\n".join(versions) or "none",
        "options": "\n".join(options),
    }
    for heading, text in lines.items():
        table.add_row(f"[bold]{heading}", escape(text))
    return table
