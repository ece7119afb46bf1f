"""EcoTaxa's tables, in and out."""

import csv
import zipfile

import cv2
import numpy as np
import pandas as pd
import pytest
from flowcam import column_of, labels_of, surveyed

from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import TASK, ecotaxa
from tfpipe.tasks.insolubles.options import InsolublesOptions

TSV = (
    "img_file_name\tobject_id\tobject_lat\tobject_area_abd\tobject_skew\tobject_annotation_status\t"
    "object_annotation_category\tsample_id\n"
    "[t]\t[t]\t[f]\t[f]\t[f]\t[t]\t[t]\t[t]\n"
    "a.png\tid a\t45.5\t30\t1\tvalidated\tash\tcore 1\n"
    "b.png\tid b\t45.6\t31\t2\tpredicted\tash\tcore 1\n"
    "c.png\tid c\t45.7\t32\t3\tdubious\tash\tcore 2\n"
    "d.png\tid d\t45.8\t\t4\t\t\tcore 2\n"
)


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    for name in "abcd":
        cv2.imwrite(str(folder / f"{name}.png"), np.full((9, 9), 50, np.uint8))
    (folder / "ecotaxa_export.tsv").write_text(TSV)
    return tmp_path


def test_only_what_is_validated_is_a_label(raw):
    found = surveyed(raw)
    assert labels_of(found) == {
        "core 1/a.png": "ash",
        "core 1/b.png": "",
        "core 2/c.png": "",
        "core 2/d.png": "",
    }
    examples = [
        e for source in found.sources for e in TASK.read(source, InsolublesOptions()).examples
    ]
    assert [e.metadata["status"] for e in examples] == ["validated", "predicted", "dubious", ""]
    assert [e.metadata["particle"] for e in examples] == ["id a", "id b", "id c", "id d"]
    assert {e.group for e in examples} == {"core 1", "core 2"}


def test_features_of_objects_are_columns_and_places_are_not(raw):
    found = surveyed(raw)
    assert found.columns == ("area_abd_um2", "diameter_abd_um", "volume_abd_um3", "skew")
    assert column_of(found, "area_abd_um2").tolist() == [30, 31, 32, 32]  # the last: of its run
    assert column_of(found, "skew").tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[t]\t[t]\t[f]", "[t]\t[x]\t[f]", r"line 2: expected the types.*came '\[x\]'"),
        ("dubious", "doubtful", "line 5: the status is 'doubtful', expected validated"),
        ("img_file_name", "img_name", "has no column img_file_name"),
        ("d.png", "e.png", "line 6: the image 'e.png' is not under export"),
        ("b.png", "a.png", "line 4: the image a.png is already in line 3"),
        ("\t32\t", "\tmany\t", "line 5: object_area_abd is 'many', expected a number"),
        (TSV.partition("a.png")[2], "", "line 3: the row has 1 cells"),
        ("a.png" + TSV.partition("a.png")[2], "", "has types but no objects"),
    ],
)
def test_a_damaged_table_is_one_sentence(raw, old, new, says):
    (raw / "export" / "ecotaxa_export.tsv").write_text(TSV.replace(old, new, 1))
    with pytest.raises(UserError, match=says):
        surveyed(raw)


EXPORT = (
    "object_id\tobject_annotation_status\tobject_annotation_category\tobject_area\tobject_circ.\t"
    "object_width\tsample_id\tacq_instrument\tprocess_pixel\timg_file_name\timg_rank\n"
    "id a\tvalidated\tash\t100\t0.5\t20\tcore 1\tPlanktoscope v2\t0.75\ta.png\t0\n"
    "id a\tvalidated\tash\t100\t0.5\t20\tcore 1\tPlanktoscope v2\t0.75\tb.png\t1\n"
    "id c\tV\tdust\t200\t0.7\t30\tcore 2\tPlanktoscope v2\t0.75\tsub/c.png\t0\n"
)


@pytest.fixture
def export(raw):
    """The table of a project as EcoTaxa exports it: no line of types, several images an object."""
    folder = raw / "export"
    (folder / "ecotaxa_export.tsv").unlink()
    (folder / "export_12_20240101_1200.tsv").write_text(EXPORT)
    return raw


def test_an_object_with_several_images_counts_once(export):
    result = surveyed(export)
    assert labels_of(result) == {"core 1/a.png": "ash", "core 2/c.png": "dust"}
    assert any(
        "1 further images of objects that have several are unused" in n for n in result.notes
    )


