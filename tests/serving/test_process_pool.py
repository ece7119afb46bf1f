"""A pool of processes at one port: workers that die are replaced, and none outlives the pool."""

import os
import signal
import socket
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import psutil
import pytest
import server_process
import tensorflow as tf
from prometheus_client.multiprocess import MultiProcessCollector
from server_process import b64, pixels, png
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfpipe.base import processes
from tfpipe.base.errors import UserError
from tfpipe.registry import store
from tfpipe.serving import process_pool, sockets
from tfpipe.serving.config import Endpoint, ServerConfig
from tfpipe.serving.limits import Limits
from tfpipe.serving.process_pool import ServerPool

IMAGES = pixels(4)
PATH = "/v1/models/tiny:predict"
INSTANCES = {"instances": [b64(png(image)) for image in IMAGES]}
STUB = """
import json, os, pathlib, signal, socket, sys, time
config = json.loads(sys.stdin.readline())
if config["server"]["selectors"] == ["nothing"]:
    print(json.dumps({"error": "there is nothing"}))
    sys.exit(2)
mark = pathlib.Path(config["server"]["models"], "weak")
if mark.exists():  # dies at once, but only the first time
    mark.unlink()
    os.abort()
listener, is_over = socket.socket(fileno=config["listener"]), False
listener.listen()
listener.settimeout(0.02)
print(json.dumps({"url": "here"}), flush=True)
def end(*_):
    global is_over
    is_over = True
signal.signal(signal.SIGTERM, end)
while not is_over:
    try:
        connection, _ = listener.accept()
    except TimeoutError:
        continue
    connection.recv(1)
    connection.sendall(str(os.getpid()).encode())
    connection.close()
"""
TOKEN = {"Authorization": "Bearer secret"}
ANSWERED = 'tfpipe_requests_total{method="predict",model="tiny",status="200"} '


def wait_for(condition):
    """Returns the value of a condition once it is true."""
    end = time.monotonic() + 300  # starting TensorFlow on a machine that is full of work
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


def n_answered(worker: psutil.Process) -> float:
    """Returns how many requests a worker has answered."""
    folder = worker.environ().get("PROMETHEUS_MULTIPROC_DIR")  # none before its program begins
    path = Path(folder or "", f"counter_{worker.pid}.db")
    metrics = MultiProcessCollector.merge([str(path)]) if path.exists() else []
    return sum(
        sample.value
        for metric in metrics
        for sample in metric.samples
        if sample.name == "tfpipe_requests_total"
    )


def alive(parent: psutil.Process) -> list[psutil.Process]:
    return [child for child in parent.children() if child.status() != psutil.STATUS_ZOMBIE]


def is_refused(server) -> bool:
    try:
        socket.create_connection((server.host, server.port)).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture
def run_pool(tmp_path, monkeypatch):
    """Returns a function that runs a pool of two stubs in a thread, and waits until all serve."""
    monkeypatch.setattr(process_pool, "WORKER_COMMAND", (sys.executable, "-S", "-c", STUB))
    monkeypatch.setattr(process_pool, "POLL_S", 0.01)
    monkeypatch.setattr(process_pool, "MAX_BACKOFF_S", 0.1)
    monkeypatch.setattr(processes, "call_on_stop", lambda _: None)  # is for main threads
    pools: list[ServerPool] = []

    def run(*selectors: str, listener: socket.socket | None = None) -> tuple[ServerPool, Future]:
        listener, limits = listener or sockets.bind("127.0.0.1", 0), Limits(deadline_s=5)
        config = ServerConfig([*selectors], tmp_path)
        pool = ServerPool(config, listener, endpoint=Endpoint(), limits=limits, size=2)
        serves = threading.Event()
        future = executor.submit(pool.run, lambda _: serves.set())
        pools.append(pool)
        wait_for(lambda: serves.is_set() or future.done())
        return pool, future

    with ThreadPoolExecutor(2) as executor:
        yield run
        for pool in pools:
            pool.stop()


def ask_stub(pool: ServerPool) -> int:
    """Returns the id of the process that answers."""
    with socket.socket(pool.listener.family) as connection:
        connection.settimeout(60)
        connection.connect(pool.listener.getsockname())
        connection.sendall(b"?")
        return int(connection.recv(100))


def test_workers_share_a_unix_socket_and_get_a_new_one_when_all_have_died(run_pool, tmp_path):
    pool, _ = run_pool(listener=sockets.bind_unix(tmp_path / "sock"))
    pids = {worker.process.pid for worker in pool.workers}
    assert ask_stub(pool) in pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not pids & {worker.process.pid for worker in pool.workers if worker})
    wait_for(lambda: all(worker and worker.info for worker in pool.workers))
    assert pool.listener.getsockname() == str(tmp_path / "sock")
    assert ask_stub(pool) not in pids


def test_workers_that_die_are_replaced_and_clients_of_a_dead_pool_are_refused(
    run_pool, tmp_path, caplog
):
    (tmp_path / "weak").touch()
    pool, _ = run_pool()
    assert "(SIGABRT); another one starts in 0.1 s." in caplog.text
    pids = [worker.process.pid for worker in pool.workers]
    assert ask_stub(pool) in pids
    address = pool.listener.getsockname()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: caplog.text.count("SIGKILL") == 2)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    wait_for(lambda: all(worker and worker.info for worker in pool.workers))
    assert pool.listener.getsockname() == address
    assert ask_stub(pool) not in pids


def test_the_backoff_grows_up_to_a_minute():
    assert [process_pool.backoff_s(n) for n in (0, 1, 2, 3, 9)] == [0, 1, 3, 7, 60]


