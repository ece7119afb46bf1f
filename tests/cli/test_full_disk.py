"""Every command that writes, on a disk that is full or read-only: a sentence, no half file."""

import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import run_command
import small_disk
import small_records
import tiny

from tfpipe import cli

pytestmark = pytest.mark.slow  # what they share is a version

TASK = tiny.__file__
SMALL = ("--hp", "filters=2", "--hp", "conv_layers=1", "--hp", "dense_units=4", "--epochs", "1")
VERSION = "saved_models/tiny/simple-cnn/1"
COMMANDS = {
    "sample": ("sample", "folds", "--outcrops", "3", "--crops", "1"),
    "pack": ("pack", TASK),
    "train": ("train", TASK, *SMALL, "--no-random-split"),
    "tune": ("tune", TASK, "--algorithm", "random", "--trials", "1", "--quick"),
    "rerun": ("rerun", f"{VERSION}/assets.extra/run.yaml"),
    "predict": ("predict", TASK, "data/raw/tiny", "--out", "out.csv"),
    "report": ("report", TASK),
    "rollback": ("rollback", TASK, "1"),
    "retrain": ("retrain", TASK, "--force"),
    "compare": ("compare", TASK, "--folds", "2", "--model", "simple-cnn"),
    "shallow": ("shallow", TASK, "--leaderboard"),
    "serve": ("serve", "tiny/simple-cnn", "--port", "0"),
    "explore": ("explore", TASK, "--out", "out"),
}
# Bytes that are free: none, or enough for the first files.
FREE = [
    ("sample", 0),
    ("sample", 60_000),
    ("pack", 0),
    ("pack", 60_000),
    ("train", 200_000),  # room for its checkpoint, none for the version
    ("tune", 0),
    ("rerun", 0),
    ("predict", 0),
    ("predict", 10_000),
    ("report", 40_000),
    ("rollback", 0),
    ("rollback", 150_000),
    ("retrain", 0),
    ("compare", 0),
    ("shallow", 0),
    ("serve", 0),
    ("explore", 200_000),
]
QUICK = ("sample", "pack", "predict", "rollback")  # those that are run to their end, too
UNFINISHED = (
    ".partial",
    ".raw",
    ".packed",
    "/training/",
    "/results/",
    "/search/",
)  # what the next run goes on with


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with raw files, records and two versions."""
    folder = tmp_path_factory.mktemp("home")
    raw = folder / "data" / "raw" / "tiny"
    raw.mkdir(parents=True)
    for i in range(12):
        (raw / f"file{i}.txt").write_text(str(i))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        run_command.run(*COMMANDS["train"])
    shutil.copytree(folder / VERSION, (folder / VERSION).with_name("2"))
    return folder


@pytest.fixture
def disk(home, tmp_path, monkeypatch):
    """A disk with a copy of home, in which the commands run."""
    with small_disk.made(tmp_path) as disk:
        shutil.copytree(home, disk.folder, dirs_exist_ok=True)
        with monkeypatch.context() as here:
            here.chdir(disk.folder)
            yield disk


@pytest.fixture
def run(disk, monkeypatch, capsys):
    """Runs a command; returns its exit code and what it prints to stderr."""

    def run(name: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["tfpipe", *COMMANDS[name]])
        if name == "serve":  # versions are copied before they are loaded
            monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
        try:
            cli.main()
        except SystemExit as stop:
            return stop.code or 0, capsys.readouterr().err
        raise AssertionError

    return run


def prepare(name: str, folder: Path) -> dict[str, str]:
    """Removes what makes a command find nothing to do; returns what the folder holds."""
    if name == "pack":
        shutil.rmtree(folder / "data" / "records")
    return small_records.tree(folder)


def check_refused(code: int, err: str, before: dict[str, str], folder: Path) -> None:
    """Checks a refusal: a sentence, and no other files than unfinished work."""
    sentences = [line for line in err.splitlines() if line.startswith("tfpipe: ")]
    assert code == 2 and "Traceback" not in err and len(sentences) == 1, err
    assert "cannot be " in sentences[0] and ("space" in sentences[0] or "folder" in sentences[0])
    after = small_records.tree(folder)
    assert {name: after.get(name) for name in before} == before
    new = [name for name in after.keys() - before.keys() if not name.startswith("out/")]
    assert [n for n in new if not any(word in f"/{n}" for word in UNFINISHED)] == []
    assert not [name for name in new if name.endswith((".part", ".lock"))]


@pytest.mark.parametrize(("name", "free_bytes"), FREE)
def test_a_full_disk_is_a_sentence_and_the_next_run_goes_on(disk, run, name, free_bytes):
    before = prepare(name, disk.folder)
    with disk.full(free_bytes=free_bytes):
        code, err = run(name)
    check_refused(code, err, before, disk.folder)
    if name in QUICK:
        assert run(name)[0] == 0


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"report", "explore"}))
def test_a_read_only_disk_is_a_sentence(disk, run, name):
    before = prepare(name, disk.folder)
    with disk.read_only():
        code, err = run(name)
    check_refused(code, err, before, disk.folder)
