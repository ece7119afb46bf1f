"""Progress: what long work reports while it runs, and the bar that shows it."""

import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Protocol, Self

from rich import progress
from rich.console import Console

QUIET_S = 60.0  # between lines where there is no terminal
MIN_PACE_S = 2.0  # of a stage, before its pace is shown

TITLES = {
    "fetch": "fetching from storage",
    "upload": "uploading to storage",
    "check": "reading raw files",
    "pack": "packing",
    "copies": "looking for near-copies",
    "repack": "repacking",
    "search": "searching",
    "train": "training",
    "trees": "scoring candidates",
    "leaderboard": "comparing classifiers",
    "random-split": "training on a random split, for comparison",
    "evaluate": "predicting whole files",
    "previous-version": "predicting whole files with the previous version",
    "export": "exporting and checking",
    "predict": "predicting",
    "draw": "drawing images to look at",
    "compare": "comparing models",
    "embed": "computing embeddings",
    "map": "mapping",
    "leave-out": "training without a class",
    "write": "writing tables and the page",
}


class Reporter(Protocol):
    """Receives each step of long work, to show it or to leave it.

    Called with the name of a stage, one of `TITLES`, and its numbers: {"done", "total"}, perhaps
    with "part", the share done of the one at hand, or
    {"epoch", "epochs", metric: value ...}, or {"trial", "trials", "best", "epoch", "epochs"}, or
    nothing; or {"note"}, a sentence worth reading at once.
    """

    def __call__(self, stage: str, info: Mapping[str, Any], /) -> None: ...


def silent(stage: str, info: Mapping[str, Any], /) -> None:
    """Shows nothing."""


def counter(report: Reporter, stage: str) -> Callable[[int, int], None]:
    """Returns a function of (done, total) that reports them as a stage's."""
    return lambda done, total: report(stage, {"done": done, "total": total})


def duration(seconds: float) -> str:
    """Returns a time for a sentence, such as "40 s", "3 min" or "2.5 h"."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def counted(count: int, noun: str) -> str:
    """Returns a number with its noun, such as "1 trial" or "2,000 trials"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


class ProgressBar:
    """A reporter that draws a bar in a terminal or a notebook.

    Elsewhere it prints a line a minute, with the pace and the time left. A context manager: the bar
    is drawn while it is open.

    Args:
      console: where to draw; standard error by default.
    """

    def __init__(self, console: Console | None = None):
        self.console = console or Console(file=sys.stderr)
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TextColumn("{task.percentage:>3.0f}%"),
            progress.TextColumn("{task.fields[pace]}"),
            progress.TimeRemainingColumn(elapsed_when_finished=True),
            console=self.console,
            disable=not (self.console.is_terminal or _is_drawable_in_notebook(self.console)),
        )
        self._stage: str | None = None
        self._bar_id: progress.TaskID | None = None
        self._printed_s = -QUIET_S
        self._began = (0.0, 0.0, 0.0)  # seconds, share and count at the first report of a stage

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._bar.stop()

    def __call__(self, stage: str, info: Mapping[str, Any], /) -> None:
        if "note" in info:
            self.console.print(info["note"], highlight=False, markup=False, soft_wrap=True)
            return
        share, words = _describe(info)
        text = f"{TITLES[stage]}{': ' if words else ''}{words}"
        is_new = stage != self._stage
        if is_new or self._bar_id is None:
            if self._bar_id is not None:
                self._bar.update(self._bar_id, completed=1.0)
            total = 1.0 if share is not None else None
            self._bar_id = self._bar.add_task(text, total=total, pace="")
            self._stage = stage
            self._began = (time.monotonic(), share or 0.0, info.get("done", 0))
        pace, left = self._pace(share or 0.0, info)
        self._bar.update(self._bar_id, description=text, completed=share or 0.0, pace=pace)
        if self._bar.disable and (is_new or time.monotonic() - self._printed_s > QUIET_S):
            self._printed_s = time.monotonic()
            line = ", ".join(filter(None, (text, pace, left)))
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _pace(self, share: float, info: Mapping[str, Any]) -> tuple[str, str]:
        """Returns how many are done in a second or minute, and the time left; "" if unknown.

        Args:
          share: the share of the stage that is done.
          info: of the report.
        """
        began_s, first_share, first_count = self._began
        seconds = time.monotonic() - began_s
        if seconds < MIN_PACE_S or share <= first_share:
            return "", ""
        left_s = seconds * (1 - share) / (share - first_share)
        left = f"{duration(left_s)} left" if share < 1 else ""
        each_s = (info.get("done", 0) - first_count) / seconds
        if each_s <= 0:
            return "", left
        return (f"{each_s:,.0f}/s" if each_s >= 2 else f"{60 * each_s:.1f}/min"), left


def _is_drawable_in_notebook(console: Console) -> bool:
    """Returns whether a notebook shows the console and has ipywidgets, which rich draws bars by."""
    return console.is_jupyter and find_spec("ipywidgets") is not None


def _describe(info: Mapping[str, Any]) -> tuple[float | None, str]:
    """Returns the share done, if it can be known, and a few words."""
    if "trial" in info:
        trial, trials = min(info["trial"], info["trials"]), info["trials"]
        share = (trial - 1 + info["epoch"] / info["epochs"]) / trials
        best = f", best so far {info['best']:.4f}" if info["best"] is not None else ""
        return share, f"trial {trial} of {trials}{best}"
    if "epoch" in info:
        words = f"epoch {info['epoch']} of at most {info['epochs']}"
        metrics = [f"{k} {v:.4f}" for k, v in info.items() if k.startswith("val_")]
        return info["epoch"] / info["epochs"], ", ".join([words, *metrics])
    if "total" in info:
        share = (info["done"] + info.get("part", 0.0)) / max(info["total"], 1)
        return share, f"{info['done']} of {info['total']}"
    return None, ""