def test_a_pool_that_is_stopped_answers_the_requests_that_it_has(run_pool):
    pool, future = run_pool()
    with socket.create_connection(pool.listener.getsockname(), timeout=60) as connection:
        wait_for(lambda: accepted(pool))
        pool.stop()
        wait_for(lambda: pool.listener.fileno() < 0)
        connection.sendall(b"?")
        assert int(connection.recv(100)) in [worker.process.pid for worker in pool.workers]
    future.result(60)
    assert [worker.process.returncode for worker in pool.workers] == [0, 0]
    assert pool.metrics_folder and not Path(pool.metrics_folder).exists()


def accepted(pool: ServerPool) -> list:
    """Returns the connections that workers have accepted."""
    processes = [psutil.Process(worker.process.pid) for worker in pool.workers if worker]
    connections = [one for process in processes for one in process.net_connections()]
    return [one for one in connections if one.status == psutil.CONN_ESTABLISHED]


def test_the_error_of_a_worker_that_can_serve_nothing_is_raised(run_pool):
    with pytest.raises(UserError, match="^there is nothing$"):
        run_pool("nothing")[1].result(60)


def test_a_grpc_port_is_reserved_for_workers_and_refused_to_others():
    with sockets.reserve("127.0.0.1", 0, option="--grpc-port") as reservation:
        address = reservation.getsockname()
        for _ in range(2):  # several workers may bind it
            with socket.socket() as worker:
                worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                worker.bind(address)
                worker.listen()
                with pytest.raises(UserError, match="Choose another with --grpc-port"):
                    sockets.reserve(*address, option="--grpc-port")


@pytest.mark.slow
def test_two_workers_share_a_port_and_outlive_each_other_but_not_their_pool(tmp_path):
    version = server_process.published(tmp_path / "tiny" / "simple-cnn", seed=1)
    card = replace(store.read_card(version), task="melt-layer")  # a task that is analyzed
    (version / "assets.extra" / "card.json").write_bytes(card.to_json())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    early_results, is_up = set(), threading.Event()

    def ask_early() -> None:
        """Asks before the server is up, and notes what comes."""
        early = server_process.Client({"url": f"http://127.0.0.1:{port}"})
        while not is_up.is_set():
            try:
                early_results.add(early.ask("/healthz", timeout=30)[0])
            except ConnectionRefusedError:
                early_results.add("refused")
            time.sleep(0.05)

    with ThreadPoolExecutor(8) as executor:
        early = executor.submit(ask_early)
        words = ("--workers", "2", "--grpc-port", "0")
        with server_process.running(tmp_path, *words, port=port, TFPIPE_TOKEN="secret") as server:
            is_up.set()
            early.result()
            assert "refused" in early_results and early_results <= {"refused", 200}
            assert server.info["workers"] == 2
            parent = psutil.Process(server.process.pid)
            first, second = alive(parent)
            children = [child for one in (first, second) for child in one.children()]
            assert not [one for one in children if "forkserver" in " ".join(one.cmdline())]

            def ask(_=None) -> int:
                try:
                    return server.ask(PATH, INSTANCES, **TOKEN)[0]
                except OSError:  # the worker that had it was killed
                    return 0

            assert {*executor.map(ask, range(300))} == {200}
            counts = [n_answered(worker) for worker in (first, second)]
            assert sum(counts) == 300 and min(counts) >= 30
            assert f"{ANSWERED}300.0" in server.ask("/metrics", **TOKEN)[1]
            requests = [executor.submit(ask) for _ in range(30)]
            first.kill()
            lost = [request.result() for request in requests].count(0)
            assert lost <= 8  # one of each thread at most, and only those the worker had accepted
            assert {*executor.map(ask, range(20))} == {200}
            another = wait_for(lambda: {*alive(parent)} - {first, second}).pop()
            wait_for(lambda: ask() == 200 and n_answered(another))
            metrics = server.ask("/metrics", **TOKEN)[1]
            total = float(metrics.partition(ANSWERED)[2].splitlines()[0])
            assert total >= 300 + 30 - lost + 20 and "pid=" not in metrics
            asked = [executor.submit(server.ask, PATH, INSTANCES) for _ in range(20)]
            assert {one.result()[0] for one in asked} == {401}
            later = TOKEN | {"Prefer": "respond-async"}
            status, _, headers = server.ask("/v1/models/tiny:analyze?name=a.png", b"a", **later)
            assert status == 202
            looks = [server.ask(headers["Location"], **TOKEN)[0] for _ in range(20)]
            assert 404 not in looks  # whichever worker is asked
            with grpc.insecure_channel(server.grpc) as channel:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = "tiny"
                encoded = [png(image) for image in IMAGES]
                request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(encoded))
                stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
                key = [("authorization", "Bearer secret")]
                answer = stub.Predict(request, timeout=60, metadata=key, wait_for_ready=True)
                assert answer.outputs["probabilities"].tensor_shape.dim[0].size == 4
            workers = alive(parent)
            folder = Path(workers[0].environ()["PROMETHEUS_MULTIPROC_DIR"])
            for worker in workers:  # where others ask for its jobs
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(str(folder / f"{worker.pid}.sock"))
                    connection.sendall(
                        b"GET /healthz HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n"
                    )
                    assert server_process.received(connection).startswith(b"HTTP/1.1 200")
            parent.kill()
            assert not psutil.wait_procs(workers, timeout=60)[1]
            wait_for(lambda: is_refused(server))
            sockets.bind("127.0.0.1", port).close()
            assert not folder.exists()
