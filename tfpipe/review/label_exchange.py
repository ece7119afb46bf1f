"""Label exchange: a task's labels out to annotation tools, and what people changed there back in.

What comes back becomes decisions in the log beside the raw files, as those of `tfpipe review` are,
and `tfpipe pack` and `retrain` use them. The source's own tables are never changed.
"""

import tempfile
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tfpipe.base import files, images, storage, tables
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, counter, silent
from tfpipe.review import inspection_sample
from tfpipe.review.label_formats import coco, cvat, label_studio
from tfpipe.review.label_items import (
    NO_DEPTHS,
    ImageItems,
    LabelItem,
    LabelNames,
    PhotoItems,
    SpanBox,
)
from tfpipe.tasks.annotations import decisions, spans
from tfpipe.tasks.annotations.decisions import Decision
from tfpipe.tasks.insolubles import ecotaxa
from tfpipe.tasks.task import Task

WRITERS: dict[str, Callable[[Path, Iterable[LabelItem], LabelNames], None]] = {
    "cvat": cvat.write,
    "label-studio": label_studio.write,
    "coco": coco.write,
}
FORMATS = (*WRITERS, "ecotaxa")
TOOLS = {".xml": "CVAT", ".json": "Label Studio", ".tsv": "EcoTaxa"}
SAME_PX = 0.25  # edges nearer than this have not been moved: tools round them
BEYOND_PX = 1.0  # an edge may lie this far beyond its image: tools round there, too


class LabelExport(NamedTuple):
    """Labels and images that were written for another tool.

    Attributes:
      path: the folder, or the .zip of EcoTaxa.
      images: number of images.
      labels: number of labels, or of spans.
    """

    path: Path
    images: int
    labels: int


class LabelImport(NamedTuple):
    """Decisions that were read from another tool's file.

    Attributes:
      path: the decision log.
      images: number of images in the file.
      decisions: action -> number of decisions that were added.
      notes: sentences on what was left out.
    """

    path: Path
    images: int
    decisions: dict[str, int]
    notes: tuple[str, ...] = ()


def export_labels(
    task: Task, format: str, out: Path, *, records: Path, raw: Path, report: Reporter = silent
) -> LabelExport:
    """Writes a task's images and labels for an annotation tool.

    Args:
      task: the task.
      format: one of `FORMATS`.
      out: new folder; of "ecotaxa" a .zip.
      records: folder of the packed records.
      raw: the raw folder.
      report: receives the stage "export".

    Raises:
      UserError: there is no such format, nothing is packed, or the folder holds something.
    """
    choose(format, FORMATS, noun="format of labels")
    source = _source(task, records=records, raw=raw)
    if format == "ecotaxa":
        return _export_ecotaxa(task, source, out, report=report)
    items: list[LabelItem] = []
    with files.new_folder(out, option="--out") as draft:
        for item, image in _reported(source, report):
            images.write_png(image, draft / "images" / item.image)
            items.append(item)
        found = dict.fromkeys(box.label for item in items for box in item.boxes)
        labels = tuple(dict.fromkeys([*source.names.labels, *found]))
        WRITERS[format](draft, items, source.names._replace(labels=labels))
        tables.write_csv(_table(items, source.names), draft / "labels.csv")
    return LabelExport(out, len(items), _n_labels(items))


