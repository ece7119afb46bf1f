"""Progress: what long work reports while it runs."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Reporter(Protocol):
    """Receives each step of long work, to show it or to leave it.

    Called with the name of a stage ("pack", "train", ...) and its numbers: {"done", "total"}, or
    {"epoch", "epochs", metric: value ...}, or {"trial", "trials", "best", ...}, or nothing.
    """

    def __call__(self, stage: str, info: Mapping[str, Any], /) -> None: ...


def silent(stage: str, info: Mapping[str, Any], /) -> None:
    """Shows nothing."""


def counter(report: Reporter, stage: str) -> Callable[[int, int], None]:
    """Returns a function of (done, total) that reports them as a stage's."""
    return lambda done, total: report(stage, {"done": done, "total": total})
