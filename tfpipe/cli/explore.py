"""The command about unlabelled images: explore."""

from pathlib import Path
from typing import Annotated

import typer

from tfpipe.base.errors import UserError
from tfpipe.cli import options


def explore(
    task: options.TaskHere,
    model: options.SavedModel = None,
    version: options.Version = None,
    leave_out: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="Class to train without (or each), to measure which novelty score finds it.",
        ),
    ] = None,
    map: Annotated[
        str, typer.Option(help="Kind of map: umap, or parametric for one that is saved.")
    ] = "umap",
    normalize_orientation: Annotated[
        bool,
        typer.Option("--normalize-orientation", help="Turn every image to lie the same way first."),
    ] = False,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            help="Table of new images, a .parquet of predict --embedding, to place on "
            "the map in place of packed images."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to (default: explore-N beside version N).")
    ] = None,
    data: options.Data = options.DATA,
    models: options.Models = options.MODELS,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Maps all packed images, labelled or not, and ranks those that show something new."""
    if embeddings and (leave_out or normalize_orientation or map != "umap"):
        raise UserError(
            "--embeddings goes without --leave-out, --map and --normalize-orientation, which need "
            "the images. Leave them out."
        )
    loaded = options.project(data, models).resolve(task)
    here = options.project(data, models, seed)
    saved = here.version(loaded, model=model, number=version)
    made = here.explore(
        saved,
        leave_out=leave_out,
        map=map,
        normalize_orientation=normalize_orientation,
        embeddings=embeddings,
        out=out,
    )
    options.done(
        json,
        command="explore",
        task=loaded.name,
        model=saved.model,
        version=saved.number,
        **made.summary,
    )