def import_labels(
    task: Task,
    path: Path,
    *,
    records: Path,
    raw: Path,
    who: str | None,
    all_checked: bool = False,
    allow_empty: bool = False,
) -> LabelImport:
    """Adds decisions for all labels that differ in a file of CVAT, Label Studio or EcoTaxa.

    Args:
      task: the task.
      path: annotations.xml, an export of Label Studio in JSON, or a table of EcoTaxa.
      records: folder of the packed records.
      raw: the raw folder, where the decisions go.
      who: the reviewer; None for the user.
      all_checked: whether labels that do not differ were checked, too, and are valid.
      allow_empty: whether a photo without boxes in the file loses all its spans.

    Raises:
      UserError: the file is not as the tool writes it, an image or label is not of this task, or
        the decisions cannot be written. Then none is added.
    """
    who = (who or inspection_sample.user_name() or "").strip()
    if not who:
        raise UserError("The user has no name on this machine, as in containers. Give --who.")
    if storage.storage_of(raw):
        raise UserError(
            "Decisions are added to the raw folder, so it must be one of this machine. Copy it."
        )
    if not path.is_file():
        raise UserError(f"{files.shown(path)} does not exist, expected a file of labels.")
    suffix = path.suffix.lower()
    readers = {".xml": cvat.read, ".json": label_studio.read, ".tsv": _read_ecotaxa}
    if suffix not in readers:
        raise UserError(
            f"{files.shown(path.name)} ends in {suffix or 'nothing'}, expected .xml of CVAT, .json "
            "of Label Studio or .tsv of EcoTaxa. Export the labels again, and unpack a .zip."
        )
    by_name = _by_name(readers[suffix](path))
    chosen = frozenset(by_name) if suffix != ".tsv" else None
    source = _source(task, records=records, raw=raw, chosen=chosen)
    made: list[Decision] = []
    matched: set[str] = set()
    emptied: list[str] = []
    unlabelled: list[str] = []
    stamp = _Stamp(who, TOOLS[suffix])
    for item in source.items():
        name = item.key if suffix == ".tsv" else item.image
        if name in by_name:
            matched.add(name)
            change = _span_decisions if source.names.are_spans else _image_decisions
            made += change(item, by_name[name], stamp, source.names, all_checked=all_checked)
            emptied += [item.image] if item.boxes and not by_name[name].boxes else []
            unlabelled += [item.image] if item.label and not by_name[name].label else []
    unknown = sorted(by_name.keys() - matched)
    if unknown and not matched:
        raise UserError(
            f"No image of {files.shown(path.name)} is one of {task.name}, such as {unknown[0]!r}. "
            "Name the task whose labels were exported."
        )
    if emptied and not allow_empty:
        raise UserError(
            f"{files.shown(path.name)} has no boxes on {len(emptied)} of {len(matched)} photos "
            f"that have some here, such as {emptied[0]}. Export all photos with their boxes, or "
            "give --allow-empty if there is nothing on these."
        )
    decisions.append_all(raw, made, name=task.raw_files.decisions)
    counts: dict[str, int] = {}
    for one in made:
        counts[one.action] = counts.get(one.action, 0) + 1
    notes = [
        f"{sentence}: {len(names)} images, such as {names[0]!r}."
        for sentence, names in (
            ("Not in the records, and left out", unknown),
            ("Without a class in the file, so the one here stays", unlabelled),
        )
        if names
    ]
    return LabelImport(raw / task.raw_files.decisions, len(matched), counts, tuple(notes))


def _by_name(received: Iterable[LabelItem]) -> dict[str, LabelItem]:
    """Returns the items by the names of their images, or by their keys.

    Raises:
      UserError: two of one name differ.
    """
    by_name: dict[str, LabelItem] = {}
    for item in received:
        name = item.image or item.key
        if by_name.setdefault(name, item) != item:
            raise UserError(
                f"The file has {name!r} twice, with different labels, expected each image once. "
                "Remove one of the two, or export the labels of one task only."
            )
    return by_name


class _Stamp(NamedTuple):
    """What decisions from one file share."""

    who: str
    tool: str

    def decision(
        self,
        target: tuple[str, str],
        *,
        label: str,
        action: str,
        depths_m: tuple[float, float] = NO_DEPTHS,
    ) -> Decision:
        state = "dubious" if action == "dubious" else "validated"
        time = decisions.now()
        return Decision(time, self.who, *target, *depths_m, label, self.tool, state, action)


