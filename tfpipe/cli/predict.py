"""The command about new raw files: predict."""

from pathlib import Path
from typing import Annotated

import typer

from tfpipe.base.errors import UserError
from tfpipe.cli import options


def predict(
    task: Annotated[
        str,
        typer.Argument(
            help="Name of a task, a folder of images, a Python file, or the folder of a version."
        ),
    ],
    files: Annotated[list[Path], typer.Argument(help="Raw files, or folders of them.")],
    out: Annotated[
        Path,
        typer.Option(
            help="Table to write: .csv, .parquet, for EcoTaxa .zip or .tsv. Images go beside it."
        ),
    ],
    model: options.SavedModel = None,
    version: options.Version = None,
    photos_table: Annotated[
        Path | None, typer.Option(help="Table that describes the files, such as photos.csv.")
    ] = None,
    windows: Annotated[
        Path | None, typer.Option(help="Table of every window to write as well.")
    ] = None,
    inference_mode: Annotated[
        str | None,
        typer.Option(
            help="How whole files are predicted: windows or intervals, or rows for core-unet "
            "(default: the version's own)."
        ),
    ] = None,
    min_precision: options.MinPrecision = 0.9,
    conformal: Annotated[
        float,
        typer.Option(min=0, max=0.5, help="Error rate of conformal sets of classes (0: no sets)."),
    ] = 0.0,
    min_sharpness: Annotated[
        float,
        typer.Option(
            min=0, help="Images that are less sharp are marked as blurred, and not counted."
        ),
    ] = 0.0,
    embedding: Annotated[
        bool, typer.Option("--embedding", help="Write embeddings to the table, too.")
    ] = False,
    option: options.Option = None,
    runner: Annotated[
        str | None,
        typer.Option(help="Runner of Apache Beam that predicts, such as DaskRunner (extra: beam)."),
    ] = None,
    beam_option: options.BeamOption = None,
    data: options.Data = options.DATA,
    models: options.Models = options.MODELS,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Predicts new raw files: one table, with images beside it."""
    beam_options = options.beam_settings(beam_option, runner)
    saved = options.project(data, models, seed).predictor(
        task, model=model, number=version, inference_mode=inference_mode
    )
    made = saved.predict(
        files,
        out=out,
        table=photos_table,
        windows=windows,
        inference_mode=inference_mode,
        min_precision=min_precision,
        conformal=conformal,
        min_sharpness=min_sharpness,
        embedding=embedding,
        options=options.settings(option),
        runner=runner,
        beam_options=beam_options,
    )
    summary = {
        "command": "predict",
        "task": saved.task.name,
        "path": out,
        "model": saved.model,
        "version": saved.number,
        "files": made.files,
        "rows": made.rows,
        "skipped": dict(made.skipped),
        "notes": list(made.notes),
        **made.details,
    }
    if not (json and made.skipped):
        options.done(json, **summary)
    if made.skipped:
        reasons = " ".join(made.skipped.values())
        error = UserError(
            f"{len(made.skipped)} files could not be read; the others are in {out}. {reasons}"
        )
        error.summary = summary
        raise error
