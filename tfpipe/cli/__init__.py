"""The command line: each command parses, calls one function, and prints."""

import sys
from typing import Annotated

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
    train,
    versions,
)

app = typer.Typer(
    help="From raw pictures to a served model and back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("tasks")(data.list_tasks)
for command in (data.sample, data.pack, data.verify):
    app.command()(command)
for command in (train.tune, train.train, predict.predict, train.report, train.doctor):
    app.command()(command)
app.command()(explore.explore)
app.command()(search.search)
app.command()(compare.compare)
app.command()(shallow.shallow)
for command in (serve.serve, review.review):
    app.command()(command)
for command in (versions.retrain, versions.rollback, versions.versions):
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
        where = f"{error.filename}: " if error.filename else ""
        said = f"tfpipe: {where}{error.strerror or error}."
        options.err.print(said, markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
