"""Check of raw files: all problems at once, and what would be packed."""

import csv
import json

import numpy as np
import pytest
import run_command
from numpy.testing import assert_array_equal

import tfpipe
from tfpipe.base import problems
from tfpipe.base.errors import UserError


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> tfpipe.Project:
    made = tfpipe.Project(data=tmp_path_factory.mktemp("data"), progress=False)
    made.sample("ccd-tracks", exposures=6, tracks=40, frame_px=256)
    made.sample("melt-layer", photos=6, px_per_m=600)
    return made


def rewritten(path, change) -> None:
    """Lets a function change the rows of a CSV file, [row][column], headings first."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_what_would_be_packed_is_what_is_packed(project):
    checked = project.check("ccd-tracks")
    assert not project.records_folder(project.resolve("ccd-tracks")).exists()
    manifest = project.pack("ccd-tracks").manifest
    assert checked.problems == ()
    assert (checked.counts, checked.groups) == (manifest.counts, manifest.groups)
    assert json.loads(json.dumps(checked.counts)) == checked.counts
    assert (checked.omissions, checked.notes) == (manifest.left_out, manifest.notes)


def test_every_problem_is_listed_at_once(project, monkeypatch, capsys):
    raw = project.data / "raw" / "melt-layer"

    def spoil_photos(rows):
        rows[2][1] = "abc"
        rows[3][0] = rows[1][0]
        rows[4][1], rows[4][2] = rows[4][2], rows[4][1]

    def spoil_layers(rows):
        rows[1][1], rows[1][2] = "130.5", "130.4"
        rows[2][-1] = ""

    rewritten(raw / "photos.csv", spoil_photos)
    rewritten(raw / "layers.csv", spoil_layers)
    damaged = raw / "photos" / "core_006.png"
    damaged.write_bytes(damaged.read_bytes()[:300])
    found = project.check("melt-layer").problems
    beginnings = (
        "photos.csv line 3: top m is 'abc'",
        "photos.csv line 4: photo 'core_001.png' is already named on line 2",
        "photos.csv line 5: bottom_m",
        "layers.csv line 2: depth_to 130.4 m is above depth_from 130.5 m",
        "layers.csv line 3: the type of feature is empty",
        "core_006.png is cut short or damaged",
        "Of what can be read: Every split needs every class",
    )
    assert [any(one.startswith(begin) for one in found) for begin in beginnings] == [True] * 7
    assert len(found) == 7
    with pytest.raises(UserError, match="line 3: top m is 'abc'"):
        project.pack("melt-layer")
    sentence = run_command.refusal(
        monkeypatch, capsys, "check", "melt-layer", "--data", str(project.data)
    )
    assert sentence == "tfpipe: There are 7 problems. Mend them, and check again."


def test_a_problem_ends_the_work_unless_problems_are_collected():
    def read(rows) -> np.ndarray:
        read_rows = []
        for row in rows:
            with problems.contained():
                if row < 0:
                    raise UserError(f"{row} is negative.")
                read_rows.append(row)
        return np.array(read_rows)

    with pytest.raises(UserError, match="-1 is negative"):
        read([1, -1, 2, -2])
    with problems.collected() as sentences:
        rows = read([1, -1, 2, -2])
        problems.add("A third.")
        raise UserError("The last.")
    assert_array_equal(rows, [1, 2])
    assert sentences == ["-1 is negative.", "-2 is negative.", "A third.", "The last."]
    with pytest.raises(UserError, match="A third"):  # they are collected no more
        problems.add("A third.")
