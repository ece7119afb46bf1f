"""The chief of a search: gives trials to workers, here and elsewhere, and takes in their results.

It is KerasTuner's, over a kept oracle, and answers besides what `wire` adds. It never holds a
model, so that its memory stays what it is however many trials there are.
"""

import json
import shutil
import time
from collections.abc import Callable
from typing import Any

import grpc
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer

from tfpipe.base.errors import UserError
from tfpipe.search.oracle_state import FAILED

SILENT_S = 60.0  # after which a worker is taken to be dead
LINGER_S = 10.0  # at most that the chief stays for workers elsewhere to hear that all is over
DIFFERENT = {
    "data": "records are",
    "model": "model is",
    "space": "space is",
    "defaults": "space is",
    "plan": "algorithm or budget is",
    "fixed": "values held fixed are",
    "folds": "number of folds is",
    "settings": "training settings are",
    "precision": "precision is",
}


class Chief(OracleServicer):
    """Answers workers, and the crews that watch over them.

    Args:
      oracle: a kept one.
      limit_s: how long a trial may take, or None.

    Attributes:
      methods: of the JSON service, by name.
      error: what went wrong with keeping the search, or None.
    """

    def __init__(self, oracle, *, limit_s: float | None = None):
        super().__init__(oracle)
        self.limit_s = limit_s
        self.leases: dict[str, _Lease] = {name: _Lease() for name in oracle.ongoing_trials}
        self.dismissed: set[str] = set()
        self.crews: dict[str, tuple[float, bool]] = {}  # heard when, and told that all is over
        self.error: UserError | None = None
        own = (self.beat, self.end, self.watch, self.died)
        self.methods = {method.__name__: self._ends_the_search(method) for method in own}
        self.methods["join"] = self.join

    def CreateTrial(self, request, context):
        """Gives a trial to a worker; one that was given up gets none, until its crew ends it."""
        worker = request.tuner_id
        with self.oracle.lock:
            if worker in self.dismissed:
                idle = Trial(self.oracle.get_space(), "", TrialStatus.IDLE)
                return protos.get_service().CreateTrialResponse(trial=idle.to_proto())
            try:
                answer = self._ends_the_search(super().CreateTrial)(request, context)
            except UserError as error:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            if worker in self.oracle.ongoing_trials:
                self.leases.setdefault(worker, _Lease())
        return answer

    def join(self, *, plan: dict[str, Any]) -> dict:
        """Refuses a worker that would run another search."""
        for name, noun in DIFFERENT.items():
            if json.dumps(plan.get(name)) != json.dumps(self.oracle.plan[name]):
                raise UserError(
                    f"This worker's {noun} not the chief's. Give both the same options, and "
                    "records packed from the same files."
                )
        return {}

    def beat(self, *, worker: str, epoch: int, epochs: int) -> dict:
        """Hears that a worker lives, and how far its trial is; waits for no lock."""
        lease = self.leases.get(worker)
        if lease:
            lease.heard, lease.epoch, lease.epochs = time.monotonic(), epoch, epochs
        return {}

    def end(
        self, *, worker: str, trial: str, status: str, message: str | None, metrics: dict
    ) -> dict:
        """Takes in a result, unless the trial was taken away from that worker meanwhile."""
        with self.oracle.lock:
            own = self.oracle.ongoing_trials.get(worker)
            if own is not None and own.trial_id == trial:
                lease = self.leases.pop(worker)
                seconds = round(time.monotonic() - lease.began, 1)
                told = {"message": message, "metrics": metrics, "seconds": seconds}
                self.oracle.end(worker, status=status, **told)
        return {}

    def watch(self, *, crew: str, workers: list[str]) -> dict:
        """Tells a crew whether the search is over, which workers to end, and who has what trial."""
        over = self.over
        self.crews[crew] = (time.monotonic(), over)
        # Without the lock, which a proposal of Bayesian search may hold for long; so in `running`.
        ongoing = {name: trial.trial_id for name, trial in [*self.oracle.ongoing_trials.items()]}
        return {
            "over": over,
            "dismissed": [name for name in workers if name in self.dismissed],
            "trials": {name: ongoing[name] for name in workers if name in ongoing},
        }

    def died(self, *, worker: str, reason: str | None) -> dict:
        """Hears that a worker ended; without a reason its trial is given out again."""
        with self.oracle.lock:
            self.dismissed.add(worker)
            self.leases.pop(worker, None)
            trial = self.oracle.ongoing_trials.get(worker)
            if trial and reason:
                self.oracle.end(worker, status=FAILED, message=reason)
            elif trial:
                self.oracle.lose(worker)
        return {"trial": trial and trial.trial_id}

    @property
    def over(self) -> bool:
        """Returns whether nothing more is to be done."""
        return self.oracle.over or bool(self.oracle.given_up) or bool(self.error)

    @property
    def running(self) -> dict[str, dict[str, Any]]:
        """Returns trial -> {"worker", "epoch", "epochs"}, the one begun first in front."""
        ongoing = dict([*self.oracle.ongoing_trials.items()])
        leases = sorted([*self.leases.items()], key=lambda item: item[1].began)
        return {
            ongoing[name].trial_id: {"worker": name, "epoch": one.epoch, "epochs": one.epochs}
            for name, one in leases
            if name in ongoing
        }

    def expire(self) -> None:
        """Takes trials away from workers that are silent, or take too long."""
        now = time.monotonic()
        for name, lease in [*self.leases.items()]:
            reason = None
            if self.limit_s and now - lease.began > self.limit_s:
                reason = f"It took longer than {self.limit_s / 60:g} minutes."
            elif now - lease.heard <= SILENT_S:
                continue
            self.died(worker=name, reason=reason)

    def tidy(self, *, everything: bool = False) -> None:
        """Removes the states of trainings that will not go on."""
        with self.oracle.lock:
            kept = set() if everything else self.oracle.going_on()
        for path in self.oracle.folder.glob("trial_*/fold_*"):
            if path.parent.name.removeprefix("trial_") not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def linger(self) -> None:
        """Waits until every crew that was there lately has heard that all is over."""
        until = time.monotonic() + LINGER_S
        while time.monotonic() < until and any(
            not told and until - heard < 2 * LINGER_S for heard, told in [*self.crews.values()]
        ):
            time.sleep(0.1)

    def _ends_the_search(self, method: Callable) -> Callable:
        """Returns a method after whose failure, such as a full disk, the search cannot go on."""

        def guarded(*arguments, **options):
            try:
                return method(*arguments, **options)
            except UserError as error:
                self.error = self.error or error
                raise

        return guarded


class _Lease:
    """When a worker took its trial and was last heard of, and how far it is."""

    def __init__(self):
        self.began = self.heard = time.monotonic()
        self.epoch, self.epochs = 0, 1
