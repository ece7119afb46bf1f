"""Commands as a user types them, in this process: starting TensorFlow takes longer than they do."""

import json
import sys

import pytest
from typer.testing import CliRunner

from tfpipe import cli
from tfpipe.cli import app


def run(*words: str) -> dict:
    """Runs a command in the working folder and returns the JSON object that it prints."""
    done = CliRunner().invoke(app, [*words, "--json"])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *words: str) -> str:
    """Runs a command, which must refuse; returns its one sentence."""
    monkeypatch.setattr(sys, "argv", ["tfpipe", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    err = capsys.readouterr().err
    assert stop.value.code == 2 and "Traceback" not in err, err
    (line,) = [line for line in err.splitlines() if line.startswith("tfpipe: ")]
    return line
