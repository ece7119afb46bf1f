"""Files predicted by Apache Beam have the rows of one process, whichever worker predicts them."""

import importlib
import os
import signal
import threading
import time
from pathlib import Path

import damaged_task
import four_class_task
import keras
import numpy as np
import pandas as pd
import pytest
import tiny
from made_card import made_card
from small_records import tree

pytest.importorskip("apache_beam")

from tfpipe.base.errors import UserError
from tfpipe.inference import beam_predict, run, sources
from tfpipe.inference.confidence import PredictionOptions
from tfpipe.inference.request import PredictionRequest
from tfpipe.models.spec import Spec
from tfpipe.registry import store
from tfpipe.registry.export import NetworkExport

pytestmark = [pytest.mark.filterwarnings("ignore")]  # those of Beam and Dask are theirs
TESTS = Path(__file__).parents[1]
TWO_PROCESSES = {"direct_running_mode": "multi_processing", "direct_num_workers": "2"}


def made_predictions() -> pd.DataFrame:
    """Returns predictions of a version on validation and test examples."""
    labels = np.tile(np.arange(4), 20)
    frame = pd.DataFrame({"label": labels, "split": np.repeat(["validation", "test"], 40)})
    frame["key"], frame["group"] = [f"k{i}" for i in range(80)], [f"g{i % 5}" for i in range(80)]
    frame[[f"p_{name}" for name in four_class_task.CLASSES]] = 0.1 + 0.6 * np.eye(4)[labels]
    return frame


@pytest.fixture(scope="module", autouse=True)
def _workers_import_the_task():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS.parent), str(TESTS / "helpers")]))
        yield


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    keras.utils.set_random_seed(0)
    return damaged_task.publish(tmp_path_factory.mktemp("models"), made_predictions())


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Ten files, one of them damaged."""
    folder = tmp_path_factory.mktemp("raw")
    for i in range(10):
        (folder / f"file{i}.txt").write_text("damaged" if i == 4 else str(i))
    return folder


@pytest.fixture(scope="module")
def expected(version, raw, tmp_path_factory):
    """What this process writes without a runner."""
    folder = tmp_path_factory.mktemp("expected")
    predict(version, raw, folder)
    return tree(folder)


def predict(version, raw, folder, *, runner=sources.predict_here):
    request = PredictionRequest(damaged_task.TASK, version, [raw], folder / "t.parquet", run=runner)
    return run.predict(request, prediction_options=PredictionOptions(embedding=True))


def test_the_direct_runner_writes_the_same_rows_counts_and_sheets(version, raw, expected, tmp_path):
    result = predict(version, raw, tmp_path, runner=beam_predict.source_runner("DirectRunner", {}))
    assert tree(tmp_path) == expected
    table = pd.read_parquet(tmp_path / "t.parquet")
    assert result.rows == len(table) == 9 * damaged_task.TASK.options.pictures
    assert "embedding_0" in table


def test_a_file_that_fails_is_named_and_others_are_predicted(version, raw, tmp_path):
    result = predict(version, raw, tmp_path, runner=beam_predict.source_runner("DirectRunner", {}))
    assert result.bad == {"file4.txt": "file4.txt is damaged. Copy it again."}
    skipped = pd.read_csv(tmp_path / "t" / "skipped.csv")
    assert skipped.to_dict("records") == [
        {"file": "file4.txt", "reason": "file4.txt is damaged. Copy it again."}
    ]


def test_a_reader_that_crashes_is_named_too(version, tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    for name, text in (("a.txt", "1"), ("b.txt", "no number"), ("c.txt", "2")):
        (raw / name).write_text(text)
    result = predict(version, raw, out, runner=beam_predict.source_runner("DirectRunner", {}))
    assert result.files == 2
    assert result.bad["b.txt"].startswith("b.txt failed: ValueError: invalid literal for int()")


def test_finished_files_are_not_predicted_again(version, raw, expected, tmp_path):
    def stops(run):
        sources.predict_here(run._replace(sources=run.sources[:3]))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(version, raw, tmp_path, runner=stops)
    result = predict(version, raw, tmp_path, runner=beam_predict.source_runner("DirectRunner", {}))
    assert result.summary["resumed_files"] == 3 and tree(tmp_path) == expected


def test_workers_that_reach_no_results_are_a_sentence(version, raw, tmp_path, monkeypatch):
    monkeypatch.setattr(beam_predict.Runner, "process", lambda *_: None)
    with pytest.raises(UserError, match="ended, but 10 of 10 files have no result in"):
        predict(version, raw, tmp_path, runner=beam_predict.source_runner("DirectRunner", {}))


def test_whole_files_have_the_same_rows_windows_and_overlays(tmp_path):
    spec = Spec((16, 16, 1), tiny.CLASSES, (100.0,), (50.0,))
    version = store.publish(
        NetworkExport(tiny.build(spec), spec, {"image": np.zeros((2, 16, 16, 1), np.uint8)}),
        tmp_path / "models" / "tiny" / "simple-cnn",
        card=made_card(classes=tiny.CLASSES, thresholds={"decision": 0.5}),
    )
    raw = tmp_path / "raw"
    raw.mkdir()
    for i in range(3):
        (raw / f"file{i}.txt").write_text(str(i))
    runner = beam_predict.source_runner("DirectRunner", {})
    for folder, one in (("here", sources.predict_here), ("beam", runner)):
        out = tmp_path / folder / "t.csv"
        request = PredictionRequest(tiny.TASK, version, [raw], out, run=one)
        assert run.predict(request, windows=out.with_name("w.csv")).rows == 3
    assert len(tree(tmp_path / "here")) == 5
    assert tree(tmp_path / "here") == tree(tmp_path / "beam")


@pytest.mark.slow
def test_two_processes_write_the_same_rows(version, raw, expected, tmp_path):
    predict(
        version, raw, tmp_path, runner=beam_predict.source_runner("DirectRunner", TWO_PROCESSES)
    )
    assert tree(tmp_path) == expected


@pytest.mark.slow
def test_a_dask_worker_is_killed_and_the_rows_are_the_same(version, tmp_path):
    distributed = importlib.import_module("distributed")
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    for i in range(24):
        (raw / f"file{i:02d}.txt").write_text(f"slow {i}")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        pids = [worker.process.pid for worker in cluster.workers.values()]
        killed = []

        def finished():
            return len(list((out / ".t.parquet.partial").glob("*/*.json")))

        def kill_after_the_first_file():
            while not finished():
                time.sleep(0.01)
            os.kill(pids[0], signal.SIGKILL)
            killed.append(finished())

        thread = threading.Thread(target=kill_after_the_first_file, daemon=True)
        thread.start()
        options = {"dask_client_address": cluster.scheduler_address}
        result = predict(
            version, raw, out, runner=beam_predict.source_runner("DaskRunner", options)
        )
        thread.join(timeout=10)
    assert killed and killed[0] < 24 and result.files == 24 and not result.bad
    predict(version, raw, tmp_path / "expected")
    assert tree(out) == tree(tmp_path / "expected")