def _image_decisions(
    item: LabelItem, received: LabelItem, stamp: _Stamp, names: LabelNames, *, all_checked: bool
) -> Iterator[Decision]:
    target = (item.key.partition("@")[0], item.key)
    if received.boxes:
        raise UserError(
            f"The image {item.image} has a box, expected a class for the whole image. Remove it."
        )
    if not received.label:
        return  # nobody has named a class
    label = received.label
    if label != item.label:  # a class that no image of the records has may stay
        label = choose(label, names.labels, noun=f"class for the image {item.image}")
    if received.is_dubious:
        if not item.is_dubious or label != item.label:
            yield stamp.decision(target, label=label, action="dubious")
    elif label != item.label or item.is_dubious:
        yield stamp.decision(target, label=label, action="label")
    elif all_checked and not item.is_validated:
        yield stamp.decision(target, label=label, action="accept")


def _span_decisions(
    item: LabelItem, received: LabelItem, stamp: _Stamp, names: LabelNames, *, all_checked: bool
) -> Iterator[Decision]:
    _check_size(item, received)
    if received.label:
        raise UserError(
            f"The photo {item.image} has the class {received.label!r}, expected boxes only. "
            "Remove the class, or draw a box for it."
        )
    before = {box.name: box for box in item.boxes}
    kinds = dict.fromkeys([*names.labels, *(box.label for box in item.boxes)])
    used: set[str] = set()
    for box in received.boxes:
        choose(box.label, kinds, noun="kind of span")
        # A copy of a box has the name of the first.
        is_first = box.name in before and box.name not in used
        name = box.name if is_first else _new_name(item, box, before.keys() | used)
        used.add(name)
        one = before[name] if is_first else None
        depths_m = _depths_m(item, box, one)
        if action := _action(one, box, all_checked=all_checked):
            yield stamp.decision(
                (item.key, name), label=box.label, action=action, depths_m=depths_m
            )
    for name in sorted(before.keys() - used):
        depths_m = before[name].depths_m
        yield stamp.decision((item.key, name), label="", action="delete", depths_m=depths_m)
    is_open = any(box.is_dubious for box in received.boxes)
    if all_checked and not is_open and not item.is_validated:
        yield stamp.decision(
            (item.key, spans.WHOLE), label="", action="accept", depths_m=item.depths_m
        )


def _action(before: SpanBox | None, box: SpanBox, *, all_checked: bool) -> str:
    """Returns the action that a box means, "" for none."""
    action = ""
    if before is None:
        action = "draw"
    elif not all(_are_same_edges(before, box)):
        action = "move"
    elif (box.label, box.is_dubious) != (before.label, before.is_dubious):
        action = "label"
    elif all_checked and not (box.is_dubious or before.is_validated):
        action = "accept"
    return "dubious" if box.is_dubious and action else action


def _are_same_edges(one: SpanBox, other: SpanBox) -> tuple[bool, bool]:
    """Returns whether the upper and the lower edge of a box are where those of the other are."""
    distances_px = (one.top_px - other.top_px, one.bottom_px - other.bottom_px)
    return abs(distances_px[0]) < SAME_PX, abs(distances_px[1]) < SAME_PX


def _new_name(item: LabelItem, box: SpanBox, taken: Container[str]) -> str:
    name = first = spans.span_name("drawn", *_depths_m(item, box))
    count = 1
    while name in taken:
        count += 1
        name = f"{first} ({count})"
    return name


def _depths_m(item: LabelItem, box: SpanBox, before: SpanBox | None = None) -> tuple[float, float]:
    """Returns the depths of a box's edges, to 0.01 mm.

    Args:
      item: the photo.
      box: the box.
      before: the span that the box was: an edge that was not moved keeps its depth, as it may lie
        beyond the photo.

    Raises:
      UserError: the box has no height, or is not on the photo.
    """
    rows_px = (box.top_px, box.bottom_px)
    if not all(-BEYOND_PX <= px <= item.height + BEYOND_PX for px in rows_px):
        raise UserError(
            f"{item.image}: a box from row {box.top_px:g} to {box.bottom_px:g} px is not on the "
            f"photo, expected rows from 0 to {item.height}. Draw it again."
        )
    depths_m = [item.depth_m(min(max(px, 0.0), float(item.height))) for px in rows_px]
    if before is not None:
        are_same = _are_same_edges(before, box)
        unmoved = zip(are_same, before.depths_m, depths_m, strict=True)
        depths_m = [own if is_same else depth for is_same, own, depth in unmoved]
    top_m, bottom_m = (round(depth, 5) for depth in depths_m)
    if not bottom_m > top_m:
        raise UserError(
            f"{item.image}: a box from row {box.top_px:g} to {box.bottom_px:g} px has no height. "
            "Draw it again."
        )
    return top_m, bottom_m