def test_the_image_of_the_smallest_rank_counts(export):
    path = export / "export" / "export_12_20240101_1200.tsv"
    path.write_text(EXPORT.replace("a.png\t0", "a.png\t5"))
    assert list(labels_of(surveyed(export))) == ["core 1/b.png", "core 2/c.png"]


def test_images_of_one_object_in_two_classes_are_refused(export):
    path = export / "export" / "export_12_20240101_1200.tsv"
    path.write_text("sand".join(EXPORT.rsplit("ash", 1)))
    with pytest.raises(UserError, match="line 3: the object 'id a' is of the class 'sand' here"):
        surveyed(export)


def test_pixels_become_micrometres_by_the_instruments_pixel(export):
    """A PlanktoScope's process_pixel is µm per px: 0.75 of them, squared for areas."""
    result = surveyed(export)
    assert set(result.columns) == {"area_um2", "circ.", "width_um"}
    assert column_of(result, "area_um2").tolist() == [100 * 0.5625, 200 * 0.5625]
    assert column_of(result, "width_um").tolist() == [15, 22.5]
    assert column_of(result, "circ.").tolist() == pytest.approx([0.5, 0.7])


@pytest.mark.parametrize(
    ("old", "new", "um"),
    [
        ("Planktoscope v2\t0.75", "zooscan\t0.0106", 10.6),
        ("Planktoscope v2\t0.75", "UVP6\t0.073", 73),
        ("process_pixel", "process_particle_pixel_size_mm", 750),
        ("process_pixel", "process_pixel_um", 0.75),
    ],
)
def test_the_pixels_unit_is_that_of_its_name_or_instrument(export, old, new, um):
    path = export / "export" / "export_12_20240101_1200.tsv"
    path.write_text(EXPORT.replace(old, new))
    assert column_of(surveyed(export), "width_um").tolist() == pytest.approx([20 * um, 30 * um])


def test_pixels_of_an_unknown_size_stay_pixels(export):
    path = export / "export" / "export_12_20240101_1200.tsv"
    path.write_text(EXPORT.replace("Planktoscope v2", "my camera"))
    result = surveyed(export)
    assert set(result.columns) == {"area_px2", "circ.", "width_px"}
    assert any("process_pixel has no unit" in note for note in result.notes)


def test_pixels_and_micrometres_of_two_tables_are_never_one_column(export):
    other = export / "other"
    other.mkdir()
    for name in "ab":
        cv2.imwrite(str(other / f"{name}.png"), np.full((9, 9), 90, np.uint8))
    text = EXPORT.replace("Planktoscope v2", "my camera").replace("core", "other")
    (other / "Ecotaxa_other.tsv").write_text(text.rpartition("id c")[0])
    result = surveyed(export)
    assert result.columns == ("circ.",)
    assert any(
        "Not in every run, so unused" in note and "width_px" in note for note in result.notes
    )


@pytest.mark.parametrize(
    "heading",
    [
        "id,category,status,area,sample,file_name",
        "obj.orig_id,txo.display_name,obj.classif_qual,fre.area,sam.orig_id,img.file_name",
        "object_ID,Object_annotation_category,object_annotation_status,object_AREA,sample_id,"
        "img_file_name",
    ],
)
def test_prefixes_may_be_missing_or_those_of_the_api(tmp_path, heading):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((9, 9), 50, np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.full((9, 9), 70, np.uint8))
    rows = "1,ash,V,30,core 1,a.png\n2,ash,P,31,core 1,b.png\n"
    (tmp_path / "ecotaxa.tsv").write_text(f"{heading}\n{rows}".replace(",", "\t"))
    result = surveyed(tmp_path)
    assert labels_of(result) == {"core 1/a.png": "ash", "core 1/b.png": ""}
    assert column_of(result, "area").tolist() == [30, 31]


def test_without_statuses_each_class_counts_and_is_noted(export):
    path = export / "export" / "export_12_20240101_1200.tsv"
    path.write_text(EXPORT.replace("object_annotation_status", "object_note"))
    result = surveyed(export)
    assert list(labels_of(result).values()) == ["ash", "dust"]
    assert any("so each class counts as validated" in note for note in result.notes)


def test_a_table_that_is_no_use_is_named_with_its_columns(tmp_path):
    (tmp_path / "a.tsv").write_text("image\tsize\na.png\t3\n")
    with pytest.raises(UserError, match=r"a\.tsv has the columns image, size: .* object_id"):
        surveyed(tmp_path)


