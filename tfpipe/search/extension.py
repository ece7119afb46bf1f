"""More trials: a search goes on from its trials beyond the number that it was planned with.

`more.json` in the search's folder holds {"trials": how many more}. It is no part of the plan, so
the command that began the search finds it, too. `best.json` says for how many more trials it was
made; one that was made for fewer is no result any more.
"""

import json
from pathlib import Path
from typing import Any

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.base.resumable import PLAN, ResumableFolder
from tfpipe.search import results
from tfpipe.search.chief import DIFFERENCES
from tfpipe.search.plan import SearchPlan, hyperparameters

MORE_FILE = "more.json"
_SPACE = ("space", "defaults")


def planned(work: ResumableFolder, *, at_first: int) -> int:
    """Returns how many trials more than planned a search has.

    Args:
      work: the search's folder.
      at_first: their number where the search has not begun.
    """
    stored = work.read(MORE_FILE)
    if isinstance(stored, dict) and isinstance(stored.get("trials"), int):
        return stored["trials"]
    if at_first:
        work.write(MORE_FILE, {"trials": at_first})
    return at_first


def finished(folder: Path, more_trials: int) -> dict[str, Any] | None:
    """Returns the best trial of a search that has had all its trials, or None."""
    best = results.read_best(folder)
    return best if best is not None and best.get("more_trials", 0) == more_trials else None


def extend(
    work: ResumableFolder, identity: dict[str, Any], plan: SearchPlan, *, by: int
) -> dict[str, Any]:
    """Has the search in a folder go on with more trials, perhaps in other ranges.

    A search that was stopped while it had more trials already goes on to their number.

    Args:
      work: the search's folder, entered without a plan.
      identity: what is searched now (`plan.identity`).
      plan: the plan now.
      by: how many trials more.

    Returns:
      What is searched, with the number of trials that was planned at first.

    Raises:
      UserError: there is no search, or its trials do not compare with those to come.
    """
    path = work.path
    try:
        known = results.read(path)
    except UserError as error:
        raise UserError(
            f"{files.shown(path)} holds no search that could have more trials. Begin one without "
            "--more-trials."
        ) from error
    old = known["plan"]
    max_trials = old["plan"]["max_trials"]
    new = _as_json(identity | {"plan": identity["plan"] | {"max_trials": max_trials}})
    reason = _difference(old, new) or _space_difference(old, new["space"], plan)
    if reason is None and plan.algorithm == "bayesian":
        reason = _lost_value(known["trials"], new["space"])
    if reason:
        raise UserError(
            f"The search in {files.shown(path)} cannot have more trials: {reason}. Search anew "
            "without --more-trials."
        )
    more_trials = planned(work, at_first=0)
    if not more_trials or finished(path, more_trials):
        more_trials += by
    work.write(PLAN, new)
    work.write(MORE_FILE, {"trials": more_trials})
    return new


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """Returns what differs between two searches besides their spaces, or None."""
    before, now = old["plan"]["max_epochs"], new["plan"]["max_epochs"]
    if before != now:
        return (
            f"its trials had at most {before} epochs, now it would be {now}, so their scores do "
            f"not compare (--trial-epochs {before} goes on)"
        )
    different = [n for n in DIFFERENCES if n not in _SPACE and old.get(n) != new[n]]
    return f"its {DIFFERENCES[different[0]]} different" if different else None


def _space_difference(
    old: dict[str, Any], space: list[dict[str, Any]], plan: SearchPlan
) -> str | None:
    """Returns in what a space differs from an earlier one besides its ranges, or None."""
    before, now = _kinds(old["space"]), _kinds(space)
    for name in [*before, *now]:
        if name not in before or name not in now:
            return f"{name!r} is {'new in' if name in now else 'gone from'} its space"
        if before[name] != now[name]:
            return f"{name!r} is of another kind in its space"
    defaults = {config["name"]: _default(config) for config in old["space"]}
    made = [plan.space(hyperparameters(defaults)), plan.training(hyperparameters(defaults))]
    if _as_json(made) != old["defaults"]:
        return "from the same values its space makes another model or another training"
    return None


def _lost_value(trials: list[results.Row], space: list[dict[str, Any]]) -> str | None:
    """Returns which value of a trial a choice does not have any more, or None.

    Bayesian optimization needs a place in the space for each trial.
    """
    for config in space:
        name, values = config["name"], config.get("values") or []
        for row in trials if values else []:
            if row.get(name, values[0]) not in values:
                return f"{name!r} has lost the value {row[name]!r}, which trial {row['trial']} has"
    return None


def _kinds(space: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns from hyperparameter to its kind: which settings it has, and when it is active."""
    return {config["name"]: (sorted(config), config["conditions"]) for config in space}


def _default(config: dict[str, Any]) -> Any:
    """Returns the default value of a hyperparameter, as KerasTuner finds it."""
    if "value" in config:
        return config["value"]
    if config["default"] is not None:
        return config["default"]
    return config["values"][0] if "values" in config else config["min_value"]


def _as_json(value: Any) -> Any:
    """Returns a value as it is read back from JSON: tuples are lists."""
    return json.loads(json.dumps(value))
