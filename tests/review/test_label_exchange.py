"""Labels go to annotation tools and come back, and none is lost or changed on the way."""

import csv
import json
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import run_command
from small_records import HALVES, MELT_OPTIONS, MELT_SPLIT, draw_melt, draw_small, make_task

from tfpipe.base.errors import UserError
from tfpipe.data import pack
from tfpipe.review.label_exchange import export_labels, import_labels
from tfpipe.review.label_items import NO_DEPTHS, ImageItems, PhotoItems
from tfpipe.tasks.annotations import decisions
from tfpipe.tasks.insolubles import ecotaxa
from tfpipe.tasks.melt_layer import TASK as MELT_LAYER
from tfpipe.tasks.task import ImageOutputs

TASK = make_task(image_outputs=ImageOutputs(write_labels=ecotaxa.write_zip))
FILES = {"cvat": "annotations.xml", "label-studio": "tasks.json"}
TOOLS = pytest.mark.parametrize("tool", FILES)
ECOTAXA = "object_id\tobject_annotation_category\tobject_annotation_status\n"


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    """Packed images of two classes: raw/ and records/."""
    folder = tmp_path_factory.mktemp("small")
    draw_small(folder / "raw", ["a_1", "a_2", "b", "c", "plain d"])
    pack.pack(TASK, folder / "raw", folder / "records", options=TASK.options, split=HALVES)
    return folder


@pytest.fixture
def places(packed, tmp_path) -> dict[str, Path]:
    """Where the records are, and a raw folder without decisions."""
    (tmp_path / "raw").mkdir()
    return {"records": packed / "records", "raw": tmp_path / "raw"}


def labels_of(places) -> dict[str, tuple[str, bool]]:
    return {one.key: (one.label, one.is_dubious) for one in ImageItems(TASK, **places).items()}


def edited_cvat(path: Path, labels: dict[str, str], dubious: str = "") -> Path:
    """Writes a file as CVAT exports it after some tags were changed."""
    root = ElementTree.parse(path).getroot()
    for image in root.iter("image"):
        image.set("name", f"images/{image.get('name')}")
        image.set("subset", "Train")
        image.set("task_id", "7")
        tag = image.find("tag")
        tag.set("group_id", "0")
        tag.set("label", labels.get(image.get("name"), tag.get("label")))
        if image.get("name") == dubious:
            tag.find("attribute").text = "true"
    ElementTree.ElementTree(root).write(path.with_name("edited.xml"))
    return path.with_name("edited.xml")


def edited_label_studio(path: Path, labels: dict[str, str], dubious: str = "") -> Path:
    """Writes a file as Label Studio exports it after some choices were changed."""
    tasks = json.loads(path.read_text())
    for number, task in enumerate(tasks, start=1):
        name = f"images/{task['data']['tfpipe']['image']}"
        (annotation,) = task["annotations"]
        annotation |= {"id": number, "completed_by": 1, "lead_time": 2.5, "was_cancelled": False}
        first = json.loads(json.dumps(annotation))
        for result in annotation["result"]:
            result |= {"id": f"id{number}", "origin": "manual"}
            result["value"]["choices"] = [labels.get(name, result["value"]["choices"][0])]
        if name == dubious:
            choice = {"from_name": "dubious", "type": "choices", "value": {"choices": ["dubious"]}}
            annotation["result"].append(choice | {"to_name": "image", "id": "x"})
        task |= {"id": number, "predictions": [], "annotations": [first, annotation]}
    path.with_name("edited.json").write_text(json.dumps(tasks))
    return path.with_name("edited.json")


EDITED = {"cvat": edited_cvat, "label-studio": edited_label_studio}


@TOOLS
def test_labels_come_back_as_they_went(places, tmp_path, tool):
    before = labels_of(places)
    made = export_labels(TASK, tool, tmp_path / "out", **places)
    assert made.images == made.labels == len(before) == 30
    images = sorted((tmp_path / "out" / "images").iterdir())
    assert len(images) == 30 and images[0].name == "a_1.png_0.png"
    assert cv2.imread(str(images[0])).shape == TASK.image_shape
    file = tmp_path / "out" / FILES[tool]
    read = import_labels(TASK, file, who="Ann", **places)
    assert read.images == 30 and read.decisions == {} and not read.path.exists()
    read = import_labels(TASK, file, who="Ann", all_checked=True, **places)
    assert read.decisions == {"accept": 30} and labels_of(places) == before
    read = import_labels(TASK, file, who="Ann", all_checked=True, **places)
    assert read.decisions == {} and labels_of(places) == before


