"""The command about new raw files: predict."""

from pathlib import Path
from typing import Annotated

import typer

from tfpipe import tasks
from tfpipe.base.errors import UserError
from tfpipe.base.progress import ProgressBar
from tfpipe.cli import options


def predict(
    task: options.TaskName,
    files: Annotated[list[Path], typer.Argument(help="Raw files, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Table of answers; pictures go beside it.")],
    model: options.Model = None,
    version: options.Version = None,
    photos_table: Annotated[Path | None, typer.Option(help="What is known of the files.")] = None,
    windows: Annotated[Path | None, typer.Option(help="Also write every window here.")] = None,
    inference_mode: Annotated[
        str | None,
        typer.Option(help="For long images: scan, windows, intervals or scan-intervals."),
    ] = None,
    min_precision: Annotated[
        float, typer.Option(min=0, max=1, help="Below it a picture's class is said to be unsure.")
    ] = 0.9,
    conformal: Annotated[
        float, typer.Option(min=0, max=0.5, help="Sets of classes that lack the true one so often.")
    ] = 0.0,
    embedding: Annotated[bool, typer.Option("--embedding", help="Also tell embeddings.")] = False,
    option: options.Option = None,
    data: options.Data = options.DATA,
    models: options.Models = options.MODELS,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Answers the task's question for new raw files."""
    found = tasks.find(task)
    if inference_mode and not (found.whole_file and found.whole_file.sliding_window):
        raise UserError(
            f"{found.name} slides no window along its images. Leave out --inference-mode."
        )
    options.start_tensorflow()
    from tfpipe.inference import files as prediction
    from tfpipe.inference import images
    from tfpipe.inference.confidence import PredictionOptions
    from tfpipe.registry import store

    kinds = ("classifier",) if found.whole_file else images.KINDS
    folder = store.find(models, task=found.name, model=model, version=version, kinds=kinds)
    with ProgressBar(options.err) as progress:
        told = {
            "out": out,
            "settings": tuple(option or ()),
            "report": progress,
        }
        if found.whole_file:
            made = prediction.predict(
                found,
                folder,
                files,
                table=photos_table,
                windows=windows,
                inference_mode=inference_mode,
                **told,
            )
        else:
            chosen = PredictionOptions(min_precision, embedding, conformal)
            made = images.predict(
                found, folder, files, table=photos_table, prediction_options=chosen, **told
            )
    place = {"model": folder.parent.name, "version": int(folder.name), "path": out}
    told = {"files": made.files, "rows": made.rows, "bad": made.bad, "notes": made.notes}
    options.done(json, command="predict", task=found.name, **place, **told, **made.summary)
    if made.bad:
        reasons = " ".join(made.bad.values())
        raise UserError(
            f"{len(made.bad)} files could not be read; the others are in {out}. {reasons}"
        )
