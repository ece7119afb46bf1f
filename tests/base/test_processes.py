"""Processes that are forked from one that has imported TensorFlow and done nothing with it."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import forked_process
import psutil
import pytest

from tfpipe.base import processes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not processes.FORKS, reason="processes start from nothing on this system"),
]
SCRIPT = """
import os
from tfpipe.base import processes
print("begun")
print(processes.called(str.upper, "said"))
"""


@pytest.fixture(autouse=True)
def begun():
    """The server, which imports KerasTuner with the worker of searches."""
    processes.begin("tfpipe.search.worker")


def test_it_has_imported_and_computed_nothing_and_so_has_the_next():
    server, is_fresh = processes.called(forked_process.describe)
    assert is_fresh and server != os.getpid()
    assert processes.called(forked_process.describe) == (server, True)


def test_what_goes_wrong_there_is_raised_here():
    with pytest.raises(ValueError, match="invalid literal"):
        processes.called(int, "nothing")
    with pytest.raises(BrokenProcessPool):
        processes.called(os.abort)


def sleeping(folder):
    """Starts a process that sleeps, which writes "up" to the log in a folder."""
    (folder / "sleeping.py").write_text(
        "import time\ndef main():\n    print('up', flush=True)\n    time.sleep(600)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        return processes.started("sleeping", log=folder / "log", environment=dict(os.environ))


def test_a_server_that_is_killed_while_it_starts_a_process_is_replaced(tmp_path):
    server, _ = processes.called(forked_process.describe)
    os.kill(server, signal.SIGSTOP)  # so that it has the request, and not yet the process
    kill = threading.Timer(0.5, os.kill, (server, signal.SIGKILL))
    kill.start()
    process = sleeping(tmp_path)
    kill.join()
    assert psutil.Process(process.pid).ppid() != server
    process.kill()
    process.join()


def test_killed_the_server_takes_its_processes_along_and_is_started_anew(tmp_path):
    log, process = tmp_path / "log", sleeping(tmp_path)
    one = psutil.Process(process.pid)
    while not log.exists() or log.read_text() != "up\n":
        assert process.is_alive()
    server, _ = processes.called(forked_process.describe)
    assert one.ppid() == server
    os.kill(server, signal.SIGKILL)
    assert not psutil.wait_procs([one], timeout=60)[1]
    process.join()
    assert process.exitcode == processes.WITHOUT_SERVER
    another, is_fresh = processes.called(forked_process.describe)
    assert is_fresh and another != server


@pytest.mark.parametrize("letters", [0, 90])  # with 90 its socket's name does not fit
def test_a_users_script_is_not_run_again(tmp_path, letters):
    """Of multiprocessing's own processes each would run it, unless it asks for its name."""
    place = tmp_path / ("t" * letters) if letters else Path(tempfile.gettempdir())
    place.mkdir(exist_ok=True)
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(place)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "begun\nSAID\n"


INTERRUPTED = """
import contextlib, signal, time
from pathlib import Path
import forked_process, psutil
from tfpipe.base import processes
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
processes.begin()
importing = []
while not importing:
    time.sleep(0.01)
    with contextlib.suppress(OSError):  # a child may end meanwhile
        children = psutil.Process().children()
        importing = [p for p in children if "tensorflow" in Path(f"/proc/{p.pid}/maps").read_text()]
importing[0].send_signal(signal.SIGINT)
print(processes.called(forked_process.can_be_interrupted))
"""


def test_ctrl_c_while_the_server_imports_prints_no_traceback(tmp_path):
    """A terminal sends it to all processes; who began the server ends it."""
    (tmp_path / "script.py").write_text(INTERRUPTED)
    helpers = Path(forked_process.__file__).parent
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"],
        env=os.environ | {"PYTHONPATH": f"{Path(__file__).parents[2]}{os.pathsep}{helpers}"},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, "Traceback" in done.stderr) == ("True\n", False), done.stderr