@TOOLS
def test_what_was_changed_becomes_a_decision_that_packing_uses(places, tmp_path, tool, packed):
    before = labels_of(places)
    export_labels(TASK, tool, tmp_path / "out", **places)
    file = tmp_path / "out" / FILES[tool]
    edited = EDITED[tool](file, {"images/b.png_0.png": "spotted"}, "images/c.png_3.png")
    read = import_labels(TASK, edited, who="Ann", **places)
    assert read.decisions == {"label": 1, "dubious": 1}
    after = before | {"b.png@0": ("spotted", False), "c.png@3": (before["c.png@3"][0], True)}
    assert labels_of(places) == after
    line = decisions.read(places["raw"]).current["", "b.png@0"]
    assert (line.who, line.file, line.state, line.action) == ("Ann", "b.png", "validated", "label")
    export_labels(TASK, tool, tmp_path / "again", **places)
    again = import_labels(TASK, tmp_path / "again" / FILES[tool], who="Bob", **places)
    assert again.decisions == {} and labels_of(places) == after


def test_labels_go_to_ecotaxa_and_come_back(places, tmp_path):
    before = labels_of(places)
    made = export_labels(TASK, "ecotaxa", tmp_path / "small.zip", **places)
    assert made.images == 30 and [p.name for p in tmp_path.iterdir()] == ["raw", "small.zip"]
    with zipfile.ZipFile(made.path) as archive:
        assert len(archive.namelist()) == 31
        text = archive.read("ecotaxa_small.tsv").decode("utf-8-sig")
    rows = list(csv.DictReader(text.splitlines(), delimiter="\t"))
    assert {row["object_annotation_status"] for row in rows[1:]} == {"validated"}
    assert {r["object_id"]: (r["object_annotation_category"], False) for r in rows[1:]} == before
    table = tmp_path / "export.tsv"
    table.write_text(text)
    assert import_labels(TASK, table, who="Ann", **places).decisions == {}
    table.write_text(text.replace("\tb.png@0\tplain\t", "\tb.png@0\tspotted\t"))
    assert import_labels(TASK, table, who="Ann", **places).decisions == {"label": 1}
    assert labels_of(places) == before | {"b.png@0": ("spotted", False)}


