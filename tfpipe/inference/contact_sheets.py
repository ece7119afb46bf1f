"""Contact sheets: of each class the pictures that a model is surest and least sure of."""

import heapq
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from tfpipe.base import files
from tfpipe.base import images as base_images

MOST, ACROSS = 24, 8  # pictures of a kind, and in a row
SIDE, GAP, LINE = 128, 6, 16  # px: of a picture, between pictures, of a line of text
KINDS = ("surest", "least sure")
INK, PAPER = (51, 66, 77), 255


class Shown(NamedTuple):
    """One picture of a sheet.

    Attributes:
      rank: the greater, the sooner it is shown.
      name: of the picture.
      probability: of the class named.
      image: [height, width, channels] in the task's dtype.
    """

    rank: float
    name: str
    probability: float
    image: np.ndarray


class Sheets:
    """Gathers pictures as they are answered, and keeps a few of each class."""

    def __init__(self, classes: tuple[str, ...]):
        self.classes = classes
        self._kept: dict[tuple[str, str], list[Shown]] = {}
        self._new: set[str] = set()

    def add(self, names: list[str], images: np.ndarray, probabilities: np.ndarray) -> None:
        """Takes in pictures.

        Args:
          names: [n].
          images: [n, height, width, channels].
          probabilities: [n, classes].
        """
        said = probabilities.argmax(axis=1)
        for i, label in enumerate(said):
            sure = float(probabilities[i, label])
            for kind, rank in (("surest", sure), ("least sure", -sure)):
                if self._offer(label, kind, Shown(rank, names[i], sure, images[i])):
                    self._new.add(names[i])

    def _offer(self, label: int, kind: str, one: Shown) -> bool:
        """Takes a picture in if it is among the first of its kind, and returns whether it is."""
        heap = self._kept.setdefault((self.classes[label], kind), [])
        if len(heap) >= MOST and one.rank <= heap[0].rank:
            return False
        push = heapq.heappush if len(heap) < MOST else heapq.heappushpop
        # A copy, that a batch's memory may go when one of its pictures stays.
        push(heap, one._replace(image=one.image.copy()))
        return True

    def taken(self) -> dict[str, np.ndarray]:
        """Returns what `again` needs of the pictures taken in since the last call, as arrays."""
        new = [
            (self.classes.index(name), KINDS.index(kind), one)
            for (name, kind), heap in self._kept.items()
            for one in heap
            if one.name in self._new
        ]
        self._new = set()
        if not new:
            return {}
        return {
            "places": np.array([place for *place, _ in new]),
            "names": np.array([one.name for *_, one in new]),
            "probabilities": np.array([one.probability for *_, one in new]),
            "images": np.stack([one.image for *_, one in new]),
        }

    def again(self, taken: Mapping[str, np.ndarray]) -> None:
        """Takes in what `taken` gave to an earlier run."""
        for i, (label, kind) in enumerate(taken["places"] if len(taken) else ()):
            sure = float(taken["probabilities"][i])
            rank = sure if KINDS[kind] == "surest" else -sure
            shown = Shown(rank, str(taken["names"][i]), sure, taken["images"][i])
            self._offer(int(label), KINDS[kind], shown)

    def write(self, folder: Path) -> list[Path]:
        """Writes a PNG for each class that was named, and returns their paths."""
        written = []
        for number, name in enumerate(self.classes):
            if (name, "surest") not in self._kept:
                continue
            rows = [self._rows(name, kind) for kind in KINDS]
            path = folder / f"{number:02d}-{_safe(name)}.png"
            base_images.write_png(np.concatenate(rows), path)
            written.append(path)
        return written

    def _rows(self, name: str, kind: str) -> np.ndarray:
        """Returns the pictures of a kind under a title, [height, width, 3] uint8 RGB."""
        shown = sorted(self._kept[(name, kind)], key=lambda one: (-one.rank, one.name))
        lines = -(-len(shown) // ACROSS)
        step = SIDE + LINE + GAP
        sheet = np.full((2 * LINE + lines * step, ACROSS * (SIDE + GAP) + GAP, 3), PAPER, np.uint8)
        _write(sheet, f"{name}: {kind}", row=LINE + 4, column=GAP, size=0.5)
        for i, one in enumerate(shown):
            top, left = 2 * LINE + i // ACROSS * step, GAP + i % ACROSS * (SIDE + GAP)
            picture = _fitted(one.image)
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
            text = f"{one.probability:.3f} {one.name[-12:]}"
            _write(sheet, text, row=top + SIDE + LINE - 4, column=left, size=0.33)
        return sheet


def _fitted(image: np.ndarray) -> np.ndarray:
    """Returns a picture as RGB uint8 that fits a square of `SIDE`, its sides in proportion."""
    shown = base_images.to_display(image)
    shown = shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=2)
    scale = SIDE / max(shown.shape[:2])
    size = [max(1, round(length * scale)) for length in shown.shape[1::-1]]
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return cv2.resize(shown, size, interpolation=way)


def _write(sheet: np.ndarray, text: str, *, row: int, column: int, size: float) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's letters are no more than these
    cv2.putText(
        sheet, plain, (column, row), cv2.FONT_HERSHEY_SIMPLEX, size, INK, lineType=cv2.LINE_AA
    )


def _safe(name: str) -> str:
    """Returns a class's name fit for a file."""
    kept = "".join(c if c.isalnum() or c in "-_" else "-" for c in files.shown(name))
    return kept[:60].strip("-") or "class"
