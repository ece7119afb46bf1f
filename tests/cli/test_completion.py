"""Completion in the shell, asked for as bash does."""

import pytest
from typer.testing import CliRunner

from tfpipe.cli import app


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for version in ("simple-cnn/1", "simple-cnn/12", "resnet9/2", "resnet9/.draft"):
        (tmp_path / "saved_models" / "melt-layer" / version).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tfpipe tra", {"train"}),
        ("tfpipe train me", {"melt-layer"}),
        ("tfpipe check ion", {"ionization-redshift", "ionization-escape-fraction"}),
        ("tfpipe train melt-layer --model resnet1", {"resnet18", "resnet101", "resnet152"}),
        ("tfpipe predict melt-layer --model ", {"resnet9", "simple-cnn"}),
        ("tfpipe predict melt-layer --version 1", {"12", "1"}),
        ("tfpipe predict melt-layer --model resnet9 --version ", {"2"}),
        ("tfpipe predict melt-layer --models nowhere --version ", set()),
        ("tfpipe predict ./photos --version ", set()),
        ("tfpipe rollback melt-layer --model s", {"simple-cnn"}),
    ],
)
def test_tasks_models_and_versions_are_offered(line, offered, folder):
    words = line.split(" ")
    asked = {
        "_TFPIPE_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = CliRunner().invoke(app, prog_name="tfpipe", env=asked)
    assert set(done.stdout.split()) == offered