def test_a_file_that_does_not_fit_is_one_sentence_and_no_decision(places, tmp_path):
    export_labels(TASK, "cvat", tmp_path / "cvat", **places)
    export_labels(TASK, "label-studio", tmp_path / "ls", **places)
    xml = (tmp_path / "cvat" / "annotations.xml").read_text()
    tasks = (tmp_path / "ls" / "tasks.json").read_text()
    two = '<tag label="plain" source="manual" /><tag label="spotted" source="manual" /></image>'
    for name, text, sentence in (
        ("a.xml", xml.replace('tag label="plain"', 'tag label="plane"'), "class for the image a_1"),
        ("a.xml", xml.replace(".png", ".jpg"), "No image of a.xml is one of small-task, such as"),
        ("a.xml", xml.replace("</image>", two, 1), "has the tags plain and plain and spotted, exp"),
        ("a.xml", xml[:-30], "a.xml is not as CVAT writes it (ParseError"),
        ("a.xml", "<annotations><track/></annotations>", "a.xml has no images, expected <annotat"),
        ("a.xml", f"<!DOCTYPE a>{xml}", "document type, which CVAT does not write"),
        ("a.xml", xml.replace("<tag ", "<mask/><tag ", 1), "has a mask, expected tags and boxes"),
        (
            "a.xml",
            xml.replace("<tag ", '<box label="a" ytl="1" ybr="2"/><tag ', 1),
            "has a box, ex",
        ),
        ("a.xml", xml.replace("utf-8", "foo", 1), "a.xml is not as CVAT writes it (LookupError"),
        ("a.json", tasks.replace('"tfpipe"', '"other"'), "is not as Label Studio writes it (KeyE"),
        ("a.json", tasks.replace('"type": "choices"', '"type": "brush"', 1), "of the type 'brush'"),
        ("a.json", tasks.replace('"height": 20', '"height": "20"', 1), "'20' is no whole number"),
        ("a.json", "[" * 100_000, "is not as Label Studio writes it (RecursionError"),
        ("a.json", "{", "is not as Label Studio writes it (JSONDecodeError"),
        ("a.tsv", "object_id\tclass\na\tb\n", "no column object_annotation_category, expected one"),
        ("a.tsv", ECOTAXA + "a\tplain\tmaybe\n", "a.tsv line 2: the status is 'maybe', expected"),
        ("a.tsv", ECOTAXA + 'a\t"plain\tV\n', "a.tsv line 2: the row cannot be split into cells"),
        ("a.txt", "", "a.txt ends in .txt, expected .xml of CVAT, .json of Label Studio or .tsv"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError) as refused:
            import_labels(TASK, tmp_path / name, who="Ann", all_checked=True, **places)
        assert sentence in str(refused.value)
        assert list(places["raw"].iterdir()) == []
    bomb = '<!DOCTYPE a [<!ENTITY b "plain">]><annotations><image name="&b;"/></annotations>'
    (tmp_path / "a.xml").write_bytes(
        f'<?xml version="1.0" encoding="UTF-16"?>{bomb}'.encode("utf-16")
    )
    with pytest.raises(UserError, match="document type, which CVAT does not write"):
        import_labels(TASK, tmp_path / "a.xml", who="Ann", **places)
    with pytest.raises(UserError, match="COCO|coco has boxes, and these images have a class each"):
        export_labels(TASK, "coco", tmp_path / "coco", **places)
    assert not (tmp_path / "coco").exists()


def test_a_label_that_is_removed_dubious_or_of_no_other_image_is_not_lost(places, tmp_path):
    draw = decisions.Decision("", "Ann", "a_1.png", "a_1.png@0", *NO_DEPTHS, *[""] * 4)
    rare = draw._replace(label="rare", state="validated", action="label")
    unsure = draw._replace(what="b.png@0", label="plain", state="dubious", action="dubious")
    decisions.append_all(places["raw"], [rare, unsure])
    export_labels(TASK, "cvat", tmp_path / "out", **places)
    path = tmp_path / "out" / "annotations.xml"
    assert import_labels(TASK, path, who="Ann", **places).decisions == {}
    edited = edited_cvat(path, {"images/b.png_0.png": "spotted"})
    root = ElementTree.parse(edited).getroot()
    image = root.find("image[@name='images/c.png_3.png']")
    image.remove(image.find("tag"))
    ElementTree.ElementTree(root).write(edited)
    read = import_labels(TASK, edited, who="Ann", all_checked=True, **places)
    assert read.decisions == {"dubious": 1, "accept": 27}
    assert read.notes == (
        "Without a class in the file, so the one here stays: 1 images, such as 'c.png_3.png'.",
    )
    assert labels_of(places)["b.png@0"] == ("spotted", True)
    root.append(image)  # a second one of this name, without its tag
    image.set("name", "other/b.png_0.png")
    ElementTree.ElementTree(root).write(edited)
    with pytest.raises(UserError, match="has 'b.png_0.png' twice, with different labels, expec"):
        import_labels(TASK, edited, who="Ann", **places)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252"])
def test_objects_of_ecotaxa_may_have_any_letters(places, tmp_path, encoding):
    table = tmp_path / "export.tsv"
    table.write_text(f"{ECOTAXA}Zürich_1\tplain\tV\nb.png@0\tspotted\tV\n", encoding)
    read = import_labels(TASK, table, who="Ann", **places)
    assert read.decisions == {"label": 1} and "such as 'Zürich_1'" in read.notes[0]


def test_a_decision_that_could_not_be_read_again_is_not_saved(tmp_path):
    span = decisions.Decision("", "Ann", "a", "s", 1.0, np.inf, "x", "", "validated", "draw")
    for wrong in (span, span._replace(bottom_m=1.0), span._replace(bottom_m=np.nan)):
        with pytest.raises(UserError, match="not saved: what is 's', top_m '1.00000' and bottom_m"):
            decisions.append(tmp_path, wrong)
    assert list(tmp_path.iterdir()) == []


def test_the_command_takes_one_direction():
    for words in ((), ("--to", "cvat"), ("--from", "a.xml", "--to", "cvat", "--out", "o")):
        with pytest.raises(UserError, match="--to and --out to write labels, or --from to read"):
            run_command.run("labels", "folds", *words)


@pytest.fixture(scope="module")
def cores(tmp_path_factory) -> Path:
    """Packed core photos: raw/ and records/."""
    folder = tmp_path_factory.mktemp("cores")
    draw_melt(folder / "raw")
    pack.pack(
        MELT_LAYER, folder / "raw", folder / "records", options=MELT_OPTIONS, split=MELT_SPLIT
    )
    return folder


@pytest.fixture
def core_places(cores, tmp_path) -> dict[str, Path]:
    """The packed cores, whose decisions are put back after the test."""
    yield {"records": cores / "records", "raw": cores / "raw"}
    (cores / "raw" / decisions.NAME).unlink(missing_ok=True)


def boxes_of(places) -> dict[str, list]:
    items = PhotoItems(MELT_LAYER, chosen=None, **places).items()
    return {item.image: [box._replace(is_validated=False) for box in item.boxes] for item in items}


def image_with_boxes(root: ElementTree.Element, count: int) -> ElementTree.Element:
    return next(image for image in root.iter("image") if len(image.findall("box")) >= count)


@pytest.mark.slow
@TOOLS
def test_layers_come_back_as_they_went(core_places, tmp_path, tool):
    before = boxes_of(core_places)
    n_boxes = sum(map(len, before.values()))
    made = export_labels(MELT_LAYER, tool, tmp_path / "out", **core_places)
    assert made.images == len(before) == 12 and made.labels == n_boxes > 20
    file = tmp_path / "out" / FILES[tool]
    assert import_labels(MELT_LAYER, file, who="Ann", **core_places).decisions == {}
    read = import_labels(MELT_LAYER, file, who="Ann", all_checked=True, **core_places)
    assert read.decisions == {"accept": n_boxes + 12}
    after = boxes_of(core_places)
    for name, boxes in before.items():
        assert [box.label for box in after[name]] == [box.label for box in boxes]
        edges = [[(box.top_px, box.bottom_px) for box in one] for one in (after[name], boxes)]
        np.testing.assert_allclose(*edges, atol=0.01)


@pytest.mark.slow
def test_layers_that_were_drawn_moved_or_removed_in_cvat_are_decisions(core_places, tmp_path):
    export_labels(MELT_LAYER, "cvat", tmp_path / "out", **core_places)
    root = ElementTree.parse(tmp_path / "out" / "annotations.xml").getroot()
    image = image_with_boxes(root, 3)
    moved, renamed, gone = image.findall("box")[:3]
    moved.set("ytl", f"{float(moved.get('ytl')) - 1.5:.2f}")  # CVAT rounds to hundredths
    kind = {"meltLayer": "meltLens", "meltLens": "meltLayer"}[renamed.get("label")]
    renamed.set("label", kind)
    image.remove(gone)
    for top in (2.0, 2.0):  # drawn twice: two layers
        new = ElementTree.SubElement(image, "box", {**moved.attrib, "ytl": str(top), "ybr": "9"})
        ElementTree.SubElement(new, "attribute", name="dubious").text = "false"
    ElementTree.ElementTree(root).write(tmp_path / "edited.xml")
    before = boxes_of(core_places)[image.get("name")]
    read = import_labels(MELT_LAYER, tmp_path / "edited.xml", who="Ann", **core_places)
    assert read.decisions == {"move": 1, "label": 1, "draw": 2, "delete": 1}
    after = {box.name: box for box in boxes_of(core_places)[image.get("name")]}
    drawn = [name for name in after if name.startswith("drawn")]
    assert len(drawn) == 2 and len(after) == len(before) + 1
    first, second, third, *rest = before
    assert after[first.name].top_px == pytest.approx(first.top_px - 1.5, abs=0.02)
    assert after[first.name].bottom_px == pytest.approx(first.bottom_px, abs=0.02)
    assert after[second.name].label == kind and third.name not in after
    for box in rest:
        assert after[box.name] == box
    survey = MELT_LAYER.survey(core_places["raw"], MELT_OPTIONS)
    assert len(decisions.read(core_places["raw"]).current) == 5 and survey.sources
    text = ElementTree.tostring(root).decode()
    for wrong, sentence in (
        (text.replace('width="200"', 'width="100"'), "100 x .* px in the file, and 200 x .* so it"),
        (text.replace('ybr="9"', 'ybr="inf"'), "row 2 to inf px is not on the photo, expected ro"),
        (text.replace('ytl="2.0"', 'ytl="-500"'), "row -500 to 9 px is not on the photo, expecte"),
        (text.replace('ybr="9"', 'ybr="9" rotation="30.5"'), "rotated by 30.5 degrees, expected"),
        (text.replace("<box", "<tag label='a'/><box", 1), "has the class 'a', expected boxes only"),
    ):
        (tmp_path / "wrong.xml").write_text(wrong)
        with pytest.raises(UserError, match=sentence):
            import_labels(MELT_LAYER, tmp_path / "wrong.xml", who="Ann", **core_places)


@pytest.mark.slow
def test_a_photo_loses_all_layers_only_if_that_is_allowed(core_places, tmp_path):
    export_labels(MELT_LAYER, "cvat", tmp_path / "out", **core_places)
    path = tmp_path / "out" / "annotations.xml"
    root = ElementTree.parse(path).getroot()
    image = image_with_boxes(root, 2)
    count = len(image.findall("box"))
    for box in image.findall("box"):
        image.remove(box)
    ElementTree.ElementTree(root).write(path)
    with pytest.raises(UserError, match=rf"has no boxes on 1 of 12 .*{image.get('name')}.*--allow"):
        import_labels(MELT_LAYER, path, who="Ann", all_checked=True, **core_places)
    assert not (core_places["raw"] / decisions.NAME).exists()
    read = import_labels(MELT_LAYER, path, who="Ann", allow_empty=True, **core_places)
    assert read.decisions == {"delete": count}


@pytest.mark.slow
def test_a_layer_that_crosses_the_photos_edge_keeps_its_depths(core_places, tmp_path):
    item = next(PhotoItems(MELT_LAYER, chosen=None, **core_places).items())
    top_m = item.depths_m[0]
    depths_m = (top_m - 0.02, top_m + 0.01)
    drawn = decisions.Decision("", "Ann", item.key, "s", *depths_m, "meltLayer", *[""] * 3)
    drawn = drawn._replace(state="validated", action="draw")
    decisions.append(core_places["raw"], drawn)
    export_labels(MELT_LAYER, "cvat", tmp_path / "out", **core_places)
    path = tmp_path / "out" / "annotations.xml"
    root = ElementTree.parse(path).getroot()
    box = root.find(f"image[@name='{item.image}']/box")
    assert box.get("ytl") == "0.0000"
    box.set("label", "meltLens")
    box.set("ybr", f"{float(box.get('ybr')) + 10}")
    ElementTree.ElementTree(root).write(path)
    assert import_labels(MELT_LAYER, path, who="Ann", **core_places).decisions == {"move": 1}
    moved = decisions.read(core_places["raw"]).current[item.key, "s"]
    assert moved.top_m == pytest.approx(depths_m[0], abs=1e-5)
    assert moved.bottom_m > depths_m[1] + 1e-4


@pytest.mark.slow
def test_layers_are_coco_boxes_and_a_table_with_depths(core_places, tmp_path):
    made = export_labels(MELT_LAYER, "coco", tmp_path / "out", **core_places)
    whole = json.loads((made.path / "annotations.json").read_text())
    assert [one["name"] for one in whole["categories"]][:2] == ["meltLayer", "meltLens"]
    sizes = {one["id"]: one for one in whole["images"]}
    for one in whole["annotations"]:
        image = sizes[one["image_id"]]
        left, top, width, height = one["bbox"]
        assert (left, width) == (0, image["width"]) and 0 <= top < top + height
        assert top + height <= image["height"] + 0.01
        depth_m = image["depth_bottom_m"] - image["depth_top_m"]
        share = (one["depth_from_m"] - image["depth_top_m"]) / depth_m
        assert share == pytest.approx(top / image["height"], abs=1e-3)
        assert cv2.imread(str(made.path / image["file_name"])).shape[0] == image["height"]
    table = (made.path / "labels.csv").read_text().splitlines()
    assert table[0] == "image,photo,depth_from_m,depth_to_m,label,dubious"
    assert len(table) == 1 + made.labels
