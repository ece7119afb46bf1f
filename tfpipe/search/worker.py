"""Worker: a process that runs a chief's trials."""

import contextlib
import faulthandler
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from keras_tuner.engine.trial import Trial, TrialStatus

from tfpipe.base import processes
from tfpipe.base.errors import UserError
from tfpipe.base.hardware import dtype_policy
from tfpipe.search import access, keras_tuner_internals, oracles
from tfpipe.search import plan as search_plan
from tfpipe.search.config import SearchConfig
from tfpipe.search.rpc import ChiefConnection
from tfpipe.search.trial import TrialRunner
from tfpipe.search.worker_pool import EXIT_WITH_MESSAGE, WorkerArguments
from tfpipe.tasks import catalog
from tfpipe.training import open_records

HEARTBEAT_S = 2.0  # between signs of life
IDLE_S = 0.5  # before the next request where there is no trial yet


def main(arguments: dict[str, Any]) -> None:
    """Runs trials; ends with a sentence and `EXIT_WITH_MESSAGE` where that is impossible."""
    faulthandler.enable()
    threading.Thread(target=processes.end_with_parent, daemon=True).start()
    try:
        _work(WorkerArguments(**arguments))
    except UserError as error:
        sys.stderr.write(f"tfpipe: {error}\n")
        sys.exit(EXIT_WITH_MESSAGE)


def _work(arguments: WorkerArguments) -> None:
    """Runs trials until the chief has no more.

    Raises:
      UserError: the chief refuses or cannot be reached, or the search cannot be planned here.
    """
    _take_device(arguments.index, n_workers=arguments.n_workers)
    config = SearchConfig(**arguments.config)
    plan = search_plan.plan_of(config)
    records = Path(config.records)
    task = catalog.find(config.task).for_model(config.model)
    data, spec = open_records.opened(
        task,
        records,
        model=config.model,
        is_checked=True,
    )
    oracle = oracles.make_oracle(config, plan, data)
    chief = ChiefConnection(
        arguments.chief, wait_s=arguments.wait_s, token=os.environ[access.TOKEN_VARIABLE]
    )
    chief.call("join", plan=oracle.plan)
    training_sets = search_plan.training_sets(config, data, spec)
    tuner = TrialRunner(config, plan, training_sets, folder=Path(arguments.folder), oracle=oracle)
    tuner.oracle = WorkerClient(oracle, chief, name=arguments.name)
    tuner.tuner_id = arguments.name
    threading.Thread(target=_send_heartbeats, args=(chief, tuner), daemon=True).start()
    with chief.readable_errors(), dtype_policy(config.precision):
        tuner.search()


class WorkerClient(keras_tuner_internals.OracleClient):
    """KerasTuner's client, with the end of a trial as `rpc` has it.

    Args:
      oracle: an oracle of the same search; only its objective is used.
      chief: connection to the chief.
      name: name of the worker.
    """

    def __init__(self, oracle: Any, chief: ChiefConnection, *, name: str):
        super().__init__(oracle, chief.channel, worker=name, timeout_s=chief.wait_s)
        self.chief = chief
        self.metrics: dict[str, float] = {}

    def create_trial(self, tuner_id: str) -> Trial:
        """Returns the next trial; pauses where there is none at present."""
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.IDLE:
            time.sleep(IDLE_S)
        self.metrics = {}
        return trial

    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> None:
        """Holds the metrics until the trial ends."""
        self.metrics = metrics

    def end_trial(self, trial: Trial) -> None:
        """Sends the result of a trial."""
        self.chief.call(
            "end_trial",
            worker=self.tuner_id,
            trial=trial.trial_id,
            status=trial.status,
            message=trial.message,
            metrics=self.metrics,
        )


def _send_heartbeats(chief: ChiefConnection, tuner: TrialRunner) -> None:
    """Sends every few seconds that this worker is alive, and how far its trial is."""
    while True:
        # If the chief is gone, the calls of the search and of the pool say so.
        with contextlib.suppress(UserError, grpc.RpcError):
            chief.call("heartbeat", worker=tuner.tuner_id, **tuner.progress)
        time.sleep(HEARTBEAT_S)


def _take_device(index: int, *, n_workers: int) -> None:
    """Takes one GPU for each of several workers; by itself TensorFlow takes all memory of all."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and n_workers > 1:
        gpu = gpus[index % len(gpus)]
        tf.config.set_visible_devices(gpu, "GPU")
        tf.config.experimental.set_memory_growth(gpu, True)
