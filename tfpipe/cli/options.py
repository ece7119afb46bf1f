"""What the commands share: their options, how they end, and how they start TensorFlow."""

import json
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tfpipe.base.errors import UserError
from tfpipe.base.tensorflow import start_tensorflow as start_tensorflow

err = Console(stderr=True)

TaskName = Annotated[
    str,
    typer.Argument(
        help="Name of the task (`tfpipe tasks` lists them), a folder of pictures, or a .py file."
    ),
]
Data = Annotated[Path, typer.Option(help="Folder that holds raw/TASK and records/TASK.")]
Models = Annotated[Path, typer.Option(help="Folder of saved versions.")]
Seed = Annotated[int, typer.Option(help="Of everything random in this run.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Option = Annotated[
    list[str] | None,
    typer.Option(
        "--option", "-o", help="A task option, name=value; `tfpipe tasks NAME` lists them."
    ),
]
Split = Annotated[str, typer.Option(help="Shares of train/validation/test, in per cent.")]
Salt = Annotated[str, typer.Option(help="Another word draws another split.")]
SkipBad = Annotated[int, typer.Option(min=0, help="Files that may be unreadable and left out.")]
Model = Annotated[str | None, typer.Option(help="Name of the model; the task's first by default.")]
Version = Annotated[int | None, typer.Option(help="Number; the newest by default.")]
Hp = Annotated[
    list[str] | None,
    typer.Option("--hp", help="A hyperparameter held fixed, name=value, such as filters=32."),
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Of the final training, at most.")]
Precision = Annotated[str, typer.Option(help="auto, float32 or mixed_bfloat16.")]
Balance = Annotated[str, typer.Option(help="Against rare classes: sampling, weights or none.")]
Naive = Annotated[
    bool, typer.Option(help="Also measure what a random split of the pictures would have claimed.")
]
Space = Annotated[
    Path | None, typer.Option(help="Python file with space(hp), and training(hp) if you like.")
]
Trials = Annotated[int | None, typer.Option(min=1, help="Of a Bayesian or random search.")]
TrialEpochs = Annotated[int | None, typer.Option(min=1, help="Of a trial, at most.")]
TrialLimit = Annotated[
    float | None, typer.Option(min=0.01, help="Minutes after which a trial is given up.")
]
Folds = Annotated[
    int, typer.Option(min=0, help="Train each trial on so many grouped folds; 0 for one split.")
]
Workers = Annotated[int, typer.Option(min=0, help="Processes on this machine that run trials.")]
Chief = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Where the search takes in workers of other machines."),
]
Worker = Annotated[
    bool, typer.Option("--worker", help="Only run trials, for the search that --chief names.")
]
Wait = Annotated[float, typer.Option(min=1, help="Seconds that workers try to reach the chief.")]
Weights = Annotated[
    str | None,
    typer.Option(help="Of a pretrained body: imagenet, the path of a .h5 file, or none."),
]
Tensorboard = Annotated[Path | None, typer.Option(help="Also write event files to this folder.")]
Mlflow = Annotated[
    str | None, typer.Option(metavar="URI", help="Also log the training to this MLflow server.")
]
DATA, MODELS, SHARES = Path("data"), Path("saved_models"), "60/20/20"


class Packing(NamedTuple):
    """What the user said of packing."""

    option: list[str] | None
    split: str
    salt: str
    skip_bad: int
    data: Path


def hyperparameter(setting: str) -> tuple[str, Any]:
    """Returns (name, value) of `name=value`; a value that looks like a number is one."""
    name, equals, text = setting.partition("=")
    if not equals:
        raise UserError(f"--hp {setting!r} has no '='. Write it as name=value.")
    for kind in (int, float):
        try:
            return name, kind(text)
        except ValueError:
            continue
    return name, text


def done(as_json: bool, *, command: str, task: str, path: Path, **rest) -> None:
    """Prints what a command did: one JSON object, or a line for each thing worth knowing."""
    summary = {"command": command, "task": task, "model": None, "version": None}
    summary |= {"path": str(path), **rest}
    if as_json:
        print_json(summary)
        return
    out = Console(highlight=False)
    for name, value in summary.items():
        if value in (None, {}, [], ()) or name in ("command", "task", "scores"):
            continue
        if isinstance(value, list | tuple) and isinstance(value[0], dict):
            out.print(f"{name}:")
            out.print(rows_shown(value))
        elif isinstance(value, list | tuple):
            for part in value:
                out.print(f"{name}: {part}", markup=False, soft_wrap=True)
        else:
            out.print(f"{name}: {value}", markup=False, soft_wrap=True)
    for split, metrics in rest.get("scores", {}).items():
        known = {name: value for name, value in metrics.items() if value is not None}
        shown = ", ".join(f"{name} {value:.4g}" for name, value in known.items())
        out.print(f"{split}: {shown}", markup=False, soft_wrap=True)


def print_notes(records: Any) -> None:
    """Prints what was left out of packed records, and what else is to be known of them.

    Args:
      records: their `RecordManifest`.
    """
    sentences = [f"left out: {sentence}" for sentence in records.omissions]
    for sentence in [*sentences, *(f"note: {note}" for note in records.notes)]:
        err.print(sentence, markup=False, highlight=False, soft_wrap=True)


def rows_shown(rows: list[dict[str, Any]]) -> Table:
    """Returns rows of the same names as a table for the screen, numbers to four digits."""
    table = Table(box=None, padding=(0, 2, 0, 2), header_style="bold")
    for name in rows[0]:
        is_number = isinstance(rows[0][name], int | float)
        table.add_column(name, justify="right" if is_number else "left")
    for row in rows:
        table.add_row(
            *(f"{v:.4g}" if isinstance(v, float) else escape(str(v)) for v in row.values())
        )
    return table


def print_json(summary: dict) -> None:
    """Prints one JSON object on stdout."""
    print(json.dumps(summary, default=str))
