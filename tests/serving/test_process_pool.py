"""Several processes that serve at one port: who dies is replaced, and nobody is left behind."""

import os
import signal
import socket
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
import pytest
import server_process
import tensorflow as tf
from prometheus_client.multiprocess import MultiProcessCollector
from server_process import b64, pixels, png
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfpipe.base.errors import UserError
from tfpipe.serving import process_pool, sockets
from tfpipe.serving.config import Wanted
from tfpipe.serving.limits import Limits

IMAGES = pixels(4)
PATH = "/v1/models/tiny:predict"
INSTANCES = {"instances": [b64(png(image)) for image in IMAGES]}
STUB = """
import json, os, pathlib, signal, socket, sys, time
orders = json.loads(sys.stdin.readline())
if orders["wanted"]["words"] == ["nothing"]:
    print(json.dumps({"error": "there is nothing"}))
    sys.exit(2)
mark = pathlib.Path(orders["wanted"]["models"], "weak")
if mark.exists():  # dies at once, but not for ever
    mark.unlink()
    os.abort()
listener, is_over = socket.socket(fileno=orders["listener"]), False
listener.listen()
listener.settimeout(0.02)
print(json.dumps({"url": "here"}), flush=True)
def end(*_):
    global is_over
    is_over = True
signal.signal(signal.SIGTERM, end)
while not is_over:
    try:
        line, _ = listener.accept()
    except TimeoutError:
        continue
    asked = line.recv(1)
    line.sendall(str(os.getpid()).encode())
    line.close()
"""
ANSWERED = 'tfpipe_requests_total{model="tiny",status="200",verb="predict"} '


def wait_for(condition):
    """Returns what the condition gives once it is true."""
    until = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def counted(worker: psutil.Process) -> float:
    """Returns how many requests a worker has answered."""
    path = Path(worker.environ()["PROMETHEUS_MULTIPROC_DIR"], f"counter_{worker.pid}.db")
    found = MultiProcessCollector.merge([str(path)]) if path.exists() else []
    return sum(
        sample.value
        for metric in found
        for sample in metric.samples
        if sample.name == "tfpipe_requests_total"
    )


def alive(parent: psutil.Process) -> list[psutil.Process]:
    return [one for one in parent.children() if one.status() != psutil.STATUS_ZOMBIE]


def is_refused(server) -> bool:
    try:
        socket.create_connection((server.host, server.port)).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture
def crew(tmp_path, monkeypatch):
    """Gives what runs a chief of two stubs in a thread, and the chief itself once all serve."""
    monkeypatch.setattr(process_pool, "WORKER", (sys.executable, "-S", "-c", STUB))
    monkeypatch.setattr(process_pool, "LOOK_S", 0.01)
    monkeypatch.setattr(process_pool, "PAUSE_S", 0.1)
    monkeypatch.setattr(process_pool.signal, "signal", lambda *_: None)  # is for main threads
    begun = []

    def run(*words: str) -> tuple[process_pool.Chief, Future]:
        listener, limits = sockets.bound("127.0.0.1", 0), Limits(deadline_s=5)
        wanted, where = Wanted([*words], tmp_path), sockets.Where()
        one = process_pool.Chief(wanted, listener, where=where, limits=limits, size=2)
        serves = threading.Event()
        begun.append((one, pool.submit(one.run, lambda _: serves.set())))
        wait_for(lambda: serves.is_set() or begun[-1][1].done())
        return begun[-1]

    with ThreadPoolExecutor(2) as pool:
        yield run
        for one, _ in begun:
            one._end()


def asked(one: process_pool.Chief) -> int:
    """Returns the process that answered."""
    with socket.create_connection(one.listener.getsockname(), timeout=60) as line:
        line.sendall(b"?")
        return int(line.recv(100))


def test_workers_that_die_are_replaced_and_all_dead_clients_are_refused(crew, tmp_path, caplog):
    (tmp_path / "weak").touch()
    one, _ = crew()
    assert "(SIGABRT); another starts in 0.1 s." in caplog.text
    pids = [worker.process.pid for worker in one.workers]
    assert asked(one) in pids
    address = one.listener.getsockname()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: caplog.text.count("SIGKILL") == 2)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    wait_for(lambda: all(one.workers) and all(worker.told for worker in one.workers))
    assert one.listener.getsockname() == address
    assert asked(one) not in pids


