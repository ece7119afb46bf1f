"""CVAT: labels as "CVAT for images 1.1", https://docs.cvat.ai/docs/dataset_management/formats.

A class is a tag of an image; a span is a box across it. The attribute `dubious` marks what nobody
can tell, and `name` of a box says which span it was.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.review.label_items import LabelItem, LabelNames, SpanBox

FILE, LABELS_FILE = "annotations.xml", "labels.json"


def write(folder: Path, items: Iterable[LabelItem], names: LabelNames) -> None:
    """Writes annotations.xml, and labels.json for the field "Raw" of a new task's labels.

    Args:
      folder: where images/ is.
      items: the images.
      names: of the labels.
    """
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    task = SubElement(SubElement(root, "meta"), "task")
    labels = SubElement(task, "labels")
    for name in names.labels:
        label = SubElement(labels, "label")
        SubElement(label, "name").text = name
        SubElement(label, "type").text = _kind(names)
        attributes = SubElement(label, "attributes")
        for about in _attributes(names):
            attribute = SubElement(attributes, "attribute")
            SubElement(attribute, "name").text = about["name"]
            SubElement(attribute, "mutable").text = "False"
            SubElement(attribute, "input_type").text = about["input_type"]
            SubElement(attribute, "default_value").text = about["default_value"]
            SubElement(attribute, "values").text = "\n".join(about["values"])
    for number, item in enumerate(items):
        size = {"width": str(item.width), "height": str(item.height)}
        image = SubElement(root, "image", {"id": str(number), "name": item.image} | size)
        if item.label:
            tag = SubElement(image, "tag", label=item.label, source="manual")
            _add(tag, "dubious", item.is_dubious)
        for box in item.boxes:
            edges = {"xtl": "0.00", "ytl": f"{box.top_px:.4f}"}
            edges |= {"xbr": f"{item.width:.2f}", "ybr": f"{box.bottom_px:.4f}", "z_order": "0"}
            about = {"label": box.label, "source": "manual", "occluded": "0"} | edges
            shape = SubElement(image, "box", about)
            _add(shape, "dubious", box.is_dubious)
            SubElement(shape, "attribute", name="name").text = box.name
    ElementTree.indent(root)
    try:
        text = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    except UnicodeEncodeError as error:
        raise UserError("A file or class has a name that is no valid text. Rename it.") from error
    files.replace(folder / FILE, text)
    constructor = [
        {"name": name, "type": _kind(names), "attributes": _attributes(names)}
        for name in names.labels
    ]
    files.replace(folder / LABELS_FILE, json.dumps(constructor, indent=1).encode())


def read(path: Path) -> list[LabelItem]:
    """Returns the items of an annotations.xml; their keys are "".

    Raises:
      UserError: it is no such file, or an image or a box lacks something.
    """
    where = files.shown(path.name)
    try:
        parser = ElementTree.XMLParser(target=_Builder())
        root = ElementTree.fromstring(files.contents(path, expected="annotations"), parser)
        items = [_item(image) for image in root.iter("image")]
    except _DocumentType as error:
        raise UserError(
            f"{where} has a document type, which CVAT does not write. Export it from CVAT again."
        ) from error
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise UserError(
            f"{where} is not as CVAT writes it ({type(error).__name__}: {error}). Export it from "
            "CVAT as 'CVAT for images 1.1'."
        ) from error
    if root.tag != "annotations" or not items:
        raise UserError(
            f"{where} has no images, expected <annotations> with an <image> each. Export it from "
            "CVAT as 'CVAT for images 1.1', not 'for video'."
        )
    return items


class _DocumentType(Exception):
    """A document type, which may define entities that grow without end."""


class _Builder(ElementTree.TreeBuilder):
    """Builds the tree of a document without a document type, in whatever encoding it is."""

    def doctype(self, name: str, pubid: str, system: str) -> None:
        raise _DocumentType


def _item(image: Element) -> LabelItem:
    name = image.attrib["name"].replace("\\", "/").rpartition("/")[2]
    for shape in image:
        if shape.tag not in ("tag", "box"):
            raise UserError(
                f"The image {name} has a {shape.tag}, expected tags and boxes only. Replace it by "
                "a box or a tag, or remove it."
            )
        if float(shape.attrib.get("rotation") or 0):
            raise UserError(
                f"The image {name} has a box that is rotated by {shape.attrib['rotation'][:20]} "
                "degrees, expected boxes that are upright. Draw it again."
            )
    tags = image.findall("tag")
    if len(tags) > 1:
        labels = " and ".join(tag.attrib["label"] for tag in tags)
        raise UserError(f"The image {name} has the tags {labels}, expected one. Remove the others.")
    boxes = [
        SpanBox(
            _attribute(box, "name"),
            float(box.attrib["ytl"]),
            float(box.attrib["ybr"]),
            box.attrib["label"],
            _attribute(box, "dubious") == "true",
        )
        for box in image.findall("box")
    ]
    return LabelItem(
        name,
        "",
        int(image.attrib["width"]),
        int(image.attrib["height"]),
        label=tags[0].attrib["label"] if tags else "",
        is_dubious=bool(tags) and _attribute(tags[0], "dubious") == "true",
        boxes=tuple(boxes),
    )


def _kind(names: LabelNames) -> str:
    return "rectangle" if names.are_spans else "tag"


def _attributes(names: LabelNames) -> list[dict[str, Any]]:
    dubious = {
        "name": "dubious",
        "mutable": False,
        "input_type": "checkbox",
        "default_value": "false",
        "values": ["false"],
    }
    name = {
        "name": "name",
        "mutable": False,
        "input_type": "text",
        "default_value": "",
        "values": [""],
    }
    return [dubious, name] if names.are_spans else [dubious]


def _add(parent: Element, name: str, is_set: bool) -> None:
    SubElement(parent, "attribute", name=name).text = "true" if is_set else "false"


def _attribute(parent: Element, name: str) -> str:
    for attribute in parent.findall("attribute"):
        if attribute.attrib.get("name") == name:
            return (attribute.text or "").strip()
    return ""
