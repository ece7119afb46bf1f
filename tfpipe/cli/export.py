"""The commands about other tools: export, convert."""

from pathlib import Path
from typing import Annotated

import typer

from tfpipe.cli import options


def export(
    task: options.TaskName,
    format: Annotated[
        str,
        typer.Option(
            help="onnx, litert, openvino or keras; hf for a folder that huggingface_hub uploads."
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder for the model, its card and classes.")],
    model: options.SavedModel = None,
    version: options.Version = None,
    license: Annotated[
        str, typer.Option(help="Licence in the card of --format hf, such as cc-by-4.0.")
    ] = "",
    models: options.Models = options.MODELS,
    json: options.Json = False,
) -> None:
    """Writes a version's model for other tools, if the file computes what the version does."""
    saved = options.project(models=models).version(task, model=model, number=version)
    made = saved.export(format, out, license=license)
    options.done(
        json,
        command="export",
        task=saved.task.name,
        path=made.path,
        model=saved.model,
        version=saved.number,
        files=list(made.files),
        examples=made.examples,
        max_difference=made.max_difference,
        notes=list(made.notes),
    )


def convert(
    predictions: Annotated[Path, typer.Argument(help="Table that `tfpipe predict` wrote.")],
    to: Annotated[str, typer.Option(help="darwin-core, ifcb or pangaea.")],
    out: Annotated[Path, typer.Option(help="File to write; of ifcb a new folder.")],
    sites: Annotated[
        Path | None,
        typer.Option(
            help="Of darwin-core: table of group, latitude, longitude, date, perhaps depth from, "
            "depth to and volume ml."
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            help="Of darwin-core: table of class, scientific name, perhaps scientific name id."
        ),
    ] = None,
    about: Annotated[
        list[str] | None,
        typer.Option(help="Of pangaea: name=value of the description, such as event=EGRIP."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Writes a table of predictions in the format of another program."""
    from tfpipe.inference.formats import convert as formats

    described = options.settings(about, option="--about")
    made = formats.convert(predictions, to, out, sites=sites, names=names, about=described)
    options.done(
        json,
        command="convert",
        task="",
        path=made.path,
        format=made.format,
        rows=made.rows,
        notes=list(made.notes),
    )
