"""How long the tracks of an exposure take: ours, OpenCV's bare components, and seed 001's own way.

    python benchmarks/connected.py

Draws an exposure of 4084 x 2035 px with about 1,300 tracks, the size and the number of seed 001's.
Three sides take turns on it, each on one core: ours (the file, components, boxes, sizes, energies,
shapes, and each track's picture of 64 x 64 px, which is all that packing and predicting read),
`cv2.connectedComponents` alone, and the deck's: a breadth-first
search in Python over pixels above the threshold, then for each cluster the box of
`np.argwhere(clusters == number)` over the whole exposure. Of these boxes so few are cut that one
round takes seconds; what all would take is these times as many, and said to be so.
"""

import argparse
import json
import tempfile
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

import cv2
import machine
import numpy as np
from astropy.io import fits

from tfpipe.tasks.ccd_tracks import TASK, segmentation
from tfpipe.tasks.samples import ccd_tracks

HEIGHT_PX, WIDTH_PX = 4084, 2035
TRACKS, TILE_PX = 1335, 512  # an exposure is drawn in tiles
THRESHOLD_ADU, LEAST_PX, SIDE_PX = 4000.0, 5, 64
CROPS = 10  # of the deck's clusters that are cut
SIDES = ("tfpipe", "cv2", "deck")


def exposure() -> np.ndarray:
    """Returns the pixels [height, width] float32 of a drawn exposure."""
    rows, columns = -(-HEIGHT_PX // TILE_PX), -(-WIDTH_PX // TILE_PX)
    each = round(TRACKS / (HEIGHT_PX * WIDTH_PX) * TILE_PX**2)
    with tempfile.TemporaryDirectory() as folder:
        ccd_tracks.draw(
            Path(folder, "raw"), exposures=rows * columns, tracks=each, frame_px=TILE_PX, seed=1
        )
        paths = sorted(Path(folder, "raw").rglob("*.fits"))
        tiles = [fits.getdata(path).astype(np.float32) for path in paths]
    lines = [np.hstack(tiles[i * columns : (i + 1) * columns]) for i in range(rows)]
    return np.ascontiguousarray(np.vstack(lines)[:HEIGHT_PX, :WIDTH_PX])


def ours(image: np.ndarray, folder: Path) -> dict:
    """Returns seconds for tracks, for all that is read of the file, and how many tracks there are.

    Args:
      image: the exposure, for the tracks alone.
      folder: has it as a FITS file.
    """
    options = replace(TASK.options, threshold=THRESHOLD_ADU, min_px=LEAST_PX, side=SIDE_PX)
    (source,) = TASK.survey(folder, options).sources
    began = time.perf_counter()
    segmentation.find(image, threshold=THRESHOLD_ADU, min_px=LEAST_PX)
    middle, processor = time.perf_counter(), time.process_time()
    tracks = len(TASK.read(source, options).examples)
    return {
        "tracks_s": middle - began,
        "seconds": time.perf_counter() - middle,
        "processor_s": time.process_time() - processor,
        "tracks": tracks,
    }


def bare(image: np.ndarray) -> dict:
    """Returns seconds of OpenCV's components."""
    began, processor = time.perf_counter(), time.process_time()
    mask = cv2.compare(image, THRESHOLD_ADU, cv2.CMP_GT)
    cv2.connectedComponents(mask, connectivity=8, ltype=cv2.CV_32S)
    return {
        "seconds": time.perf_counter() - began,
        "processor_s": time.process_time() - processor,
    }


def deck(image: np.ndarray) -> dict:
    """Returns seconds of the search, of a crop, and what all would take."""
    began = time.perf_counter()
    clusters = np.zeros(image.shape, np.int32)
    number = 0
    for start in map(tuple, np.argwhere(image > THRESHOLD_ADU)):
        if clusters[start]:
            continue
        number += 1
        clusters[start] = number
        queue = deque([start])
        while queue:
            row, column = queue.popleft()
            for i in range(max(row - 1, 0), min(row + 2, image.shape[0])):
                for j in range(max(column - 1, 0), min(column + 2, image.shape[1])):
                    if not clusters[i, j] and image[i, j] > THRESHOLD_ADU:
                        clusters[i, j] = number
                        queue.append((i, j))
    middle = time.perf_counter()
    for one in np.linspace(1, number, CROPS).astype(int):
        places = np.argwhere(clusters == one)
        top, left = places.min(axis=0)
        bottom, right = places.max(axis=0) + 1
        _ = image[top:bottom, left:right].sum()
    crop_s = (time.perf_counter() - middle) / CROPS
    search_s = middle - began
    return {"search_s": search_s, "crop_s": crop_s, "seconds": search_s + crop_s * number}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", choices=SIDES)
    words = parser.parse_args()
    if words.side:
        cv2.setNumThreads(1)
        image = exposure()
        with tempfile.TemporaryDirectory() as folder:
            fits.PrimaryHDU(image.astype(np.uint16)).writeto(Path(folder, "exposure.fits"))
            sides = {"tfpipe": lambda image: ours(image, Path(folder)), "cv2": bare, "deck": deck}
            measure = sides[words.side]
            measure(image)
            machine.measure_each_round(lambda _: measure(image))
        return
    about = machine.about()
    measured = machine.take_turns(SIDES, rounds=words.rounds, words=[])
    seconds = {side: [one["seconds"] for one in measured[side]] for side in SIDES}
    summary = {
        **about,
        "exposure_px": [HEIGHT_PX, WIDTH_PX],
        "tracks": measured["tfpipe"][0]["tracks"],
        "tfpipe_s": machine.spread(seconds["tfpipe"]),
        "tfpipe_tracks_s": machine.spread([m["tracks_s"] for m in measured["tfpipe"]]),
        "cv2_components_s": machine.spread(seconds["cv2"]),
        "processor_s": {
            side: machine.spread([m["processor_s"] for m in measured[side]]) for side in SIDES[:2]
        },
        "deck_search_s": machine.spread([m["search_s"] for m in measured["deck"]]),
        "deck_crop_s": machine.spread([m["crop_s"] for m in measured["deck"]]),
        "deck_all_s_extrapolated": machine.spread(seconds["deck"]),
        "deck_over_tfpipe": machine.ratio(seconds["deck"], seconds["tfpipe"]),
        "tfpipe_over_cv2": machine.ratio(seconds["tfpipe"], seconds["cv2"]),
        "tfpipe_tracks_over_cv2": machine.ratio(
            [m["tracks_s"] for m in measured["tfpipe"]], seconds["cv2"]
        ),
    }
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
