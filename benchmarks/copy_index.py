"""How many of the near-copies that comparing all pairs finds the index of many images finds too.

    python benchmarks/copy_index.py
    python benchmarks/copy_index.py --images 'photos/**/*.png'

Changed copies of some images are looked for among all, by both ways. An index of so few images has
few cells, of which it would search most. So cells are made smaller: 64 of some hundred are
searched, as of the index of eight times as many images.
"""

import argparse
import glob

import cv2
import machine
import numpy as np
from verification.copies import CHANGES

from tfpipe.data import copy_candidates, near_duplicates
from tfpipe.data.copy_prints import Prints

SIDE_PX = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", default="", help="pattern of files; drawn ones without it")
    parser.add_argument("--pictures", type=int, default=6000, help="that are drawn")
    parser.add_argument("--copies", type=int, default=500)
    parser.add_argument("--cell-images", type=int, default=16)
    arguments = parser.parse_args()
    copy_candidates.CELL_IMAGES = arguments.cell_images
    images = read(arguments.images) if arguments.images else draw(arguments.pictures)
    prints = joined(images)
    count = min(arguments.copies, len(images))
    rows = np.sort(np.random.default_rng(1).choice(len(images), count, replace=False))
    about = machine.about()
    print(f"{about['processor']}, load {about['load']}, {about['command']}")
    cells = len(images) // arguments.cell_images
    print(f"{len(images)} images, {cells} cells, of which {copy_candidates.PROBES} are searched\n")
    print("| copies | comparing all finds | of these the index | it finds besides |")
    print("|---|---|---|---|")
    for name, change in CHANGES.items():
        copies = joined([change(images[row]) for row in rows])
        near_duplicates.EXHAUSTIVE = len(images) ** 2
        every = set(near_duplicates.find_pairs(copies, prints))
        near_duplicates.EXHAUSTIVE = 0
        by_index = set(near_duplicates.find_pairs(copies, prints))
        both = len(every & by_index)
        print(f"| {name} | {len(every)} | {both} | {len(by_index - every)} |", flush=True)


def read(pattern: str) -> list[np.ndarray]:
    """Returns the images of a pattern, grey, [height, width, 1] each."""
    paths = sorted(glob.glob(pattern, recursive=True))
    pixels = [cv2.imread(path, cv2.IMREAD_GRAYSCALE) for path in paths]
    return [image[..., None] for image in pixels if image is not None]


def draw(count: int) -> list[np.ndarray]:
    """Returns soft noise, [64, 64, 1] uint8 each: the worst case, as no two form a cluster."""
    rng = np.random.default_rng(5)
    noise = (rng.standard_normal((SIDE_PX, SIDE_PX), np.float32) for _ in range(count))
    soft = (cv2.GaussianBlur(one, (0, 0), 2) for one in noise)
    return [np.clip(110 + 250 * one, 0, 255).astype(np.uint8)[..., None] for one in soft]


def joined(images: list[np.ndarray]) -> Prints:
    """Returns the fingerprints of images of any size."""
    parts = [near_duplicates.fingerprints(np.atleast_3d(one)[None])[0] for one in images]
    return Prints(*map(np.concatenate, zip(*parts, strict=True)))


if __name__ == "__main__":
    main()
