"""Energy, number and threshold of CCD tracks, against SciPy and against noise that is known."""

import numpy as np
from scipy import ndimage

from tfpipe.tasks.ccd_tracks import segmentation
from verification.row import Row

EXPOSURES, SIDE, THRESHOLD, LEAST_PX = 20, 600, 4000.0, 5


def check() -> list[Row]:
    """Returns the rows of the table."""
    rng = np.random.default_rng(0)
    counts, energies, thresholds = [], [], []
    for _ in range(EXPOSURES):
        image = rng.normal(1000, 20, (SIDE, SIDE))
        thresholds.append(
            segmentation.background_threshold(image.astype(np.float32), sigmas=5) - 1100
        )
        for _ in range(60):
            row, column = rng.integers(5, SIDE - 5, 2)
            height, width = rng.integers(1, 5, 2)
            image[row : row + height, column : column + width] += rng.uniform(2000, 20_000)
        image = image.astype(np.float32)
        tracks = segmentation.find(image, threshold=THRESHOLD, min_px=LEAST_PX)
        labels, count = ndimage.label(image > THRESHOLD, np.ones((3, 3)))
        numbers = np.arange(1, count + 1)
        sizes = ndimage.sum_labels(np.ones_like(image, np.float64), labels, numbers)
        sums = ndimage.sum_labels(image.astype(np.float64), labels, numbers)[sizes >= LEAST_PX]
        counts.append((len(tracks.number), len(sums)))
        energies.append(np.abs(np.sort(tracks.energy) - np.sort(sums)).max() / sums.max())
    ours, theirs = np.sum(counts, axis=0)
    off = np.abs(thresholds)
    how = f"{EXPOSURES} exposures, scipy.ndimage"
    return [
        Row("number of tracks", how, str(theirs), str(ours), bool(ours == theirs)),
        Row(
            "energy of a track",
            how,
            "the sum of its pixels",
            f"largest relative difference {max(energies):.1e}",
            max(energies) < 1e-9,
        ),
        Row(
            "threshold of sigmas above the background",
            f"{EXPOSURES} exposures of noise of 1000 +- 20 ADU",
            "1100 ADU at 5 sigmas",
            f"{np.mean(off):.2f} ADU off on average, {np.max(off):.2f} at most",
            float(np.max(off)) < 5,
        ),
    ]
