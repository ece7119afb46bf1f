"""The command that measures agreement with people on new files: inspect."""

import sys
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer

from tfpipe.cli import options


def inspect(
    task: Annotated[
        str,
        typer.Argument(
            help="Name of a task, a folder of images, a Python file, or the folder of a version."
        ),
    ],
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="New files, or folders of them (default: those inspected last)."),
    ] = None,
    per_class: Annotated[
        int | None,
        typer.Option(min=1, help="Images to draw of each predicted class (default: 50)."),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="Who judges (default: the user's name).")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Write the report of all answers so far, and stop.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the inspection (default: one beside the version)."),
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
    """Draws new images by predicted class, has people judge them unseen, and reports agreement."""
    if not report:
        from tfpipe.review import inspection_sample

        judge = inspection_sample.judge_name(judge)  # before anything is predicted
    project = options.project(data, models, seed or 0)
    inspection = project.inspect(
        task,
        files or (),
        per_class=per_class,
        seed=seed,
        model=model,
        number=version,
        options=options.settings(option),
        out=out,
        draws=not report,
    )
    summary: dict[str, Any] = {
        "command": "inspect",
        "task": inspection.version.task.name,
        "model": inspection.version.model,
        "version": inspection.version.number,
    }
    if report:
        written = inspection.report()
        result = written.result
        columns = ["judge", "predictions", "images", "agreement", "low", "high", "claimed"]
        rows = result.agreement[columns].astype(object)
        if json:  # the sentences say it to people
            summary["agreement"] = rows.where(rows.notna(), None).to_dict("records")
        options.done(
            json,
            **summary,
            path=written.path,
            result=list(result.sentences),
            notes=list(result.notes),
        )
        return

    def started(page: dict[str, Any]) -> None:
        options.done(json, **summary, **page, ends="with Ctrl-C")
        sys.stdout.flush()  # whoever reads the address from a pipe waits for it
        if open:
            webbrowser.open(page["address"])

    inspection.serve(judge=judge, port=port, started=started)
