"""COCO: boxes of spans as in https://cocodataset.org/#format-data."""

import json
from collections.abc import Iterable
from pathlib import Path

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.review.label_items import LabelItem, LabelNames

FILE = "annotations.json"


def write(folder: Path, items: Iterable[LabelItem], names: LabelNames) -> None:
    """Writes annotations.json: a box for each span that is not dubious, with its depths.

    Args:
      folder: where images/ is.
      items: the photos.
      names: of the kinds of spans.

    Raises:
      UserError: the task has no spans.
    """
    if not names.are_spans:
        raise UserError(
            "--to coco has boxes, and these images have a class each. Choose cvat or label-studio."
        )
    number_of = {name: number for number, name in enumerate(names.labels, start=1)}
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, item in enumerate(items, start=1):
        images.append(
            {
                "id": number,
                "file_name": f"images/{item.image}",
                "width": item.width,
                "height": item.height,
                "depth_top_m": round(item.depths_m[0], 5),
                "depth_bottom_m": round(item.depths_m[1], 5),
            }
        )
        for box in item.boxes:
            if box.is_dubious or box.label not in number_of:
                continue
            height = box.bottom_px - box.top_px
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": number_of[box.label],
                    "bbox": [0, round(box.top_px, 3), item.width, round(height, 3)],
                    "area": round(item.width * height, 3),
                    "iscrowd": 0,
                    "depth_from_m": round(item.depth_m(box.top_px), 5),
                    "depth_to_m": round(item.depth_m(box.bottom_px), 5),
                }
            )
    categories = [{"id": number, "name": name} for name, number in number_of.items()]
    whole = {
        "info": {"description": "written by tfpipe; depth runs down each image"},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    files.replace(folder / FILE, json.dumps(whole, indent=1).encode())
