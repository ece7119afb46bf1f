"""What every test runs under: processor only, no threads to spare, no network, no windows."""

import gc
import os
import socket

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
    *("workers", "whole_tasks", "loop", "end_to_end", "fold_task", "explore", "adding_a_task"),
    *("retraining", "review", "ionization_run", "training", "models", "ccd_tracks_run", "export"),
    *("records", "search", "resuming", "serving", "retraining_kinds"),
)


def pytest_collection_modifyitems(items):
    """Puts the tests of the files that take longest first, each file's in their order."""
    places = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_collection_finish():
    """Leaves what was imported out of every later look for garbage."""
    gc.enable()
    gc.freeze()


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
