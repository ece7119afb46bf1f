"""What a command is doing, in words."""

import re
from pathlib import Path

import pytest
from rich.console import Console

from tfpipe.cli import progress

ROOT = Path(__file__).parents[2]
TOLD = re.compile(r'(?:tell|progress|_told)\((?:run, |self, )?"([a-z-]+)"')


def test_every_stage_that_is_told_has_words():
    stages = {
        name for path in ROOT.glob("tfpipe/**/*.py") for name in TOLD.findall(path.read_text())
    }
    assert {"pack", "export", "look", "leaderboard"} <= stages <= set(progress.TITLES)


@pytest.mark.parametrize("stage", progress.TITLES)
def test_words_are_printed_once_a_stage(stage, capsys):
    with progress.Progress(Console()) as told:
        told(stage, {"done": 0, "total": 2})
        told(stage, {"done": 1, "total": 2})
    assert capsys.readouterr().out.split("\n")[0].startswith(progress.TITLES[stage])
