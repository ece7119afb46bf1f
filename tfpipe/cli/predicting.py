"""The command about new raw files: predict."""

from pathlib import Path
from typing import Annotated

import typer

from tfpipe import tasks
from tfpipe.cli import parts
from tfpipe.errors import UserError
from tfpipe.progress import Progress


def predict(
    task: parts.TaskName,
    files: Annotated[list[Path], typer.Argument(help="Raw files, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Table of answers; pictures go beside it.")],
    model: parts.Model = None,
    version: parts.Version = None,
    photos_table: Annotated[Path | None, typer.Option(help="What is known of the files.")] = None,
    windows: Annotated[Path | None, typer.Option(help="Also write every window here.")] = None,
    way: Annotated[
        str | None,
        typer.Option(help="How a window is slid along: scan, windows, intervals, scan-intervals."),
    ] = None,
    min_precision: Annotated[
        float, typer.Option(min=0, max=1, help="Below it a picture's class is said to be unsure.")
    ] = 0.9,
    conformal: Annotated[
        float, typer.Option(min=0, max=0.5, help="Sets of classes that lack the true one so often.")
    ] = 0.0,
    embedding: Annotated[bool, typer.Option("--embedding", help="Also tell embeddings.")] = False,
    option: parts.Option = None,
    data: parts.Data = parts.DATA,
    models: parts.Models = parts.MODELS,
    seed: parts.Seed = 0,
    json: parts.Json = False,
) -> None:
    """Answers the task's question for new raw files."""
    found = tasks.find(task)
    if way and not found.slides:
        raise UserError(f"{found.name} slides no window along its pictures. Leave out --way.")
    parts.start_tensorflow()
    from tfpipe import picture_answers, saved
    from tfpipe import predict as prediction
    from tfpipe.certainty import Wanted

    kinds = ("classifier",) if found.look else picture_answers.KINDS
    folder = saved.find(models, task=found.name, model=model, version=version, kinds=kinds)
    with Progress(parts.err) as progress:
        told = {
            "out": out,
            "settings": tuple(option or ()),
            "progress": lambda done, total: progress("predict", {"done": done, "total": total}),
        }
        if found.look:
            made = prediction.predict(
                found, folder, files, table=photos_table, windows=windows, way=way, **told
            )
        else:
            wanted = Wanted(min_precision, embedding, conformal)
            made = picture_answers.predict(
                found, folder, files, table=photos_table, wanted=wanted, **told
            )
    place = {"model": folder.parent.name, "version": int(folder.name), "path": out}
    told = {"files": made.files, "rows": made.rows, "bad": made.bad, "notes": made.notes}
    parts.done(json, command="predict", task=found.name, **place, **told, **made.more)
    if made.bad:
        reasons = " ".join(made.bad.values())
        raise UserError(
            f"{len(made.bad)} files could not be read; the others are in {out}. {reasons}"
        )
