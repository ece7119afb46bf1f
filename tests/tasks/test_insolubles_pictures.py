"""Pictures of particles: framed without stretching, and found through their tables."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from flowcam import column_of, labels_of, surveyed
from hypothesis import given, settings
from hypothesis import strategies as some

from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import TASK, reader
from tfpipe.tasks.insolubles.options import InsolublesOptions

RUNS = ("camp_11nov_4_fc80_20x", "qrob_17nov_1_fc80_20x", "GRIP_3046_0_20_1")


def picture_set(folder: Path, *, each: int = 3, runs=RUNS) -> list[str]:
    """Writes grey pictures of two sizes in folders by run; returns their names."""
    names = []
    for run in runs:
        (folder / run).mkdir(parents=True)
        for i in range(each):
            names.append(f"{run}_{i + 1}.png")
            picture = np.full((20 + i, 30, 3)[:2], 90 + i, np.uint8)
            cv2.imwrite(str(folder / run / names[-1]), picture)
    return names


def table(names, *, lengths=None, label=None, paths="/home/somebody/{run}/{name}") -> str:
    """Returns a table of pictures as its author had it, with paths of another machine."""
    head = "Length,Calibration Factor,imgpaths" + (",label" if label else "")
    lines = [head]
    for i, name in enumerate(names):
        path = paths.format(run=name.rpartition("_")[0], name=name)
        lines.append(
            f"{lengths[i] if lengths else 5 + i},0.25,{path}" + (f",{label[i]}" if label else "")
        )
    return "\n".join(lines) + "\n"


@pytest.fixture
def pictures(tmp_path):
    names = picture_set(tmp_path / "set")
    labels = [name.partition("_")[0] for name in names]
    labels[-3:] = ["", " Unknown ", ""]
    (tmp_path / "set" / "train.csv").write_text(table(names, label=labels))
    return tmp_path


def test_pictures_are_grouped_by_the_run_in_their_names(pictures):
    found = surveyed(pictures)
    assert [source.name for source in found.sources] == [
        f"{run}/pictures-00000" for run in sorted(RUNS)
    ]
    assert {source.group for source in found.sources} == set(RUNS)
    assert found.classes == ("camp", "qrob")
    assert (
        labels_of(found)["camp_11nov_4_fc80_20x/camp_11nov_4_fc80_20x/camp_11nov_4_fc80_20x_2.png"]
        == "camp"
    )
    assert any("one class only" in note for note in found.notes)


def test_pictures_are_read_with_their_scale(pictures):
    source = next(s for s in surveyed(pictures).sources if s.group == RUNS[1])
    examples = TASK.read(source, InsolublesOptions(side=16)).examples
    assert [example.metadata["image_h"] for example in examples] == [20, 21, 22]
    assert all(e.metadata["um_per_px"] == pytest.approx(0.25 * 30 / 16) for e in examples)
    assert [int(e.image[0, 0, 0]) for e in examples] == [90, 91, 92]
    assert (examples[0].image[..., 0] == examples[0].image[..., 2]).all()
    assert [e.columns[0] for e in examples] == [8, 9, 10]


def test_a_batch_is_bounded_and_one_run_is_cut_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[TASK.survey.__module__], "BATCH", 4)
    names = picture_set(tmp_path / "set", each=10, runs=RUNS[:1])
    (tmp_path / "set" / "t.csv").write_text(table(names))
    found = surveyed(tmp_path)
    assert [1 + len(source.also) for source in found.sources] == [4, 4, 2]
    assert len({source.group for source in found.sources}) == 3
    assert any("one run only, so each batch" in note for note in found.notes)
    assert column_of(found, "length_um").tolist() == [5 + i for i in range(10)]


def test_classes_may_be_columns_of_ones(pictures):
    path = pictures / "set" / "train.csv"
    names = [line.split(",")[2].rpartition("/")[2] for line in path.read_text().splitlines()[1:]]
    lines = table(names).splitlines()
    ones = ["camp,dust", *["1,0"] * 3, *["0,1"] * 3, *["0,0"] * 3]
    path.write_text("\n".join(f"{a},{b}" for a, b in zip(lines, ones, strict=True)))
    found = surveyed(pictures, class_columns="camp, dust")
    assert found.classes == ("camp", "dust") and list(labels_of(found).values()).count("") == 3
    path.write_text(path.read_text().replace("1,0", "1,1", 1))
    with pytest.raises(UserError, match="line 2: camp, dust are not all 0 except at most"):
        surveyed(pictures, class_columns="camp,dust")
    with pytest.raises(UserError, match="no column 'ash'"):
        surveyed(pictures, class_columns="ash")


def test_other_names_need_another_pattern(pictures):
    with pytest.raises(UserError, match="has no run"):
        surveyed(pictures, run_pattern="x.*")
    with pytest.raises(UserError, match="which is no regular expression"):
        surveyed(pictures, run_pattern="(")
    found = surveyed(pictures, run_pattern=r"([A-Za-z]+)_.*")
    assert {source.group for source in found.sources} == {"camp", "qrob", "GRIP"}
    assert {s.group[:4] for s in surveyed(pictures, run_pattern="").sources} == {"set/"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "20x_2.png",
            "20x_77.png",
            "line 3: the image .*77.png' is not under set, nor are 1 others",
        ),
        ("20x_2.png", "20x_1.png", "line 3: the image .* is already in line 2"),
        ("Length", "imgpaths", "line 1: the headings 'imgpaths' and 'imgpaths' are the same"),
        ("Length", "Calibration..Factor.", "both mean calibration_factor_um"),
        (",label", ",label,", "line 2: the row has 4 cells, expected 5"),
        ("\n5,", "\nlong,", "line 2: Length is 'long', expected a number"),
    ],
)
def test_a_damaged_table_is_one_sentence(pictures, old, new, says):
    path = pictures / "set" / "train.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=says):
        surveyed(pictures)


def test_the_folders_of_a_path_tell_pictures_of_one_name_apart(tmp_path):
    for part in ("one", "two"):
        picture_set(tmp_path / "set" / part, runs=RUNS[:1], each=1)
    name = f"{RUNS[0]}_1.png"
    path = tmp_path / "set" / "t.csv"
    rows = [f"{i},/data/{part}/{RUNS[0]}/{name}" for i, part in enumerate(("two", "one"))]
    path.write_text("\n".join(["Length,imgpaths", *rows]))
    found = surveyed(tmp_path)
    assert [p.parts[-3] for p in (found.sources[0].path, *found.sources[0].also)] == ["two", "one"]
    path.write_text(f"Length,imgpaths\n1,/data/{name}\n")
    with pytest.raises(UserError, match="line 2: .* may be one/.* or two/"):
        surveyed(tmp_path)


def test_links_that_leave_the_folder_are_refused(pictures, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    cv2.imwrite(str(outside), np.zeros((4, 4), np.uint8))
    (pictures / "set" / "x_1.png").symlink_to(outside)
    with pytest.raises(UserError, match="leads outside"):
        surveyed(pictures)


def test_decimal_commas_and_semicolons_are_numbers(pictures):
    path = pictures / "set" / "train.csv"
    path.write_text(
        path.read_text().replace(",", ";").replace("0.25", "0,25").replace("\n5;", "\n5,5;")
    )
    assert 5.5 in column_of(surveyed(pictures), "length_um")


def test_new_pictures_with_a_table_or_without(pictures):
    folder = pictures / "set"
    some_paths = sorted((folder / RUNS[0]).iterdir())[:2]
    loose = TASK.survey_new([folder / RUNS[0]], None, InsolublesOptions())
    assert loose.columns == () and len(labels_of(loose)) == 3
    assert any("3 images are in no table" in note for note in loose.notes)
    assert len(TASK.read(loose.sources[0], InsolublesOptions()).examples) == 3
    alone = TASK.survey_new(some_paths, None, InsolublesOptions())
    assert len(labels_of(alone)) == 2
    told = TASK.survey_new([folder], folder / "train.csv", InsolublesOptions())
    assert "length_um" in told.columns and set(labels_of(told).values()) == {""}
    few = folder / RUNS[0] / "few.csv"
    few.write_text(table([path.name for path in some_paths]))
    picked = TASK.survey_new(some_paths[:1], few, InsolublesOptions())
    assert len(labels_of(picked)) == 1 and picked.columns == told.columns
    with pytest.raises(UserError, match="does not exist"):
        TASK.survey_new([folder / "nowhere"], None, InsolublesOptions())


@settings(max_examples=60, deadline=None)
@given(some.integers(1, 60), some.integers(1, 60), some.integers(8, 40))
def test_framing_keeps_the_aspect_and_pads_with_the_ground(height, width, side):
    image = np.full((height, width), 77, np.uint8)
    image[height // 3 : 1 + height // 2, width // 3 : 1 + width // 2] = 200
    is_seen = height > 4 and width > 4
    framed, scale = reader.letterbox(image, side=side)
    assert framed.shape == (side, side, 3) and framed.dtype == np.uint8
    assert scale == min(1, side / max(height, width))
    if scale == 1:
        assert (framed[..., 0] == 200).sum() == (image == 200).sum() or not is_seen
        top, left = (side - height) // 2, (side - width) // 2
        assert (framed[top : top + height, left : left + width, 1] == image).all()
    if is_seen:
        assert framed[0, 0].tolist() == framed[-1, -1].tolist() == [77] * 3


def test_a_long_particle_is_not_stretched_and_lies_on_the_ground_around_it():
    image = np.full((20, 80), 77, np.uint8)
    image[4:16, 4:76] = 200  # most of the picture, and nothing of its border
    framed, _ = reader.letterbox(image, side=40)
    rows, columns = np.nonzero(framed[..., 0] == 200)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (6, 36)
    assert set(framed[:15].ravel()) == set(framed[25:].ravel()) == {77}


def test_a_big_particle_is_shrunk_by_areas_not_by_dropping_pixels():
    image = np.zeros((64, 64), np.uint8)
    image[::2] = 200  # stripes of one row: areas give 100, nearest pixels 0 or 200
    framed, scale = reader.letterbox(image, side=32)
    assert scale == 0.5 and np.unique(framed).tolist() == [100]


def test_colours_stay_in_their_order():
    image = np.zeros((4, 4, 3), np.uint8)
    image[...] = (10, 20, 30)
    assert reader.letterbox(image, side=8)[0].reshape(-1, 3).tolist() == [[10, 20, 30]] * 64
