"""Completion in the shell: names of tasks, models and versions (`tfpipe --install-completion`).

Each function returns what may stand in place of an incomplete word; the shell drops what does not
begin with it. None may fail: what cannot be looked up is not offered.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from tfpipe.tasks.task import Task


def tasks(incomplete: str) -> list[tuple[str, str]]:
    """Returns the names of tasks, each with what it is for."""
    from tfpipe.tasks import catalog

    return [
        (name, task.title) for name, task in catalog.TASKS.items() if name.startswith(incomplete)
    ]


def models(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the models of the task on the command line."""
    task = _task(ctx)
    return [name for name in task.models if name.startswith(incomplete)] if task else []


def saved_models(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the models of the task that have versions."""
    return sorted({path.parent.name for path in _versions(ctx, "*", incomplete)})


def versions(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the numbers of the versions of the task's model, or of all its models."""
    paths = _versions(ctx, str(ctx.params.get("model") or "*"), "")
    numbers = sorted({int(path.name) for path in paths}, reverse=True)
    return [str(number) for number in numbers if str(number).startswith(incomplete)]


def _task(ctx: typer.Context) -> "Task | None":
    from tfpipe.tasks import catalog

    name = ctx.params.get("task") or next(iter(ctx.args), None)  # before all options are parsed
    return catalog.TASKS.get(str(name))


def _versions(ctx: typer.Context, model: str, incomplete: str) -> list[Path]:
    """Returns the folders of versions of the task on the command line."""
    folder: Any = ctx.params.get("models")
    task = _task(ctx)
    if task is None or folder is None:
        return []
    return [
        path
        for path in Path(folder).glob(f"{task.name}/{model}/*/")
        if path.name.isdecimal() and path.parent.name.startswith(incomplete)
    ]
