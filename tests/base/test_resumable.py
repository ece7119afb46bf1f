"""Unfinished work in a folder: gone on with under the same plan, by one process at a time."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfpipe.base import locks, resumable
from tfpipe.base.errors import UserError
from tfpipe.base.resumable import ResumableFolder

PLAN = {"model": {"filters": (8, 16), "rate": 0.1}, "version": Path("cnn/1"), "none": None}


def folder_of(path: Path, plan=PLAN, **options) -> ResumableFolder:
    busy = f"Another training is running in {path}. Wait for it to end."
    return ResumableFolder(path, plan, work="training", busy=busy, **options)


def test_the_same_plan_goes_on(tmp_path, caplog):
    with folder_of(tmp_path / "training") as folder:
        folder.write("epoch.json", {"loss": np.float32(0.5), "epoch": np.int64(3)})
    with folder_of(tmp_path / "training") as folder:
        assert folder.read("epoch.json") == {"loss": 0.5, "epoch": 3}
        assert folder.read("missing.json") is None
    assert not caplog.messages
    assert [path.name for path in tmp_path.iterdir()] == ["training"], "the lock file is removed"


def test_work_with_another_plan_is_moved_aside_and_named(tmp_path, caplog):
    with folder_of(tmp_path / "training") as folder:
        folder.write("epoch.json", 3)
    with caplog.at_level(logging.WARNING), folder_of(tmp_path / "training", {"v": 2}) as folder:
        assert folder.read("epoch.json") is None
        assert folder.read("plan.json") == {"v": 2}
    with caplog.at_level(logging.WARNING), folder_of(tmp_path / "training", {"v": 3}):
        pass
    assert resumable.read_json(tmp_path / "training-1" / "epoch.json") == 3
    assert caplog.messages == [
        f"An earlier training has another plan; it is now {tmp_path / name}."
        for name in ("training-1", "training-2")
    ]


def test_work_with_another_plan_is_removed_where_it_is_not_worth_keeping(tmp_path, caplog):
    with folder_of(tmp_path / "training") as folder:
        folder.write("epoch.json", 3)
    with folder_of(tmp_path / "training", {"v": 2}, keep_other=False) as folder:
        assert folder.read("epoch.json") is None
    assert [path.name for path in tmp_path.iterdir()] == ["training"] and not caplog.messages


@pytest.mark.parametrize("damaged", [b"", b"{", b"\xff", b"[]"])
def test_work_without_a_readable_plan_is_moved_aside_unless_its_plan_is_found(damaged, tmp_path):
    with folder_of(tmp_path / "training") as folder:
        folder.write("epoch.json", 3)
    (tmp_path / "training" / "plan.json").write_bytes(damaged)
    if damaged != b"[]":  # a plan that can be read is the plan
        with folder_of(tmp_path / "training", recover_plan=lambda path: PLAN) as folder:
            assert folder.read("epoch.json") == 3
        (tmp_path / "training" / "plan.json").write_bytes(damaged)
    with folder_of(tmp_path / "training") as folder:
        assert folder.read("epoch.json") is None
    assert resumable.read_json(tmp_path / "training-1" / "epoch.json") == 3


def test_what_is_not_worth_keeping_stays_where_it_is(tmp_path):
    (tmp_path / "search" / "logs").mkdir(parents=True)
    with folder_of(tmp_path / "search", contents=("state.json",)):
        assert (tmp_path / "search" / "logs").is_dir()
    assert not (tmp_path / "search-1").exists()


def test_a_second_process_is_held_back_in_one_sentence(tmp_path):
    with folder_of(tmp_path / "training") as folder:
        assert locks.is_held(tmp_path / ".training.lock")
        with (
            pytest.raises(UserError, match=r"\AAnother training is running in .*training\. Wait"),
            folder_of(tmp_path / "training", {"v": 2}),
        ):
            raise AssertionError
        assert folder.read("plan.json")["model"] == {"filters": [8, 16], "rate": 0.1}


KILLED = """
import os, signal, sys
from pathlib import Path
from tfpipe.base.resumable import ResumableFolder

with ResumableFolder(Path(sys.argv[1]), {"v": 1}, work="training", busy="held") as folder:
    for number in range(3):
        folder.add_result(f"part{number}", {"number": number}, number**2)
    (folder.path / "half.npz").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_its_results_and_no_lock(tmp_path):
    path = tmp_path / "training"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", KILLED, path], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / ".training.lock").exists()
    with folder_of(path, {"v": 1}) as folder:
        results = [folder.result(f"part{i}", {"number": i}) for i in range(4)]
        assert results == [0, 1, 4, None]
        folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_result_holds_under_its_own_plan_only(tmp_path):
    with folder_of(tmp_path / "results", None) as folder:
        assert not (tmp_path / "results").exists(), "a folder of results only has no plan"
        folder.add_result("cnn", {"fold": (1, 5), "rate": float("nan")}, [{"loss": 0.5}])
        assert folder.result("cnn", {"rate": float("nan"), "fold": [1, 5]}) == [{"loss": 0.5}]
        assert folder.result("cnn", {"fold": (2, 5), "rate": float("nan")}) is None
        (tmp_path / "results" / "cnn.json").write_bytes(b'{"plan": {"fold"')
        assert folder.result("cnn", {"fold": (1, 5), "rate": float("nan")}) is None


def test_work_that_cannot_be_read_is_moved_aside_under_its_own_plan(tmp_path, caplog):
    with folder_of(tmp_path / "search") as folder:
        folder.discard("cannot be read")
        assert folder.read("plan.json") == resumable.read_json(tmp_path / "search-1" / "plan.json")
    assert "cannot be read; it is now" in caplog.text


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("a file where a folder should be")
    with (
        pytest.raises(UserError, match=r"training cannot be written: .*choose another folder"),
        folder_of(tmp_path / "file" / "training"),
    ):
        raise AssertionError


def test_a_file_is_moved_to_the_first_free_number_and_keeps_its_suffix(tmp_path):
    for number in (1, 2):
        (tmp_path / "state.json").write_text("{}")
        assert resumable.move_aside(tmp_path / "state.json").name == f"state-{number}.json"
