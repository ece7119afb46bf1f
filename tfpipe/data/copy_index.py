"""Index of the most alike images: their features on disk, in cells around centroids.

An inverted file (Jegou et al. 2011, doi:10.1109/TPAMI.2010.57) in two levels: coarse cells, as many
as fine ones in each, so that an image meets the square root of the number of cells, not all. Images
are looked for in the order of the index: those of one batch lie in few cells, which are read once
for all of them. So the work is hardly more than in proportion to the number of images. What
libraries offer, such as faiss, keeps all features in memory.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from tfpipe.data import copy_features
from tfpipe.data.copy_features import BLOCK, N_AMPLITUDES, N_TEMPLATES
from tfpipe.data.copy_prints import Prints, PrintSource, read_rows

SPECTRUM = 0.02  # the most that amplitudes differ, which no turn or shift changes
MOVED_EXTENT = 1.12  # times that one may be as long as the other, in its square
CELL_IMAGES = 128  # of a cell, on average
SAMPLES = 16  # images a cell that fine centroids are fitted to
COARSE_SAMPLES = 64
COARSE_PROBES, PROBES = 16, 64  # cells that are searched for an image
NEIGHBOURS = 32  # images that are looked at closely for one
QUERIES = 16_384  # looked for at once, in the cells that are read for them
PAIRS = 2**22  # whose amplitudes are compared at once
HITS = 2**16  # whose entries are in memory at once, 800 bytes each
_LONGER = np.log(MOVED_EXTENT)

LAYOUT = np.dtype(
    [
        ("features", "<f2", N_AMPLITUDES + N_TEMPLATES),
        ("cells", "<f2", 64),
        ("lengths", "<f4", 2),
        ("light", "<f4", 2),
        ("row", "<i8"),
        ("part", "<i4"),
    ]
)


class Neighbours(NamedTuple):
    """The most alike images of some, `NEIGHBOURS` at most of each.

    Attributes:
      queries: entries of the index, [n] `LAYOUT`.
      owners: positions among those, ascending, [m] int.
      places: in the index, of what is alike, the nearest of an owner first, [m] int.
    """

    queries: np.ndarray
    owners: np.ndarray
    places: np.ndarray


class CopyIndex:
    """Features of images on disk, in the order of the cells that the images fall in."""

    def __init__(
        self,
        prints: PrintSource,
        parts: np.ndarray,
        folder: Path,
        *,
        count: Callable[[int], None] = lambda n_images: None,
    ):
        """Writes the index.

        Args:
          prints: of all images.
          parts: [n] int, images of the same part of 0 or more are not alike; -1 is a part of none.
          folder: where it lies.
          count: receives how many more images are in it.
        """
        self.n_images = prints.n_images
        self._path = folder / ".index"
        n_cells = max(1, self.n_images // CELL_IMAGES)
        n_coarse = math.ceil(math.sqrt(n_cells))
        rng = np.random.default_rng(0)
        rows = _draw(rng, self.n_images, n_coarse * COARSE_SAMPLES)
        pieces = (rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK))
        drawn = [copy_features.invariants(prints.select(piece)) for piece in pieces]
        self._coarse = _centroids(np.concatenate(drawn), n_coarse)
        buckets = [folder / f".bucket-{number}" for number in range(n_coarse)]
        self._divide(prints, parts, buckets, count)
        self._fine: list[np.ndarray] = []
        firsts = [np.zeros(1, np.int64)]
        with self._path.open("wb") as file:
            for bucket in buckets:
                size = bucket.stat().st_size // LAYOUT.itemsize if bucket.exists() else 0
                n_fine = min(max(1, size // CELL_IMAGES), 4 * n_coarse) if size else 0
                rows = _draw(rng, size, n_fine * SAMPLES)
                sample = _features(read_rows(bucket, LAYOUT, rows)) if size else self._coarse[:0]
                self._fine.append(_centroids(sample, n_fine))
                places = np.empty(size, np.int32)
                for own in _slices(size, 32 * BLOCK):
                    entries = read_rows(bucket, LAYOUT, np.arange(size)[own])
                    places[own] = _distances(_features(entries), self._fine[-1]).argmin(axis=1)
                order = np.argsort(places, kind="stable")
                ends = np.searchsorted(places[order], np.arange(n_fine), side="right")
                firsts.append(firsts[-1][-1] + ends)
                for own in _slices(size, 32 * BLOCK):
                    file.write(read_rows(bucket, LAYOUT, order[own]).tobytes())
                bucket.unlink(missing_ok=True)
        self._firsts = np.concatenate(firsts)  # of each cell, the first place in the index
        self._first_cells = np.cumsum([0, *map(len, self._fine)])  # of each coarse one

    def _divide(
        self,
        prints: PrintSource,
        parts: np.ndarray,
        buckets: list[Path],
        count: Callable[[int], None],
    ) -> None:
        """Writes the entries of each coarse cell to a file."""
        entries: list[np.ndarray] = []
        for start, block in copy_features.blocks(prints):
            end = start + block.n_images
            entries.append(_entries(block, start, parts[start:end]))
            if len(entries) < 32 and end < prints.n_images:
                continue
            every = np.concatenate(entries)
            places = _distances(_features(every), self._coarse).argmin(axis=1)
            for number, own in _by_number(places):
                with buckets[number].open("ab") as file:
                    file.write(every[own].tobytes())  # `tofile` loses its end on a full disk
            count(len(every))
            entries = []

    def entries(self, places: np.ndarray) -> np.ndarray:
        """Returns entries of the index, [n] `LAYOUT`, by their places."""
        return read_rows(self._path, LAYOUT, places)

    def neighbours(self, is_query: np.ndarray) -> Iterator[Neighbours]:
        """Yields the most alike images of some, in the order of the index.

        They are in other parts, as long, and of the same amplitudes.

        Args:
          is_query: whether an image is looked for, [n] bool.
        """
        waiting: list[np.ndarray] = []
        for own in _slices(self.n_images, QUERIES):
            entries = self.entries(np.arange(own.start, min(own.stop, self.n_images)))
            waiting.append(entries[is_query[entries["row"]]])
            if sum(map(len, waiting)) >= QUERIES or own.stop >= self.n_images:
                queries = np.concatenate(waiting)
                yield Neighbours(queries, *self._search(queries))
                waiting = []

    def _search(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns owners and places of `Neighbours`."""
        features = _features(queries)
        cells = self._cells(features)
        nearest = _Nearest(len(queries))
        for cell, pairs in _by_number(cells.ravel()):
            inside = pairs // cells.shape[1]
            if cell < 0:
                continue
            step = max(NEIGHBOURS, PAIRS // len(inside))  # a cell of images all alike is large
            for first in range(self._firsts[cell], self._firsts[cell + 1], step):
                places = np.arange(first, min(first + step, self._firsts[cell + 1]))
                entries = self.entries(places)
                there = _features(entries)
                hits = _alike(features[inside], there)
                dense = None
                if 64 * len(hits) > len(inside) * len(places):
                    dense = _all_distances(features[inside], there).ravel()
                for own in _slices(len(hits), HITS):
                    rows, column = np.divmod(hits[own], len(places))
                    owners = inside[rows]
                    if dense is None:
                        distance = ((features[owners] - there[column]) ** 2).sum(axis=1)
                    else:
                        distance = dense[hits[own]]
                    is_near = distance < nearest.farthest[owners]
                    owners, column, distance = owners[is_near], column[is_near], distance[is_near]
                    is_near = _may_be_copies(queries[owners], entries[column])
                    nearest.add(owners[is_near], places[column[is_near]], distance[is_near])
        return nearest.sorted()

    def _cells(self, features: np.ndarray) -> np.ndarray:
        """Returns the numbers of the nearest cells, [n, `PROBES`] int, -1 where there are fewer."""
        count = len(features)
        distances, cells = (
            np.full((count, PROBES), np.inf, np.float32),
            np.full((count, PROBES), -1),
        )
        coarse = _distances(features, self._coarse)
        chosen = np.argpartition(coarse, min(COARSE_PROBES, coarse.shape[1]) - 1, axis=1)
        chosen = chosen[:, :COARSE_PROBES]
        for number, pairs in _by_number(chosen.ravel()):
            rows, centroids = pairs // chosen.shape[1], self._fine[number]
            distance = [distances[rows], _distances(features[rows], centroids)]
            numbers = self._first_cells[number] + np.arange(len(centroids))
            cell = [cells[rows], np.broadcast_to(numbers, (len(rows), len(numbers)))]
            both = np.concatenate(distance, axis=1)
            column = np.argpartition(both, PROBES - 1, axis=1)[:, :PROBES]
            distances[rows] = np.take_along_axis(both, column, axis=1)
            cells[rows] = np.take_along_axis(np.concatenate(cell, axis=1), column, axis=1)
        return cells


def _entries(prints: Prints, start: int, parts: np.ndarray) -> np.ndarray:
    entries = np.empty(prints.n_images, LAYOUT)
    entries["features"] = copy_features.invariants(prints)
    entries["cells"] = copy_features.middle_cells(prints)
    entries["lengths"], entries["light"] = copy_features.log_lengths(prints), prints.light
    entries["row"], entries["part"] = start + np.arange(prints.n_images), parts
    return entries


def _features(entries: np.ndarray) -> np.ndarray:
    return entries["features"].astype(np.float32)


def _draw(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Returns some numbers below count, ascending."""
    return np.sort(rng.choice(count, min(count, size), replace=False))


def _centroids(features: np.ndarray, count: int) -> np.ndarray:
    """Returns the centroids of clusters, [count, features] float32."""
    if count < 2:
        return features.mean(axis=0, keepdims=True) if count else features[:0]
    fitted = MiniBatchKMeans(count, batch_size=4096, max_iter=5, n_init=1, random_state=0)
    return fitted.fit(features).cluster_centers_.astype(np.float32)


def _distances(features: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Returns squared distances, less what is the same for a row, [n, centroids]."""
    return (centroids**2).sum(axis=1) - 2 * features @ centroids.T


def _all_distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns squared distances, [n, m]."""
    return _distances(one, other) + (one**2).sum(axis=1)[:, None]


def _alike(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns which pairs of features have the same amplitudes, as positions in [n, m]."""
    left, right = one[:, :N_AMPLITUDES], other[:, :N_AMPLITUDES]
    halves = [(side**2).sum(axis=1, keepdims=True) / 2 for side in (left, right)]
    # One product: less than 4 * `SPECTRUM` apart, as amplitudes weigh twice in the features.
    left = np.concatenate([left, np.ones_like(halves[0]), 2 * SPECTRUM - halves[0]], axis=1)
    right = np.concatenate([right, -halves[1], np.ones_like(halves[1])], axis=1)
    return np.flatnonzero((left @ right.T).ravel() >= 0)


def _may_be_copies(queries: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Returns which pairs are different images, of different parts, and about as long, [n] bool."""
    are = (queries["part"] != entries["part"]) | (queries["part"] < 0)
    are &= queries["row"] != entries["row"]
    return are & (np.abs(queries["lengths"] - entries["lengths"]) <= _LONGER).all(axis=1)


class _Nearest:
    """The `NEIGHBOURS` nearest places of each of some images."""

    def __init__(self, count: int):
        self.farthest = np.full(count, np.inf, np.float32)  # of those, once there are so many
        self._found = [(np.zeros(0, np.intp), np.zeros(0, np.int64), np.zeros(0, np.float32))]
        self._size = 0

    def add(self, owners: np.ndarray, places: np.ndarray, distances: np.ndarray) -> None:
        self._found.append((owners, places, distances.astype(np.float32)))
        self._size += len(owners)
        if self._size > 8 * HITS:
            self.sorted()

    def sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns owners, ascending, and places, the nearest of each first."""
        owners, places, distances = map(np.concatenate, zip(*self._found, strict=True))
        order = np.lexsort((places, distances, owners))
        ranks = np.arange(len(order)) - np.searchsorted(owners[order], owners[order])
        order = order[ranks < NEIGHBOURS]
        self._found = [(owners[order], places[order], distances[order])]
        last = order[ranks[ranks < NEIGHBOURS] == NEIGHBOURS - 1]
        self.farthest[owners[last]] = distances[last]
        self._size = 0
        return self._found[0][:2]


def _by_number(numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yields each number, and where it stands."""
    order = np.argsort(numbers, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
        if len(own):
            yield int(numbers[own[0]]), own


def _slices(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, start + size)
