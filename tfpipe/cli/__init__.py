"""The command line: each command parses, calls one function of the Python API, and prints."""

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

import tfpipe
from tfpipe.base.errors import UserError
from tfpipe.cli import (
    compare,
    data,
    explore,
    options,
    predict,
    review,
    search,
    serve,
    shallow,
    tasks,
    train,
    versions,
)

app = typer.Typer(
    help="From raw images to a served model and back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: tuple[Callable[..., Any], ...] = (
    tasks.tasks,
    data.sample,
    data.pack,
    data.verify,
    train.tune,
    train.train,
    train.rerun,
    predict.predict,
    train.report,
    explore.explore,
    search.search,
    compare.compare,
    shallow.shallow,
    serve.serve,
    review.review,
    versions.retrain,
    versions.rollback,
    versions.versions,
    tasks.doctor,
)
for command in COMMANDS:
    app.command()(command)


@app.callback(invoke_without_command=True)
def version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(f"tfpipe {tfpipe.__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line: exit code 0, 2 for what a user can mend, 1 for the rest."""
    try:
        app(standalone_mode=True)
    except UserError as error:
        options.err.print(f"tfpipe: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sentence = f"tfpipe: {place}{error.strerror or error}."
        options.err.print(sentence, markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
