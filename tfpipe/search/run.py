"""Search run: runs a search to its end, or runs trials for a chief elsewhere."""

import contextlib
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfpipe.base import files, resumable
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.base.resumable import ResumableFolder
from tfpipe.data.dataset import Dataset
from tfpipe.evaluation.reconstruction import UNLABELLED
from tfpipe.models.spec import Spec
from tfpipe.search import access, extension, forecast, oracles, results, rpc
from tfpipe.search import plan as search_plan
from tfpipe.search.chief import Chief, difference
from tfpipe.search.config import SearchConfig
from tfpipe.search.oracles import SearchOracle
from tfpipe.search.plan import SearchPlan
from tfpipe.search.worker_pool import WorkerPool, process_name
from tfpipe.tasks import catalog
from tfpipe.training import open_records

LOG = logging.getLogger(__name__)
POLL_S = 0.2  # between checks of the workers
REMOTE_POLL_S = 1.0  # the same, where each check is a call to a chief elsewhere
LOCAL_WAIT_S = 3600.0  # how long local workers wait for an answer; they end with the chief anyway
LOCAL_ADDRESS = "127.0.0.1:0"


@dataclass(frozen=True)
class WorkerConfig:
    """Processes that run the trials.

    Attributes:
      count: number of processes on this machine.
      chief: "host:port" where the chief serves; port 0 is any free one.
      trial_limit_s: how long a trial may take, or None.
      wait_s: how long workers of a chief elsewhere try to reach it.
      token_file: file with the token that workers of other commands must have; None for that of
        the environment, else one that the chief writes into the search's folder.
    """

    count: int = 1
    chief: str = LOCAL_ADDRESS
    trial_limit_s: float | None = None
    wait_s: float = 60.0
    token_file: Path | None = None


def run_search(
    config: SearchConfig,
    folder: Path,
    *,
    records: tuple[Dataset, Spec],
    workers: WorkerConfig,
    more_trials: int = 0,
    epochs: int | None = None,
    report: Reporter = silent,
) -> dict[str, Any]:
    """Runs a search to its end, or the rest of it.

    Args:
      config: what is searched.
      folder: the search's folder.
      records: the opened records.
      workers: the processes that run the trials.
      more_trials: how many trials a finished search is to have more; Hyperband rounds up to whole
        iterations.
      epochs: of the training that follows, for the forecast; None for the search's number.
      report: receives the stage "search" with {"trial", "trials", "best", "epoch", "epochs"}, and
        what it will do and how long that takes as {"note"}.

    Returns:
      The content of best.json: {"model": builder's arguments, "training": values of
      `TrainingConfig`, "score", "objective", "direction", "algorithm", "trials": a row for each,
      see `results.rows`}, and of a search with more trials than planned "more_trials" and
      "max_trials", the number that was planned.

    Raises:
      UserError: the search cannot be planned, three trials in a row fail, or workers cannot run.
    """
    data, spec = records
    plan = search_plan.for_records(search_plan.plan_of(config), config, data, epochs=epochs)
    search_plan.training_sets(config, data, spec)  # refuses impossible folds before anything runs
    oracle = oracles.make_oracle(config, plan, data)
    with resumable_search(folder, None if more_trials else oracle.plan) as work:
        if more_trials:
            oracle.plan = extension.extend(
                work,
                oracle.plan,
                plan,
                by=more_trials,
                iteration=oracles.iteration_size(oracle),
            )
            work.begin(oracle.plan)
        more = extension.planned(work, at_first=config.more_trials, max_epochs=plan.max_epochs)
        best = extension.finished(folder, more.trials)
        if best is None:
            (folder / "best.json").unlink(missing_ok=True)
            oracles.add_trials(oracle, more)
            oracle.store_in(folder, chief=process_name())
            sentence = forecast.beginning(
                oracle,
                plan,
                images=_n_training_images(data),
                folds=config.folds,
                workers=workers.count,
            )
            report("search", {"note": sentence})
            chief = Chief(oracle, trial_limit_s=workers.trial_limit_s)
            serve_trials(chief, config, plan, workers=workers, report=report)
            best = _best_result(oracle, plan)
            if more.trials:
                max_trials = oracle.plan["plan"]["max_trials"]
                best |= {"more_trials": more.trials, "max_trials": max_trials}
            files.replace(folder / "best.json", json.dumps(best, indent=1).encode())
    return best


def _n_training_images(data: Dataset) -> int:
    """Returns how many images a trial is trained on; only autoencoders take unlabelled ones."""
    counts = data.manifest.counts.get("train", {})
    return sum(n for name, n in counts.items() if name != UNLABELLED or data.objective == "loss")


