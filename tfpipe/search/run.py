"""Runs a search, or works for one that runs elsewhere."""

import contextlib
import fcntl
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfpipe.base import files
from tfpipe.base.errors import UserError
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
    with _alone(folder):
        _make_room(folder, oracle.plan)
        best = search_folder.read_best(folder)
        if best is None:
            oracle.keep_in(folder, chief=name_here())
            files.replace(folder / "plan.json", json.dumps(oracle.plan).encode())
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


@contextlib.contextmanager
def _alone(folder: Path):
    """Holds a search's folder for one chief; the system frees that of one that died."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"Another search is running in {folder}. Wait for it to end, or work for it by "
                "--worker."
            ) from None
        yield


def _make_room(folder: Path, told: dict[str, Any]) -> None:
    """Moves another search, or one of which nothing can be read, aside."""
    kept = [folder / "state.json", folder / "plan.json", *folder.glob("trial_*/trial.json")]
    kept = [path for path in kept if path.is_file()]
    plans = (_plan_in(path) for path in kept)
    known = next((plan for plan in plans if plan), None)
    if kept and known != json.loads(json.dumps(told)):
        aside = files.free(folder)
        folder.replace(aside)
        LOG.warning("An earlier search with another plan is now %s.", aside)


def _plan_in(path: Path) -> dict[str, Any] | None:
    """Returns what a file says is searched, or None if it cannot be read."""
    try:
        told = json.loads(path.read_bytes())
        return told if path.name == "plan.json" else told["plan"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
