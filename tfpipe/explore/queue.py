"""The queue of images to look at: most novel first, near-copies of one image only once."""

from typing import NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors

from tfpipe.data.near_duplicates import NEAR_BITS
from tfpipe.explore import novelty

N_NEIGHBOURS = 10  # neighbours in the embedding among which near-copies are looked for
COMPARED_AT_ONCE = 4096  # images whose hashes are in memory with those of their neighbours
EXACT = 150_000  # images whose neighbours are exact: an index takes a minute to compile
N_NEAREST = 3  # nearest reference images shown with an image


class Entry(NamedTuple):
    """One image of the queue.

    Attributes:
      row: its row in the arrays.
      copies: rows of its near-copies further down, which are left out.
      nearest: rows of the reference images nearest to it, the nearest first.
    """

    row: int
    copies: tuple[int, ...]
    nearest: tuple[int, ...]


def queue(
    score: np.ndarray, is_candidate: np.ndarray, *, copies: np.ndarray, nearest: np.ndarray
) -> list[Entry]:
    """Returns the candidates without near-copies, the highest score first.

    Args:
      score: [n] float, higher is more novel.
      is_candidate: [n] bool, the images that may enter the queue.
      copies: [pairs, 2] int, rows that are `near_copies` of one another.
      nearest: [n, k] int, rows of the nearest reference images.
    """
    copies_of: dict[int, set[int]] = {}
    for first, second in copies.tolist():
        copies_of.setdefault(first, set()).add(second)
        copies_of.setdefault(second, set()).add(first)
    entries: list[Entry] = []
    queued: set[int] = set()
    for row in np.argsort(-score, kind="stable").tolist():
        if not is_candidate[row] or row in queued:
            continue
        rows = sorted(
            copy for copy in copies_of.get(row, ()) if is_candidate[copy] and copy not in queued
        )
        queued |= {row, *rows}
        entries.append(Entry(row, tuple(rows), tuple(nearest[row].tolist())))
    return entries


def near_copies(
    embedding: np.ndarray, hashes: np.ndarray, *, has_content: np.ndarray
) -> np.ndarray:
    """Returns pairs [pairs, 2] int of rows that are near both in the embedding and by hash.

    Neighbours in the embedding may be different particles of one class. A perceptual hash cannot
    distinguish two round particles on a bare background. Hence both are required.

    Args:
      embedding: [n, d] float.
      hashes: [n, bits] bool, from `near_duplicates.fingerprints`.
      has_content: [n] bool, whether an image shows anything that a hash can distinguish.
    """
    count = min(N_NEIGHBOURS, len(embedding) - 1)
    if count < 1:
        return np.zeros((0, 2), int)
    neighbours = _nearest(novelty.unit(embedding), count)
    parts = [np.zeros((0, 2), int)]
    for start in range(0, len(neighbours), COMPARED_AT_ONCE):
        block = neighbours[start : start + COMPARED_AT_ONCE]
        first = np.repeat(np.arange(start, start + len(block)), count)
        pairs = np.stack([first, block.ravel()], axis=1)
        pairs = pairs[(first != pairs[:, 1]) & has_content[pairs].all(axis=1)]
        n_different_bits = (hashes[pairs[:, 0]] != hashes[pairs[:, 1]]).sum(axis=1)
        parts.append(pairs[n_different_bits <= NEAR_BITS])
    return np.unique(np.sort(np.concatenate(parts), axis=1), axis=0)


def _nearest(points: np.ndarray, count: int) -> np.ndarray:
    """Returns rows of the nearest other points, [n, count]; of many, by an index of UMAP's."""
    if len(points) <= EXACT:
        search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(points)
        return search.kneighbors(return_distance=False)
    import pynndescent

    index = pynndescent.NNDescent(
        points, n_neighbors=count + 1, random_state=0, n_jobs=1, low_memory=True
    )
    return index.neighbor_graph[0][:, 1:]
