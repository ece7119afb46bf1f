"""Candidates for near-copies: pairs of images that are alike at a glance, and how one is turned.

Few images are compared each with each. Of many, an index gives each the most alike ones: images in
cells around centroids (an inverted file: Jegou et al. 2011, doi:10.1109/TPAMI.2010.57), by features
that no turn and hardly a shift changes. It lies on disk, and the work grows with the number of
images, not with its square.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
from scipy import fft
from sklearn.cluster import MiniBatchKMeans

from tfpipe.base import files
from tfpipe.data import registration
from tfpipe.data.copy_prints import SIDE, Prints, PrintSource, read_rows

# The most that amplitudes differ, which no turn or shift changes, the least correlation of 8 x 8
# cells at the best of eight turns and 25 shifts, and the light.
SPECTRUM, CELLS, TURN = 0.02, 0.6, 0.05
STILL_CELLS, NEAR_GAIN, NEAR_OFFSET = 0.95, 1.2, 0.25
MOVED_EXTENT = 1.12  # times that one may be as long as the other, in its square
MOST_CANDIDATES = 8  # of one image, the likeliest: so that time grows no faster than the search
BLUR = 2.0  # px of `SIDE`, taken away from the cells
BLOCK, QUERIES = 512, 8192
N_WAYS = 8
# The index.
CELL_IMAGES = 128  # of a cell, on average
MOST_CELLS = 8192  # beyond a million images cells grow
SAMPLES = 16  # images a cell that centroids are fitted to
PROBES = 64  # cells that are searched for an image
NEIGHBOURS = 32  # images that are looked at closely for one
PAIRS = 2**22  # whose distances are in memory at once, about 22 bytes each
N_TEMPLATES = 64

_MOVES = (-4, -2, 0, 2, 4)
_FINE_MOVES = range(-4, 5)
_AMPLITUDES = 44
_LAYOUT = np.dtype(
    [
        ("features", "<f2", _AMPLITUDES + N_TEMPLATES),
        ("cells", "<f2", 64),
        ("lengths", "<f4", 2),
        ("light", "<f4", 2),
        ("row", "<i8"),
        ("part", "<i4"),
    ]
)

Candidates = Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]


def compare_all(one: PrintSource, other: PrintSource) -> Candidates:
    """Yields rows of one, rows of other, and the ways of turning the first onto the second.

    Every image is compared with every other. Of the same prints twice, the lower row is the first.
    """
    if not one.n_images or not other.n_images:
        return
    parts = [_reduced(prints) for _, prints in _blocks(other)]
    right, cells, lengths, light = (np.concatenate(part) for part in zip(*parts, strict=True))
    sizes = (right**2).sum(axis=1)
    most = np.log(MOVED_EXTENT)
    for start, prints in _blocks(one):
        block, _, own_lengths, own_light = _reduced(prints)
        first = start if one is other else 0
        distance = block @ (-2 * right[first:].T)
        distance += (block**2).sum(axis=1)[:, None]
        distance += sizes[first:]
        is_near = distance <= SPECTRUM
        for side in (0, 1):
            is_near &= np.abs(own_lengths[:, side, None] - lengths[first:, side]) <= most
        rows = np.flatnonzero(is_near.any(axis=1))
        found: list[np.ndarray] = []
        moved = _turned_cells(prints.select(rows)) if len(rows) else ()
        for i, turned_cells in zip(rows.tolist(), moved, strict=True):
            b = np.flatnonzero(is_near[i]) + first
            b = b[b > start + i] if one is other else b
            if len(b):
                column, way = _ranked(turned_cells, cells[b], _is_lit(own_light[i], light[b]))
                found.append(np.stack([np.full(len(way), start + i), b[column], way]))
        if found:
            a, b, way = np.concatenate(found, axis=1)
            yield a, b, way


def compare_by_index(
    prints: PrintSource, *, parts: np.ndarray, queries: np.ndarray, scratch: Path | None = None
) -> Candidates:
    """Yields two rows of the same prints, and the ways of turning the first onto the second.

    Each of some images is compared with those that an index gives, `NEIGHBOURS` at most.

    Args:
      prints: of all images.
      parts: [n] int, images of the same part of 0 or more are not compared; -1 is a part of none.
      queries: rows of the images that are compared with the others.
      scratch: where the index lies for now, 360 bytes an image, twice that while it is made; None
        for the system's folder of temporary files.

    Raises:
      UserError: the index cannot be written, or is cut short.
    """
    option = "TMPDIR" if scratch is None else "--data"
    place = scratch or Path(tempfile.gettempdir())
    with ExitStack() as stack:
        with files.writing_to(place, option=option):
            folder = tempfile.TemporaryDirectory(prefix=".index-", dir=place)
            index = CopyIndex(prints, parts, Path(stack.enter_context(folder)))
        for start in range(0, len(queries), QUERIES):
            rows = queries[start : start + QUERIES]
            neighbours = index.neighbours(prints, rows, parts[rows])
            for first in range(0, len(rows), BLOCK):
                own = slice(first, first + BLOCK)
                found = index.likeliest(prints.select(rows[own]), rows[own], neighbours[own])
                if found:
                    a, b, way = np.concatenate(found, axis=1)
                    yield a, b, way


class CopyIndex:
    """Features of images on disk, in the order of the cells that the images fall in."""

    def __init__(self, prints: PrintSource, parts: np.ndarray, folder: Path):
        count = prints.n_images
        n_cells = int(np.clip(count // CELL_IMAGES, 1, MOST_CELLS))
        rng = np.random.default_rng(0)
        sample = np.sort(rng.choice(count, min(count, n_cells * SAMPLES), replace=False))
        features = [
            invariants(prints.select(sample[i : i + BLOCK])) for i in range(0, len(sample), BLOCK)
        ]
        fitted = MiniBatchKMeans(n_cells, batch_size=4096, max_iter=5, n_init=1, random_state=0)
        self._centroids = fitted.fit(np.concatenate(features)).cluster_centers_.astype(np.float32)
        del features
        unsorted, self._path = folder / ".unsorted", folder / ".index"
        places = np.empty(count, np.int32)
        with unsorted.open("wb") as file:
            for start, block in _blocks(prints):
                rows = _index_rows(block, start, parts[start : start + block.n_images])
                own = slice(start, start + len(rows))
                places[own] = self._nearest(rows["features"].astype(np.float32), 1)[:, 0]
                file.write(rows.tobytes())  # `tofile` loses its last bytes on a full disk
        order = np.argsort(places, kind="stable")
        self._firsts = np.searchsorted(places[order], np.arange(n_cells + 1))
        with self._path.open("wb") as file:
            for start in range(0, count, 32 * BLOCK):
                rows = read_rows(unsorted, _LAYOUT, order[start : start + 32 * BLOCK])
                file.write(rows.tobytes())
        unsorted.unlink()

    def neighbours(self, prints: PrintSource, rows: np.ndarray, parts: np.ndarray) -> np.ndarray:
        """Returns the places in the index of the most alike images, [rows, `NEIGHBOURS`] int.

        The nearest come first; -1 where there are fewer.

        Args:
          prints: of all images.
          rows: of the images that are looked for.
          parts: theirs.
        """
        pieces = [rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK)]
        selected = [prints.select(piece) for piece in pieces]
        features = np.concatenate([invariants(piece) for piece in selected])
        lengths = np.concatenate([_log_lengths(piece) for piece in selected])
        del selected
        cells = np.concatenate(
            [self._nearest(features[i : i + BLOCK], PROBES) for i in range(0, len(rows), BLOCK)]
        )
        owners, cells = np.repeat(np.arange(len(rows)), cells.shape[1]), cells.ravel()
        order = np.argsort(cells, kind="stable")
        owners, cells = owners[order], cells[order]
        distances = np.full((len(rows), NEIGHBOURS), np.inf, np.float32)
        places = np.full((len(rows), NEIGHBOURS), -1)
        for own in np.split(np.arange(len(cells)), np.flatnonzero(np.diff(cells)) + 1):
            cell, inside = cells[own[0]], owners[own]
            step = max(NEIGHBOURS, PAIRS // len(inside))  # a cell of images all alike is large
            for first in range(self._firsts[cell], self._firsts[cell + 1], step):
                place = np.arange(first, min(first + step, self._firsts[cell + 1]))
                entries, left = read_rows(self._path, _LAYOUT, place), features[inside]
                right = entries["features"].astype(np.float32)
                distance = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)
                distance -= 2 * left @ right.T
                is_near = (parts[inside, None] != entries["part"]) | (parts[inside, None] < 0)
                for side in (0, 1):
                    differences = lengths[inside, side, None] - entries["lengths"][:, side]
                    is_near &= np.abs(differences) <= _LONGER
                is_near &= entries["row"] != rows[inside, None]
                distance[~is_near] = np.inf
                distance = np.concatenate([distances[inside], distance], axis=1)
                place = np.broadcast_to(place, is_near.shape)
                place = np.concatenate([places[inside], place], axis=1)
                column = np.argpartition(distance, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
                distances[inside] = np.take_along_axis(distance, column, axis=1)
                places[inside] = np.take_along_axis(place, column, axis=1)
        order = np.argsort(distances, axis=1, kind="stable")
        places[~np.isfinite(distances)] = -1
        return np.take_along_axis(places, order, axis=1)

    def likeliest(
        self, prints: Prints, rows: np.ndarray, neighbours: np.ndarray
    ) -> list[np.ndarray]:
        """Returns [3, candidates] int arrays: rows of images, of those alike, and ways of turning.

        Args:
          prints: of some images.
          rows: theirs.
          neighbours: theirs, places in the index.
        """
        owners, columns = np.nonzero(neighbours >= 0)
        matches = read_rows(self._path, _LAYOUT, neighbours[owners, columns])
        amplitudes = 2 * _spectra(prints)[owners] - matches["features"][:, :_AMPLITUDES]
        is_alike = (amplitudes**2).sum(axis=1) <= 4 * SPECTRUM  # weighted twice
        owners, matches = owners[is_alike], matches[is_alike]
        firsts = np.searchsorted(owners, np.arange(len(rows) + 1))
        chosen = np.flatnonzero(np.diff(firsts))
        found: list[np.ndarray] = []
        if not len(chosen):
            return found
        for i, cells in zip(chosen.tolist(), _turned_cells(prints.select(chosen)), strict=True):
            others = matches[firsts[i] : firsts[i + 1]]
            lit = _is_lit(prints.light[i], others["light"])
            column, way = _ranked(cells, others["cells"].astype(np.float32), lit)
            found.append(np.stack([np.full(len(way), rows[i]), others["row"][column], way]))
        return found

    def _nearest(self, features: np.ndarray, count: int) -> np.ndarray:
        """Returns the numbers of the nearest cells, nearest first if one, [n, count]."""
        distances = (self._centroids**2).sum(axis=1) - 2 * features @ self._centroids.T
        if count >= len(self._centroids):
            return np.broadcast_to(np.arange(len(self._centroids)), distances.shape)
        if count == 1:
            return distances.argmin(axis=1)[:, None]
        return np.argpartition(distances, count, axis=1)[:, :count]


def invariants(prints: Prints) -> np.ndarray:
    """Returns features that turns do not change, and shifts by a few pixels hardly, [n, 108].

    Low frequencies' amplitudes, twice, and the best correlation of the image, turned and moved any
    way, with each of some random soft templates (max filters: Cahill et al. 2022,
    arXiv:2205.14039).
    """
    images = registration.detail_of(prints.small.astype(np.float32), blur=BLUR)
    middles = np.array([cv2.blur(one, (3, 3)) for one in images]).reshape(images.shape)
    best = np.full((len(images), _TEMPLATES.shape[1]), -1, np.float32)
    for y in _FINE_MOVES:
        for x in _FINE_MOVES:
            window = middles[:, 5 + y : 29 + y : 3, 5 + x : 29 + x : 3].reshape(-1, 64)
            window = window - window.mean(axis=1, keepdims=True)
            window /= np.maximum(np.linalg.norm(window, axis=1, keepdims=True), 1e-12)
            np.maximum(best, window @ _TEMPLATES, out=best)
    filtered = best.reshape(len(best), N_WAYS, N_TEMPLATES).max(axis=1)
    return np.concatenate([2 * _spectra(prints), filtered], axis=1)


def turned(images: np.ndarray, way: int) -> np.ndarray:
    """Returns images [..., side, side] laid on themselves in one of eight ways."""
    images = images.swapaxes(-1, -2) if way & 4 else images
    return images[..., :: -1 if way & 2 else 1, :: -1 if way & 1 else 1]


def _draw_templates() -> np.ndarray:
    """Returns random soft templates in eight turns, [64, 8 * `N_TEMPLATES`]."""
    noise = np.random.default_rng(0).standard_normal((N_TEMPLATES, 8, 8)).astype(np.float32)
    soft = np.stack([cv2.GaussianBlur(one, (0, 0), 0.8) for one in noise])
    soft -= soft.mean(axis=(1, 2), keepdims=True)
    soft /= np.linalg.norm(soft, axis=(1, 2), keepdims=True)
    ways = np.stack([turned(soft, way).reshape(N_TEMPLATES, 64) for way in range(N_WAYS)])
    return np.ascontiguousarray(ways.reshape(-1, 64).T)


_TEMPLATES = _draw_templates()
_LONGER = np.log(MOVED_EXTENT)


def _index_rows(prints: Prints, start: int, parts: np.ndarray) -> np.ndarray:
    rows = np.empty(prints.n_images, _LAYOUT)
    rows["features"], rows["cells"] = invariants(prints), _middle_cells(prints)
    rows["lengths"], rows["light"] = _log_lengths(prints), prints.light
    rows["row"], rows["part"] = start + np.arange(prints.n_images), parts
    return rows


def _blocks(prints: PrintSource) -> Iterator[tuple[int, Prints]]:
    """Yields the first row of each block, and its fingerprints."""
    for start in range(0, prints.n_images, BLOCK):
        yield start, prints.select(np.arange(start, min(start + BLOCK, prints.n_images)))


def _reduced(prints: Prints) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns spectra [n, 44], cells [n, 64], log lengths [n, 2] and light [n, 2]."""
    return _spectra(prints), _middle_cells(prints), _log_lengths(prints), prints.light


