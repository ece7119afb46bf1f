"""A worker: a process that runs a chief's trials."""

import contextlib
import faulthandler
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_client

from tfpipe import tasks
from tfpipe.base import processes
from tfpipe.base.errors import UserError
from tfpipe.base.hardware import dtype_policy
from tfpipe.search import oracles
from tfpipe.search import plan as search_plan
from tfpipe.search.config import SearchConfig
from tfpipe.search.rpc import Line
from tfpipe.search.trial import Tuner
from tfpipe.search.worker_pool import TOLD, Orders
from tfpipe.training import open_records

BEAT_S = 2.0  # between signs of life
IDLE_S = 0.5  # before asking again where there is no trial yet


def main(orders: dict[str, Any]) -> None:
    """Works by a crew's orders; ends with a sentence and `TOLD` where it cannot."""
    faulthandler.enable()
    threading.Thread(target=processes.end_with_parent, daemon=True).start()
    try:
        _work(Orders(**orders))
    except UserError as error:
        sys.stderr.write(f"tfpipe: {error}\n")
        sys.exit(TOLD)


def _work(orders: Orders) -> None:
    """Runs trials until the chief has no more.

    Raises:
      UserError: the chief refuses or cannot be reached, or the search cannot be planned here.
    """
    _take_device(orders.place, of=orders.places)
    config = SearchConfig(**orders.config)
    plan = search_plan.plan_of(config)
    records = Path(config.records)
    data, spec = open_records.opened(
        tasks.find(config.task), records, model=config.model, is_checked=True
    )
    oracle = oracles.made(config, plan, data)
    line = Line(orders.chief, wait_s=orders.wait_s)
    line.call("join", plan=oracle.plan)
    parts = search_plan.training_sets(config, data, spec)
    tuner = Tuner(config, plan, parts, folder=Path(orders.folder), oracle=oracle)
    tuner.oracle, tuner.tuner_id = Client(oracle, line, name=orders.name), orders.name
    threading.Thread(target=_beat, args=(line, tuner), daemon=True).start()
    with line.sentences(), dtype_policy(config.precision):
        tuner.search()


class Client(oracle_client.OracleClient):
    """KerasTuner's, with what `wire` adds.

    Args:
      oracle: an oracle of the same search, which is asked for nothing but its objective.
      line: to the chief.
      name: of the worker.
    """

    def __init__(self, oracle, line: Line, *, name: str):
        # Not KerasTuner's own, which takes the address from the environment.
        self._oracle, self.line, self.tuner_id = oracle, line, name
        self.stub = protos.get_service_grpc().OracleStub(line.channel)
        self.multi_worker, self.should_report = False, True
        self.metrics: dict[str, float] = {}
        oracle_client.TIMEOUT = line.wait_s

    def create_trial(self, tuner_id):
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.IDLE:
            time.sleep(IDLE_S)
        self.metrics = {}
        return trial

    def update_trial(self, trial_id, metrics, step=0):
        self.metrics = metrics

    def end_trial(self, trial):
        told = {"status": trial.status, "message": trial.message, "metrics": self.metrics}
        self.line.call("end", worker=self.tuner_id, trial=trial.trial_id, **told)


def _beat(line: Line, tuner: Tuner) -> None:
    """Tells the chief every few seconds that this worker lives, and how far it is."""
    while True:
        # A chief that is gone is the business of the search's own calls, and of the crew's.
        with contextlib.suppress(UserError, grpc.RpcError):
            line.call("beat", worker=tuner.tuner_id, **tuner.progress)
        time.sleep(BEAT_S)


def _take_device(place: int, *, of: int) -> None:
    """Takes one GPU for each of several workers; by itself TensorFlow takes all memory of all."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and of > 1:
        mine = gpus[place % len(gpus)]
        tf.config.set_visible_devices(mine, "GPU")
        tf.config.experimental.set_memory_growth(mine, True)
