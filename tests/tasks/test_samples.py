"""What holds for the sample of every task: seeds, sizes, folders, and that the task reads it."""

from pathlib import Path

import pytest

from tfpipe.base.errors import UserError
from tfpipe.tasks import samples
from tfpipe.tasks.catalog import TASKS
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.samples import SAMPLES

# Arguments of a small sample; those of its first half.
# fmt: off
SMALL = {
    "melt-layer": ({"photos": 2, "px_per_m": 500}, {"photos": 1}),
    "insolubles": ({"runs": 2, "field_runs": 1, "particles": 14}, {"runs": 1}),
    "ccd-tracks": ({"exposures": 2, "tracks": 12, "frame_px": 160}, {"exposures": 1}),
    "folds": ({"outcrops": 2, "crops": 2}, {"outcrops": 1}),
    "ionization-redshift": ({"simulations": 2, "cells": 16}, {"simulations": 1}),
    "ionization-escape-fraction": ({"simulations": 2, "cells": 16}, {"simulations": 1}),
}
OPTIONS = {"insolubles": ["min_class=1"], "melt-layer": ["unaligned=use"]}  # small samples need
WRONG = [
    ("melt-layer", {"photos": 0}), ("melt-layer", {"px_per_m": 499}),
    ("melt-layer", {"px_per_m": 20001}),
    ("insolubles", {"runs": -1}), ("insolubles", {"field_runs": -1}),
    ("insolubles", {"runs": 0, "field_runs": 0}), ("insolubles", {"runs": 1001}),
    ("insolubles", {"particles": 0}), ("insolubles", {"particles": 5001}),
    ("ccd-tracks", {"exposures": 0}), ("ccd-tracks", {"tracks": 0}),
    ("ccd-tracks", {"frame_px": 20}),
    ("folds", {"outcrops": 0}), ("folds", {"outcrops": 301}), ("folds", {"crops": 100}),
    ("ionization-redshift", {"simulations": 0}), ("ionization-escape-fraction", {"cells": 8}),
    *((name, {"seed": -1}) for name in SMALL),
]
# fmt: on


def draw(name: str, folder: Path, *, seed: int = 3, **changes) -> dict:
    return samples.draw(name, folder, **{"seed": seed} | SMALL[name][0] | changes)


def files_of(folder: Path) -> dict[str, bytes]:
    """Returns relative path -> bytes of everything in a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module", params=SAMPLES)
def sample(request, tmp_path_factory):
    """The name of a sample, its summary and its folder."""
    folder = tmp_path_factory.mktemp("sample") / "raw"
    return request.param, draw(request.param, folder), folder


def test_every_task_has_a_sample():
    assert set(SAMPLES) == set(TASKS) == set(SMALL)


def test_the_task_reads_its_sample(sample):
    name, summary, folder = sample
    task = TASKS[name]
    survey = task.survey(folder, parse_options(task, OPTIONS.get(name, [])))
    assert survey.sources and (survey.classes or task.classes)
    options = survey.options or parse_options(task, OPTIONS.get(name, []))
    examples = task.read(survey.sources[0], options).examples
    shape = tuple(survey.image_shape or task.image_shape)
    assert examples and {example.image.shape for example in examples} == {shape}
    assert all(n > 0 for n in summary.values() if isinstance(n, int))
    assert Path(summary["truth"]).is_file() or "names" in summary["truth"]


def test_the_same_seed_draws_the_same_bytes_with_one_thread(sample, tmp_path, monkeypatch):
    name, _, folder = sample
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    draw(name, tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(folder)


def test_another_seed_draws_other_data(sample, tmp_path):
    name, _, folder = sample
    draw(name, tmp_path / "other", seed=4)
    first, other = files_of(folder), files_of(tmp_path / "other")
    data = {path for path in other if not path.endswith(".csv")}
    differ = {path for path in data if first.get(path) != other[path]}
    assert len(differ) > 0.5 * len(data)  # settings and maps without a signal are always the same


def test_a_smaller_sample_is_the_first_part_of_a_larger_one(sample, tmp_path):
    name, _, folder = sample
    draw(name, tmp_path / "few", **SMALL[name][1])
    many, few = files_of(folder), files_of(tmp_path / "few")
    tables = {path for path in few if path.endswith(".csv") and "/" not in path}
    data = few.keys() - tables
    assert data and len(few) < len(many)
    assert all(many[path] == few[path] for path in data)
    for path in tables:
        assert set(few[path].splitlines()) <= set(many[path].splitlines())


@pytest.mark.parametrize("name", SAMPLES)
def test_a_folder_that_holds_something_is_refused_and_kept(name, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="already holds something"):
        draw(name, tmp_path)
    assert files_of(tmp_path) == {"notes.txt": b"mine"}


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "empty").mkdir()
    draw("folds", tmp_path / "empty")
    assert (tmp_path / "empty" / "truth.csv").is_file()


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_numbers_out_of_range_are_refused(name, wrong, tmp_path):
    with pytest.raises(UserError, match=r"Expected .*, got -?\d+"):
        draw(name, tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_stopped_run_leaves_nothing(name, tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", stop)
    with pytest.raises(KeyboardInterrupt):
        draw(name, tmp_path / "half", **SMALL[name][1])
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_a_sample_does_not_take_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"insolubles has no --photos .* It has --runs, --field-runs"
    ):
        samples.draw("insolubles", tmp_path / "new", seed=0, photos=3, runs=None)
    with pytest.raises(UserError, match="No sample called 'insoluble'. Did you mean 'insolubles'?"):
        samples.draw("insoluble", tmp_path / "new", seed=0)
    assert list(tmp_path.iterdir()) == []
    summary = samples.draw(
        "insolubles", tmp_path / "new", seed=0, photos=None, runs=1, field_runs=0, particles=2
    )
    assert summary["particles"] == 2
