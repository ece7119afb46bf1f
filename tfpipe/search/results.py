"""What is known of a task's searches: which there are, how far each got, what it found."""

import logging
import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tfpipe.base import locks, resumable
from tfpipe.base.errors import UserError
from tfpipe.search import search_folder

LOG = logging.getLogger("tfpipe")
# What `search_folder.rows` tells of a trial; whatever else a row has is a hyperparameter.
SHOWN = ("trial", "status", "score", "spread", "epochs", "seconds")
ABOUT = (*SHOWN, "worker", "message", "epoch", "fold_scores")
_FORMATS = {"score": ".4f", "spread": ".4f", "seconds": ".1f"}


@dataclass(frozen=True)
class Known:
    """One search, as its files tell of it.

    Attributes:
      model: whose hyperparameters are searched.
      folder: where it is kept; search-1 and so on are earlier ones, moved aside.
      told: what `search_folder.read` tells of it.
    """

    model: str
    folder: Path
    told: dict[str, Any]

    @property
    def objective(self) -> str:
        """Returns what a score is, in words."""
        return self.told["objective"].replace("val_", "validation ").replace("_", " ")

    @property
    def sign(self) -> int:
        """Returns 1 where a higher score is better, -1 where a lower one is."""
        return 1 if self.told["direction"] == "max" else -1

    @property
    def names(self) -> list[str]:
        """Returns the hyperparameters that any trial has, in the order of the first that does."""
        rows = self.told["trials"]
        return list(dict.fromkeys(name for row in rows for name in row if name not in ABOUT))

    @property
    def logarithmic(self) -> set[str]:
        """Returns the hyperparameters whose space is drawn by powers."""
        space = self.told["plan"]["space"]
        return {one["name"] for one in space if one.get("sampling") in ("log", "reverse_log")}

    @property
    def completed(self) -> list[dict[str, Any]]:
        """Returns the trials that ended with a score, in the order they were begun."""
        return [row for row in self.told["trials"] if _has_score(row)]

    @property
    def ranked(self) -> list[dict[str, Any]]:
        """Returns all trials, the best first and those without a score last."""
        rest = [row for row in self.told["trials"] if not _has_score(row)]
        return sorted(self.completed, key=lambda row: -self.sign * row["score"]) + rest

    @property
    def columns(self) -> list[str]:
        """Returns what any trial tells, in the order that a table shows it, without messages."""
        rows = self.told["trials"]
        names = (*SHOWN, *self.names)
        return [name for name in names if any(row.get(name) is not None for row in rows)]

    @property
    def state(self) -> str:
        """Returns "finished", "running", or "stopped": `tfpipe tune` goes on with it."""
        if self.told["finished"]:
            return "finished"
        return "running" if locks.is_held(resumable.lock_of(self.folder)) else "stopped"

    def varies(self, name: str) -> bool:
        """Returns whether completed trials differ in a value."""
        return len({repr(row.get(name)) for row in self.completed}) > 1

    @property
    def changed(self) -> float:
        """Returns when the search was last written to, in seconds since 1970."""
        return (self.folder / "state.json").stat().st_mtime

    @property
    def summary(self) -> dict[str, Any]:
        """Returns the search in a line."""
        best = next((row for row in self.ranked if _has_score(row)), None)
        return {
            "model": self.model,
            "search": self.folder.name,
            "algorithm": self.told["algorithm"],
            "state": self.state,
            "completed": len(self.completed),
            "asked": self.told["asked"],
            "objective": self.told["objective"],
            "best": best and best["score"],
            "best_trial": best and best["trial"],
            "changed": datetime.fromtimestamp(self.changed).isoformat(" ", "seconds"),
        }


def found(folder: Path) -> list[Known]:
    """Returns the searches of a task, of each model the present one before earlier ones.

    Args:
      folder: saved_models/<task>.

    Raises:
      UserError: there are some, but none that can be read.
    """
    paths = [path.parent for path in folder.glob("*/search*/state.json")]
    known, errors = [], []
    for path in sorted(paths, key=lambda path: (path.parent.name, _earlier(path))):
        try:
            known.append(Known(path.parent.name, path, search_folder.read(path)))
        except UserError as error:
            errors.append(error)
    if errors and not known:
        raise errors[0]
    for error in errors:
        LOG.warning("%s", error)
    return known


def shown(row: dict[str, Any], name: str) -> str:
    """Returns what a table shows of a trial in the column `name`."""
    value = row.get(name)
    if value is None:
        return ""
    if name == "status":
        return f"{value.lower()}, epoch {row['epoch']}" if "epoch" in row else value.lower()
    return f"{value:{_FORMATS.get(name, '.4g')}}" if isinstance(value, float) else str(value)


def _has_score(row: dict[str, Any]) -> bool:
    """Returns whether a trial ended with a number."""
    score = row["score"]
    return row["status"] == "COMPLETED" and score is not None and math.isfinite(score)


def _earlier(folder: Path) -> float:
    """Returns what sorts the present search before those moved aside, the last of them first."""
    number = folder.name.removeprefix("search-")
    return -int(number) if number.isdigit() else -math.inf
