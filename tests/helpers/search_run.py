"""A search of the tiny task: in the process that asks for it, or in one that the tests kill."""

import contextlib
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import subprocesses
import tiny

from tfpipe.base.hardware import dtype_policy
from tfpipe.data import manifest
from tfpipe.search import oracles, results
from tfpipe.search import plan as search_plan
from tfpipe.search import run as search_run
from tfpipe.search.trial import TrialRunner
from tfpipe.training import loop


def in_this_process(data: loop.Dataset, folder: Path, **changes) -> dict:
    """Runs a search without chief and workers; returns what `results.read` returns."""
    config = tiny.search_config(data, **changes)
    plan = search_plan.plan_of(config)
    oracle = oracles.make_oracle(config, plan, data)
    oracle.store_in(folder, chief="here")
    training_sets = search_plan.training_sets(config, data, tiny.spec_of(data))
    with dtype_policy(config.precision):
        TrialRunner(config, plan, training_sets, folder=folder, oracle=oracle).search()
    return results.read(folder)


def by_workers(
    data: loop.Dataset,
    folder: Path,
    *,
    workers: search_run.WorkerConfig,
    more_trials: int = 0,
    **changes,
) -> dict:
    """Runs a search by a chief in this process and workers in their own."""
    records = (data, tiny.spec_of(data))
    config = tiny.search_config(data, **changes)
    return search_run.run_search(
        config, folder, records=records, workers=workers, more_trials=more_trials
    )


def killed(
    data: loop.Dataset, folder: Path, *, workers: int, victims: Sequence[str], trials: int
) -> None:
    """Runs a search in processes of which one after the other is killed.

    The kills are spread over the first half of the search, each at a random moment of its part.

    Args:
      victims: of each kill "chief" or "child", a worker or the server that workers are forked
        from.
    """
    rng = random.Random(0)
    chief = _started(data, folder, workers, trials)
    try:
        for i, victim in enumerate(victims, start=1):
            # A trial is written when it begins and when it ends: the last kill is due when half is
            # written. Kills that come late come at once, so a fast search is killed as often.
            moment = trials * i / len(victims)
            while _written(folder) < moment or not (children := _below(chief.pid)):
                assert chief.poll() is None, f"It ended at kill {i}: {chief.complaints()}"
                time.sleep(0.02)
            time.sleep(rng.uniform(0, 0.2))
            if victim == "child":
                with contextlib.suppress(psutil.NoSuchProcess):
                    rng.choice(children).kill()
                continue
            chief.kill()
            chief.wait()
            chief.close()
            _, alive = psutil.wait_procs(children, timeout=60)
            assert not alive, "Workers have outlived their chief."
            chief = _started(data, folder, workers, trials)
        assert chief.communicate().returncode == 0
    finally:
        chief.kill()
        chief.close()


def _below(pid: int) -> list[psutil.Process]:
    """Returns a chief's processes, without that which only watches over multiprocessing's."""
    with contextlib.suppress(psutil.NoSuchProcess):
        every = psutil.Process(pid).children(recursive=True)
        return [one for one in every if "resource_tracker" not in " ".join(one.cmdline())]
    return []


def _started(data: loop.Dataset, folder: Path, *numbers: int) -> subprocesses.Process:
    return subprocesses.Process(__file__, data.folder, folder, *numbers)


def _written(folder: Path) -> int:
    try:
        return json.loads((folder / "state.json").read_bytes())["written"]
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    records, folder = map(Path, sys.argv[1:3])
    workers, trials = map(int, sys.argv[3:])
    oracles.MAX_LOSSES = 99  # six kills may by chance hit one trial five times
    found = loop.Dataset(records, manifest.read(records), tiny.TASK.scoring.objective)
    by_workers(found, folder, workers=search_run.WorkerConfig(workers), trials=trials)