def test_pauses_grow_up_to_a_minute():
    assert [process_pool.pause(n) for n in (0, 1, 2, 3, 9)] == [0, 1, 3, 7, 60]


def test_told_to_end_it_waits_for_those_who_have_asked(crew):
    one, done = crew()
    with socket.create_connection(one.listener.getsockname(), timeout=60) as line:
        wait_for(lambda: taken(one))
        one._end()
        wait_for(lambda: one.listener.fileno() < 0)
        line.sendall(b"?")
        assert int(line.recv(100)) in [worker.process.pid for worker in one.workers]
    done.result(60)
    assert [worker.process.returncode for worker in one.workers] == [0, 0]
    assert not Path(one._orders["counts"]).exists()


def taken(one: process_pool.Chief) -> list:
    """Returns the connections that workers have taken."""
    of = [psutil.Process(worker.process.pid) for worker in one.workers]
    return [c for p in of for c in p.net_connections() if c.status == psutil.CONN_ESTABLISHED]


def test_what_no_worker_can_serve_is_said_once(crew):
    with pytest.raises(UserError, match="^there is nothing$"):
        crew("nothing")[1].result(60)


def test_a_grpc_port_is_kept_for_workers_and_refused_to_others():
    with sockets.reserved("127.0.0.1", 0, option="--grpc-port") as keeper:
        address = keeper.getsockname()
        for _ in range(2):  # more than one may
            with socket.socket() as worker:
                worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                worker.bind(address)
                worker.listen()
                with pytest.raises(UserError, match="Give another by --grpc-port"):
                    sockets.reserved(*address, option="--grpc-port")


@pytest.mark.slow
def test_two_workers_share_a_port_and_outlive_each_other_but_not_their_chief(tmp_path):
    server_process.published(tmp_path / "tiny" / "simple-cnn", seed=1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    heard, is_up = set(), threading.Event()

    def listen() -> None:
        """Hears what clients do that come too early."""
        early = server_process.Server(None, {"url": f"http://127.0.0.1:{port}"})
        while not is_up.is_set():
            try:
                heard.add(early.ask("/healthz", timeout=30)[0])
            except ConnectionRefusedError:
                heard.add("refused")
            time.sleep(0.05)

    with ThreadPoolExecutor(8) as pool:
        early = pool.submit(listen)
        words = ("--workers", "2", "--grpc-port", "0")
        with server_process.running(tmp_path, *words, port=port) as server:
            is_up.set()
            early.result()
            assert "refused" in heard and heard <= {"refused", 200}
            assert server.told["workers"] == 2
            parent = psutil.Process(server.process.pid)
            first, second = alive(parent)

            def ask(_=None) -> int:
                try:
                    return server.ask(PATH, INSTANCES)[0]
                except OSError:  # it was asked of whoever is killed
                    return 0

            assert {*pool.map(ask, range(60))} == {200}
            shares = [counted(one) for one in (first, second)]
            assert sum(shares) == 60 and min(shares) >= 6
            assert f"{ANSWERED}60.0" in server.ask("/metrics")[1]
            asked = [pool.submit(ask) for _ in range(30)]
            first.kill()
            lost = [one.result() for one in asked].count(0)
            assert lost <= 8  # one of each thread's at most, and only those the worker had taken
            assert {*pool.map(ask, range(20))} == {200}
            another = wait_for(lambda: {*alive(parent)} - {first, second}).pop()
            wait_for(lambda: ask() == 200 and counted(another))
            told = server.ask("/metrics")[1]
            now = float(told.partition(ANSWERED)[2].splitlines()[0])
            assert now >= 60 + 30 - lost + 20 and "pid=" not in told
            with grpc.insecure_channel(server.grpc) as channel:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = "tiny"
                encoded = [png(image) for image in IMAGES]
                request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(encoded))
                stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
                answer = stub.Predict(request, timeout=60, wait_for_ready=True)
                assert answer.outputs["probabilities"].tensor_shape.dim[0].size == 4
            left = alive(parent)
            counts = Path(left[0].environ()["PROMETHEUS_MULTIPROC_DIR"])
            parent.kill()
            assert not psutil.wait_procs(left, timeout=60)[1]
            wait_for(lambda: is_refused(server))
            sockets.bound("127.0.0.1", port).close()
            assert not counts.exists()
