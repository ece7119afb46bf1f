"""Names of new files: unique however the files are given, and as before where they were unique."""

import importlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfpipe.base.errors import UserError
from tfpipe.inference.request import PredictionRequest
from tfpipe.tasks import catalog
from tfpipe.tasks.source_names import unique_names

FOLDERS = ("new", "new/a", "new/a/b", "b", "b/a", "")
RELATIVE = st.builds(os.path.join, st.sampled_from(FOLDERS), st.sampled_from(("a", "b", "c")))


@given(st.lists(st.tuples(RELATIVE, st.integers(0, 3)), min_size=1))
def test_names_are_unique_and_stay_as_they_are_where_they_were(named):
    pairs = []
    for relative, depth in named:
        path = Path("/data", relative)
        pairs.append((path, str(Path(*path.parts[-1 - min(depth, len(path.parts) - 2) :]))))
    names = unique_names(pairs)
    first = dict(reversed(pairs))
    assert list(names) == list(dict.fromkeys(path for path, _ in pairs))
    assert len({*names.values()}) == len(names)
    for path, name in names.items():
        assert str(path).endswith(f"/{name}")
    if len({*first.values()}) == len(first):
        assert names == first


def test_a_name_from_the_common_folder_may_be_that_of_another_file_too():
    paths = [Path("x/n1/e.fits"), Path("x/n2/e.fits"), Path("y/n1/e.fits"), Path("x/./n1/e.fits")]
    names = unique_names(zip(paths, ("e.fits", "e.fits", "n1/e.fits", "e.fits"), strict=True))
    assert list(names.values()) == ["x/n1/e.fits", "x/n2/e.fits", "y/n1/e.fits"]


def exposure(path: Path) -> None:
    pixels = np.random.default_rng(0).normal(1000, 5, (40, 40)).astype(np.float32)
    pixels[10:14, 10:12] = 5000
    np.save(path, pixels)


def cluster(path: Path) -> None:
    path.write_text("1,1\n0,1\n")


def photo(path: Path) -> None:
    path.write_bytes(b"as `survey_new` opens none")


def cube(path: Path) -> None:
    np.save(path, np.ones((8, 8, 8), np.float32))


@pytest.mark.parametrize(
    ("task", "name", "write"),
    [
        ("ccd-tracks", "e1.npy", exposure),
        ("ccd-tracks", "c1.csv", cluster),
        ("melt-layer", "core_1.png", photo),
        ("ionization-redshift", "t_z006.00_8_12Mpc.npy", cube),
    ],
)
def test_files_of_two_folders_that_are_called_alike_are_two(tmp_path, task, name, write):
    task = catalog.find(task)
    folders = [tmp_path / night for night in ("night1", "night2")]
    for folder in folders:
        folder.mkdir()
        write(folder / name)
    alone = task.survey_new(folders[:1], None, task.options)
    survey = task.survey_new([*folders, folders[0] / name], None, task.options)
    assert not any("night" in source.name for source in alone.sources)
    assert len({source.name for source in survey.sources}) == len(survey.sources)
    if write is photo:
        assert [one.name for one in survey.sources] == ["night1/core_1.png", "night2/core_1.png"]
        return
    options = survey.options
    keys = [e.key for one in survey.sources for e in task.read(one, options).examples]
    of_one = [e.key for one in alone.sources for e in task.read(one, alone.options).examples]
    assert len({*keys}) == len(keys) == 2 * len(of_one) > 0
    assert all(key.startswith(("night1/", "night2/")) for key in keys)


def test_prediction_refuses_two_files_of_one_name(tmp_path):
    task = catalog.find("ccd-tracks")
    exposure(tmp_path / "e1.npy")
    one = task.survey_new([tmp_path], None, task.options)
    other = replace(one.sources[0], path=tmp_path / "e2.npy")
    twice = replace(task, survey_new=lambda *_: replace(one, sources=(*one.sources, other)))
    request = PredictionRequest(twice, tmp_path, [tmp_path], tmp_path / "t.csv")
    with pytest.raises(UserError, match=r"called e1\.npy \(.*e1\.npy and .*e2\.npy\)\. Rename one"):
        request.survey({})


def test_cubes_of_a_file_that_are_read_one_by_one_have_names_of_their_own(tmp_path, monkeypatch):
    task = catalog.find("ionization-redshift")
    np.save(tmp_path / "t_z006.00_8_12Mpc.npy", np.ones((3, 8, 8, 8), np.float32))
    together = task.survey_new([tmp_path], None, task.options).sources
    module = importlib.import_module("tfpipe.tasks.ionization.survey")  # its room has a function so
    monkeypatch.setattr(module, "MAX_BYTES", 1)
    single = task.survey_new([tmp_path], None, task.options).sources
    assert [one.name.rpartition(", ")[2] for one in together] == ["cubes 0 to 2"]
    assert [one.name.rpartition(", ")[2] for one in single] == ["cube 0", "cube 1", "cube 2"]