def test_long_texts_are_read_whole_and_written_as_ecotaxa_takes_them(export):
    """EcoTaxa takes 250 letters; two long names stay two."""
    path = export / "export" / "export_12_20240101_1200.tsv"
    long = "x" * 400
    path.write_text(EXPORT.replace("id c", long))
    assert [key for key in labels_of(surveyed(export)) if "c.png" in key] == ["core 2/c.png"]
    keys = [f"r/{long}@1", f"r/{long}@2", "r/c.tif@3"]
    ecotaxa.write(predictions().assign(key=keys, image=["a", "b", "c"]), export / "out.tsv")
    written = [
        line.split("\t")[1] for line in (export / "out.tsv").read_text("utf-8-sig").splitlines()[2:]
    ]
    assert max(map(len, written)) == 250 and len(set(written)) == 3


def predictions() -> pd.DataFrame:
    """Returns three predictions, the last of which abstains."""
    return pd.DataFrame(
        {
            "key": ["r/c.tif@1", "r/c.tif@2", "r/c.tif@3"],
            "run": "r",
            "label": ["ash", "pollen\tgrain", ""],
            "um_per_px": [0.5, 0.5, np.nan],
            "p_ash": [0.9, 0.25, np.inf],
            "p_pollen grain": [0.1, 0.75, 0.5],
            "area_abd_um2": [30.5, 1 / 3, 1e-12],
            "abstain": [False, False, True],
        }
    )


def test_what_is_written_has_the_types_line(tmp_path):
    path = tmp_path / "out.tsv"
    ecotaxa.write(predictions(), path)
    rows = [line.split("\t") for line in path.read_text("utf-8-sig").splitlines()]
    assert len({len(row) for row in rows}) == 1 and len(rows) == 5
    types, first, second, unsure = (dict(zip(rows[0], row, strict=True)) for row in rows[1:])
    assert types["object_id"] == "[t]" and types["object_p_ash"] == "[f]"
    assert set(types.values()) == {"[t]", "[f]"}
    assert first["img_file_name"] == "r_c.tif_1.png" and first["object_id"] == "r/c.tif@1"
    assert first["object_annotation_category"] == "ash"
    assert first["object_annotation_status"] == "predicted"
    assert second["object_annotation_category"] == "pollen grain"
    assert unsure["object_annotation_status"] == "" and unsure["object_p_ash"] == ""
    assert second["object_area_abd_um2"] == "0.333333333"


