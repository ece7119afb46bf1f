"""What a command is doing, in words."""

import re
from pathlib import Path

import pytest
from rich.console import Console

from tfpipe.base import progress

ROOT = Path(__file__).parents[2]


def test_every_stage_that_is_reported_has_a_title():
    text = "\n".join(path.read_text() for path in ROOT.glob("tfpipe/**/*.py"))
    stages = set(re.findall(r'(?:report|reporter|tell|progress)\(\s*"([a-z-]+)"', text))
    stages |= set(re.findall(r'counter\([\w.]+, "([a-z-]+)"\)', text))
    stages |= set(re.findall(r'_told\(\w+, "([a-z-]+)"\)', text))
    assert {"export", "map", "leaderboard"} <= stages <= set(progress.TITLES)


@pytest.mark.parametrize("stage", progress.TITLES)
def test_words_are_printed_once_a_stage(stage, capsys):
    with progress.ProgressBar(Console()) as report:
        report(stage, {"done": 0, "total": 2})
        report(stage, {"done": 1, "total": 2})
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{progress.TITLES[stage]}: 0 of 2"]


def test_a_bar_is_drawn_on_a_terminal(capsys):
    with progress.ProgressBar(Console(force_terminal=True, width=100)) as report:
        report("pack", {"done": 1, "total": 2})
    assert "packing: 1 of 2" in capsys.readouterr().out


def test_a_bar_moves_within_a_long_file(capsys):
    with progress.ProgressBar(Console(force_terminal=True, width=100)) as report:
        report("predict", {"done": 1, "total": 2, "part": 0.5})
    assert "predicting: 1 of 2" in (out := capsys.readouterr().out) and "75%" in out


def test_a_sentence_is_printed_beside_the_stage(capsys):
    with progress.ProgressBar(Console(width=40)) as report:
        report("search", {"note": "The search has 8 trials of at most 3 epochs each."})
        report("search", {"done": 0, "total": 2})
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["The search has 8 trials of at most 3 epochs each.", "searching: 0 of 2"]


def test_a_line_has_the_pace_and_the_time_left(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.ProgressBar(Console(width=40)) as report:
        for now[0], done in ((0.0, 10), (30.0, 70), (61.0, 132), (130.0, 270), (250.0, 271)):
            report("pack", {"done": done, "total": 391})
    assert capsys.readouterr().out.splitlines() == [
        "packing: 10 of 391",
        "packing: 132 of 391, 2/s, 2 min left",
        "packing: 270 of 391, 2/s, 60 s left",
        "packing: 271 of 391, 62.6/min, 2 min left",
    ]


def test_a_bar_has_the_pace(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.ProgressBar(Console(force_terminal=True, width=100)) as report:
        report("predict", {"done": 0, "total": 40})
        now[0] = 10.0
        report("predict", {"done": 30, "total": 40})
    assert "3/s" in capsys.readouterr().out
