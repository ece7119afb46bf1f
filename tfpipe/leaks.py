"""Finds near-copies that a split parts: the same picture, re-encoded, brightened or turned over."""

from collections import Counter

import cv2
import numpy as np
from scipy import fft

SIDE = 32  # pictures are compared at this size
KEPT = 16  # by the signs of their lowest 16 x 16 cosine coefficients
NEAR_BITS = 40  # of 255 that may differ; unrelated pictures differ in 128 +- 8
FLAT = 1.0  # grey levels of deviation, at that size, under which a picture shows nothing
BLOCK = 4096


def fingerprints(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a perceptual hash of each picture (pHash: Zauner 2010, section 3.2).

    Args:
      images: [n, height, width, channels], any real dtype.

    Returns:
      Signs of the low cosine coefficients, the constant one left out, [n, 255] bool; and whether a
      picture shows anything that could be told from another, [n] bool.
    """
    small = np.zeros((len(images), SIDE, SIDE), np.float32)
    for i, image in enumerate(images):
        scaled = cv2.resize(_unpadded(image), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        small[i] = scaled if scaled.ndim == 2 else scaled.mean(axis=-1)
    low = fft.dctn(small, axes=(1, 2), norm="ortho")[:, :KEPT, :KEPT]
    return low.reshape(len(images), -1)[:, 1:] > 0, small.std(axis=(1, 2)) >= FLAT


def _unpadded(image: np.ndarray) -> np.ndarray:
    """Returns a picture without the even border that a reader may have put around it.

    Small particles in the middle of wide even squares are all alike at 32 x 32; they themselves are
    not.
    """
    differs = (image != image[:1, :1]).reshape(*image.shape[:2], -1).any(axis=-1)
    rows, columns = (np.flatnonzero(differs.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return image
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def crossings(hashes: dict[str, np.ndarray], groups: dict[str, np.ndarray]) -> list[str]:
    """Finds pairs of groups in different splits that share near-copies.

    Args:
      hashes: split -> [n, 255] bool.
      groups: split -> [n] str, the group of each.

    Returns:
      A sentence for each pair of groups, most near-copies first.
    """
    splits, pairs = list(hashes), Counter()
    for i, one in enumerate(splits):
        for other in splits[i + 1 :]:
            for a, b in _near(hashes[one], hashes[other]):
                pairs[(groups[one][a], one, groups[other][b], other)] += 1
    return [
        f"{a} ({one}) and {b} ({other}): {count} near-copies"
        for (a, one, b, other), count in pairs.most_common()
    ]


def _near(one: np.ndarray, other: np.ndarray) -> list[tuple[int, int]]:
    """Returns the pairs (row of one, row of other) that differ in few bits, turned over or not."""
    found = set()
    rows, columns = np.divmod(np.arange(1, KEPT * KEPT), KEPT)
    for odd in (np.zeros(KEPT * KEPT - 1, int), rows, columns, rows + columns):
        # Turning a picture over changes the signs of the coefficients that are odd along that side.
        signs = np.where(odd % 2, -1, 1).astype(np.float32)
        left, right = np.where(one, signs, -signs), np.where(other, 1, -1).astype(np.float32)
        for start in range(0, len(left), BLOCK):
            agreement = left[start : start + BLOCK] @ right.T
            a, b = np.nonzero(agreement >= left.shape[1] - 2 * NEAR_BITS)
            found.update(zip((a + start).tolist(), b.tolist(), strict=True))
    return sorted(found)
