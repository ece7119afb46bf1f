"""Ready-cut clusters, in the format of seed document 001."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tfpipe.base.errors import UserError
from tfpipe.tasks.ccd_tracks import TASK, cluster_files

REALDATA = os.environ.get("TFPIPE_REALDATA")
OPTIONS = TASK.options
HEADINGS = "id,label,height_px,width_px,energy_adu,size_px"
DOT = "0,0,0,0\n0,1,1,0\n0,1,1,0\n0,1,0,0\n0,0,0,0\n"


def folder_of(folder, matrices: dict[str, str], rows: list[str] | None = None) -> Path:
    (folder / "clusters").mkdir(parents=True)
    for name, text in matrices.items():
        (folder / "clusters" / f"{name}.csv").write_text(text)
    if rows is not None:
        (folder / "labels.csv").write_text("\n".join([HEADINGS, *rows]))
    return folder


def read(folder) -> dict:
    survey = TASK.survey(folder, OPTIONS)
    found = [TASK.read(source, OPTIONS).examples[0] for source in survey.sources]
    return {example.key: example for example in found}


def test_energy_is_put_back_and_size_is_that_of_the_ones(tmp_path):
    one = read(folder_of(tmp_path, {"7": DOT}, ["7,x-ray,2,3,35000.0,5"]))["7"]
    assert one.columns[:4].tolist() == [3, 2, 5, 35000]
    assert one.image.shape == (64, 64, 1) and one.image.min() == 4000
    assert (one.image == 7000).sum() == 5
    assert one.group == "7" and one.label == 0


def test_unknown_energies_are_what_is_usual_a_pixel_and_are_noted(tmp_path):
    rows = ["a,muon,,,35000,5", "b,muon,,,,5", "c,muon,,,0,5", "d,x-ray,,,10000,5"]
    folder = folder_of(tmp_path, dict.fromkeys("abcd", DOT), rows)
    assert [one.metadata["energy"] for one in read(folder).values()] == [35000.0] * 4
    assert any("3 clusters" in n and "b, c, d" in n for n in TASK.survey(folder, OPTIONS).notes)


def test_new_clusters_get_the_energy_a_pixel_of_those_that_were_packed(tmp_path):
    """35000 ADU over 5 px are 7000 a pixel, for a bare matrix that comes later, too."""
    packed = folder_of(tmp_path / "packed", {"a": DOT}, ["a,muon,,,35000,5"])
    bare = folder_of(tmp_path / "new", {"b": DOT}) / "clusters"
    options = TASK.survey(packed, OPTIONS).options
    assert options.adu_per_px == 7000
    (source,) = TASK.survey_new([bare], None, options).sources
    (new,) = TASK.read(source, options).examples
    together = folder_of(tmp_path / "both", {"a": DOT, "b": DOT}, ["a,muon,,,35000,5"])
    np.testing.assert_array_equal(new.image, read(together)["b"].image)
    np.testing.assert_array_equal(new.columns, read(together)["b"].columns)
    assert new.image.max() == 7000 > new.image.min()


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_turned_copies_of_a_cluster_share_its_group(tmp_path, turns, mirrored):
    rng = np.random.default_rng(0)
    masks = [np.pad(rng.integers(0, 2, (9, 12)), 1, constant_values=1) for _ in range(3)]
    masks.append(np.rot90(masks[1].T if mirrored else masks[1], turns))
    texts = {
        f"c{i}": "\n".join(",".join(map(str, row)) for row in mask) for i, mask in enumerate(masks)
    }
    survey = TASK.survey(folder_of(tmp_path, texts, [f"{n},muon,,,1,1" for n in texts]), OPTIONS)
    assert [source.group for source in survey.sources] == ["c0", "c1", "c2", "c1"]
    assert any("1 clusters are turned or mirrored copies of others" in n for n in survey.notes)
    example = TASK.read(survey.sources[3], survey.options).examples[0]
    assert (example.key, example.group) == ("c3", "c1")


def test_small_clusters_that_look_alike_are_no_copies(tmp_path):
    folder = folder_of(tmp_path, {"a": DOT, "b": DOT}, ["a,muon,,,35000,5", "b,muon,,,35000,5"])
    assert [source.group for source in TASK.survey(folder, OPTIONS).sources] == ["a", "b"]


def test_clusters_without_a_row_or_a_table_are_unlabelled(tmp_path):
    folder = folder_of(tmp_path, {"a": DOT, "b": DOT}, ["a,muon,,,35000,5"])
    assert {key: one.label for key, one in read(folder).items()} == {"a": 0, "b": -1}
    (folder / "labels.csv").unlink()
    assert TASK.survey(folder, OPTIONS).classes == ()
    assert [one.label for one in read(folder).values()] == [-1, -1]


@pytest.mark.parametrize(
    ("matrix", "rows", "says"),
    [
        (
            "0,1\n1,2\n",
            ["a,muon,,,1,5"],
            "a.csv line 2: there is the cell '2', expected a matrix of 0 and 1",
        ),
        (
            "0,1\n1\n",
            ["a,muon,,,1,5"],
            "a.csv line 2: there is 1 cells, expected a matrix of 0 and 1 with commas",
        ),
        ("0,0\n0,0\n", ["a,muon,,,1,5"], "a.csv has no pixel that is 1"),
        ("", ["a,muon,,,1,5"], "a.csv is empty"),
        (DOT, ["b,muon,,,1,5"], "labels.csv line 2: there is no clusters/b.csv"),
        (DOT, ["a,muon,,,1,5", "a,muon,,,1,5"], "line 3: cluster a is already in the table"),
        (DOT, ["a,muon,,,many,5"], "line 2: energy adu is 'many'"),
    ],
)
def test_damaged_clusters_and_tables_are_refused(tmp_path, matrix, rows, says):
    with pytest.raises(UserError) as error:
        read(folder_of(tmp_path, {"a": matrix}, rows))
    assert says in str(error.value)


def test_folders_and_files_may_be_new(tmp_path):
    folder = folder_of(tmp_path, {"a": DOT, "b": DOT}, ["a,muon,,,35000,5"])
    for paths in ([folder], [folder / "clusters"], sorted((folder / "clusters").iterdir())):
        (source,) = TASK.survey_new(paths, None, OPTIONS).sources
        assert [e.key for e in TASK.read(source, OPTIONS).examples] == ["a", "b"]
    with pytest.raises(UserError, match="nowhere does not exist"):
        TASK.survey_new([tmp_path / "nowhere"], None, OPTIONS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no cluster"):
        TASK.survey_new([tmp_path / "empty"], None, OPTIONS)
    with pytest.raises(UserError, match="holds no exposures"):
        TASK.survey(tmp_path / "empty", OPTIONS)


@settings(max_examples=40, deadline=None)
@given(some.lists(some.lists(some.booleans(), min_size=5, max_size=5), min_size=1, max_size=9))
def test_a_matrix_is_cut_to_its_ones(tmp_path_factory, cells):
    path = tmp_path_factory.getbasetemp() / "matrix.csv"
    path.write_text("\n".join(",".join(str(int(cell)) for cell in row) for row in cells))
    whole = np.array(cells)
    if not whole.any():
        with pytest.raises(UserError):
            cluster_files.read_mask(path)
        return
    mask = cluster_files.read_mask(path)
    assert mask.sum() == whole.sum()
    assert mask[0].any() and mask[-1].any() and mask[:, 0].any() and mask[:, -1].any()


@pytest.mark.skipif(not REALDATA, reason="TFPIPE_REALDATA names no folder")
def test_the_real_clusters_are_read_whole():
    folder = Path(REALDATA, "ccd-tracks")
    options = dataclasses.replace(OPTIONS, classes="x-ray,electron,muon")
    survey = TASK.survey(folder, options)
    found = [e for s in survey.sources for e in TASK.read(s, options).examples]
    assert len(found) == 379 and survey.classes == ("electron", "muon", "x-ray")
    labels = np.array([example.label for example in found])
    assert [(labels == i).sum() for i in range(-1, 3)] == [81, 40, 127, 131]
    assert any("12 clusters" in note or "clusters have no energy" in note for note in survey.notes)
