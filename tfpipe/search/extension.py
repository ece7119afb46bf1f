"""More trials: a search goes on from its trials beyond the number that it was planned with.

`more.json` in the search's folder holds the fields of `MoreTrials`. It is no part of the plan, so
the command that began the search finds it, too. `best.json` says for how many more trials it was
made; one that was made for fewer is no result any more.

Hyperband compares trials of few epochs with those of many anyway, so it also goes on with a larger
budget: its trials so far stay, and the best of them are the first configurations of the new
brackets (keras-tuner, issue 803).
"""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.base.resumable import PLAN, ResumableFolder
from tfpipe.search import results
from tfpipe.search.plan import DIFFERENCES, SearchPlan, hyperparameters

MORE_FILE = "more.json"
_SPACE = ("space", "defaults")


class MoreTrials(NamedTuple):
    """The trials that a search has besides those that were planned at first.

    Attributes:
      trials: how many more.
      max_epochs: the budget that they were last asked for with; 0 for the budget at first.
      earlier_trials: all trials of the search before that budget.
      earlier_more: how many more there were before it.
    """

    trials: int
    max_epochs: int = 0
    earlier_trials: int = 0
    earlier_more: int = 0


def planned(work: ResumableFolder, *, at_first: int, max_epochs: int) -> MoreTrials:
    """Returns the trials that a search has more than planned.

    Args:
      work: the search's folder.
      at_first: their number where the search has not begun.
      max_epochs: the budget of its plan. A change to another was stopped before it was made.
    """
    stored = work.read(MORE_FILE)
    if isinstance(stored, dict) and stored.get("max_epochs", 0) not in (0, max_epochs):
        stored = stored.get("before")
    if isinstance(stored, dict) and isinstance(stored.get("trials"), int):
        return MoreTrials(**{name: stored.get(name, 0) for name in MoreTrials._fields})
    if at_first:
        work.write(MORE_FILE, {"trials": at_first})
    return MoreTrials(at_first)


def finished(folder: Path, more_trials: int) -> dict[str, Any] | None:
    """Returns the best trial of a search that has had all its trials, or None."""
    best = results.read_best(folder)
    return best if best is not None and best.get("more_trials", 0) == more_trials else None


def extend(
    work: ResumableFolder,
    identity: dict[str, Any],
    plan: SearchPlan,
    *,
    by: int,
    iteration: int = 1,
) -> dict[str, Any]:
    """Has the search in a folder go on with more trials, perhaps in other ranges.

    A search that was stopped while it had more trials already goes on to their number.

    Args:
      work: the search's folder, entered without a plan.
      identity: what is searched now (`plan.identity`).
      plan: the plan now.
      by: how many trials more.
      iteration: trials of an iteration of Hyperband, to which their number is rounded up.

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
    budget = old["plan"]["max_epochs"]
    before = more = planned(work, at_first=0, max_epochs=budget)
    has_ended = bool(finished(path, more.trials))
    by = _rounded(by, iteration)
    if plan.max_epochs != budget:
        if not has_ended:
            raise UserError(
                f"The search in {files.shown(path)} has trials of its present budget left. Let it "
                f"end by --trial-epochs {budget}, then change the budget."
            )
        more = MoreTrials(more.trials + by, plan.max_epochs, len(known["trials"]), more.trials)
    elif not more.trials or has_ended:
        present = _rounded(more.trials - more.earlier_more, iteration)
        more = more._replace(trials=more.earlier_more + present + by)
    # First: if the plan is not written, `planned` takes what was before.
    work.write(MORE_FILE, more._asdict() | {"before": before._asdict()})
    work.write(PLAN, new)
    return new


def _rounded(number: int, iteration: int) -> int:
    """Returns a number of trials rounded up to whole iterations."""
    return math.ceil(number / iteration) * iteration


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """Returns what differs between two searches besides their spaces, or None."""
    before, now = old["plan"]["max_epochs"], new["plan"]["max_epochs"]
    if new["plan"]["algorithm"] == "hyperband" and before < now:
        new = new | {"plan": new["plan"] | {"max_epochs": before}}
    elif before != now:
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
