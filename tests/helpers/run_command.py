"""Commands as a user types them, in this process: starting TensorFlow takes longer than they do."""

import json

from typer.testing import CliRunner

from tfpipe.cli import app


def run(*words: str) -> dict:
    """Runs a command in the working folder and returns the JSON object that it prints."""
    done = CliRunner().invoke(app, [*words, "--json"])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])
