"""VisualSpreadsheet's runs: lists, class files, exports, and what may be wrong with them."""

import dataclasses

import flowcam
import numpy as np
import pytest
from flowcam import surveyed
from hypothesis import given, settings
from hypothesis import strategies as some

from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import TASK, class_file, flowcam_table
from tfpipe.tasks.insolubles.options import InsolublesOptions

SORTED = {"ash": [1, 2, 3], " pollen\t grain ": [4, 5], "Unidentified": [6, 7], "dust": []}


@pytest.fixture
def raw(tmp_path):
    flowcam.run(tmp_path / "a", classes=SORTED)
    return tmp_path


def test_a_run_as_exported_is_read_whole(raw):
    found = surveyed(raw)
    assert found.classes == ("ash", "pollen grain")
    assert [source.name for source in found.sources] == ["a/run_000001.tif", "a/run_000002.tif"]
    labels = flowcam.labels_of(found)
    assert len(labels) == 12 and labels["a/run_000001.tif@4"] == "pollen grain"
    assert sorted(labels.values()).count("") == 7
    assert flowcam.column_of(found, "area_abd_um2").tolist() == [30.0 + i for i in range(12)]
    assert {path.name for path in found.tables} == {"run.lst", "run.cla"}


def test_a_folder_may_be_the_run_itself(raw):
    assert surveyed(raw / "a").classes == surveyed(raw).classes


def test_without_a_class_file_nobody_is_labelled(tmp_path):
    flowcam.run(tmp_path / "a")
    found = surveyed(tmp_path)
    assert found.classes == () and set(flowcam.labels_of(found).values()) == {""}
    assert any("No class has enough" in note for note in found.notes)


def test_one_run_is_grouped_by_collage_and_several_by_run(raw):
    one = surveyed(raw)
    assert [source.group for source in one.sources] == ["a/run_000001.tif", "a/run_000002.tif"]
    assert any("one run only" in note for note in one.notes)
    flowcam.run(raw / "b")
    two = surveyed(raw)
    assert [source.group for source in two.sources] == ["a", "a", "b", "b"]
    assert not any("one run only" in note for note in two.notes)


def test_what_is_too_few_or_not_asked_for_counts_as_unlabelled(raw):
    few = surveyed(raw, min_class=3)
    assert few.classes == ("ash",) and any("pollen grain (2)" in note for note in few.notes)
    asked = surveyed(raw, classes="pollen grain")
    assert asked.classes == ("pollen grain",) and any("ash (3)" in note for note in asked.notes)
    with pytest.raises(UserError, match="Did you mean 'ash'"):
        surveyed(raw, classes="ashes")


def test_a_class_that_every_run_has_alone_is_told(raw):
    flowcam.run(raw / "b", classes={"dust": [1, 2]})
    assert not any("one class only" in note for note in surveyed(raw).notes)
    assert any("one class only" in note for note in surveyed(raw, classes="ash,dust").notes)


def test_a_particle_in_two_classes_has_no_label(tmp_path):
    flowcam.run(tmp_path / "a", classes={"ash": [1, 2, 2], "dust": [2, 3]})
    found = surveyed(tmp_path)
    labels = flowcam.labels_of(found)
    assert [labels[f"a/run_000001.tif@{i}"] for i in (1, 2, 3)] == ["ash", "", "dust"]
    assert any("2 (ash, line 10; dust, line 16)" in note for note in found.notes)


@pytest.mark.parametrize(("count", "place_of_file"), [(44, 34), (47, 35)])
def test_lists_of_the_first_programs_have_colons_and_no_head(raw, count, place_of_file):
    """The places are those of ZooImage's importer; file, x, y, width and height are neighbours."""
    rows = ["011", "12"]
    for particle in flowcam.particles():
        cells = ["0"] * count
        cells[0], cells[1], cells[8] = (str(particle[f]) for f in ("id", "cal_const", "abd_area"))
        fields = ("collage_file", "image_x", "image_y", "image_w", "image_h")
        cells[place_of_file : place_of_file + 5] = [str(particle[field]) for field in fields]
        rows.append(":".join(cells))
    before = surveyed(raw)
    (raw / "a" / "run.lst").write_text("\n".join(rows))
    after = surveyed(raw)
    assert flowcam.labels_of(after) == flowcam.labels_of(before)
    assert flowcam.column_of(after, "area_abd_um2").tolist() == [30.0 + i for i in range(12)]
    one, other = (TASK.read(s.sources[0], InsolublesOptions()).examples for s in (before, after))
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left.image, right.image)


def test_fields_that_a_later_program_adds_are_named_and_unused(raw):
    before = surveyed(raw)
    fields = {**flowcam.FIELDS, "is_flagged": "bool", "frame": "uint64"}
    rows = [{**row, "is_flagged": 1, "frame": 7} for row in flowcam.particles()]
    (raw / "a" / "run.lst").write_text(flowcam.lst(rows, fields=fields))
    after = surveyed(raw)
    assert after.columns == before.columns
    assert "run.lst: columns of unknown meaning are unused: is_flagged, frame." in after.notes


