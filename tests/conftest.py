"""What every test runs under: processor only, no threads to spare, no network, no windows."""

import gc
import os
import socket
import sys
from pathlib import Path

import pytest

THREADS = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
os.environ.update(
    {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_NUM_INTRAOP_THREADS": THREADS,
        "TF_NUM_INTEROP_THREADS": THREADS,
        "OMP_NUM_THREADS": THREADS,
        "TF_ENABLE_ONEDNN_OPTS": "1",  # as the commands have it
        "KERAS_BACKEND": "tensorflow",
        "MPLBACKEND": "Agg",
    }
)


gc.disable()  # until all is imported: looking for garbage in modules takes seconds


# Files that take longest: begun last, one of them would run on alone.
LONGEST = (
    "test_notebooks.py",
    "search/test_workers.py",
    "explore/test_run.py",
    "serving/test_analyze.py",
    "workflows/test_whole_tasks.py",
    "workflows/test_whole_loop.py",
    "workflows/test_end_to_end.py",
    "workflows/test_decision_rule.py",
    "serving/test_process_pool.py",
    "tasks/test_fold_geometry.py",
    "tasks/test_adding_a_task.py",
    "workflows/test_retrain.py",
    "review/test_page.py",
    "tasks/test_ionization_run.py",
    "training/test_loop.py",
    "models/test_zoo.py",
    "tasks/test_ccd_tracks_run.py",
    "registry/test_export.py",
    "data/test_pack.py",
    "inference/test_resume.py",
    "serving/test_server.py",
    "workflows/test_retrain_kinds.py",
)


def pytest_collection_modifyitems(items):
    """Puts the files that take longest first, then those with slow tests, each in its order."""
    places = {file: place for place, file in enumerate(LONGEST)}
    here = Path(__file__).parent
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(item) -> tuple[int, bool]:
        file = str(item.path.relative_to(here))
        return places.get(file, len(places)), item.path not in slow

    items.sort(key=place)


def pytest_collection_finish():
    """Leaves what was imported out of every later look for garbage."""
    gc.enable()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_disks():
    """Lets nothing wait until a disk has it: no test cuts the power, and a kill loses no file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which also refuses a file that is closed
        yield


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Refuses connections to other machines, by name or by number."""

    def guarded(connect):
        def checked(self, address):
            host = address[0] if isinstance(address, tuple) else "localhost"  # a path is local
            if host not in ("localhost", "::1") and not host.startswith("127."):
                raise AssertionError(f"A test tried to connect to {host}; tests use no network.")
            return connect(self, address)

        return checked

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))


@pytest.fixture(autouse=True)
def dtype_policy_stays():
    """Fails a test after which the global Keras dtype policy is not what it was."""
    before = _dtype_policy()
    yield
    assert _dtype_policy() == before, "The test leaves another dtype policy behind."


def _dtype_policy() -> str:
    keras = sys.modules.get("keras")
    return keras.config.dtype_policy().name if keras else "float32"
