"""Near-copies: how many changed copies are found, and how many others are taken for one."""

import cv2
import numpy as np

from tfpipe.data import copy_prints, near_duplicates
from verification.row import Row

IMAGES, HEIGHT, WIDTH = 216, 120, 160


def _shifted(image: np.ndarray, *, by: int) -> np.ndarray:
    """Returns an image moved by some px each way; its edge is repeated."""
    return np.pad(image[:-by, :-by], ((by, 0), (by, 0), (0, 0)), mode="edge")


def _jpeg(image: np.ndarray, *, quality: int) -> np.ndarray:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(encoded, -1)


def _turned_and_moved(image: np.ndarray) -> np.ndarray:
    moved = np.ascontiguousarray(np.rot90(_shifted(image, by=3)[:, ::-1]))
    return _jpeg(moved, quality=90)


CHANGES = {
    "encoded as JPEG 85": lambda image: _jpeg(image, quality=85),
    "half as large": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5),
    "mirrored": lambda image: image[:, ::-1],
    "turned by a quarter": lambda image: np.rot90(image),
    "transposed": lambda image: image.swapaxes(0, 1),
    "shifted by 1 px": lambda image: _shifted(image, by=1),
    "shifted by 2 px": lambda image: _shifted(image, by=2),
    "shifted by 3 px, mirrored, turned, JPEG 90": _turned_and_moved,
}


def check() -> list[Row]:
    """Returns the rows of the table."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2 * IMAGES, HEIGHT, WIDTH, 3)).astype(np.float32)
    soft = np.stack([cv2.GaussianBlur(one, (0, 0), 3) for one in noise])
    images = np.clip(110 + 300 * soft, 0, 255).astype(np.uint8)
    prints = _prints(images[:IMAGES])
    rows = []
    for name, change in CHANGES.items():
        copies = [np.ascontiguousarray(change(image)) for image in images[:IMAGES]]
        pairs = near_duplicates.find_pairs(prints, _prints(copies))
        hits = sum(a == b for a, b in pairs)
        rows.append(
            Row(
                f"near-copies, {name}",
                f"{IMAGES} images of soft noise",
                "all found",
                f"{hits} of {IMAGES}, {len(pairs) - hits} wrong pairs",
                hits >= 0.95 * IMAGES and len(pairs) == hits,
            )
        )
    pairs = near_duplicates.find_pairs(prints, _prints(images[IMAGES:]))
    rows.append(
        Row(
            "near-copies among different images",
            f"{IMAGES} x {IMAGES} pairs of soft noise",
            "none",
            str(len(pairs)),
            not pairs,
        )
    )
    return rows


def _prints(images) -> copy_prints.Prints:
    parts = [near_duplicates.fingerprints(np.asarray(image)[None])[0] for image in images]
    return copy_prints.Prints(*map(np.concatenate, zip(*parts, strict=True)))
