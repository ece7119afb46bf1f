"""Label Studio: labels as tasks in JSON, https://labelstud.io/guide/task_format, and config.xml.

A class is a choice for an image; a span is a rectangle across it. `dubious` is a choice besides.
What tfpipe needs to know of an image again is in the data of its task.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.review.label_items import LabelItem, LabelNames, SpanBox

FILE, CONFIG_FILE = "tasks.json", "config.xml"
ADDRESS = "/data/local-files/?d=images/"  # of images on the disk of Label Studio's server


def write(folder: Path, items: Iterable[LabelItem], names: LabelNames) -> None:
    """Writes tasks.json, and config.xml for the labeling interface.

    Args:
      folder: where images/ is.
      items: the images.
      names: of the labels.
    """
    tasks = [_task(item, names) for item in items]
    files.replace(folder / FILE, json.dumps(tasks, indent=1).encode())
    files.replace(folder / CONFIG_FILE, config(names))


def config(names: LabelNames) -> bytes:
    """Returns the labeling interface as XML."""
    view = Element("View")
    SubElement(view, "Image", name="image", value="$image", zoom="true")
    if names.are_spans:
        boxes = SubElement(view, "RectangleLabels", name="label", toName="image")
        for name in names.labels:
            SubElement(boxes, "Label", value=name)
        dubious = SubElement(view, "Choices", name="dubious", toName="image", perRegion="true")
    else:
        choices = SubElement(view, "Choices", name="label", toName="image", choice="single")
        for name in names.labels:
            SubElement(choices, "Choice", value=name)
        dubious = SubElement(view, "Choices", name="dubious", toName="image", choice="multiple")
    SubElement(dubious, "Choice", value="dubious")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="utf-8")


def read(path: Path) -> list[LabelItem]:
    """Returns the items of an export in JSON; tasks without an annotation are left out.

    The last annotation of a task counts.

    Raises:
      UserError: it is no such file, or its tasks are not those that `write` made.
    """
    where = files.shown(path.name)
    try:
        tasks = json.loads(files.contents(path, expected="an export of Label Studio"))
        items = [_item(task) for task in tasks if _annotations(task)]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{where} is not as Label Studio writes it ({type(error).__name__}: {error}). Export "
            "the project as JSON, not JSON-MIN, with tasks that were imported from tfpipe."
        ) from error
    return items


def _task(item: LabelItem, names: LabelNames) -> dict[str, Any]:
    about = {"image": item.image, "width": item.width, "height": item.height}
    spans = {_region(box.name): box.name for box in item.boxes}
    results: list[dict[str, Any]] = []
    if item.label:
        results.append(_choice("label", item.label))
        results += [_choice("dubious", "dubious")] if item.is_dubious else []
    for box in item.boxes:
        size = {"original_width": item.width, "original_height": item.height, "image_rotation": 0}
        place = {
            "x": 0,
            "y": 100 * box.top_px / item.height,
            "width": 100,
            "height": 100 * (box.bottom_px - box.top_px) / item.height,
            "rotation": 0,
        }
        region = {"id": _region(box.name), "to_name": "image", **size}
        kind = {"from_name": "label", "type": "rectanglelabels"}
        results.append(region | kind | {"value": place | {"rectanglelabels": [box.label]}})
        if box.is_dubious:
            kind = {"from_name": "dubious", "type": "choices"}
            results.append(region | kind | {"value": place | {"choices": ["dubious"]}})
    has_labels = bool(item.label) or names.are_spans
    return {
        "data": {"image": ADDRESS + item.image, "tfpipe": about | {"spans": spans}},
        "annotations": [{"result": results}] if has_labels else [],
    }


def _choice(name: str, value: str) -> dict[str, Any]:
    return {
        "from_name": name,
        "to_name": "image",
        "type": "choices",
        "value": {"choices": [value]},
    }


def _region(name: str) -> str:
    """Returns the identifier of a span's region."""
    return hashlib.sha256(name.encode()).hexdigest()[:10]


def _annotations(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in task["annotations"] if not one.get("was_cancelled")]


def _item(task: Mapping[str, Any]) -> LabelItem:
    about, results = task["data"]["tfpipe"], _annotations(task)[-1]["result"]
    image, width, height = _text(about["image"]), _count(about["width"]), _count(about["height"])
    for one in results:
        _check_result(one, image)
    chosen = {
        (_text(one["from_name"]), _text(one.get("id", ""))): _text(one["value"]["choices"][0])
        for one in results
        if one["type"] == "choices" and one["value"]["choices"]
    }
    # A choice for the whole image gets an identifier of its own.
    of_image = {name: value for (name, _), value in chosen.items()}
    dubious = {region for name, region in chosen if name == "dubious"}
    boxes = [
        SpanBox(
            _text(about["spans"].get(one["id"], "")),
            one["value"]["y"] * height / 100,
            (one["value"]["y"] + one["value"]["height"]) * height / 100,
            _text(one["value"]["rectanglelabels"][0]),
            one["id"] in dubious,
        )
        for one in results
        if one["type"] == "rectanglelabels"
    ]
    return LabelItem(
        image,
        "",
        width,
        height,
        label=of_image.get("label", ""),
        is_dubious=not boxes and "dubious" in of_image,
        boxes=tuple(boxes),
    )


def _check_result(result: Mapping[str, Any], image: str) -> None:
    """Raises a UserError if a result is neither a choice nor an upright rectangle."""
    if result["type"] not in ("choices", "rectanglelabels"):
        raise UserError(
            f"The image {image} has a region of the type {str(result['type'])[:40]!r}, expected "
            "rectangles with a label and choices only. Replace it by a rectangle, or remove it."
        )
    turns = (result["value"].get("rotation"), result.get("image_rotation"))
    for degrees in filter(None, turns):
        raise UserError(
            f"The image {image} has a rectangle or is itself rotated by {degrees} degrees, "
            "expected both upright. Turn the image back, and draw the rectangle again."
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!r} is no text")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{str(value)[:40]!r} is no whole number")
    return value
