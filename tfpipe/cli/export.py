"""The command that writes a version's model for other tools: export."""

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
