"""Object storage for tests: a folder by fsspec, and S3 by moto's server where that is installed."""

import importlib.util
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
import small_records
from published_text import TextExport

from tfpipe.base import storage
from tfpipe.data import manifest, stored_records
from tfpipe.registry import store as version_store
from tfpipe.registry import stored_versions

CHANGES = ("put_file", "pipe_file", "cp_file", "rm_file")  # calls that change a storage
HAS_S3 = all(importlib.util.find_spec(name) for name in ("s3fs", "moto", "flask"))


@pytest.fixture(params=["file", "s3"])
def place(request, tmp_path, monkeypatch) -> str:
    """The URL of an empty storage; local copies lie in the test's folder."""
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))
    if request.param == "file":
        return f"file://{tmp_path}/stored"
    if not HAS_S3:
        pytest.skip("s3fs or moto[server] is not installed")
    for name, value in {
        "AWS_ENDPOINT_URL": request.getfixturevalue("s3_server"),
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = "b" + tmp_path.name.lower().replace("_", "-")[-40:]
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir(bucket)
    return f"s3://{bucket}/stored"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server of moto."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def names(url: str) -> list[str]:
    """Returns the names of all files of a storage."""
    system, root = fsspec.core.url_to_fs(url)
    system.invalidate_cache()
    if not system.exists(root):
        return []
    return sorted(path.removeprefix(f"{root}/") for path in system.find(root))


class CountedSystem:
    """A file system that counts its changes, and kills the process at one of them.

    An upload at which it dies leaves half of the file.

    Attributes:
      calls: names of the changes so far.
    """

    def __init__(self, system, *, kill_at: int = 0):
        self._system, self._kill_at, self._lock = system, kill_at, threading.Lock()
        self.calls: list[str] = []

    def __getattr__(self, name: str):
        method = getattr(self._system, name)
        if name == "open":
            return lambda path, mode: self._counted("create", method)(path, mode)
        return self._counted(name, method) if name in CHANGES else method

    def _counted(self, name: str, method: Callable) -> Callable:
        def call(*args, **kwargs):
            with self._lock:
                self.calls.append(name)
                if len(self.calls) == self._kill_at:
                    if name == "put_file":
                        data = Path(args[0]).read_bytes()
                        self._system.pipe_file(args[1], data[: len(data) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
            return method(*args, **kwargs)

        return call


def counted(*, kill_at: int = 0) -> CountedSystem:
    """Has all storages of this process counted, from now on; see `CountedSystem`."""
    open_system, systems = fsspec.core.url_to_fs, {}
    first = CountedSystem(None, kill_at=kill_at)

    def url_to_fs(url: str):
        system, root = open_system(url)
        if url not in systems:
            one = CountedSystem(system, kill_at=kill_at)
            one.calls, one._lock = first.calls, first._lock
            systems[url] = one
        return systems[url], root

    fsspec.core.url_to_fs = url_to_fs
    return first


# A process whose children publish and are killed, and read what is there after each.


def _publish(kind: str, url: str, raw: Path) -> None:
    folder = storage.local_folder(url)
    if kind == "records":
        records = folder / "records" / "small-task"
        stored_records.fetch(records)
        small_records.pack_small(raw, records)
        stored_records.publish(records)
    else:
        stored_versions.fetch(folder, "tiny")
        if not version_store.versions(folder / "tiny" / "text"):
            version_store.publish(TextExport(), folder / "tiny" / "text", card=small_card())


def small_card():
    from made_card import made_card

    return made_card(model="text")


def _read(kind: str, url: str) -> list[str]:
    """Returns fingerprints or numbers of what a reader meets; raises if any file is not whole."""
    folder = storage.local_folder(url)
    if kind == "records":
        records = folder / "records" / "small-task"
        stored_records.fetch(records)
        return [manifest.trusted(records).fingerprint] if records.is_dir() else []
    from tfpipe.registry import checked_files

    stored_versions.fetch(folder, "tiny")
    numbers = version_store.versions(folder / "tiny" / "text")
    for number in numbers:
        version = folder / "tiny" / "text" / str(number)
        checked_files.check(version, version_store.read_card(version))
    return [str(number) for number in numbers]


def _in_child(function: Callable[[], object], *, cache: Path, kill_at: int = 0) -> dict:
    """Runs a function in a forked process; returns its exit status and result."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        os.environ[storage.CACHE] = str(cache)
        system = counted(kill_at=kill_at)
        try:
            result = function()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os.write(write_end, json.dumps({"result": result, "calls": system.calls}).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        text = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"status": status, **(json.loads(text) if text else {})}


def run(kind: str, url: str, raw: Path, caches: Path, *, kill_at: int) -> dict:
    """Returns how a publisher ended, and what a reader meets afterwards.

    Args:
      kind: "records" or "versions".
      url: of the storage.
      raw: raw files of the small task.
      caches: folder for local copies.
      kill_at: number of the change at which the publisher is killed; 0 for never.
    """
    done = _in_child(lambda: _publish(kind, url, raw), cache=caches / "publisher", kill_at=kill_at)
    met = _in_child(lambda: _read(kind, url), cache=caches / "reader")
    return done | {"met": met.get("result"), "reader": met["status"]}


def main(kind: str, url: str, raw: Path, caches: Path) -> None:
    """Prints a run without a kill, and for some moments the run that is killed and the next."""
    whole = run(kind, f"{url}/whole", raw, caches / "whole", kill_at=0)
    n_calls, pairs = len(whole["calls"]), {}
    for moment in sorted({1, n_calls // 2 + 1, n_calls}):
        place = (kind, f"{url}/{moment}", raw, caches / str(moment))
        pairs[moment] = [run(*place, kill_at=moment), run(*place, kill_at=0)]
    print(json.dumps({"whole": whole, "pairs": pairs}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
