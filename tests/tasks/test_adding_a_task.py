"""The page "Adding a task", followed to the letter."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from tfpipe.cli import app

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adding-a-task.md"


@pytest.mark.slow
def test_a_newcomer_gets_a_version_and_a_table_by_following_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text()
    for name, code in re.findall(r"```python (\w+\.py)\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(code)
    (commands,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    subprocess.run([sys.executable, "draw.py"], check=True)
    for line in commands.strip().splitlines():
        name, *words = shlex.split(line)
        assert name == "tfpipe"
        words = [found for word in words for found in expanded(tmp_path, word)]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
    version = tmp_path / "saved_models" / "strips" / "simple-cnn" / "1"
    assert (version / "assets.extra" / "report.html").is_file()
    table = pd.read_csv(tmp_path / "windows.csv")
    assert len(table) == 8 and {"key", "label", "abstain", "p_bar"} <= set(table)


def expanded(folder, word):
    """Returns what a shell makes of a word."""
    found = [str(path.relative_to(folder)) for path in sorted(folder.glob(word))]
    return found if "*" in word else [word]
