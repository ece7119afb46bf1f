"""The command that adapts a version to another instrument or site: adapt."""

import sys
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer

from tfpipe.base.errors import UserError
from tfpipe.cli import options


def adapt(
    task: options.TaskName,
    files: Annotated[
        list[Path], typer.Argument(help="New files, or folders of them, of two groups or more.")
    ],
    labels: Annotated[
        int | None, typer.Option(min=30, help="Images to label (default: 256).")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="Who labels (default: the user's name).")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Train on with the labels so far, and stop.")
    ] = False,
    unlabelled: Annotated[
        list[str] | None,
        typer.Option(
            help="With --train: prior-shift or batch-norm, fitted to all new images without their "
            "labels, in place of training. Repeatable."
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum epochs (default: the version's own)."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Publish a version that is no better there, or worse at home."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the adaptation (default: one beside the version)."),
    ] = None,
    model: options.SavedModel = None,
    version: options.Version = None,
    port: Annotated[int, typer.Option(help="Port to listen on (0: any free port).")] = 8502,
    open: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
    option: options.Option = None,
    data: options.Data = options.DATA,
    models: options.Models = options.MODELS,
    seed: options.DrawSeed = None,
    json: options.Json = False,
) -> None:
    """Draws new images to label, trains a version on with them, publishes it if better there."""
    if (unlabelled or force or epochs) and not train:
        raise UserError("--unlabelled, --epochs and --force are for --train. Add it.")
    if train and judge is not None:
        raise UserError("--judge is for labelling; --train takes the labels of all. Leave it out.")
    if not train:
        from tfpipe.review import inspection_sample

        judge = inspection_sample.judge_name(judge)  # before anything is predicted
    adaptation = options.project(data, models, seed or 0).adapt(
        task,
        files,
        labels=labels,
        seed=seed,
        model=model,
        number=version,
        options=options.settings(option),
        out=out,
    )
    summary: dict[str, Any] = {"command": "adapt", "task": adaptation.version.task.name}
    if train:
        try:
            made = adaptation.train(unlabelled=unlabelled or (), epochs=epochs, force=force)
        except UserError as error:
            if json and (comparison := getattr(error, "comparison", None)):
                error.summary = summary | {
                    "model": adaptation.version.model,
                    "version": None,
                    "comparison": comparison,
                }
            raise
        published = made.version
        options.done(
            json,
            **summary,
            path=published.path,
            model=published.model,
            version=published.number,
            metrics=published.metrics,
            result=list(made.sentences),
        )
        return
    summary |= {"model": adaptation.version.model, "version": adaptation.version.number}

    def started(page: dict[str, Any]) -> None:
        options.done(json, **summary, **page, ends="with Ctrl-C; then run it again with --train")
        sys.stdout.flush()  # whoever reads the address from a pipe waits for it
        if open:
            webbrowser.open(page["address"])

    adaptation.serve(judge=judge, port=port, started=started)
