"""Search results: reads a search's folder, be it running, stopped or finished.

A search's folder holds

    plan.json                what is searched: it decides whether two searches are the same
    state.json               everything: algorithm, trials, scores; replaced whole at each change
    trial_<id>/trial.json    a second copy of one trial, from which a damaged state is restored
    trial_<id>/fold_<n>/     checkpoint of a trial's training, as long as it may be resumed
    running.json             how far the running trials are
    logs/                    output of workers that crashed
    token                    what workers of other commands show to the chief; for its owner alone
    more.json                how many trials the search has more than its plan says
    best.json                the best trial, once the search is finished
"""

import logging
import math
import statistics
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tfpipe.base import files, locks, resumable
from tfpipe.base.errors import UserError

LOG = logging.getLogger(__name__)
FOLD = "fold "  # begins the names of the metrics that are one fold's score
TABLE_COLUMNS = ("trial", "status", "score", "spread", "epochs", "seconds")
# Keys of a trial's row that are no hyperparameters.
TRIAL_KEYS = (*TABLE_COLUMNS, "worker", "message", "epoch", "fold_scores")
_FORMATS = {"score": ".4f", "spread": ".4f", "seconds": ".1f"}

Row = dict[str, Any]


def read(folder: Path) -> dict[str, Any]:
    """Returns the content of a search's folder.

    Args:
      folder: saved_models/<task>/<model>/search.

    Returns:
      {"plan": what is searched, "algorithm", "objective": name of the score, "direction": "max" or
      "min", "n_trials": trials there will be, "trials": a row for each, see `rows`, "best": the
      best trial's row or None, "finished": bool}.

    Raises:
      UserError: there is no search, or its state is damaged.
    """
    state = _read_object(folder / "state.json")
    if state is None or "plan" not in state:
        raise UserError(
            f"{files.shown(folder)} holds no search whose state can be read. `tfpipe tune` begins "
            "one, and mends a damaged one."
        )
    trials = rows(state, running=_read_object(folder / "running.json") or {})
    return {
        "plan": state["plan"],
        "algorithm": state["plan"]["plan"]["algorithm"],
        "objective": state["objective"],
        "direction": state["direction"],
        # Called "asked" in searches of earlier versions of tfpipe.
        "n_trials": state["n_trials"] if "n_trials" in state else state["asked"],
        "trials": trials,
        "best": best_of(trials, direction=state["direction"]),
        "finished": (folder / "best.json").is_file(),
    }


def read_best(folder: Path) -> dict[str, Any] | None:
    """Returns the best trial of the finished search in a folder, or None."""
    return _read_object(folder / "best.json")


def rows(state: dict[str, Any], *, running: dict[str, Any]) -> list[Row]:
    """Returns a row for each trial, in the order they were proposed.

    Args:
      state: state of a search.
      running: from trial to {"epoch"}, for the trials being trained.

    Returns:
      Each {"trial", "status", "score", "epochs", "seconds", "worker", "message": why it failed},
      "epoch" while it is trained, "fold_scores" and their standard deviation "spread" where there
      are folds, and the hyperparameters.
    """
    return [
        _row(name, trial, state, running.get(name))
        for name, trial in sorted(state["trials"].items(), key=lambda item: int(item[0]))
    ]


def best_of(trials: list[Row], *, direction: str) -> Row | None:
    """Returns the row with the best score, the first of equals; None where none has a score."""
    completed = [row for row in trials if row["status"] == "COMPLETED"]
    if not completed:
        return None
    best = max if direction == "max" else min
    return best(completed, key=lambda row: row["score"])


