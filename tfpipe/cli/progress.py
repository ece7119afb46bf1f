"""Shows how a run is getting on: a bar in a terminal, a line now and then elsewhere."""

import time
from typing import Any

from rich import progress
from rich.console import Console

QUIET_S = 30.0  # between lines where there is no terminal

TITLES = {
    "pack": "packing",
    "search": "searching",
    "train": "training the winner",
    "shallow": "scoring candidates",
    "leaderboard": "comparing classifiers",
    "naive": "training on a random split, for comparison",
    "evaluate": "predicting whole files",
    "before": "predicting whole files with the version before",
    "export": "exporting and checking",
    "predict": "predicting",
    "compare": "comparing",
    "look": "looking at every picture",
    "map": "mapping",
    "leave-out": "training without a class",
    "write": "writing tables and the page",
}


class Progress:
    """Told (stage, facts); facts are done/total, trial/trials/best/epoch, or epoch/epochs."""

    def __init__(self, console: Console):
        self.console = console
        self.bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TextColumn("{task.percentage:>3.0f}%"),
            progress.TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=not console.is_terminal,
        )
        self.stage, self.bar_id, self.said = None, None, -QUIET_S

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(self, *reason) -> None:
        self.bar.stop()

    def __call__(self, stage: str, facts: dict[str, Any]) -> None:
        share, said = _told(facts)
        text = f"{TITLES[stage]}{': ' if said else ''}{said}"
        is_new = stage != self.stage
        if is_new:
            if self.bar_id is not None:
                self.bar.update(self.bar_id, completed=1.0)
            self.bar_id = self.bar.add_task(text, total=1.0 if share is not None else None)
            self.stage = stage
        self.bar.update(self.bar_id, description=text, completed=share or 0.0)
        if self.bar.disable and (is_new or time.monotonic() - self.said > QUIET_S):
            self.said = time.monotonic()
            self.console.print(text, highlight=False, markup=False)


def _told(facts: dict[str, Any]) -> tuple[float | None, str]:
    """Returns the share done, if it can be known, and a few words."""
    if "trial" in facts:
        trial, trials = min(facts["trial"], facts["trials"]), facts["trials"]
        share = (trial - 1 + facts["epoch"] / facts["epochs"]) / trials
        best = f", best so far {facts['best']:.4f}" if facts["best"] is not None else ""
        return share, f"trial {trial} of {trials}{best}"
    if "epoch" in facts:
        said = f"epoch {facts['epoch']} of at most {facts['epochs']}"
        scores = [f"{k} {v:.4f}" for k, v in facts.items() if k.startswith("val_")]
        return facts["epoch"] / facts["epochs"], ", ".join([said, *scores])
    if "total" in facts:
        return facts["done"] / max(facts["total"], 1), f"{facts['done']} of {facts['total']}"
    return None, ""
