"""Preflight: versions that would harm a process are loaded in one of their own first."""

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hostile_versions
import pytest

from tfpipe.base import processes
from tfpipe.base.errors import UserError
from tfpipe.registry.checked_files import checked_copy
from tfpipe.serving.config import PREFLIGHT
from tfpipe.serving.limits import Limits
from tfpipe.serving.model import preflight
from tfpipe.serving.model.store import ModelSelector, ModelStore
from tfpipe.serving.runtimes.available import SAVEDMODEL

pytestmark = pytest.mark.slow  # the first one waits for the import of TensorFlow

LIMITS = Limits(deadline_s=0.5)


def check(version: Path) -> None:
    """Checks a version in its preflight."""
    with checked_copy(version) as copy:
        preflight.check(copy, limits=LIMITS, runtime=SAVEDMODEL)


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """A version whose warm-up request is computed for ever."""
    processes.begin(PREFLIGHT)
    version = tmp_path_factory.mktemp("models") / "tiny" / "endless" / "1"
    hostile_versions.endless(version)
    return version


def test_a_graph_that_never_ends_is_refused_and_its_process_is_gone(endless, caplog):
    models = ModelStore(
        endless.parents[2],
        [ModelSelector("tiny"), ModelSelector("tiny", "endless")],
        limits=LIMITS,
    )
    models.refresh()
    assert "did not answer its warm-up requests within 2 s" in models.unavailable_reason()
    assert not multiprocessing.active_children()
    models.refresh()
    assert caplog.text.count("is not served") == 1  # under two names, and in two refreshes


def test_what_never_ends_before_its_warm_up_is_refused_too(endless, monkeypatch):
    monkeypatch.setattr(preflight, "LOAD_S", 0.1)
    monkeypatch.setattr(preflight, "WARMUP_DEADLINES", 1)
    with pytest.raises(UserError, match="tiny/endless/1 was not loaded within 0.6 s. Export it"):
        check(endless)


def test_a_version_that_ends_its_process_is_refused_in_a_sentence(endless):
    with ThreadPoolExecutor(1) as executor:
        refusal = executor.submit(check, endless)
        while not (started := multiprocessing.active_children()):
            time.sleep(0.01)
        started[0].kill()
        with pytest.raises(UserError, match="ended the process that loaded it, by SIGKILL. It may"):
            refusal.result()


def test_a_version_with_nothing_wrong_is_loaded_and_one_that_must_not_be_is_not(tmp_path):
    good, bad = tmp_path / "tiny" / "good" / "1", tmp_path / "tiny" / "bad" / "1"
    hostile_versions.Answer().save(good)
    check(good)
    hostile_versions.with_writing_initializer(bad, tmp_path / "written")
    with pytest.raises(UserError, match="tiny/bad/1"):
        check(bad)
    assert not (tmp_path / "written").exists()
