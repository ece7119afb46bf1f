"""The command that opens the annotation page: review."""

import sys
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer

from tfpipe.cli import options


def review(
    task: options.TaskHere,
    model: options.SavedModel = None,
    version: options.Version = None,
    port: Annotated[int, typer.Option(help="Port to listen on (0: any free port).")] = 8502,
    open: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
    queue: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Write the queue with its images as a table, for FiftyOne or cleanlab, and stop.",
        ),
    ] = None,
    data: options.LocalData = options.DATA,
    models: options.LocalModels = options.MODELS,
    json: options.Json = False,
) -> None:
    """Opens a local page to accept or correct labels, least certain predictions first."""
    project = options.project(data, models)
    loaded = project.resolve(task)
    if queue:
        written = project.labels(loaded).queue(queue, model=model, number=version)
        options.done(json, command="review", task=loaded.name, **written)
        return

    def started(page: dict[str, Any]) -> None:
        options.done(json, command="review", task=loaded.name, **page, ends="with Ctrl-C")
        sys.stdout.flush()  # whoever reads the address from a pipe waits for it
        if open:
            webbrowser.open(page["address"])

    project.review(loaded, model=model, number=version, port=port, started=started)
