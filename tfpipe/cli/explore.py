"""The command about what nobody has named: explore."""

from pathlib import Path
from typing import Annotated

import typer

from tfpipe import tasks
from tfpipe.base.progress import ProgressBar
from tfpipe.cli import options


def explore(
    task: options.TaskName,
    model: options.Model = None,
    version: options.Version = None,
    leave_out: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="Train without it, or without each, to rank scores."),
    ] = None,
    map: Annotated[str, typer.Option(help="umap, or parametric for one that is saved.")] = "umap",
    blind_to_direction: Annotated[
        bool, typer.Option("--blind-to-direction", help="Show every picture lying the same way.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder; explore-N beside version N by default.")
    ] = None,
    data: options.Data = options.DATA,
    models: options.Models = options.MODELS,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Maps all packed pictures, labelled or not, and ranks those that show something new."""
    found = tasks.find(task)
    options.start_tensorflow()
    from tfpipe.explore import run as exploring
    from tfpipe.registry import store

    folder = store.find(models, task=found.name, model=model, version=version)
    with ProgressBar(options.err) as progress:
        made = exploring.explore(
            exploring.Exploration(
                task=found,
                version=folder,
                records=data / "records" / found.name,
                out=out or folder.with_name(f"explore-{folder.name}"),
                leave_out=leave_out,
                map_kind=map,
                blind=blind_to_direction,
                seed=seed,
                tell=progress,
            )
        )
    place = {"model": folder.parent.name, "version": int(folder.name)}
    options.done(json, command="explore", task=found.name, **place, **made)
