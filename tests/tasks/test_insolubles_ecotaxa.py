"""EcoTaxa's tables, in and out."""

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
    rows = [line.split("\t") for line in path.read_text().splitlines()]
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