def test_exports_stand_in_for_lists(tmp_path):
    rows = flowcam.particles()
    folder = flowcam.run(tmp_path / "a", rows, classes=SORTED)
    listed = surveyed(tmp_path)
    (folder / "run.lst").unlink()
    (folder / "export.csv").write_text(flowcam.csv(rows))
    exported = surveyed(tmp_path)
    assert flowcam.labels_of(exported) == flowcam.labels_of(listed)
    shared = set(exported.columns) & set(listed.columns)
    assert {"area_abd_um2", "length_um", "volume_abd_um3", "image_width_px"} <= shared
    for name in shared:
        assert np.array_equal(flowcam.column_of(exported, name), flowcam.column_of(listed, name))


def test_an_export_beside_a_list_adds_what_a_list_lacks(tmp_path):
    rows = flowcam.particles()
    folder = flowcam.run(tmp_path / "a", rows)
    curls = [i / 7 for i in range(12)]
    text = flowcam.csv(rows[::-1], extra={"Fiber Curl": curls[::-1], "Colour": ["red"] * 12})
    (folder / "export.csv").write_text(text)
    found = surveyed(tmp_path)
    assert np.allclose(flowcam.column_of(found, "fiber_curl"), curls)
    assert any(
        "export.csv: columns of unknown meaning are unused: Colour" in n for n in found.notes
    )
    (folder / "export.csv").write_text(flowcam.csv(rows[1:]))
    assert any("so it is unused" in note for note in surveyed(tmp_path).notes)


def test_an_export_may_have_a_column_of_classes(tmp_path):
    rows = flowcam.particles()
    folder = flowcam.run(tmp_path / "a", rows)
    (folder / "run.lst").unlink()
    (folder / "e.csv").write_text(flowcam.csv(rows, extra={"Class": ["ash ", "unknown"] * 6}))
    assert surveyed(tmp_path).classes == ("ash",)


def test_new_runs_give_the_same_columns_and_need_no_class_file(raw):
    known = surveyed(raw)
    new = flowcam.run(raw / "new", flowcam.particles(2))
    (new / "run.cla").write_text("damaged")
    for paths in ([new], [new / "run.lst"]):
        found = TASK.survey_new(paths, None, TASK.options)
        assert set(known.columns) <= set(found.columns)
        assert {"particles_per_chain"} <= set(found.columns)  # constant, but a model picks by name
        assert set(flowcam.labels_of(found).values()) == {""}


LST = flowcam.lst(flowcam.particles())
LINES = LST.splitlines()
FIRST = 3 + len(flowcam.FIELDS)  # line of the first particle


def changed(line: int, text: str | None) -> str:
    """Returns the list with another text in one line, or without it."""
    lines = list(LINES)
    lines[line - 1 : line] = [] if text is None else [text]
    return "\n".join(lines) + "\n"


def cell(field: str, value: str, *, line: int = FIRST + 1) -> str:
    """Returns the list with another value in one line's field."""
    cells = LINES[line - 1].split("|")
    cells[list(flowcam.FIELDS).index(field)] = value
    return changed(line, "|".join(cells))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (changed(FIRST + 3, LINES[FIRST + 2] + "|7"), f"line {FIRST + 3}: the row has 16 cells"),
        (LST[: len(LST) - 40], f"line {FIRST + 11}: .*cut short"),
        (changed(4, "image_x|-7"), "line 4: this is no field's name"),
        (changed(4, "id|int32"), "line 4: the field 'id' is already in line 3"),
        (changed(2, "num-fields|14"), f"line {FIRST - 1}: this is one more field"),
        (changed(2, "num-fields|" + "9" * 5000), "does not begin with a version and num-fields"),
        (changed(2, "num-fields|³5"), "does not begin with a version and num-fields"),
        (changed(2, "num-fields|16"), f"line {FIRST}: this is no field's name"),
        (changed(2, "fields"), "so it is no FlowCam list"),
        (changed(3, None), f"line {FIRST - 1}: this is no field's name"),
        ("\n".join(LINES[: FIRST - 1]), "run.lst has headings but no rows, expected one row"),
        (cell("abd_area", "many"), f"line {FIRST + 1}: abd_area is 'many', expected a number"),
        (cell("id", "1"), f"line {FIRST + 1}: particle 1 is already in line {FIRST}"),
        (cell("image_x", "-3"), f"line {FIRST + 1}: image_x is -3, expected a whole number"),
        (cell("image_w", "0"), f"line {FIRST + 1}: the particle's image is 0 x 20"),
        (cell("collage_file", "no.tif"), f"line {FIRST + 1}: the collage 'no.tif' is not in a"),
        (cell("collage_file", "../x.tif"), f"line {FIRST + 1}: '../x.tif' has '..' in it"),
        ("", "run.lst is empty"),
        (LST.replace("collage_file", "collage"), "has no column Image File or collage_file"),
    ],
)
def test_a_damaged_list_is_one_sentence(raw, text, says):
    (raw / "a" / "run.lst").write_text(text)
    with pytest.raises(UserError, match=says):
        surveyed(raw)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("v3\n1\nt\n1\nash\nOR\n0\n3\n1\n2\n", "ends after line 10, expected particle 3 of the 3"),
        ("v3\n1\nt\n1\nash\nOR\n0\n1\n1\n2\n", "line 10: there is more after the last class"),
        ("v3\n1\nt\n2\nash\nOR\n0\n2\n1\ndust\nOR\n0\n0\n", "line 10: this is 'dust'"),
        ("v3\n1\nt\n1\nash\nXOR\n0\n0\n", "line 6: this is 'XOR', expected AND or OR"),
        ("v3\n1\nt\n1\n\nOR\n0\n0\n", "line 5: this is '', expected the name of a class"),
        ("v3\n1\nt\n2\na\nOR\n0\n0\na\nOR\n0\n0\n", "line 9: this is 'a', expected a class other"),
        ("v3\n1\nt\n1\nash\nOR\n2\n0\n", "line 7: this is 'a class made by filters'"),
        (
            "v3\n1\nt\n1\nash\nOR\n0\n1\n77\n",
            "line 9: particle 77 of class 'ash' is not in run.lst",
        ),
        ("3\n1\n", "line 1: this is '3', expected a version"),
        ("v3\n1\nt\n", "ends after line 3, expected the number of classes"),
    ],
)
def test_a_damaged_class_file_is_one_sentence(raw, text, says):
    (raw / "a" / "run.cla").write_text(text)
    with pytest.raises(UserError, match=says):
        surveyed(raw)


