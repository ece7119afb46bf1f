"""The status of a task: raw files, records and versions that are there."""

import json

import pytest
import tiny

from tfpipe.tasks.catalog import TASKS
from tfpipe.tasks.status import OptionHelp, task_details, task_status


@pytest.fixture
def folders(tmp_path):
    return {"data": tmp_path / "data", "models": tmp_path / "saved_models"}


def test_a_task_without_files_has_an_empty_row(folders):
    row = task_status(tiny.TASK, **folders)
    assert (row.task, row.title) == ("tiny", "bright middles")
    assert row.raw == folders["data"] / "raw" / "tiny" and not row.has_raw_files
    assert not row.is_packed and row.n_examples == 0
    assert row.versions == {} and row.n_versions == 0


def test_a_row_says_what_is_there(folders):
    raw, records = (folders["data"] / kind / "tiny" for kind in ("raw", "records"))
    raw.mkdir(parents=True)
    assert not task_status(tiny.TASK, **folders).has_raw_files
    (raw / "a.txt").write_text("1")
    records.mkdir(parents=True)
    counts = {"train": {"dull": 3, "bright": 4}, "validation": {"dull": 1}, "test": {}}
    (records / "manifest.json").write_text(json.dumps({"counts": counts}))
    for name in ("simple-cnn/10", "simple-cnn/2", "simple-cnn/search", "vgg16/search"):
        (folders["models"] / "tiny" / name).mkdir(parents=True)
    (folders["models"] / "tiny" / "comparison.csv").write_text("")
    row = task_status(tiny.TASK, **folders)
    assert row.has_raw_files and row.is_packed
    assert row.counts == counts and row.n_examples == 8
    assert row.versions == {"simple-cnn": (2, 10)} and row.n_versions == 2


def test_details_add_what_a_user_may_set(folders):
    details = task_details(tiny.TASK, **folders)
    assert details.expects == "*.txt" and details.models == ("simple-cnn",)
    assert details.classes == ("dull", "bright")
    assert details.options == (OptionHelp("pictures", 24, "pictures a file"),)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_row_and_help_for_each_option(name, folders):
    details = task_details(TASKS[name], **folders)
    assert details.task == name and details.title and details.expects and details.models
    assert all(option.help for option in details.options)
