"""Chief and workers: whoever dies, hangs, crashes or comes too late, every trial is run once."""

import json
import os
import re
import signal
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import search_run
import tiny
from keras_tuner.engine import trial as trials
from made_manifest import made_manifest

from tfpipe.base import files, resources
from tfpipe.base.errors import UserError
from tfpipe.data.dataset import Dataset
from tfpipe.search import access, oracles, results, rpc, worker_pool
from tfpipe.search import chief as chiefs
from tfpipe.search import plan as search_plan
from tfpipe.search.chief import Chief
from tfpipe.search.oracle_state import COMPLETED, FAILED
from tfpipe.search.run import WorkerConfig, run_workers
from tfpipe.search.worker import WorkerClient
from tfpipe.training import loop

TOKEN = "a token of the tests"
WAIT_S = 60.0  # enough for the slowest machine; nothing here waits that long


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> loop.Dataset:
    return tiny.packed(tmp_path_factory.mktemp("tiny"))


# A chief in this process, and workers that only pretend to train.


def connected(address: str, *, wait_s: float = WAIT_S) -> rpc.ChiefConnection:
    return rpc.ChiefConnection(address, wait_s=wait_s, token=TOKEN)


class Pretender:
    """Asks a chief for trials over gRPC, as a worker does, and makes scores up."""

    def __init__(self, address: str, name: str):
        self.chief, self.name = connected(address), name
        self.client = WorkerClient(None, self.chief, name=name)

    def take(self):
        return self.client.create_trial(self.name)

    def end(self, trial, *, score: float = 0.5, message: str | None = None) -> None:
        if not message:
            self.client.update_trial(trial.trial_id, {"val_accuracy": score})
        trial.status, trial.message = FAILED if message else COMPLETED, message
        self.client.end_trial(trial)


@pytest.fixture
def served(tmp_path):
    """Starts chiefs that keep their search in `tmp_path`; returns each and its address."""
    servers = []

    def start(*, limit_s=None, address="127.0.0.1:0", **changes) -> tuple[Chief, str]:
        found = Dataset(tmp_path, made_manifest(fingerprint="of the records"), "accuracy")
        config = tiny.search_config(found, **changes)
        oracle = oracles.make_oracle(config, search_plan.plan_of(config), found)
        oracle.store_in(tmp_path, chief="here")
        chief = Chief(oracle, trial_limit_s=limit_s)
        server, got = rpc.serve(chief, chief.methods, address=address, token=TOKEN)
        servers.append(server)
        return chief, got

    yield start
    for server in servers:
        server.stop(grace=None).wait()


