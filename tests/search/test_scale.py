"""docs/scale: the array of Slurm and the Job of Kubernetes, run as processes of this machine."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import tiny
import yaml

import tfpipe
from tfpipe.search import results
from tfpipe.search.oracle_state import COMPLETED

ROOT = Path(tfpipe.__file__).parents[1]
FILES = ROOT / "docs" / "scale"
MINUTES = 5
# No trial ends before there is a file called `go`, except one of the default values.
GATED_SPACE = """
import pathlib, time

def space(hp):
    while hp.values.get("learning_rate", 1e-4) != 1e-4 and not pathlib.Path("go").exists():
        time.sleep(0.05)
    small = {"filters": 1, "conv_layers": 1, "dropout": 0.0, "dense_units": 8}
    return small | {"dense_dropout": 0.0}

def training(hp):
    return {"learning_rate": hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")}
"""


def free_job() -> int:
    """Returns the number of a job whose port is free."""
    for job in range(os.getpid() % 9000, 20000):
        taken = {connection.laddr.port for connection in psutil.net_connections("tcp")}
        if 20000 + job not in taken:
            return job
    raise AssertionError("No port is free.")


class Scheduler:
    """Starts the tasks of a file under docs/scale, as its scheduler would.

    Args:
      name: "slurm" or "kubernetes".
      folder: the shared folder.
      arguments: of `tfpipe tune`.
      program: what `tfpipe` is.
    """

    def __init__(self, name: str, folder: Path, arguments: list[str], *, program: str):
        self.folder, self.tasks = folder, []
        tool = folder / "bin" / "tfpipe"
        tool.parent.mkdir(parents=True)
        tool.write_text(f"#!/bin/sh\n{program}\n")
        tool.chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{tool.parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        }
        job = free_job()
        if name == "slurm":
            self.index = "SLURM_ARRAY_TASK_ID"
            self.command = ["bash", str(FILES / "search.slurm"), *arguments]
            self.environment |= {"SLURM_SUBMIT_DIR": str(folder), "SLURMD_NODENAME": "127.0.0.1"}
            self.environment |= {"SLURM_ARRAY_JOB_ID": str(job)}
            return
        (_, _, made) = yaml.safe_load_all((FILES / "search-job.yaml").read_text())
        (container,) = made["spec"]["template"]["spec"]["containers"]
        self.index = "JOB_COMPLETION_INDEX"
        self.command = [*container["command"], *arguments]
        values = {"PORT": str(20000 + job), "POD_IP": "127.0.0.1", "JOB": "a-job"}
        values["TFPIPE_SEARCH_TOKEN"] = "of the secret"
        assert set(values) == {variable["name"] for variable in container["env"]}
        self.environment |= values

    def start(self, index: int) -> subprocess.Popen:
        log = (self.folder / f"task-{index}.log").open("w")
        task = subprocess.Popen(
            self.command,
            cwd=self.folder,
            env=self.environment | {self.index: str(index)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()
        self.tasks.append(task)
        return task

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("task-*.log")))

    def close(self) -> None:
        for task in self.tasks:
            if task.poll() is None:
                os.killpg(task.pid, signal.SIGKILL)
            task.wait()


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_a_chief_packs_before_workers_begin_and_all_have_the_same_options(name, tmp_path):
    arguments = ["a task", "--algorithm", "random", "--hp", "a=b c"]
    program = 'for word; do printf "%s\\n" "$word"; done > "called-$1-$$"'
    scheduler = Scheduler(name, tmp_path, arguments, program=program)
    try:
        late = scheduler.start(1)
        time.sleep(0.2)
        assert late.poll() is None and not [*tmp_path.glob("called-*")]
        assert scheduler.start(0).wait(30) == 0 and late.wait(30) == 0, scheduler.logs()
    finally:
        scheduler.close()
    (packing,) = tmp_path.glob("called-pack-*")
    assert packing.read_text().splitlines() == ["pack", "a task"]
    tunings = [path.read_text().splitlines() for path in tmp_path.glob("called-tune-*")]
    chief, worker = sorted(tunings, key=lambda words: "--worker" in words)
    assert chief[: len(arguments) + 1] == ["tune", *arguments] == worker[: len(arguments) + 1]
    assert chief[-2] == "--chief" and chief[-1].startswith("127.0.0.1:")
    assert worker[worker.index("--chief") + 1] == chief[-1]


def running(folder: Path) -> dict[str, str]:
    """Returns from worker to the trial that it runs."""
    try:
        content = json.loads((folder / "running.json").read_bytes())
    except FileNotFoundError:
        return {}
    return {item["worker"]: trial for trial, item in content.items()}


@pytest.mark.slow
def test_one_worker_is_killed_and_one_comes_late(tmp_path):
    drawn = tmp_path / "drawn"
    tiny.packed(drawn)
    for part in ("raw", "records"):
        (tmp_path / "data" / part).mkdir(parents=True)
        (drawn / part).rename(tmp_path / "data" / part / "tiny")
    (tmp_path / "my_space.py").write_text(GATED_SPACE)
    arguments = [tiny.__file__, "--space", "my_space.py", "--algorithm", "random", "--trials", "4"]
    arguments += ["--trial-epochs", "1", "--epochs", "1", "--no-random-split", "--json"]
    program = f'exec {shlex.quote(sys.executable)} -m tfpipe "$@"'
    # That the other scheduler starts the same commands is shown above.
    scheduler = Scheduler("slurm", tmp_path, arguments, program=program)
    folder = tmp_path / "saved_models" / "tiny" / "simple-cnn" / "search"
    end = time.monotonic() + 60 * MINUTES

    def wait_for(condition):
        while not (found := condition()):
            assert chief.poll() is None and time.monotonic() < end, scheduler.logs()
            time.sleep(0.1)
        return found

    def worker_of(task: subprocess.Popen) -> str | None:
        return next((w for w in running(folder) if f":{task.pid}-" in w), None)

    chief = scheduler.start(0)
    try:
        early = scheduler.start(1)
        victim = wait_for(lambda: worker_of(early))
        trial = running(folder)[victim]
        for process in psutil.Process(early.pid).children(recursive=True):
            if process.children() or "resource_tracker" in " ".join(process.cmdline()):
                continue  # the server that workers are forked from
            process.kill()
        wait_for(lambda: worker_of(early) not in (None, victim))
        late = scheduler.start(2)
        wait_for(lambda: worker_of(late))
        (tmp_path / "go").touch()
        wait_for((folder / "best.json").is_file)
        content, state = results.read(folder), json.loads((folder / "state.json").read_bytes())
        assert early.wait(60) == 0 and late.wait(60) == 0, scheduler.logs()
    finally:
        scheduler.close()  # training the winner is not our business here
    assert {row["trial"]: row["status"] for row in content["trials"]} == dict.fromkeys(
        "0123", COMPLETED
    )
    said = json.loads((tmp_path / "task-2.log").read_text().splitlines()[-1])
    assert (said["command"], said["task"]) == ("tune", "tiny")
    assert sorted(state["oracle"]["end_order"]) == ["0", "1", "2", "3"]
    assert state["notes"][trial]["losses"] == 1
    assert any(f":{late.pid}-" in row["worker"] for row in content["trials"])
