"""Shards written by Apache Beam are those of one process, whichever worker writes them and dies."""

import importlib
import os
import signal
import threading
import time

import pytest
import small_records

pytest.importorskip("apache_beam")

from tfpipe.base.errors import UserError
from tfpipe.data import beam_pack, checksum_cache, pack
from tfpipe.tasks import catalog, samples
from tfpipe.tasks.ccd_tracks import TASK as CCD_TRACKS
from tfpipe.tasks.splits import SplitConfig

pytestmark = [pytest.mark.filterwarnings("ignore")]  # those of Beam and Dask are theirs
TWO_PROCESSES = {"direct_running_mode": "multi_processing", "direct_num_workers": "2"}


@pytest.fixture(scope="module", autouse=True)
def _one_source_a_shard():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "SOURCES_A_SHARD", 1)
        yield


@pytest.fixture(scope="module")
def melt_raw(tmp_path_factory):
    return small_records.draw_melt(tmp_path_factory.mktemp("melt") / "raw")


@pytest.fixture(scope="module")
def tracks_raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracks") / "raw"
    samples.draw("ccd-tracks", folder, seed=0, exposures=16, tracks=30, frame_px=256)
    return folder


@pytest.fixture(scope="module")
def tracks(tracks_raw, tmp_path_factory):
    """The exposures' records, packed in this process."""
    folder = tmp_path_factory.mktemp("packed") / "records"
    pack_tracks(tracks_raw, folder)
    return small_records.tree(folder)


def pack_tracks(raw, folder, **changes):
    return pack.pack(
        CCD_TRACKS, raw, folder, options=CCD_TRACKS.options, **({"split": SplitConfig()} | changes)
    )


def engine(folder, **options):
    return beam_pack.packing_engine("DirectRunner", options, folder)


def beside(folder):
    # Checksums for the next packing.
    stay = [folder, *(folder.with_name(f".{folder.name}.{end}") for end in ("raw", "packed"))]
    return [path for path in folder.parent.iterdir() if path not in stay]


def test_the_direct_runner_writes_the_same_exposures(tracks_raw, tracks, tmp_path):
    folder = tmp_path / "records"
    pack_tracks(tracks_raw, folder, engine=engine(folder))
    assert small_records.tree(folder) == tracks and not beside(folder)


def test_the_direct_runner_writes_the_same_photos(melt_raw, tmp_path):
    small_records.pack_melt(melt_raw, tmp_path / "local")
    folder = tmp_path / "beam"
    small_records.pack_melt(melt_raw, folder, engine=engine(folder))
    assert small_records.tree(tmp_path / "beam") == small_records.tree(tmp_path / "local")


def test_raw_files_and_older_shards_are_summed_by_the_workers(tracks_raw, tmp_path, monkeypatch):
    monkeypatch.setattr(checksum_cache, "SETTLED_S", 1e6)  # no checksum is taken from a cache
    folder, summed = tmp_path / "records", []
    by_beam = engine(folder)

    def counted(paths):
        summed.append(({path.parent.name for path in paths}, len(paths)))
        return by_beam.checksums(paths)

    counting = by_beam._replace(checksums=counted)
    manifest = pack_tracks(tracks_raw, folder, engine=counting)
    pack_tracks(tracks_raw, folder, engine=counting, split=SplitConfig.parse("50/25/25"))
    assert summed[0][1] == 17  # 16 exposures and their labels
    assert summed[-1] == ({"records"}, len(manifest.shards) + len(manifest.files))
    assert len(manifest.shards) == 16 and not beside(folder)


def test_finished_shards_are_not_written_again(tracks_raw, tracks, tmp_path):
    folder, parts = tmp_path / "records", tmp_path / ".records.partial"

    def stops(shards, folder, context, report):
        pack.write_by_threads(shards[:3], folder, context, report)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_tracks(tracks_raw, folder, engine=pack.THIS_PROCESS._replace(write_shards=stops))
    before = {p.name: p.stat().st_ino for p in parts.glob("*.tfrecord-*") if p.suffix != ".json"}
    assert before
    pack_tracks(tracks_raw, folder, engine=engine(folder))
    assert {name: (folder / name).stat().st_ino for name in before} == before
    assert small_records.tree(folder) == tracks


def test_a_reader_that_fails_is_a_sentence_and_nothing_is_published(tmp_path):
    raw = small_records.draw_small(tmp_path / "raw", small_records.spread())

    def fails(source, options):
        raise ValueError("no such camera")

    task, folder = small_records.make_task(read=fails), tmp_path / "records"
    with pytest.raises(UserError, match=r"DirectRunner failed: .*no such camera.*goes on\."):
        small_records.pack_small(raw, folder, task=task, engine=engine(folder))
    assert not folder.exists()


@pytest.mark.parametrize(
    ("runner", "options", "sentence"),
    [
        ("DiretRunner", {}, "No runner called 'DiretRunner'. Did you mean 'DirectRunner'"),
        ("DirectRunner", {"direct_num_worker": "2"}, "Did you mean 'direct_num_workers'"),
        ("DaskRunner", {"dask_npartitions": "many"}, "invalid int value: 'many'"),
    ],
)
def test_runners_and_options_that_beam_lacks_are_refused(runner, options, sentence, tmp_path):
    with pytest.raises(UserError) as error:
        beam_pack.packing_engine(runner, options, tmp_path)
    assert sentence in str(error.value)


@pytest.mark.slow
def test_two_processes_write_the_same_exposures(tracks_raw, tracks, tmp_path):
    folder = tmp_path / "records"
    pack_tracks(tracks_raw, folder, engine=engine(folder, **TWO_PROCESSES))
    assert small_records.tree(folder) == tracks and not beside(folder)


def test_the_task_of_a_python_file_is_refused(tmp_path):
    raw = small_records.draw_small(tmp_path / "raw", small_records.spread())
    file = tmp_path / "my_task.py"
    file.write_text("import small_records\n\nTASK = small_records.make_task()\n")
    folder = tmp_path / "records"
    with pytest.raises(UserError, match="cannot pack the task of a Python file"):
        small_records.pack_small(raw, folder, task=catalog.find(str(file)), engine=engine(folder))


@pytest.mark.slow
def test_a_dask_worker_is_killed_and_the_records_are_the_same(tracks_raw, tracks, tmp_path):
    distributed = importlib.import_module("distributed")
    folder, parts = tmp_path / "records", tmp_path / ".records.partial"
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        pids = [worker.process.pid for worker in cluster.workers.values()]
        killed = []

        def kill_after_the_first_shard():
            while not list(parts.glob("*.tfrecord-*.json")):
                time.sleep(0.01)
            os.kill(pids[0], signal.SIGKILL)
            killed.append(len(list(parts.glob("*.tfrecord-*.json"))))

        thread = threading.Thread(target=kill_after_the_first_shard, daemon=True)
        thread.start()
        options = {"dask_client_address": cluster.scheduler_address}
        dask = beam_pack.packing_engine("DaskRunner", options, folder)
        pack_tracks(tracks_raw, folder, engine=dask)
        thread.join(timeout=10)
    assert killed and killed[0] < 16  # of 16 shards: there was work left
    assert small_records.tree(folder) == tracks and not beside(folder)
