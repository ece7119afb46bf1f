"""Chief: gives trials to workers, here and on other machines, and receives their results.

It is KerasTuner's chief over a stored oracle, and has the methods that `rpc` adds. It never holds a
model, so its memory does not grow with the number of trials.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc

from tfpipe.base.errors import UserError
from tfpipe.search.keras_tuner_internals import OracleServicer, idle_response
from tfpipe.search.oracle_state import FAILED
from tfpipe.search.oracles import SearchOracle
from tfpipe.search.plan import DIFFERENCES

HEARTBEAT_TIMEOUT_S = 60.0  # a worker that is silent for longer is taken to be dead
GOODBYE_S = 10.0  # the chief stays at most so long for pools elsewhere to hear that all is over


class Chief(OracleServicer):
    """Answers workers, and the pools that watch over them.

    Args:
      oracle: a stored oracle.
      trial_limit_s: how long a trial may take, or None.

    Attributes:
      methods: methods of the JSON service by name.
      error: why the search cannot be stored any more, or None.
    """

    def __init__(self, oracle: SearchOracle, *, trial_limit_s: float | None = None):
        super().__init__(oracle)
        self.oracle = oracle
        self.trial_limit_s = trial_limit_s
        self.leases: dict[str, Lease] = {name: Lease() for name in oracle.ongoing_trials}
        self.dismissed: set[str] = set()
        self.pools: dict[str, PoolContact] = {}
        self.error: UserError | None = None
        self.methods: dict[str, Callable[..., dict[str, Any]]] = {
            "join": self.join,
            "heartbeat": self._ends_the_search(self.heartbeat),
            "end_trial": self._ends_the_search(self.end_trial),
            "poll": self._ends_the_search(self.poll),
            "worker_exited": self._ends_the_search(self.worker_exited),
        }

    def CreateTrial(self, request: Any, context: Any) -> Any:
        """Gives a trial to a worker; a dismissed worker gets none, until its pool ends it."""
        worker = request.tuner_id
        with self.oracle.lock:
            if worker in self.dismissed:
                return idle_response(self.oracle)
            try:
                response = self._ends_the_search(super().CreateTrial)(request, context)
            except UserError as error:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            if worker in self.oracle.ongoing_trials:
                self.leases.setdefault(worker, Lease())
        return response

    def join(self, *, plan: dict[str, Any]) -> dict[str, Any]:
        """Refuses a worker that would run another search."""
        if noun := difference(plan, self.oracle.plan):
            raise UserError(
                f"This worker's {noun} not the chief's. Give both the same options, and records "
                "packed from the same files."
            )
        return {}

    def heartbeat(self, *, worker: str, epoch: int, epochs: int) -> dict[str, Any]:
        """Notes that a worker is alive, and how far its trial is; waits for no lock."""
        lease = self.leases.get(worker)
        if lease:
            lease.last_heartbeat, lease.epoch, lease.epochs = time.monotonic(), epoch, epochs
        return {}

    def end_trial(
        self,
        *,
        worker: str,
        trial: str,
        status: str,
        message: str | None,
        metrics: dict[str, float],
    ) -> dict[str, Any]:
        """Receives a result, unless the trial was taken away from that worker meanwhile."""
        with self.oracle.lock:
            ongoing = self.oracle.ongoing_trials.get(worker)
            if ongoing is not None and ongoing.trial_id == trial:
                lease = self.leases.pop(worker)
                self.oracle.end(
                    worker,
                    status=status,
                    message=message,
                    metrics=metrics,
                    seconds=round(time.monotonic() - lease.start, 1),
                )
        return {}

    def poll(self, *, pool: str, workers: list[str]) -> dict[str, Any]:
        """Returns whether the search is over, which workers to end, and which has which trial."""
        is_over = self.is_over
        self.pools[pool] = PoolContact(time.monotonic(), is_over)
        # No lock here and in `running`: a proposal of a Bayesian search may hold it for long.
        ongoing = {name: trial.trial_id for name, trial in [*self.oracle.ongoing_trials.items()]}
        return {
            "is_over": is_over,
            "dismissed": [name for name in workers if name in self.dismissed],
            "trials": {name: ongoing[name] for name in workers if name in ongoing},
        }

    def worker_exited(self, *, worker: str, reason: str | None) -> dict[str, Any]:
        """Fails the trial of a worker that ended; without a reason gives it out again."""
        with self.oracle.lock:
            self.dismissed.add(worker)
            self.leases.pop(worker, None)
            trial = self.oracle.ongoing_trials.get(worker)
            if trial and reason:
                self.oracle.end(worker, status=FAILED, message=reason)
            elif trial:
                self.oracle.worker_lost(worker)
        return {"trial": trial and trial.trial_id}

    @property
    def is_over(self) -> bool:
        """Returns whether nothing is left to be done."""
        return self.oracle.is_over or bool(self.oracle.given_up) or bool(self.error)

    @property
    def running(self) -> dict[str, dict[str, Any]]:
        """Returns from trial to {"worker", "epoch", "epochs"}, the oldest trial first."""
        ongoing = dict([*self.oracle.ongoing_trials.items()])
        leases = sorted([*self.leases.items()], key=lambda item: item[1].start)
        return {
            ongoing[name].trial_id: {"worker": name, "epoch": lease.epoch, "epochs": lease.epochs}
            for name, lease in leases
            if name in ongoing
        }

    def expire(self) -> None:
        """Takes trials away from workers that are silent, or take too long."""
        now = time.monotonic()
        for name, lease in [*self.leases.items()]:
            reason = None
            if self.trial_limit_s and now - lease.start > self.trial_limit_s:
                reason = f"It took longer than {self.trial_limit_s / 60:g} minutes."
            elif now - lease.last_heartbeat <= HEARTBEAT_TIMEOUT_S:
                continue
            self.worker_exited(worker=name, reason=reason)

    def remove_checkpoints(self, *, everything: bool = False) -> None:
        """Removes the checkpoints of trainings that will not be resumed."""
        with self.oracle.lock:
            resumable = set() if everything else self.oracle.resumable_trials()
        for path in self.oracle.folder.glob("trial_*/fold_*"):
            if path.parent.name.removeprefix("trial_") not in resumable:
                shutil.rmtree(path, ignore_errors=True)

    def wait_for_workers(self) -> None:
        """Waits until every pool that polled lately has heard that the search is over."""
        end = time.monotonic() + GOODBYE_S
        while time.monotonic() < end and any(
            not contact.heard_of_end and end - contact.last_poll < 2 * GOODBYE_S
            for contact in [*self.pools.values()]
        ):
            time.sleep(0.1)

    def _ends_the_search(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a method after whose failure, such as a full disk, the search cannot go on."""

        def guarded(*arguments: Any, **options: Any) -> Any:
            try:
                return method(*arguments, **options)
            except UserError as error:
                self.error = self.error or error
                raise

        return guarded


def difference(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    """Returns what is not the same for the workers of two searches, or None."""
    for name, noun in DIFFERENCES.items():
        if _compared(one.get(name)) != _compared(other.get(name)):
            return noun
    return None


def _compared(value: Any) -> str:
    """Returns a part of a plan as text, without the number of trials: workers do not need it."""
    if isinstance(value, dict):
        value = {name: part for name, part in value.items() if name != "max_trials"}
    return json.dumps(value)


@dataclass
class Lease:
    """A worker's hold on a trial: its start, its last heartbeat, and how far it is."""

    start: float = field(default_factory=time.monotonic)
    last_heartbeat: float = field(default_factory=time.monotonic)
    epoch: int = 0
    epochs: int = 1


@dataclass
class PoolContact:
    """When a pool polled last, and whether the answer was that the search is over."""

    last_poll: float
    heard_of_end: bool
