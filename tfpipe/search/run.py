"""Runs a search, or works for one that runs elsewhere."""

import contextlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfpipe.base import files, resumable
from tfpipe.base.errors import UserError
from tfpipe.base.resumable import ResumableFolder
from tfpipe.data.dataset import Dataset
from tfpipe.models.spec import Spec
from tfpipe.search import oracles, rpc, search_folder
from tfpipe.search import plan as search_plan
from tfpipe.search.chief import Chief
from tfpipe.search.config import SearchConfig
from tfpipe.search.plan import SearchPlan
from tfpipe.search.worker_pool import Crew, name_here

LOG = logging.getLogger("tfpipe")
LOOK_S = 0.2  # between looks after the workers
FAR_LOOK_S = 1.0  # likewise, where each asks a chief elsewhere
NEAR_WAIT_S = 3600.0  # that our own workers wait for an answer: they end with us anyway
HERE = "127.0.0.1:0"

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Team:
    """Who runs the trials.

    Attributes:
      workers: processes on this machine.
      chief: "host:port" where the chief serves; port 0 is any free one.
      limit_s: how long a trial may take, or None.
      wait_s: how long workers of a chief elsewhere try to reach it.
    """

    workers: int = 1
    chief: str = HERE
    limit_s: float | None = None
    wait_s: float = 60.0


def tune(
    config: SearchConfig,
    folder: Path,
    *,
    records: tuple[Dataset, Spec],
    team: Team,
    report: Report = lambda told: None,
) -> dict[str, Any]:
    """Runs a search to its end, or the rest of it.

    Args:
      config: what is searched.
      folder: where the search is kept.
      records: opened.
      team: who runs the trials.
      report: told {"trial", "trials", "best", "epoch", "epochs"} as it goes.

    Returns:
      {"model": builder's arguments, "training": values of `TrainingConfig`, "score", "objective",
      "direction", "algorithm", "trials": a row each, see `search_folder.rows`}, as
      best.json keeps it.

    Raises:
      UserError: the search cannot be planned, three trials in a row fail, or workers cannot work.
    """
    plan, (data, spec) = search_plan.plan_of(config), records
    search_plan.training_sets(config, data, spec)
    oracle = oracles.made(config, plan, data)
    with resumable_search(folder, oracle.plan):
        best = search_folder.read_best(folder)
        if best is None:
            oracle.keep_in(folder, chief=name_here())
            _run(Chief(oracle, limit_s=team.limit_s), config, team=team, report=report)
            best = _outcome(oracle, plan)
            files.replace(folder / "best.json", json.dumps(best, indent=1).encode())
    return best


def work(config: SearchConfig, folder: Path, *, team: Team) -> None:
    """Works for a chief until it says that all is over.

    Args:
      config: the same as the chief's.
      folder: where this machine keeps the states of trainings; best the chief's own folder, as
        trials that are promoted to another machine begin anew without.
      team: who works, and where the chief is.

    Raises:
      UserError: the chief cannot be reached, or runs another search.
    """
    call = rpc.Line(team.chief, wait_s=team.wait_s).call
    crew = Crew(config, folder, chief=team.chief, size=team.workers, wait_s=team.wait_s, call=call)
    with contextlib.closing(crew):
        while not crew.watch():
            time.sleep(FAR_LOOK_S)


def _run(chief: Chief, config: SearchConfig, *, team: Team, report: Report) -> None:
    """Serves until all is over."""
    folder = chief.oracle.folder
    server, address = rpc.serve(chief, chief.methods, address=team.chief)
    crew = Crew(
        config,
        folder,
        chief=address,
        size=team.workers,
        wait_s=NEAR_WAIT_S,
        call=lambda name, **facts: chief.methods[name](**facts),
    )
    running, ended = None, None
    try:
        with contextlib.closing(crew):
            while not crew.watch():
                chief.expire()
                if ended != len(chief.oracle.end_order):
                    ended = len(chief.oracle.end_order)
                    chief.tidy()
                if running != chief.running:
                    running = chief.running
                    files.replace(folder / "running.json", json.dumps(running).encode())
                    _tell(chief, report)
                time.sleep(LOOK_S)
        if chief.error:
            raise chief.error
        chief.linger()
    finally:
        server.stop(grace=1).wait()
    if chief.oracle.given_up:
        raise UserError(
            f"The search was given up after {oracles.FAILURES} failed trials: "
            f"{chief.oracle.given_up}"
        )
    chief.tidy(everything=True)


def _tell(chief: Chief, report: Report) -> None:
    """Reports on the trial that was begun first."""
    oracle, running = chief.oracle, [*chief.running.values()]
    scores = [float(t.score) for t in oracle.trials.values() if t.score is not None]
    better = max if oracle.objective.direction == "max" else min
    if running:
        report(
            {
                "trial": len(oracle.end_order) + 1,
                "trials": oracle.asked,
                "best": better(scores, default=None),
                **{name: running[0][name] for name in ("epoch", "epochs")},
            }
        )


def _outcome(oracle, plan: SearchPlan) -> dict[str, Any]:
    """Returns what a finished search found."""
    told = search_folder.read(oracle.folder)
    if told["best"] is None:
        raise UserError("No trial of the search gave a score. Widen its space or its budget.")
    values = oracle.trials[told["best"]["trial"]].hyperparameters.values
    hp = search_plan.hyperparameters(values)
    return {
        "model": plan.space(hp),
        "training": plan.training(hp),
        "score": told["best"]["score"],
        **{name: told[name] for name in ("objective", "direction", "algorithm", "trials")},
    }


def resumable_search(folder: Path, plan: dict[str, Any]) -> ResumableFolder:
    """Returns a search's folder; entering it moves a search with another plan aside."""
    return ResumableFolder(
        folder,
        plan,
        work="search",
        busy=f"Another search is running in {folder}. Wait for it to end, or work for it by "
        "--worker.",
        contents=("state.json", "plan.json", "trial_*/trial.json"),
        recover_plan=_plan_of_state,
    )


def _plan_of_state(folder: Path) -> dict[str, Any] | None:
    """Returns the plan that a search's state or its trials hold; None if none can be read."""
    for path in (folder / "state.json", *folder.glob("trial_*/trial.json")):
        state = resumable.read_json(path)
        if isinstance(state, dict) and state.get("plan"):
            return state["plan"]
    return None
