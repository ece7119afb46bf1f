"""Contact sheets: of each class the images that a model is most and least certain of."""

import heapq
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from tfpipe.base import files
from tfpipe.base import images as base_images

MAX_IMAGES, COLUMNS = 24, 8  # images of an order, and in a row
SIDE_PX, GAP_PX, LINE_PX = 128, 6, 16  # of an image, between images, of a line of text
ORDERS = ("most certain", "least certain")
INK, PAPER = (51, 66, 77), 255
BARS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # lengths of a scale in µm
MAX_BAR_PX = 60  # the longest scale in a tile


class RankedImage(NamedTuple):
    """An image of a sheet.

    Attributes:
      rank: images of higher rank come first.
      name: of the image.
      probability: of the predicted class.
      image: [height, width, channels] in the task's dtype.
      um_per_px: size of a pixel of the image, nan where unknown.
    """

    rank: float
    name: str
    probability: float
    image: np.ndarray
    um_per_px: float = math.nan


class ContactSheets:
    """The first images of each class in both orders, gathered batch by batch."""

    def __init__(self, classes: tuple[str, ...]):
        self.classes = classes
        self._heaps: dict[tuple[str, str], list[RankedImage]] = {}
        self._new: set[str] = set()

    def add(
        self,
        names: list[str],
        images: np.ndarray,
        probabilities: np.ndarray,
        *,
        labels: np.ndarray,
        um_per_px: np.ndarray | None = None,
    ) -> None:
        """Adds a batch of images.

        Args:
          names: [n].
          images: [n, height, width, channels].
          probabilities: [n, classes].
          labels: [n] int, the class that each image is shown in.
          um_per_px: [n] float, size of a pixel of each image; nan, or None, where unknown.
        """
        sizes = np.full(len(names), np.nan) if um_per_px is None else um_per_px
        for i, label in enumerate(labels.tolist()):
            probability = float(probabilities[i, label])
            for order, rank in zip(ORDERS, (probability, -probability), strict=True):
                size = float(sizes[i])
                image = RankedImage(rank, names[i], probability, images[i], size)
                if self._offer(label, order, image):
                    self._new.add(names[i])

    def images_of(self, label: int, order: str) -> list[RankedImage]:
        """Returns the images of a class in one of `ORDERS`, the first one first."""
        heap = self._heaps.get((self.classes[label], order), [])
        return sorted(heap, key=lambda image: (-image.rank, image.name))

    def new_arrays(self) -> dict[str, np.ndarray]:
        """Returns the images that were added since the last call as arrays, for `restore`."""
        new = [
            (self.classes.index(name), ORDERS.index(order), image)
            for (name, order), heap in self._heaps.items()
            for image in heap
            if image.name in self._new
        ]
        self._new = set()
        if not new:
            return {}
        return {
            "places": np.array([place for *place, _ in new]),
            "names": np.array([image.name for *_, image in new]),
            "probabilities": np.array([image.probability for *_, image in new]),
            "images": np.stack([image.image for *_, image in new]),
            "um_per_px": np.array([image.um_per_px for *_, image in new]),
        }

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Adds the images that `new_arrays` gave to an earlier run."""
        for i, (label, order) in enumerate(arrays["places"] if len(arrays) else ()):
            probability = float(arrays["probabilities"][i])
            rank = probability if order == 0 else -probability
            name, pixels = str(arrays["names"][i]), arrays["images"][i]
            size = float(arrays["um_per_px"][i]) if "um_per_px" in arrays else math.nan
            image = RankedImage(rank, name, probability, pixels, size)
            self._offer(int(label), ORDERS[order], image)

    def write(self, folder: Path) -> list[Path]:
        """Writes a PNG for each class that was predicted, and returns their paths."""
        written = []
        for number, name in enumerate(self.classes):
            if not self.images_of(number, ORDERS[0]):
                continue
            sheets = [self._sheet(number, order) for order in ORDERS]
            path = folder / f"{number:02d}-{_file_name(name)}.png"
            base_images.write_png(np.concatenate(sheets), path)
            written.append(path)
        return written

    def _offer(self, label: int, order: str, image: RankedImage) -> bool:
        """Adds an image if it is among the first of its order, and returns whether it is."""
        heap = self._heaps.setdefault((self.classes[label], order), [])
        if len(heap) >= MAX_IMAGES and image.rank <= heap[0].rank:
            return False
        # A copy, so that a batch's memory is freed when one of its images stays.
        image = image._replace(image=image.image.copy())
        if len(heap) < MAX_IMAGES:
            heapq.heappush(heap, image)
        else:
            heapq.heappushpop(heap, image)
        return True

    def _sheet(self, label: int, order: str) -> np.ndarray:
        """Returns the images of a class in an order under a title, [height, width, 3] uint8 RGB."""
        images = self.images_of(label, order)
        n_rows = -(-len(images) // COLUMNS)
        step = SIDE_PX + LINE_PX + GAP_PX
        width = COLUMNS * (SIDE_PX + GAP_PX) + GAP_PX
        sheet = np.full((2 * LINE_PX + n_rows * step, width, 3), PAPER, np.uint8)
        title = f"{self.classes[label]}: {order}"
        _write(sheet, title, row=LINE_PX + 4, column=GAP_PX, size=0.5)
        for i, ranked in enumerate(images):
            top = 2 * LINE_PX + i // COLUMNS * step
            left = GAP_PX + i % COLUMNS * (SIDE_PX + GAP_PX)
            tile = _tile(ranked.image)
            _draw_scale(tile, px=ranked.image.shape[1], um_per_px=ranked.um_per_px)
            sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
            text = f"{ranked.probability:.3f} {ranked.name[-12:]}"
            _write(sheet, text, row=top + SIDE_PX + LINE_PX - 4, column=left, size=0.33)
        return sheet


def _tile(image: np.ndarray) -> np.ndarray:
    """Returns an image as RGB uint8 that fits a square of `SIDE_PX`, its sides in proportion."""
    tile = base_images.to_rgb(base_images.to_display(image))
    scale = SIDE_PX / max(tile.shape[:2])
    size = [max(1, round(length * scale)) for length in tile.shape[1::-1]]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return cv2.resize(tile, size, interpolation=interpolation)


def _draw_scale(tile: np.ndarray, *, px: int, um_per_px: float) -> None:
    """Draws in a tile how long some µm are; nothing where the size of a pixel is unknown.

    Pixels would be no measure: readers resize, so that the image's are not those of the file.

    Args:
      tile: [height, width, 3] uint8 RGB.
      px: the image's width.
      um_per_px: size of a pixel of the image, nan where unknown.
    """
    if not (math.isfinite(um_per_px) and um_per_px > 0):
        return
    unit_px = tile.shape[1] / px / um_per_px  # of the tile
    fitting = [length for length in BARS if length * unit_px <= min(MAX_BAR_PX, tile.shape[1] / 2)]
    if not fitting:
        return
    length, row = fitting[-1], tile.shape[0] - 6
    end = 5 + max(1, round(length * unit_px))
    text = f"{length} um"
    place, font = (end + 4, row + 4), cv2.FONT_HERSHEY_SIMPLEX
    right = place[0] + cv2.getTextSize(text, font, 0.36, 1)[0][0]
    tile[row - 8 :, 2 : right + 3] = PAPER
    cv2.line(tile, (5, row), (end, row), INK, 2)
    cv2.putText(tile, text, place, font, 0.36, INK, 1, lineType=cv2.LINE_AA)


def _write(sheet: np.ndarray, text: str, *, row: int, column: int, size: float) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV draws no other letters
    cv2.putText(
        sheet, plain, (column, row), cv2.FONT_HERSHEY_SIMPLEX, size, INK, lineType=cv2.LINE_AA
    )


def _file_name(class_name: str) -> str:
    """Returns a class's name fit for a file."""
    letters = (c if c.isalnum() or c in "-_" else "-" for c in files.shown(class_name))
    return "".join(letters)[:60].strip("-") or "class"
