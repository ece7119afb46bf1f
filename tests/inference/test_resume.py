"""A prediction that was killed goes on where it was, and ends with the same tables."""

import json
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import subprocesses
from small_records import tree

from tfpipe.base.errors import UserError
from tfpipe.inference import files, resume
from tfpipe.tasks.task import Source

FILES = 6
HELPERS = Path(__file__).parents[1] / "helpers"


def source_of(folder, name="a.txt") -> Source:
    (folder / name).write_text("one")
    return Source(name, name, folder / name)


def test_what_is_kept_is_there_until_the_file_changes(tmp_path):
    source, out = source_of(tmp_path), tmp_path / "t.csv"
    with pytest.raises(ZeroDivisionError), resume.open_results(out, {"v": 1}) as results:
        assert results.result(source) is None
        results.add(source, {"rows": 3})
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), resume.open_results(out, {"v": 1}) as results:
        assert results.result(source) == {"rows": 3}
        source.path.write_text("another")
        assert results.result(source) is None
        source.path.unlink()
        assert results.result(source) is None
        raise ZeroDivisionError
    with resume.open_results(out, {"v": 1}):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_read_along_with_it_counts_too(tmp_path):
    source, out = source_of(tmp_path), tmp_path / "t.csv"
    (tmp_path / "b.txt").write_text("beside")
    source = replace(source, also=(tmp_path / "b.txt",))
    with pytest.raises(ZeroDivisionError), resume.open_results(out, {}) as results:
        results.add(source, {})
        assert results.result(source) == {}
        (tmp_path / "b.txt").write_text("another")
        assert results.result(source) is None
        raise ZeroDivisionError


def test_half_a_picture_of_a_killed_run_is_removed(tmp_path):
    folder = tmp_path / "t"
    folder.mkdir()
    (folder / ".a.png.7.part").write_bytes(b"half")
    (folder / "b.png").write_bytes(b"whole")
    with resume.open_results(tmp_path / "t.csv", {}):
        assert [path.name for path in folder.iterdir()] == ["b.png"]


def test_another_plan_begins_afresh(tmp_path):
    source, out = source_of(tmp_path), tmp_path / "t.csv"
    with pytest.raises(ZeroDivisionError), resume.open_results(out, {"v": 1}) as results:
        results.add(source, {})
        raise ZeroDivisionError
    with resume.open_results(out, {"v": 2}) as results:
        assert results.result(source) is None


def test_two_runs_do_not_write_the_same_table(tmp_path):
    out = tmp_path / "t.csv"
    with resume.open_results(out, {}):
        with (
            pytest.raises(UserError, match=r"Another run is writing .*t\.csv. Wait for it to end"),
            resume.open_results(out, {}),
        ):
            raise AssertionError
        with resume.open_results(tmp_path / "other.csv", {}):
            pass


def test_an_overlay_is_called_as_its_photo_and_two_never_the_same(tmp_path):
    def overlays(*names: str) -> list[str]:
        sources = [Source(name, name, tmp_path / name) for name in names]
        found = files.overlay_paths(tmp_path / "layers.csv", sources)
        assert list(found) == list(names)
        assert {path.parent for path in found.values()} == {tmp_path / "layers"}
        return [path.name for path in found.values()]

    assert overlays("core_001.png", "core.2.tif") == ["core_001.png", "core.2.png"]
    assert overlays("a.png", "a.tif", "b.tif") == ["a_png.png", "a_tif.png", "b.png"]
    with pytest.raises(UserError, match=r"Two files would have the overlay a_tif\.png"):
        overlays("a.png", "a.tif", "a_tif.jpg")


def predicted(kind: str, folder: Path, raw: Path, *, name: str, moments: list[int]):
    """Predicts in processes killed at their moments; returns their ends and what was read."""
    raw_there = folder / "raw"
    raw_there.mkdir(parents=True)
    for path in raw.iterdir():
        os.link(path, raw_there / path.name)
    words = (kind, raw_there, folder / "out" / name, json.dumps(moments))
    done = subprocesses.run(HELPERS / "killed_prediction.py", *words)
    assert done.returncode == 0, done.stderr[-2000:]
    read = Counter((folder / "read.txt").read_text().split())
    made = json.loads((folder / "made.json").read_text())
    return json.loads(done.stdout.splitlines()[-1]), read, made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"), [("photos", "t.csv"), ("photos", "t.parquet"), ("pictures", "t.parquet")]
)
def test_killed_at_any_moment_the_same_run_goes_on_to_the_same_answers(tmp_path, kind, name):
    raw = tmp_path / "raw"
    raw.mkdir()
    for i in range(FILES):
        (raw / f"file{i}.txt").write_text(str(i))
    moments = [2, 5, 4, 9] if kind == "photos" else [3, 8, 13, 30]
    _, _, whole = predicted(kind, tmp_path / "whole", raw, name=name, moments=[])
    ends, read, made = predicted(kind, tmp_path / "killed", raw, name=name, moments=moments)
    assert ends == [*[-signal.SIGKILL] * len(moments), 0]
    assert tree(tmp_path / "killed" / "out") == tree(tmp_path / "whole" / "out")
    # None is read again, but those that were in work when a run was killed.
    assert set(read) == {f"file{i}.txt" for i in range(FILES)}
    ahead = 2 if kind == "pictures" else 1
    assert sum(read.values()) <= FILES + ahead * len(moments)
    assert 0 < made["summary"].pop("resumed_files") <= FILES
    assert made["rows"] == whole["rows"] and made["summary"] == whole["summary"]
