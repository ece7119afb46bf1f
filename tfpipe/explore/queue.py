"""The queue of pictures to look at: the newest first, near-copies of one another only once."""

from typing import NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors

from tfpipe.data.near_duplicates import NEAR_BITS
from tfpipe.explore import novelty

AROUND = 10  # neighbours in the embedding that a picture may be a near-copy of
KNOWN_BESIDE = 3  # nearest known pictures shown with each


class Entry(NamedTuple):
    """One picture of the queue.

    Attributes:
      row: its row in the arrays.
      copies: rows of its near-copies further down, which are left out.
      beside: rows of the known pictures nearest to it, the nearest first.
    """

    row: int
    copies: tuple[int, ...]
    beside: tuple[int, ...]


def queue(
    score: np.ndarray, asked: np.ndarray, *, copies: np.ndarray, beside: np.ndarray
) -> list[Entry]:
    """Returns the pictures asked about, the highest score first.

    Args:
      score: [n] float, higher is newer.
      asked: [n] bool, those that may stand in the queue.
      copies: [pairs, 2] int, rows that are `near_copies` of one another.
      beside: [n, k] int, rows of the nearest known pictures.
    """
    near: dict[int, set[int]] = {}
    for one, other in copies.tolist():
        near.setdefault(one, set()).add(other)
        near.setdefault(other, set()).add(one)
    entries, told = [], set()
    for row in np.argsort(-score, kind="stable").tolist():
        if not asked[row] or row in told:
            continue
        own = sorted(copy for copy in near.get(row, ()) if asked[copy] and copy not in told)
        told |= {row, *own}
        entries.append(Entry(row, tuple(own), tuple(beside[row].tolist())))
    return entries


def near_copies(embedding: np.ndarray, hashes: np.ndarray, *, shows: np.ndarray) -> np.ndarray:
    """Returns pairs [pairs, 2] int of rows that show the same, near in both senses.

    Neighbours in the embedding may still be different particles of one kind, and a perceptual hash
    takes any two round ones on a bare background for one.

    Args:
      embedding: [n, d] float.
      hashes: [n, bits] bool, of `near_duplicates.fingerprints`.
      shows: [n] bool, whether a picture shows anything that a hash can tell.
    """
    count = min(AROUND, len(embedding) - 1)
    if count < 1:
        return np.zeros((0, 2), int)
    search = NearestNeighbors(n_neighbors=count).fit(novelty.unit(embedding))
    around = search.kneighbors(return_distance=False)
    one, other = np.repeat(np.arange(len(around)), count), around.ravel()
    differ = (hashes[one] != hashes[other]).sum(axis=1)
    same = (differ <= NEAR_BITS) & shows[one] & shows[other]
    return np.unique(np.sort(np.stack([one, other], axis=1)[same], axis=1), axis=0)
