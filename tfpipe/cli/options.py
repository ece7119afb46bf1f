"""What the commands share: their options and how they print."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperCommand

from tfpipe.base import storage
from tfpipe.base.errors import UserError
from tfpipe.base.progress import ProgressBar
from tfpipe.cli import completion, explained
from tfpipe.data.config import PackingConfig
from tfpipe.project import Project

if TYPE_CHECKING:
    from tfpipe.data.check import RawFilesCheck

err = Console(stderr=True)
COMPLETION = "_TFPIPE_COMPLETE"  # set by the shell's completion of typer
WIDTH = 180  # letters in a line where there is no terminal to ask

TaskName = Annotated[
    str,
    typer.Argument(
        help="Name of a task (`tfpipe tasks` lists them), a folder of images, or a Python file.",
        autocompletion=completion.tasks,
    ),
]
TaskHere = Annotated[
    str,
    typer.Argument(
        default_factory=lambda: _task_here(),
        show_default="that of run.yaml here",
        help="Name of a task (`tfpipe tasks` lists them), a folder of images, or a Python file.",
        autocompletion=completion.tasks,
    ),
]
PLACE: dict[str, Any] = {"parser": storage.local_folder, "metavar": "FOLDER|URL"}
Data = Annotated[
    Path, typer.Option(help="Folder of raw/TASK and records/TASK, or its s3:// URL.", **PLACE)
]
Models = Annotated[Path, typer.Option(help="Folder of saved versions, or its s3:// URL.", **PLACE)]
LocalData = Annotated[Path, typer.Option(help="Folder of raw/TASK and records/TASK.")]
LocalModels = Annotated[Path, typer.Option(help="Folder of saved versions.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed.")]
DrawSeed = Annotated[
    int | None,
    typer.Option(min=0, max=2**32 - 1, help="Random seed (default: 0, or that of the draw)."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Option = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", help="Task option, name=value. `tfpipe tasks TASK` lists them."),
]
Split = Annotated[str, typer.Option(help="Percentages of train/validation/test.")]
Salt = Annotated[str, typer.Option(help="Word that draws another split.")]
SkipBad = Annotated[
    int, typer.Option(min=0, help="Number of unreadable files that may be left out.")
]
Model = Annotated[
    str | None,
    typer.Option(help="Model (default: the task's first).", autocompletion=completion.models),
]
SavedModel = Annotated[
    str | None,
    typer.Option(
        help="Model (default: that of the version written last).",
        autocompletion=completion.saved_models,
    ),
]
Version = Annotated[
    int | None,
    typer.Option(help="Version number (default: the newest).", autocompletion=completion.versions),
]
Hp = Annotated[
    list[str] | None,
    typer.Option("--hp", help="Hyperparameter held fixed, name=value, such as filters=32."),
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Maximum epochs of the final fit.")]
Precision = Annotated[str, typer.Option(help="auto, float32 or mixed_bfloat16.")]
Balance = Annotated[str, typer.Option(help="Class balancing: sampling, weights or none.")]
RandomSplit = Annotated[
    bool,
    typer.Option(help="Also measure what a random split of the images would have claimed."),
]
Space = Annotated[
    Path | None,
    typer.Option(help="Python file with a search space: space(hp), and perhaps training(hp)."),
]
Trials = Annotated[
    int | None, typer.Option(min=1, help="Number of trials of a Bayesian or random search.")
]
MoreTrials = Annotated[
    int,
    typer.Option(
        min=0, help="Go on with a finished search, by so many trials, perhaps in other ranges."
    ),
]
TrialEpochs = Annotated[int | None, typer.Option(min=1, help="Maximum epochs of a trial.")]
TrialLimit = Annotated[
    float | None, typer.Option(min=0.01, help="Minutes after which a trial is stopped.")
]
Time = Annotated[
    str | None,
    typer.Option(
        metavar="20m",
        help="Time for search and final training, such as 20m or 1h30m; "
        "chooses trials and epochs by the speed of the first epochs.",
    ),
]
Folds = Annotated[
    int,
    typer.Option(min=0, help="Grouped cross-validation folds of each trial (0: one split)."),
]
Workers = Annotated[int, typer.Option(min=0, help="Worker processes on this machine.")]
Chief = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT", help="Address where the search accepts workers of other machines."
    ),
]
Worker = Annotated[
    bool, typer.Option("--worker", help="Only run trials for the search that --chief names.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        help="File with the token that chief and workers share, mode 600 (or set "
        "TFPIPE_SEARCH_TOKEN; default: one in the search's folder)."
    ),
]
Wait = Annotated[float, typer.Option(min=1, help="Seconds that workers try to reach the chief.")]
Weights = Annotated[
    str | None,
    typer.Option(help="Weights of a pretrained network: imagenet, path of a .h5 file, or none."),
]
Tensorboard = Annotated[Path | None, typer.Option(help="Folder for TensorBoard event files.")]
Mlflow = Annotated[
    str | None, typer.Option(metavar="URI", help="Tracking server of MLflow to log to.")
]
MinPrecision = Annotated[
    float, typer.Option(min=0, max=1, help="Precision below which no class is named (abstain).")
]
BeamOption = Annotated[
    list[str] | None,
    typer.Option(help="Option of the runner, name=value, or name alone where it has no value."),
]
DATA, MODELS, SHARES = Path("data"), Path("saved_models"), "60/20/20"


class CommandWithFiles(TyperCommand):
    """A command that refuses a URL where it takes a file or folder of this machine."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses as usual.

        Raises:
          UserError: a file or folder is a URL.
        """
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            value = ctx.params.get(parameter.name or "")
            places = value if isinstance(value, list | tuple) else [value]
            for place in places:
                if isinstance(place, Path) and storage.is_url(place):
                    url = storage.shown(str(place).replace(":/", "://", 1))  # a Path drops a slash
                    raise UserError(
                        f"{parameter.opts[-1]} {url}: tfpipe {ctx.info_name} takes a file or "
                        "folder of this machine here. Copy it, and give its path."
                    )
        return rest


def project(data: Path = DATA, models: Path = MODELS, seed: int = 0) -> Project:
    """Returns the project of a command; progress goes to standard error."""
    return Project(data=data, saved_models=models, seed=seed)


def _task_here() -> str:
    """Returns the task of the folder that a command is typed in; see `tfpipe init`."""
    from tfpipe.workflows import project_folder

    if COMPLETION in os.environ:  # the shell completes a command that is not whole yet
        return ""
    return project_folder.task_here()


def packing(option: list[str] | None, split: str, salt: str, skip_bad: int) -> PackingConfig:
    """Returns how a command packs raw files."""
    from tfpipe.tasks.splits import SplitConfig

    return PackingConfig(settings(option), SplitConfig.parse(split, salt=salt), skip_bad)


def settings(settings: list[str] | None, *, option: str = "--option") -> dict[str, str]:
    """Returns name -> text of settings, each `name=value`, of an option."""
    values = {}
    for setting in settings or ():
        name, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"{option} {setting!r} has no '='. Write it as name=value.")
        values[name] = text
    return values


def beam_settings(beam_option: list[str] | None, runner: str | None) -> dict[str, str | None]:
    """Returns name -> text of options of Apache Beam; None for those without a value.

    Raises:
      UserError: there are some, but no runner.
    """
    if beam_option and runner is None:
        raise UserError("--beam-option is for a runner. Name one by --runner, such as DaskRunner.")
    pairs = [setting.partition("=") for setting in beam_option or ()]
    return {name: text if equals else None for name, equals, text in pairs}


def minutes(time: str | None) -> float | None:
    """Returns the minutes of a `--time` such as "90s", "20m" or "1h30m"; None for none.

    Raises:
      UserError: the text is no such time.
    """
    if time is None:
        return None
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", time.strip().lower())
    hours, mins, seconds = (int(part or 0) for part in parts.groups()) if parts else (0, 0, 0)
    if not hours + mins + seconds:
        raise UserError(f"--time is {time!r}, expected a time such as 90s, 20m or 1h30m.")
    return 60 * hours + mins + seconds / 60


def hyperparameters(hp: list[str] | None, weights: str | None = None) -> dict[str, Any]:
    """Returns name -> value of `name=value` hyperparameters; what looks like a number is one."""
    values = dict(_hyperparameter(setting) for setting in hp or ())
    return values | ({"weights": weights} if weights else {})


MOST_PROBLEMS = 50  # lines of problems on the screen
NOT_SHOWN = ("command", "task", "metrics", "novelty")  # by `done`: other lines tell them


def done(as_json: bool, *, command: str, task: str, path: Path | str, **summary: Any) -> None:
    """Prints what a command did: one JSON object, or a line for each thing worth knowing."""
    whole = {"command": command, "task": task, "model": None, "version": None}
    whole |= {"path": str(path), **summary}
    if as_json:
        print_json(whole)
        return
    out = Console(highlight=False)
    for name, value in whole.items():
        if value in (None, {}, [], ()) or name in NOT_SHOWN:
            continue
        if isinstance(value, list | tuple) and isinstance(value[0], dict):
            out.print(f"{name}:")
            out.print(table_of(list(value)))
            continue
        for line in _lines(name, value):
            out.print(storage.with_urls(line), markup=False, soft_wrap=True)
    for split, metrics in summary.get("metrics", {}).items():
        values = {name: value for name, value in metrics.items() if value is not None}
        text = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        out.print(f"{split}: {text}", markup=False, soft_wrap=True)


def _lines(name: str, value: Any) -> list[str]:
    """Returns the lines that show a value: one, or one for each part of a list or of a table."""
    if isinstance(value, list | tuple):
        return [f"{name}: {part}" for part in value]
    if not isinstance(value, Mapping):
        return [f"{name}: {value}"]
    if not any(isinstance(part, Mapping) for part in value.values()):
        return [f"{name}: {_listed(value)}"]
    return [f"{name}:", *(f"  {key}: {_listed(part)}" for key, part in value.items())]


def _listed(counts: Mapping[str, Any]) -> str:
    numbers = {key: f"{n:,}" if isinstance(n, int) else str(n) for key, n in counts.items()}
    return ", ".join(f"{key} {number}" for key, number in numbers.items())


def next_steps(*commands: str, report: Path | None = None) -> None:
    """Prints what may be run next, to be copied into a shell, and which report to read."""
    out = Console(highlight=False)
    if report:
        text = f"report, for a browser: {storage.with_urls(str(report))}"
        out.print(text, markup=False, soft_wrap=True)
    out.print("next:")
    for command in commands:
        out.print(f"  {command}", markup=False, soft_wrap=True)


def print_error(error: UserError, *, as_json: bool) -> None:
    """Prints why a command failed: its notes and a sentence, and one JSON object on stdout.

    Args:
      error: the failure; what was noticed before it is in its notes (`BaseException.add_note`).
      as_json: whether the user asked for JSON.
    """
    from tfpipe.tasks.task import LeftOut

    notes = getattr(error, "__notes__", [])
    kinds = ["left out" if isinstance(note, LeftOut) else "note" for note in notes]
    lines = [f"{kind}: {note}" for kind, note in zip(kinds, notes, strict=True)]
    for line in (*lines, f"tfpipe: {error}"):
        err.print(storage.with_urls(line), markup=False, highlight=False, soft_wrap=True)
    if err.is_terminal and (page := explained.link(str(error))):
        err.print(f"explained: {page}", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        print_json({"error": str(error), "notes": notes, **getattr(error, "summary", {})})


def print_notes(manifest: Any) -> None:
    """Prints what was left out of packed records, and what else is worth knowing of them.

    Args:
      manifest: their `RecordManifest`.
    """
    sentences = [f"left out: {sentence}" for sentence in manifest.omissions]
    for sentence in [*sentences, *(f"note: {note}" for note in manifest.notes)]:
        err.print(sentence, markup=False, highlight=False, soft_wrap=True)


def problems_error(checked: "RawFilesCheck") -> UserError:
    """Prints the problems of raw files, a line for each; returns the error that ends the command.

    With `--json`, all of them are in the object that it prints.
    """
    for number, sentence in enumerate(checked.problems[:MOST_PROBLEMS], 1):
        err.print(f"{number}. {sentence}", markup=False, highlight=False, soft_wrap=True)
    total, hidden = len(checked.problems), len(checked.problems) - MOST_PROBLEMS
    text = "There is 1 problem. Mend it" if total == 1 else f"There are {total} problems. Mend them"
    more = f" --json prints the other {hidden}." if hidden > 0 else ""
    unread = "" if checked.files else " No raw file was read, as the tables cannot be used."
    error = UserError(f"{text}, and check again.{more}{unread}")
    error.summary = asdict(checked)
    return error


def table_of(rows: list[dict[str, Any]]) -> Table:
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


def empty_table(*headings: str) -> Table:
    """Returns a table for the screen without rows; the first column is never wrapped."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(headings[0], no_wrap=True)
    for heading in headings[1:]:
        table.add_column(heading, overflow="fold")
    return table


def wide_console() -> Console:
    """Returns a console for tables: as wide as the terminal, else `WIDTH`."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console


def print_json(summary: Mapping[str, Any]) -> None:
    """Prints one JSON object on stdout."""
    print(storage.with_urls(json.dumps(summary, default=str)))


def progress_bar() -> ProgressBar:
    """Returns the bar of commands that are not pieces of work of a project."""
    return ProgressBar(err)


def _hyperparameter(setting: str) -> tuple[str, Any]:
    name, equals, text = setting.partition("=")
    if not equals:
        raise UserError(f"--hp {setting!r} has no '='. Write it as name=value.")
    for kind in (int, float):
        try:
            return name, kind(text)
        except ValueError:
            continue
    return name, text