def run_workers(config: SearchConfig, folder: Path, *, workers: WorkerConfig) -> None:
    """Runs trials for a chief elsewhere until the search is over.

    Args:
      config: the same as the chief's.
      folder: where this machine stores checkpoints of the trainings. Best the chief's folder:
        elsewhere, trials that are promoted to another machine begin from nothing.
      workers: the processes that run the trials, and the chief's address.

    Raises:
      UserError: the chief cannot be reached, or runs another search.
    """
    try:
        chief, token = _connection(workers, folder)
    except access.NoChiefError:
        if _is_finished(config, folder):
            LOG.warning("The search in %s is over: there is nothing left to do.", folder)
            return
        raise
    pool = WorkerPool(
        config,
        folder,
        chief=workers.chief,
        size=workers.count,
        wait_s=workers.wait_s,
        token=token,
        call=chief.call,
    )
    with contextlib.closing(pool):
        while not pool.watch():
            time.sleep(REMOTE_POLL_S)


def _connection(workers: WorkerConfig, folder: Path) -> tuple[rpc.ChiefConnection, str]:
    """Returns a connection that the chief accepts, and the token."""
    while True:
        token = access.worker_token(workers.token_file, folder, wait_s=workers.wait_s)
        chief = rpc.ChiefConnection(workers.chief, wait_s=workers.wait_s, token=token)
        try:
            chief.call("poll", pool=process_name(), workers=[])
        except access.WrongTokenError:
            # The file may have been that of an earlier search, which the chief has moved aside.
            if access.worker_token(workers.token_file, folder, wait_s=workers.wait_s) == token:
                raise
        else:
            return chief, token


def _is_finished(config: SearchConfig, folder: Path) -> bool:
    """Returns whether a folder holds the result of this very search."""
    if results.read_best(folder) is None:
        return False
    task = catalog.find(config.task).for_model(config.model)
    data, _ = open_records.opened(
        task,
        Path(config.records),
        model=config.model,
        is_checked=True,
    )
    plan = oracles.make_oracle(config, search_plan.plan_of(config), data).plan
    return difference(resumable.read_json(folder / resumable.PLAN) or {}, plan) is None


def serve_trials(
    chief: Chief, config: SearchConfig, plan: SearchPlan, *, workers: WorkerConfig, report: Reporter
) -> None:
    """Serves until the search is over."""
    folder = chief.oracle.folder
    is_shared = workers.chief != LOCAL_ADDRESS
    token = access.chief_token(workers.token_file, folder, is_shared=is_shared)
    server, address = rpc.serve(chief, chief.methods, address=workers.chief, token=token)
    pool = WorkerPool(
        config,
        folder,
        chief=address,
        size=workers.count,
        wait_s=LOCAL_WAIT_S,
        token=token,
        call=lambda name, **arguments: chief.methods[name](**arguments),
    )
    running, n_ended, is_forecast = None, None, False
    try:
        with contextlib.closing(pool):
            while not pool.watch():
                chief.expire()
                if n_ended != len(chief.oracle.end_order):
                    if n_ended is not None and not is_forecast:
                        sentence = forecast.remainder(chief.oracle, plan, workers=workers.count)
                        is_forecast = bool(sentence)
                        if is_forecast:
                            report("search", {"note": sentence})
                    n_ended = len(chief.oracle.end_order)
                    chief.remove_checkpoints()
                if running != chief.running:
                    running = chief.running
                    files.replace(folder / "running.json", json.dumps(running).encode())
                    _report_progress(chief, report)
                time.sleep(POLL_S)
        if chief.error:
            raise chief.error
        chief.wait_for_workers()
    finally:
        server.stop(grace=1).wait()
    if chief.oracle.given_up:
        raise UserError(
            f"The search was given up after {oracles.MAX_CONSECUTIVE_FAILURES} failed trials: "
            f"{chief.oracle.given_up}"
        )
    chief.remove_checkpoints(everything=True)
    (folder / access.TOKEN_FILE).unlink(missing_ok=True)


def _report_progress(chief: Chief, report: Reporter) -> None:
    """Reports on the running trial that began first."""
    oracle, running = chief.oracle, [*chief.running.values()]
    scores = [float(t.score) for t in oracle.trials.values() if t.score is not None]
    better = max if oracle.objective.direction == "max" else min
    if running:
        info = {
            "trial": len(oracle.end_order) + 1,
            "trials": oracle.n_trials,
            "best": better(scores) if scores else None,
            "epoch": running[0]["epoch"],
            "epochs": running[0]["epochs"],
        }
        report("search", info)


def _best_result(oracle: SearchOracle, plan: SearchPlan) -> dict[str, Any]:
    """Returns the result of a finished search."""
    content = results.read(oracle.folder)
    best = content["best"]
    if best is None:
        raise UserError("No trial of the search gave a score. Widen its space or its budget.")
    hp = search_plan.hyperparameters(oracle.trials[best["trial"]].hyperparameters.values)
    return {
        "model": plan.space(hp),
        "training": plan.training(hp),
        "score": best["score"],
        "objective": content["objective"],
        "direction": content["direction"],
        "algorithm": content["algorithm"],
        "trials": content["trials"],
    }


def resumable_search(folder: Path, plan: dict[str, Any] | None) -> ResumableFolder:
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
