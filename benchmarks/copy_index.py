"""How many of the near-copies that comparing all pairs finds the index of many images finds too.

    python benchmarks/copy_index.py
    python benchmarks/copy_index.py --images 'photos/**/*.png'
    python benchmarks/copy_index.py --among 'records/scale/*.hashes' --cell-images 128

Changed copies of some images are looked for among all, by both ways. An index of so few images has
few cells, of which it would search most. So cells are made smaller: 64 of some hundred are
searched, as of the index of eight times as many images. `--among` gives the index many more images,
whose fingerprints lie beside packed records; comparing all still looks among the few.
"""

import argparse
import glob
import time
from pathlib import Path

import cv2
import machine
import numpy as np
from verification.copies import CHANGES

from tfpipe.data import copy_index, near_duplicates
from tfpipe.data.copy_prints import JoinedPrints, Prints, StoredPrints

SIDE_PX = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", default="", help="pattern of files; drawn ones without it")
    parser.add_argument("--pictures", type=int, default=6000, help="that are drawn")
    parser.add_argument("--among", default="", help="pattern of .hashes files of more images")
    parser.add_argument("--copies", type=int, default=500)
    parser.add_argument("--cell-images", type=int, default=16)
    arguments = parser.parse_args()
    copy_index.CELL_IMAGES = arguments.cell_images
    images = read(arguments.images) if arguments.images else draw(arguments.pictures)
    prints = joined(images)
    count = min(arguments.copies, len(images))
    rows = np.sort(np.random.default_rng(1).choice(len(images), count, replace=False))
    copies = {
        name: joined([change(images[row]) for row in rows]) for name, change in CHANGES.items()
    }
    more = StoredPrints([Path(path) for path in sorted(glob.glob(arguments.among))])
    among = JoinedPrints([prints, more])
    every = JoinedPrints(list(copies.values()))
    near_duplicates.EXHAUSTIVE = 0
    began_s = time.process_time()
    by_index = {pair for pair in near_duplicates.find_pairs(every, among) if pair[1] < len(images)}
    index_s = time.process_time() - began_s
    near_duplicates.EXHAUSTIVE = len(images) ** 2
    about = machine.about()
    print(f"{about['processor']}, load {about['load']}, {about['command']}")
    cells = among.n_images // arguments.cell_images
    print(f"{among.n_images} images, {cells} cells, of which {copy_index.PROBES} are searched; ")
    print(f"index and search of {every.n_images} copies: {index_s:.0f} processor seconds\n")
    print("| copies | comparing all finds | of these the index | it finds besides |")
    print("|---|---|---|---|")
    for (name, own), first in zip(copies.items(), every.firsts, strict=False):
        all_found = {(a + first, b) for a, b in near_duplicates.find_pairs(own, prints)}
        own_found = {(a, b) for a, b in by_index if first <= a < first + own.n_images}
        both = len(all_found & own_found)
        besides = len(own_found - all_found)
        print(f"| {name} | {len(all_found)} | {both} | {besides} |", flush=True)


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
