"""The command that opens the annotation page: review."""

import sys
import webbrowser
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
    data: options.LocalData = options.DATA,
    models: options.LocalModels = options.MODELS,
    json: options.Json = False,
) -> None:
    """Opens a local page to accept or correct labels, least certain predictions first."""
    loaded = options.project(data, models).resolve(task)

    def started(page: dict[str, Any]) -> None:
        options.done(json, command="review", task=loaded.name, **page, ends="with Ctrl-C")
        sys.stdout.flush()  # whoever reads the address from a pipe waits for it
        if open:
            webbrowser.open(page["address"])

    options.project(data, models).review(
        loaded, model=model, number=version, port=port, started=started
    )