def free_address() -> str:
    """Returns an address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.slow
def test_a_hundred_trials_leave_the_chiefs_memory_as_it_was(served, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)
    mine = Path(tiny.__file__).with_name("tiny_space.py")
    chief, address = served(trials=115, space=str(mine))
    worker, sizes = Pretender(address, "there-1"), []
    while (trial := worker.take()).status == trials.TrialStatus.RUNNING:
        worker.chief.call("heartbeat", worker=worker.name, epoch=1, epochs=1)
        worker.end(trial, score=trial.hyperparameters.values["learning_rate"])
        sizes.append(psutil.Process().memory_info().rss)
    assert len(sizes) == 115 and chief.is_over
    assert sizes[-1] < 1.05 * sizes[14]
    rows = results.read(chief.oracle.folder)["trials"]
    # Values and scores lose nothing on the way.
    assert all(row["score"] == row["learning_rate"] for row in rows)


def test_a_silent_workers_trial_is_given_out_again_and_its_result_comes_too_late(served):
    chief, address = served()
    silent, other = Pretender(address, "there-1"), Pretender(address, "there-2")
    trial = silent.take()
    chief.expire()
    assert not chief.dismissed
    chief.leases[silent.name].last_heartbeat -= chiefs.HEARTBEAT_TIMEOUT_S + 1
    silent.chief.call("heartbeat", worker=silent.name, epoch=3, epochs=5)
    chief.expire()
    assert not chief.dismissed  # it was heard of in between
    assert chief.running == {trial.trial_id: {"worker": silent.name, "epoch": 3, "epochs": 5}}
    chief.leases[silent.name].last_heartbeat -= chiefs.HEARTBEAT_TIMEOUT_S + 1
    chief.expire()
    assert silent.take().status == trials.TrialStatus.IDLE
    result = other.chief.call("poll", pool="there", workers=[silent.name, other.name])
    assert result == {"is_over": False, "dismissed": [silent.name], "trials": {}}
    assert other.take().trial_id == trial.trial_id
    silent.end(trial, score=0.9)
    assert chief.oracle.end_order == []
    other.end(trial, score=0.1)
    assert chief.oracle.trials[trial.trial_id].score == 0.1


def test_a_trial_that_takes_too_long_has_failed(served):
    chief, address = served(limit_s=600)
    worker = Pretender(address, "there-1")
    trial = worker.take()
    chief.expire()
    assert chief.oracle.end_order == []
    chief.leases[worker.name].start -= 601
    chief.expire()
    row = results.read(chief.oracle.folder)["trials"][int(trial.trial_id)]
    assert (row["status"], row["message"]) == (FAILED, "It took longer than 10 minutes.")
    assert chief.dismissed == {worker.name}


def test_a_failed_trial_says_why_and_a_finished_search_that_it_is_over(served):
    chief, address = served(trials=2)
    worker = Pretender(address, "there-1")
    worker.end(worker.take(), message="It was \u201cbad\u201d.")
    worker.end(worker.take())
    assert worker.take().status == trials.TrialStatus.STOPPED
    rows = results.read(chief.oracle.folder)["trials"]
    assert [row["message"] for row in rows] == ["It was \u201cbad\u201d.", None]
    assert [row["worker"] for row in rows] == ["there-1", "there-1"]
    chief.pools["there"] = chiefs.PoolContact(time.monotonic(), False)
    poll = threading.Timer(0.2, lambda: worker.chief.call("poll", pool="there", workers=[]))
    poll.start()
    chief.wait_for_workers()
    poll.join()  # so that the chief does not close before it has answered
    assert chief.pools["there"].heard_of_end


@pytest.mark.parametrize(
    ("part", "changed", "says"),
    [
        ("data", "of others", "This worker's records are not the chief's"),
        ("space", [], "This worker's space is not the chief's"),
        ("settings", {"batch_size": 8}, "This worker's training settings are not"),
    ],
)
def test_a_worker_that_would_run_another_search_is_refused(part, changed, says, served):
    chief, address = served()
    connection = connected(address)
    connection.call("join", plan=chief.oracle.plan)
    with pytest.raises(UserError, match=says):
        connection.call("join", plan=chief.oracle.plan | {part: changed})
    assert chief.error is None


def test_three_failures_in_a_row_end_a_search_with_the_reason(data, tmp_path, monkeypatch):
    monkeypatch.setenv(access.TOKEN_VARIABLE, TOKEN)
    address = free_address()

    def fail() -> None:
        worker = Pretender(address, "there-1")
        for _ in range(oracles.MAX_CONSECUTIVE_FAILURES):
            worker.end(worker.take(), message="No such thing.")

    failing = threading.Thread(target=fail)
    failing.start()
    with pytest.raises(UserError, match="given up after 3 failed trials: No such thing."):
        search_run.by_workers(
            data, tmp_path, workers=WorkerConfig(count=0, chief=address), trials=9
        )
    failing.join()


def test_a_chief_that_cannot_write_ends_the_search_with_the_reason(served, monkeypatch):
    chief, address = served()

    def full(path, data):
        raise UserError("state.json cannot be written: No space left on device.")

    monkeypatch.setattr(files, "replace", full)
    worker = Pretender(address, "there-1")
    with pytest.raises(UserError, match="No space left on device"), worker.chief.readable_errors():
        worker.take()
    assert chief.is_over and "No space left" in str(chief.error)


def test_workers_wait_for_a_chief_that_comes_later(served, monkeypatch):
    monkeypatch.setattr(
        rpc, "CLIENT_OPTIONS", [("grpc.enable_http_proxy", 0)]
    )  # no call is repeated
    address = free_address()
    result = []
    connection = connected(address)
    asking = threading.Thread(
        target=lambda: result.append(connection.call("poll", pool="there", workers=[]))
    )
    asking.start()
    served(address=address)
    asking.join()
    assert result == [{"is_over": False, "dismissed": [], "trials": {}}]


def test_a_chief_that_cannot_be_reached_is_said_after_the_wait():
    address = free_address()
    began = time.monotonic()
    with pytest.raises(UserError, match=f"The chief at {address} has not answered for 0.5 s. Star"):
        connected(address, wait_s=0.5).call("poll", pool="there", workers=[])
    assert time.monotonic() - began >= 0.5


def test_a_port_in_use_is_said(served):
    _, address = served()
    with pytest.raises(UserError, match=f"cannot listen at {address}: Address already in use"):
        served(address=address)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("192.0.2.1:0", "cannot listen at 192.0.2.1:0: Cannot assign requested address"),
        ("no.such.host.invalid:0", "cannot listen at no.such.host.invalid:0: "),
        ("node1", "--chief is 'node1', expected HOST:PORT"),
        ("node1:http", "--chief is 'node1:http', expected HOST:PORT"),
        (":5000", "--chief is ':5000', expected HOST:PORT"),
        ("node1:70000", "--chief is 'node1:70000', expected HOST:PORT"),
    ],
)
def test_an_address_that_is_none_is_said(address, says, served):
    with pytest.raises(UserError, match=says):
        served(address=address)


@pytest.mark.parametrize(
    ("code", "kills", "says"),
    [
        (-signal.SIGKILL, 0, None),
        (-signal.SIGTERM, 1, None),
        (-signal.SIGKILL, 1, "It took more memory than there is: its worker was killed."),
        (-signal.SIGSEGV, 0, "Its worker crashed \\(SIGSEGV\\), see .*worker.log."),
        (-signal.SIGABRT, 1, "Its worker crashed \\(SIGABRT\\), see .*worker.log."),
        (1, 0, "Its worker ended \\(ValueError: no\\), see .*worker.log."),
    ],
)
def test_why_a_worker_ended(code, kills, says, tmp_path, monkeypatch):
    log = tmp_path / "worker.log"
    log.write_text("Traceback\nValueError: no\n")
    before = resources.oom_kills()
    monkeypatch.setattr(resources, "oom_kills", lambda: before + kills)
    worker = worker_pool.Worker(SimpleNamespace(exitcode=code), "here-1", log, oom_kills=before)
    reason = worker_pool.exit_reason(worker)
    assert reason is None if says is None else re.fullmatch(says, reason)


# Real processes.


def statuses(result: dict) -> dict[str, str]:
    return {row["trial"]: row["status"] for row in result["trials"]}


@pytest.mark.slow
def test_a_search_of_two_workers_survives_six_kills(data, tmp_path):
    victims = [*["child"] * 3, "chief", *["child"] * 2]
    search_run.killed(data, tmp_path, workers=2, victims=victims, trials=9)
    result = results.read(tmp_path)
    assert statuses(result) == {f"{i}": COMPLETED for i in range(9)}
    state = json.loads((tmp_path / "state.json").read_bytes())
    assert sorted(state["oracle"]["end_order"]) == [f"{i}" for i in range(9)]
    assert result["finished"] and not [*tmp_path.glob("trial_*/fold_*")]


@pytest.mark.slow
def test_a_killed_search_of_one_worker_ends_as_if_undisturbed(data, tmp_path):
    undisturbed = search_run.in_this_process(data, tmp_path / "undisturbed", trials=3)
    victims = ["child", "chief"]
    search_run.killed(data, tmp_path / "killed", workers=1, victims=victims, trials=3)
    result = results.read(tmp_path / "killed")
    for row in undisturbed["trials"] + result["trials"]:
        del row["worker"], row["seconds"]
    assert result["trials"] == undisturbed["trials"]


BAD_SPACE = """
import os, signal, time