def test_a_folder_is_one_run(raw):
    (raw / "a" / "other.lst").write_text(LST)
    with pytest.raises(UserError, match="a holds other.lst, run.lst, expected one"):
        surveyed(raw)


def test_a_folder_without_particles_is_named(raw, tmp_path_factory):
    (raw / "notes").mkdir()
    assert any("notes/ is unused" in note for note in surveyed(raw).notes)
    nothing = tmp_path_factory.mktemp("nothing")
    with pytest.raises(UserError, match="holds no particles"):
        surveyed(nothing)
    (nothing / "export_12.zip").touch()
    with pytest.raises(UserError, match="export_12.zip is a .zip: unpack it into "):
        surveyed(nothing)


def test_a_crop_outside_its_collage_is_one_sentence(raw):
    (raw / "a" / "run.lst").write_text(cell("image_x", "110"))
    source = surveyed(raw).sources[0]
    with pytest.raises(UserError, match=f"run.lst line {FIRST + 1}: particle 2 reaches to x 129"):
        TASK.read(source, TASK.options)


def test_examples_have_their_place_and_scale(raw):
    source = surveyed(raw).sources[1]
    first = TASK.read(source, dataclasses.replace(TASK.options, side=16)).examples[0]
    assert first.key == "a/run_000002.tif@7" and first.group == source.group
    assert first.image.shape == (16, 16, 3) and first.label == -1
    assert first.metadata == {
        "run": "a",
        "file": "run_000002.tif",
        "particle": "7",
        "um_per_px": 0.5 * 20 / 16,
        "image_x": 0,
        "image_y": 0,
        "image_w": 20,
        "image_h": 20,
        "status": "",
    }


def test_blank_lines_and_windows_ends_do_not_count(raw):
    before = flowcam.labels_of(surveyed(raw))
    (raw / "a" / "run.lst").write_bytes(LST.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    assert flowcam.labels_of(surveyed(raw)) == before


@settings(max_examples=40, deadline=None)
@given(
    some.dictionaries(
        some.from_regex(r"[A-Za-z][a-z <>.]{0,8}[a-z]", fullmatch=True),
        some.lists(some.integers(0, 10**6), max_size=5),
        max_size=5,
    )
)
def test_any_class_file_is_read_back(tmp_path_factory, classes):
    classes = {" ".join(name.split()): ids for name, ids in classes.items()}
    path = tmp_path_factory.mktemp("cla") / "x.cla"
    path.write_text(flowcam.cla(classes))
    members = class_file.read(path)
    expected = [(i, name) for name, ids in classes.items() for i in ids]
    assert [(member.particle, member.label) for member in members] == expected
    lines = path.read_text().splitlines()
    assert all(lines[member.line - 1] == str(member.particle) for member in members)


@settings(max_examples=60, deadline=None)
@given(some.data())
def test_a_cut_list_is_never_read_as_whole(tmp_path_factory, data):
    end = data.draw(some.integers(1, len(LST) - 2))
    path = tmp_path_factory.mktemp("lst") / "x.lst"
    path.write_text(LST[:end])
    try:
        count = len(flowcam_table.read_lst(path).lines)
    except UserError:
        return
    assert count < 12 or LST[:end].count("|") == LST.count("|")