def _check_size(item: LabelItem, received: LabelItem) -> None:
    if (item.width, item.height) != (received.width, received.height):
        raise UserError(
            f"{item.image} has {received.width} x {received.height} px in the file, and "
            f"{item.width} x {item.height} px here, so its boxes have no depth. Export the labels "
            "again: the photo or an option has changed."
        )


def _source(
    task: Task, *, records: Path, raw: Path, chosen: frozenset[str] | None = None
) -> ImageItems | PhotoItems:
    if task.whole_file is None:
        return ImageItems(task, records=records, raw=raw)
    if task.whole_file.review is None:
        raise UserError(
            f"{task.name} predicts whole files and does not define how their parts are reviewed, "
            "so there are no labels to exchange."
        )
    return PhotoItems(task, records=records, raw=raw, chosen=chosen)


def _reported(
    source: ImageItems | PhotoItems, report: Reporter
) -> Iterator[tuple[LabelItem, np.ndarray]]:
    progress = counter(report, "export")
    total = source.count
    progress(0, total)
    for done, pair in enumerate(source.with_images(), start=1):
        yield pair
        progress(done, total)


def _n_labels(items: Iterable[LabelItem]) -> int:
    return sum(bool(item.label) + len(item.boxes) for item in items)


def _table(items: list[LabelItem], names: LabelNames) -> pd.DataFrame:
    """Returns the labels as a table: a row an image, or a row a span with its depths."""
    if not names.are_spans:
        rows = [(item.image, item.key, item.label, item.is_dubious) for item in items]
        return pd.DataFrame(rows, columns=["image", "key", "label", "dubious"])
    spans_of = [
        (item.image, item.key, *_depths_m(item, box, box), box.label, box.is_dubious)
        for item in items
        for box in item.boxes
    ]
    columns = ["image", "photo", "depth_from_m", "depth_to_m", "label", "dubious"]
    return pd.DataFrame(spans_of, columns=columns)


def _export_ecotaxa(
    task: Task, source: ImageItems | PhotoItems, out: Path, *, report: Reporter
) -> LabelExport:
    """Writes the .zip that EcoTaxa imports: labels are validated, dubious ones dubious."""
    writer = task.image_outputs.write_labels
    if writer is None:
        raise UserError(f"{task.name} has no tables for EcoTaxa. Choose {' or '.join(WRITERS)}.")
    if out.suffix.lower() != ".zip":
        raise UserError(f"--out is {files.shown(out.name)!r}, expected a name that ends in .zip.")
    with (
        files.writing_to(out, option="--out"),
        tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=f".{out.stem}-") as beside,
    ):
        items = []
        for item, image in _reported(source, report):
            images.write_png(image, Path(beside) / "images" / item.image)
            items.append(item)
        frame = pd.DataFrame(
            {
                "key": [item.key for item in items],
                "run": [item.group for item in items],
                "label": [item.label for item in items],
                "status": ["dubious" if item.is_dubious else "validated" for item in items],
                "image": [f"images/{item.image}" for item in items],
            }
        )
        writer(frame, draft := Path(beside) / out.name)
        draft.replace(out)
    return LabelExport(out, len(items), _n_labels(items))


def _read_ecotaxa(path: Path) -> list[LabelItem]:
    """Returns the validated and dubious objects of a table of EcoTaxa; their images are ""."""
    return [
        LabelItem("", key, 0, 0, label=label, is_dubious=status == "dubious")
        for key, label, status in ecotaxa.read_labels(path).itertuples(index=False)
        if status in ("validated", "dubious")
    ]
