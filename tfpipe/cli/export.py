"""The commands about other tools: export, convert, labels."""

from pathlib import Path
from typing import Annotated

import typer

from tfpipe.base.errors import UserError
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


def labels(
    task: options.TaskName,
    to: Annotated[
        str | None, typer.Option(help="cvat, label-studio, coco or ecotaxa: write the labels.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder to write; of ecotaxa a .zip.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Read labels: .xml of CVAT, .json of Label Studio or .tsv of EcoTaxa.",
        ),
    ] = None,
    who: Annotated[
        str | None, typer.Option(help="Who has decided (default: your user name).")
    ] = None,
    all_checked: Annotated[
        bool,
        typer.Option("--all-checked", help="Labels that were not changed were checked, too."),
    ] = False,
    allow_empty: Annotated[
        bool,
        typer.Option("--allow-empty", help="Photos without boxes in the file lose all layers."),
    ] = False,
    data: options.Data = options.DATA,
    json: options.Json = False,
) -> None:
    """Writes a task's labels for an annotation tool, or reads back what was changed there."""
    if (to is None) == (file is None) or (to is None) != (out is None):
        raise UserError("Give --to and --out to write labels, or --from to read them: one of both.")
    exchanged = options.project(data).labels(task)
    if to is not None and out is not None:
        made = exchanged.export(to, out)
        summary = {"format": to, "images": made.images, "labels": made.labels}
        options.done(json, command="labels", task=exchanged.task.name, path=made.path, **summary)
    elif file is not None:
        read = exchanged.read(file, who=who, all_checked=all_checked, allow_empty=allow_empty)
        summary = {"images": read.images, "decisions": read.decisions, "notes": list(read.notes)}
        options.done(json, command="labels", task=exchanged.task.name, path=read.path, **summary)
