"""Label items: the images of a task and the labels that hold for them now, for other tools.

An image that is predicted alone is an item with a label. A photo with spans, such as a core with
layers, is the straightened core as reviewers see it, and each span is a box across it: depth runs
down the image.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfpipe.data import dataset, manifest, metadata
from tfpipe.data.dataset import Dataset, Subset
from tfpipe.evaluation import whole_files
from tfpipe.explore import embeddings
from tfpipe.tasks.annotations import apply, decisions, spans
from tfpipe.tasks.annotations.spans import Strip
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.task import FilePrediction, Source, Task

BATCH = 256
NO_DEPTHS = (float("nan"), float("nan"))


class SpanBox(NamedTuple):
    """A span as a box across an image.

    Attributes:
      name: of the span in decisions; "" for a new one.
      top_px: row of its upper edge, the image's top is 0.
      bottom_px: row of its lower edge.
      label: its kind.
      is_dubious: whether it is marked as dubious.
      is_validated: whether a reviewer has decided about it.
      depths_m: of its edges, which may lie beyond those of the image; nan for a box of a tool.
    """

    name: str
    top_px: float
    bottom_px: float
    label: str
    is_dubious: bool = False
    is_validated: bool = False
    depths_m: tuple[float, float] = NO_DEPTHS


class LabelItem(NamedTuple):
    """An image and what it is labelled as.

    Attributes:
      image: file name of the image in the folder images/.
      key: the image's key, or the name of the raw file.
      group: the image's group.
      width: of the image in px.
      height: of the image in px.
      label: class of a single image; "" for none.
      is_dubious: whether a single image is marked as dubious.
      is_validated: whether a reviewer has decided about the image, or about the photo as a whole.
      boxes: the spans of a photo.
      depths_m: of the photo's upper and lower edge; nan for a single image.
    """

    image: str
    key: str
    width: int
    height: int
    group: str = ""
    label: str = ""
    is_dubious: bool = False
    is_validated: bool = False
    boxes: tuple[SpanBox, ...] = ()
    depths_m: tuple[float, float] = NO_DEPTHS

    def depth_m(self, row_px: float) -> float:
        """Returns the depth of a row of a photo."""
        top_m, bottom_m = self.depths_m
        return top_m + (bottom_m - top_m) * row_px / self.height


class LabelNames(NamedTuple):
    """The labels that items may have.

    Attributes:
      labels: names of the classes, or kinds of spans.
      are_spans: whether they are kinds of spans.
    """

    labels: tuple[str, ...]
    are_spans: bool


class ImageItems:
    """Items of single images: the packed ones."""

    def __init__(self, task: Task, *, records: Path, raw: Path):
        """Opens the records and the decisions.

        Raises:
          UserError: there are no records, or a decision is wrong.
        """
        trusted = manifest.trusted(records)
        self._data = Dataset(records, trusted, task.scoring.objective)
        self.names = LabelNames(tuple(trusted.classes), are_spans=False)
        log = decisions.read(raw, name=task.raw_files.decisions)
        self._current = {key: one for (file, key), one in log.current.items() if not file}

    @property
    def count(self) -> int:
        """Number of items."""
        subset = Subset(embeddings.splits_of(self._data))
        return dataset.size(subset, manifest=self._data.manifest)

    def items(self) -> Iterator[LabelItem]:
        """Yields the items in the order of the records."""
        height, width = self._data.manifest.image_shape[:2]
        taken = Counter[str]()
        for key, group, label in self._labels():
            decision = self._current.get(key)
            name = self.names.labels[label] if label >= 0 else ""
            yield LabelItem(
                image_name(key, taken),
                key,
                width,
                height,
                group,
                label=decision.label if decision else name,
                is_dubious=decision is not None and decision.state == "dubious",
                is_validated=decision is not None and decision.state == "validated",
            )

    def with_images(self) -> Iterator[tuple[LabelItem, np.ndarray]]:
        """Yields each item with its image, [height, width, channels]."""
        yield from zip(self.items(), self._images(), strict=True)

    def _images(self) -> Iterator[np.ndarray]:
        data = self._data
        subset = Subset(embeddings.splits_of(data))
        for features, _ in dataset.batches(
            data.folder, subset, manifest=data.manifest, batch_size=BATCH
        ):
            yield from features["image"].numpy()

    def _labels(self) -> Iterator[tuple[str, str, int]]:
        data = self._data
        for split in embeddings.splits_of(data):
            labels = dataset.labels_of(data.folder, (split,), manifest=data.manifest)
            frame = metadata.read_metadata(data, split, np.asarray(labels))
            columns = (frame["key"], frame["group"], frame["label"].tolist())
            yield from zip(*columns, strict=True)


class PhotoItems:
    """Items of photos with spans: those of the raw folder."""

    def __init__(self, task: Task, *, records: Path, raw: Path, chosen: frozenset[str] | None):
        """Surveys the photos.

        Args:
          task: with `WholeFile.review`.
          records: folder of the packed records, whose source table has the photos' shifts.
          raw: the raw folder.
          chosen: image names of the photos to read; None for all.

        Raises:
          UserError: there are no records, or a table or a decision is wrong.
        """
        assert task.whole_file and task.whole_file.review
        self._whole_file, self._review = task.whole_file, task.whole_file.review
        trusted = manifest.trusted(records)
        settings = [f"{name}={value}" for name, value in trusted.options.items()]
        self._options = parse_options(task, settings)
        self._rows = whole_files.rows_of(task, Dataset(records, trusted, task.scoring.objective))
        self._n_classes = len(trusted.classes)
        self.names = LabelNames(self._review.kinds, are_spans=True)
        taken = Counter[str]()
        sources = apply.survey_with_decisions(task, raw, self._options).sources
        named = [(image_name(source.name, taken), source) for source in sources]
        self._named = [(name, one) for name, one in named if chosen is None or name in chosen]

    @property
    def count(self) -> int:
        """Number of items."""
        return len(self._named)

    def items(self) -> Iterator[LabelItem]:
        """Yields the items in the order of the survey."""
        yield from (item for item, _ in self.with_images())

    def with_images(self) -> Iterator[tuple[LabelItem, np.ndarray]]:
        """Yields each item with its image, the straightened core, [height, width, 3] uint8."""
        for image, source in self._named:
            strip = self._strip(source)
            height, width = strip.image.shape[:2]
            px_per_m = height / (strip.bottom_m - strip.top_m)
            boxes = [
                SpanBox(
                    span.what,
                    max((span.top_m - strip.top_m) * px_per_m, 0.0),
                    min((span.bottom_m - strip.top_m) * px_per_m, float(height)),
                    span.label,
                    span.state == "dubious",
                    span.state == "validated",
                    (span.top_m, span.bottom_m),
                )
                for span in spans.review_spans(strip, source.decisions)
                if span.label and span.bottom_m > strip.top_m and span.top_m < strip.bottom_m
            ]
            whole = [one for one in source.decisions if one.what == spans.WHOLE]
            item = LabelItem(
                image,
                source.name,
                width,
                height,
                source.group,
                is_validated=any(one.state == "validated" for one in whole),
                boxes=tuple(boxes),
                depths_m=(strip.top_m, strip.bottom_m),
            )
            yield item, strip.image

    def _strip(self, source: Source) -> Strip:
        """Returns a photo as reviewers see it, without a model's predictions."""

        def nothing(images: np.ndarray, *columns: np.ndarray) -> np.ndarray:
            probabilities = np.zeros((len(images), self._n_classes))
            probabilities[:, 0] = 1.0
            return probabilities

        outputs = self._whole_file.infer(source, nothing, self._options)
        row: dict[str, Any] | None = self._rows.get(source.name)
        return self._review.strip(source, outputs, FilePrediction([], []), row)


def image_name(key: str, taken: Counter[str]) -> str:
    """Returns the file name of a key's image; `taken` counts the names so far, and is updated."""
    stem = re.sub(r"[^0-9A-Za-z._-]+", "_", key).removesuffix(".png")
    taken[stem] += 1
    return f"{stem}.png" if taken[stem] == 1 else f"{stem}~{taken[stem]}.png"