def _log_lengths(prints: Prints) -> np.ndarray:
    return np.log(np.sort(prints.extents, axis=1) + 1.0).astype(np.float32)


def _middle_cells(prints: Prints) -> np.ndarray:
    return _cells(prints, (0,)).reshape(prints.n_images, -1)


def _ranked(
    turned_cells: np.ndarray, cells: np.ndarray, lit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which of some images are the likeliest copies of one, and how it is turned.

    Args:
      turned_cells: of the one, from `_turned_cells`.
      cells: of the others, [n, 64].
      lit: whether they may be in the same light, [n].
    """
    scores = (turned_cells @ cells.T).reshape(N_WAYS, -1, len(cells))
    still = scores[:, len(_MOVES) ** 2 // 2]
    best = np.where(lit | (still >= STILL_CELLS), scores.max(axis=1), -1)
    way, column = np.nonzero(best >= np.maximum(CELLS, best.max(axis=0) - TURN))
    order = np.argsort(-best[way, column], kind="stable")[:MOST_CANDIDATES]
    return column[order], way[order]


def _is_lit(light: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns which of some images [n] may be in the same light as one."""
    gain = np.abs(np.log(np.maximum(others[:, 1], 1e-12) / max(light[1], 1e-12)))
    is_near = np.abs(others[:, 0] - light[0]) <= NEAR_OFFSET * light[1]
    return is_near & (gain <= np.log(NEAR_GAIN))


def _spectra(prints: Prints) -> np.ndarray:
    """Returns low frequencies' amplitudes, which turns and small shifts hardly change, [n, 44]."""
    window = np.hanning(SIDE + 2)[1:-1]
    window = np.outer(window, window).astype(np.float32)
    images = prints.small.astype(np.float32)
    images -= (images * window).sum(axis=(1, 2), keepdims=True) / window.sum()
    power = np.abs(fft.fft2(images * window)) ** 2
    power /= np.maximum(power.sum(axis=(1, 2), keepdims=True), 1e-12)
    power = power + power[:, :, -np.arange(SIDE)]
    power = (power + power.transpose(0, 2, 1)) / 4
    rows, columns = np.triu_indices(9)
    amplitudes = np.sqrt(power[:, rows, columns] * np.where(rows == columns, 1, 2))
    return amplitudes[:, 1:].astype(np.float32)


def _cells(prints: Prints, moves: tuple[int, ...]) -> np.ndarray:
    """Returns the 8 x 8 cells of the middle at some shifts, over their norm, [n, shifts, 8, 8]."""
    images = registration.detail_of(prints.small.astype(np.float32), blur=BLUR)
    low, high = SIDE // 8, SIDE - SIDE // 8
    parts = [images[:, low + y : high + y, low + x : high + x] for y in moves for x in moves]
    cells = np.stack(parts, axis=1).reshape(len(images), len(parts), 8, 3, 8, 3).mean(axis=(3, 5))
    cells -= cells.mean(axis=(2, 3), keepdims=True)
    return cells / np.maximum(np.linalg.norm(cells, axis=(2, 3), keepdims=True), 1e-12)


def _turned_cells(prints: Prints) -> np.ndarray:
    """Returns the cells at all shifts, laid on themselves in eight ways, [n, 8 * shifts, 64]."""
    cells = _cells(prints, _MOVES)
    ways = np.stack([turned(cells, way) for way in range(N_WAYS)], axis=1)
    return ways.reshape(len(cells), -1, cells.shape[-1] ** 2)
