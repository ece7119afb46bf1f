"""The command line: each command parses, calls one function of the Python API, and prints."""

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

import tfpipe
from tfpipe.base.errors import UserError
from tfpipe.cli import (
    adapt,
    compare,
    data,
    explore,
    export,
    inspect,
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

CTRL_C = 130  # exit code of a command that Ctrl-C stopped
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # of any wrong option or argument

app = typer.Typer(
    help="From raw images to a served model and back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: tuple[Callable[..., Any], ...] = (
    tasks.tasks,
    data.init,
    data.sample,
    data.check,
    data.pack,
    data.repack,
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
    inspect.inspect,
    adapt.adapt,
    versions.retrain,
    versions.rollback,
    versions.versions,
    export.export,
    export.convert,
    export.labels,
    tasks.doctor,
)
for command in COMMANDS:
    app.command(cls=options.CommandWithFiles)(command)


@app.callback(invoke_without_command=True)
def version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(f"tfpipe {tfpipe.__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line: exit code 0, 2 for what a user can mend, 130 for Ctrl-C, else 1.

    With --json, what a user can mend is printed as one JSON object on stdout, too.
    """
    as_json = "--json" in sys.argv
    try:
        code = app(standalone_mode=not as_json)
    except UserError as error:
        options.print_error(error, as_json=as_json)
        sys.exit(2)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        options.print_error(UserError(f"{place}{error.strerror or error}."), as_json=as_json)
        sys.exit(2)
    except USAGE_ERROR as error:  # where it is not typer that prints it
        options.print_error(UserError(error.format_message()), as_json=as_json)
        sys.exit(2)
    except SystemExit as stop:
        code = stop.code
    except KeyboardInterrupt:
        code = CTRL_C
    if code == CTRL_C:
        options.err.print("tfpipe: Stopped by Ctrl-C.", markup=False, highlight=False)
    sys.exit(code)