def test_what_is_written_is_read_again_as_measured(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for i in (1, 2, 3):
        cv2.imwrite(str(folder / f"r_c.tif_{i}.png"), np.full((9, 9), 50, np.uint8))
    ecotaxa.write(
        predictions().assign(status=["validated", "predicted", "dubious"]), folder / "ecotaxa.tsv"
    )
    found = surveyed(tmp_path)
    assert list(labels_of(found).values()) == ["ash", "", ""]
    assert column_of(found, "area_abd_um2").tolist() == pytest.approx([30.5, 1 / 3, 1e-12])
    assert not any(name.startswith("p_") or name == "abstain" for name in found.columns)


@pytest.mark.parametrize("has_types", [True, False])
def test_what_predict_adds_is_not_measured_when_it_is_read_again(tmp_path, has_types):
    """EcoTaxa's own exports have no line of types: there each column of numbers counts."""
    for i in (1, 2, 3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((9, 9), 50 * i, np.uint8))
    more = {
        "image": ["1.png", "2.png", "3.png"],
        "status": "validated",
        "group": ["1", "2", "3"],
        "file": ["1", "2", "3"],
        "particle": ["1", "2", "3"],
        "classes": ["1", "2", "3"],
        **dict.fromkeys(("image_x", "image_y", "image_w", "image_h"), [1, 2, 3]),
        "new": [0, 1, 0],
        "sharpness": [1.5, 2.5, 3.5],
        "blurred": [0, 0, 1],
        "embedding_0": [0.1, 0.2, 0.3],
    }
    table = predictions().assign(um_per_px=0.5, label="ash", **more)
    ecotaxa.write(table, tmp_path / "ecotaxa.tsv")
    if not has_types:
        heading, _, *rows = (tmp_path / "ecotaxa.tsv").read_text("utf-8-sig").splitlines()
        (tmp_path / "ecotaxa.tsv").write_text("\n".join([heading, *rows]))
    assert surveyed(tmp_path).columns == ("area_abd_um2", "diameter_abd_um", "volume_abd_um3")


def test_quotes_and_accents_are_read_by_ecotaxa_and_by_us(tmp_path):
    """EcoTaxa reads Latin-1 unless there is a byte order mark, and unquotes."""
    keys = ['"q" run/1', '"q', "Zürich_1"]
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((9, 9), ord(name), np.uint8))
    images = ["a.png", "b.png", "c.png"]
    table = predictions().assign(key=keys, image=images, label="ash")
    ecotaxa.write(table, tmp_path / "ecotaxa.tsv")
    data = (tmp_path / "ecotaxa.tsv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    text = data.decode("utf-8-sig").splitlines()
    rows = list(csv.DictReader(text, delimiter="\t", quotechar='"'))[1:]
    assert [row["object_id"] for row in rows] == keys
    assert ecotaxa.read_labels(tmp_path / "ecotaxa.tsv")["object"].tolist() == keys
    found = surveyed(tmp_path)
    read = [e for one in found.sources for e in TASK.read(one, InsolublesOptions()).examples]
    assert [e.metadata["particle"] for e in read] == keys


def test_the_zip_has_the_table_and_its_images_and_is_read_again(tmp_path):
    images = tmp_path / "particles" / "images"
    images.mkdir(parents=True)
    names = [f"r_c.tif_{i}.png" for i in (1, 2, 3)]
    for i, name in enumerate(names):
        cv2.imwrite(str(images / name), np.full((9, 9), 50 + i, np.uint8))
    statuses = ["validated", "predicted", "validated"]
    table = predictions().assign(status=statuses, image=[f"particles/images/{n}" for n in names])
    table.loc[2, "label"] = "pollen grain"
    ecotaxa.write_zip(table, tmp_path / "particles.zip")
    with zipfile.ZipFile(tmp_path / "particles.zip") as archive:
        assert archive.namelist() == ["ecotaxa_particles.tsv", *names]
        archive.extractall(tmp_path / "raw" / "set")
    lines = (tmp_path / "raw" / "set" / "ecotaxa_particles.tsv").read_text("utf-8-sig").splitlines()
    headings, types, first, *_ = [line.split("\t") for line in lines]
    prefixes = ("img_", "object_", "sample_", "acq_", "process_")
    assert all(name == name.lower() and name.startswith(prefixes) for name in headings)
    row = dict(zip(headings, first, strict=True))
    assert row["img_file_name"] == names[0] and row["object_score"] == "0.9"
    assert types[headings.index("object_score")] == "[f]"
    found = surveyed(tmp_path / "raw")
    assert list(labels_of(found).values()) == ["ash", "", "pollen grain"]
    assert "score" not in found.columns


def test_predictions_of_an_export_are_proposals_for_the_same_objects(export):
    """EcoTaxa -> predictions -> EcoTaxa: ids stay, and what people validated is not touched."""
    table = pd.DataFrame(
        {
            "key": ["core 2/a.png", "core 2/b.png", "core 2/c.png"],
            "run": "core 2",
            "particle": ["id a", "id b", "id c"],
            "status": ["validated", "dubious", ""],
            "label": ["ash", "pollen", ""],
            "image": ["a.png", "b.png", "c.png"],
            "p_ash": [0.9, 0.2, 0.5],
            "p_pollen": [0.1, 0.8, 0.5],
        }
    )
    (note,) = ecotaxa.write_predictions(table, export / "out.tsv")
    assert note.startswith("1 validated objects are not in the file")
    lines = (export / "out.tsv").read_text("utf-8-sig").splitlines()
    heading, _, *rows = [line.split("\t") for line in lines]
    written = [dict(zip(heading, row, strict=True)) for row in rows]
    assert [row["object_id"] for row in written] == ["id b", "id c"]
    assert [row["img_file_name"] for row in written] == ["b.png", "c.png"]
    assert [row["object_annotation_status"] for row in written] == ["predicted", ""]
    assert [row["object_annotation_category"] for row in written] == ["pollen", ""]


def test_particles_that_a_flowcam_counts_are_named_by_their_keys(tmp_path):
    numbered = predictions().assign(particle=["1", "2", "3"], status="")
    assert ecotaxa.write_predictions(numbered, tmp_path / "out.tsv") == []
    lines = (tmp_path / "out.tsv").read_text("utf-8-sig").splitlines()[2:]
    assert [line.split("\t")[1] for line in lines] == predictions()["key"].tolist()
