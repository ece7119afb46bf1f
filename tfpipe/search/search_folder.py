"""What is kept of a search, as any process reads it, be it running, stopped or finished.

A search's folder holds

    plan.json                what is searched: it decides whether two searches are the same
    state.json               everything: algorithm, trials, results; replaced whole at each change
    trial_<id>/trial.json    one trial once more, from which a damaged state is made anew
    trial_<id>/fold_<n>/     where a trial's training stands, as long as it may go on
    running.json             how far the trials that are being trained are
    logs/                    what a worker that crashed wrote
    best.json                what the search found, once it is finished
"""

import json
import statistics
from pathlib import Path
from typing import Any

from tfpipe.base import files
from tfpipe.base.errors import UserError

FOLD = "fold "  # begins the names of the metrics that are one fold's score


def read(folder: Path) -> dict[str, Any]:
    """Returns what is known of a search.

    Args:
      folder: saved_models/<task>/<model>/search.

    Returns:
      {"plan": what is searched, "algorithm", "objective": name of the score, "direction": "max" or
      "min", "asked": trials there will be, "trials": a row each, see `rows`, "best": the best
      trial's row or None, "finished": bool}.

    Raises:
      UserError: there is no search, or its state is damaged.
    """
    state = _parsed(folder / "state.json")
    if state is None or "plan" not in state:
        raise UserError(
            f"{files.shown(folder)} holds no search whose state can be read. `tfpipe tune` begins "
            "one, and mends a damaged one."
        )
    found = rows(state, running=_parsed(folder / "running.json") or {})
    known = {name: state[name] for name in ("plan", "objective", "direction", "asked")}
    return {
        **known,
        "algorithm": state["plan"]["plan"]["algorithm"],
        "trials": found,
        "best": best_of(found, direction=state["direction"]),
        "finished": (folder / "best.json").is_file(),
    }


def read_best(folder: Path) -> dict[str, Any] | None:
    """Returns what the finished search in a folder found, or None."""
    return _parsed(folder / "best.json")


def rows(state: dict[str, Any], *, running: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns a row for each trial, in the order they were proposed.

    Args:
      state: a search's.
      running: trial -> {"epoch"}, of those being trained.

    Returns:
      Each {"trial", "status", "score", "epochs", "seconds", "worker", "message": why it failed},
      "epoch" while it is trained, "fold_scores" and their standard deviation "spread" where there
      are folds, and the hyperparameters.
    """
    return [
        _row(name, told, state, running.get(name))
        for name, told in sorted(state["trials"].items(), key=lambda item: int(item[0]))
    ]


def best_of(found: list[dict[str, Any]], *, direction: str) -> dict[str, Any] | None:
    """Returns the row with the best score, the first of equals; None where none has one."""
    scored = [row for row in found if row["status"] == "COMPLETED"]
    if not scored:
        return None
    best = max if direction == "max" else min
    return best(scored, key=lambda row: row["score"])


def _row(name: str, told: dict, state: dict, running: dict | None) -> dict[str, Any]:
    values, note = told["hyperparameters"]["values"], state["notes"].get(name, {})
    row = {
        "trial": name,
        "status": told["status"],
        "score": told["score"],
        "epochs": values.get("tuner/epochs", state["plan"]["plan"]["max_epochs"]),
        "seconds": note.get("seconds"),
        "worker": note.get("worker"),
        "message": told["message"],
    }
    if running and told["status"] == "RUNNING":
        row["epoch"] = running["epoch"]
    metrics = told["metrics"]["metrics"]
    folds = [
        metrics[key]["observations"][0]["value"][0]
        for key in sorted((k for k in metrics if k.startswith(FOLD)), key=lambda k: int(k[5:]))
    ]
    if folds:
        row |= {"fold_scores": folds, "spread": statistics.pstdev(folds)}
    searched = {key: value for key, value in values.items() if "/" not in key}
    return row | searched | state["plan"]["fixed"]


def _parsed(path: Path) -> dict[str, Any] | None:
    """Returns a JSON file's object, or None where there is none that can be read."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None