@dataclass(frozen=True)
class SearchResult:
    """One search, as its files have it.

    Attributes:
      model: name of the model whose hyperparameters are searched.
      folder: the search's folder; search-1 and so on are earlier searches, moved aside.
      content: what `read` returns.
    """

    model: str
    folder: Path
    content: dict[str, Any]

    @property
    def objective(self) -> str:
        """Returns the score's name in words."""
        return self.content["objective"].replace("val_", "validation ").replace("_", " ")

    @property
    def sign(self) -> int:
        """Returns 1 where a higher score is better, -1 where a lower one is."""
        return 1 if self.content["direction"] == "max" else -1

    @property
    def names(self) -> list[str]:
        """Returns the hyperparameters that any trial has, in the order of the first that does."""
        rows = self.content["trials"]
        return list(dict.fromkeys(name for row in rows for name in row if name not in TRIAL_KEYS))

    @property
    def logarithmic(self) -> set[str]:
        """Returns the hyperparameters that are sampled on a logarithmic scale."""
        space = self.content["plan"]["space"]
        return {hp["name"] for hp in space if hp.get("sampling") in ("log", "reverse_log")}

    @property
    def completed(self) -> list[Row]:
        """Returns the trials that ended with a score, in the order of their start."""
        return [row for row in self.content["trials"] if _has_score(row)]

    @property
    def ranked(self) -> list[Row]:
        """Returns all trials, the best first and those without a score last."""
        rest = [row for row in self.content["trials"] if not _has_score(row)]
        return sorted(self.completed, key=lambda row: -self.sign * row["score"]) + rest

    @property
    def columns(self) -> list[str]:
        """Returns the columns of a table of the trials, without messages."""
        rows = self.content["trials"]
        names = (*TABLE_COLUMNS, *self.names)
        return [name for name in names if any(row.get(name) is not None for row in rows)]

    @property
    def state(self) -> str:
        """Returns "finished", "running", or "stopped", which `tfpipe tune` resumes."""
        if self.content["finished"]:
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
        """Returns the search as one row of a table of searches."""
        best = next((row for row in self.ranked if _has_score(row)), None)
        return {
            "model": self.model,
            "search": self.folder.name,
            "algorithm": self.content["algorithm"],
            "state": self.state,
            "completed": len(self.completed),
            "n_trials": self.content["n_trials"],
            "objective": self.content["objective"],
            "best": best and best["score"],
            "best_trial": best and best["trial"],
            "changed": datetime.fromtimestamp(self.changed).isoformat(" ", "seconds"),
        }


def find_searches(folder: Path) -> list[SearchResult]:
    """Returns the searches of a task; for each model the present one before earlier ones.

    Args:
      folder: saved_models/<task>.

    Raises:
      UserError: there are searches, but none that can be read.
    """
    paths = [path.parent for path in folder.glob("*/search*/state.json")]
    searches, errors = [], []
    for path in sorted(paths, key=lambda path: (path.parent.name, _age(path))):
        try:
            searches.append(SearchResult(path.parent.name, path, read(path)))
        except UserError as error:
            errors.append(error)
    if errors and not searches:
        raise errors[0]
    for unreadable in errors:
        LOG.warning("%s", unreadable)
    return searches


def format_value(row: Row, name: str) -> str:
    """Returns the text of a trial's value in the column `name` of a table."""
    value = row.get(name)
    if value is None:
        return ""
    if name == "status":
        return f"{value.lower()}, epoch {row['epoch']}" if "epoch" in row else value.lower()
    return f"{value:{_FORMATS.get(name, '.4g')}}" if isinstance(value, float) else str(value)


def _row(
    name: str, trial: dict[str, Any], state: dict[str, Any], running: dict[str, Any] | None
) -> Row:
    values, note = trial["hyperparameters"]["values"], state["notes"].get(name, {})
    row = {
        "trial": name,
        "status": trial["status"],
        "score": trial["score"],
        "epochs": values.get("tuner/epochs", state["plan"]["plan"]["max_epochs"]),
        "seconds": note.get("seconds"),
        "worker": note.get("worker"),
        "message": trial["message"],
    }
    if running and trial["status"] == "RUNNING":
        row["epoch"] = running["epoch"]
    metrics = trial["metrics"]["metrics"]
    fold_names = sorted(
        (key for key in metrics if key.startswith(FOLD)), key=lambda key: int(key[len(FOLD) :])
    )
    fold_scores = [metrics[key]["observations"][0]["value"][0] for key in fold_names]
    if fold_scores:
        row |= {"fold_scores": fold_scores, "spread": statistics.pstdev(fold_scores)}
    searched = {key: value for key, value in values.items() if "/" not in key}
    return row | searched | state["plan"]["fixed"]


def _read_object(path: Path) -> dict[str, Any] | None:
    """Returns a JSON file's object, or None where there is none that can be read."""
    content = resumable.read_json(path)
    return content if isinstance(content, dict) else None


def _has_score(row: Row) -> bool:
    """Returns whether a trial ended with a number."""
    score = row["score"]
    return row["status"] == "COMPLETED" and score is not None and math.isfinite(score)


def _age(folder: Path) -> float:
    """Returns a key that sorts the present search before earlier ones, the oldest last."""
    number = folder.name.removeprefix("search-")
    return -int(number) if number.isdecimal() else -math.inf