def space(hp):
    kind = hp.Choice("kind", KINDS)
    if kind == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "takes memory":
        raise MemoryError("Unable to allocate 99. GiB")
    if kind == "hangs":
        time.sleep(10_000)
    small = {"filters": 1, "conv_layers": 1, "dense_units": 8}
    return small | {"dropout": 0.0, "dense_dropout": 0.0}

def training(hp):
    is_none = hp.Choice("kind", KINDS) == "is no number"
    return {"learning_rate": float("nan") if is_none else 0.01}
"""


def bad_space(folder: Path, *kinds: str) -> str:
    """Writes a space whose trials go wrong, each in a way of its own; the first is the default."""
    path = folder / "bad_space.py"
    path.write_text(f"KINDS = {kinds!r}\n{BAD_SPACE}")
    return str(path)


@pytest.mark.slow
def test_trials_that_go_wrong_are_marked_and_the_search_goes_on(data, tmp_path):
    kinds = ("good", "crashes", "takes memory", "is no number", "good too")
    mine = bad_space(tmp_path, *kinds)
    # With this seed no three bad ones come in a row.
    given = {"space": mine, "training": {"seed": 22}, "trials": 5}
    best = search_run.by_workers(data, tmp_path / "search", workers=WorkerConfig(1), **given)
    result = {row["kind"]: row for row in best["trials"]}
    assert {kind: row["status"] for kind, row in result.items()} == {
        kind: COMPLETED if "good" in kind else FAILED for kind in kinds
    }
    assert "crashed (SIGSEGV)" in result["crashes"]["message"]
    assert result["takes memory"]["message"] == (
        "It took more memory than there is: Unable to allocate 99. GiB"
    )
    assert result["is no number"]["message"].startswith("Training diverged in epoch 1")
    assert best["score"] == max(result["good"]["score"], result["good too"]["score"])


@pytest.mark.slow
def test_a_trial_that_hangs_is_ended_and_so_is_its_worker(data, tmp_path):
    mine = bad_space(tmp_path, "good", "hangs")
    hangs = {"space": mine, "training": {"seed": seed_of(mine, "hangs", data)}, "trials": 1}
    before = psutil.Process().children()
    with pytest.raises(UserError, match="No trial of the search gave a score"):
        search_run.by_workers(
            data, tmp_path / "search", workers=WorkerConfig(count=1, trial_limit_s=1.2), **hangs
        )
    (row,) = results.read(tmp_path / "search")["trials"]
    assert (row["status"], row["message"]) == (FAILED, "It took longer than 0.02 minutes.")
    assert psutil.Process().children() == before


def seed_of(space: str, kind: str, data: loop.Dataset) -> int:
    """Returns a seed with which a random search of a bad space begins with that kind of trial."""
    for seed in range(1, 50):
        config = tiny.search_config(data, space=space, training={"seed": seed})
        oracle = oracles.make_oracle(config, search_plan.plan_of(config), data)
        if oracle.populate_space("0")["values"]["kind"] == kind:
            return seed
    raise AssertionError(f"No seed begins with {kind}.")


@pytest.mark.slow
def test_workers_that_cannot_work_say_why(data, tmp_path):
    path = tmp_path / "here_only.py"
    path.write_text(
        "import multiprocessing\n"
        "def space(hp):\n"
        "    if multiprocessing.parent_process():\n"
        "        raise RuntimeError('not on this machine')\n"
        "    return {'filters': hp.Int('filters', 1, 3)}\n"
    )
    with pytest.raises(UserError, match="here_only.py line 4: RuntimeError: not on this machine"):
        search_run.by_workers(data, tmp_path / "search", workers=WorkerConfig(1), space=str(path))


def test_a_worker_that_comes_after_the_end_of_its_search_says_so(data, tmp_path, caplog):
    config = tiny.search_config(data)
    plan = oracles.make_oracle(config, search_plan.plan_of(config), data).plan
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    (tmp_path / "best.json").write_text('{"score": 0.5}')
    pool = WorkerConfig(1, free_address(), wait_s=0.1)
    run_workers(config, tmp_path, workers=pool)
    assert "is over: there is nothing left to do" in caplog.text
    other = replace(config, training={"seed": 4})
    with pytest.raises(UserError, match="There is no token for the chief"):
        run_workers(other, tmp_path, workers=pool)
