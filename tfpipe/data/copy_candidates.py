"""Candidates for near-copies: pairs of images that are alike at a glance, and how one is turned.

Few images are compared each with each. Of many, an index gives each the most alike ones.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from tfpipe.base import files
from tfpipe.data import copy_features
from tfpipe.data.copy_features import MOVES, N_WAYS
from tfpipe.data.copy_index import MOVED_EXTENT, SPECTRUM, CopyIndex, Neighbours
from tfpipe.data.copy_prints import Prints, PrintSource

# The least correlation of 8 x 8 cells at the best of eight turns and 25 shifts, and the light.
CELLS, TURN = 0.6, 0.05
STILL_CELLS, NEAR_GAIN, NEAR_OFFSET = 0.95, 1.2, 0.25
MOST_CANDIDATES = 8  # of one image, the likeliest: so that time grows no faster than the search

Candidates = Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]


def compare_all(one: PrintSource, other: PrintSource) -> Candidates:
    """Yields rows of one, rows of other, and the ways of turning the first onto the second.

    Every image is compared with every other. Of the same prints twice, the lower row is the first.
    """
    if not one.n_images or not other.n_images:
        return
    parts = [_reduced(prints) for _, prints in copy_features.blocks(other)]
    right, cells, lengths, light = (np.concatenate(part) for part in zip(*parts, strict=True))
    sizes = (right**2).sum(axis=1)
    most = np.log(MOVED_EXTENT)
    for start, prints in copy_features.blocks(one):
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
        moved = copy_features.turned_cells(prints.select(rows)) if len(rows) else ()
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
    prints: PrintSource,
    *,
    parts: np.ndarray,
    is_query: np.ndarray,
    scratch: Path | None = None,
    count: Callable[[int], None],
) -> Candidates:
    """Yields two rows of the same prints, and the ways of turning the first onto the second.

    Each of some images is compared with those that an index gives, `NEIGHBOURS` at most.

    Args:
      prints: of all images.
      parts: [n] int, images of the same part of 0 or more are not compared; -1 is a part of none.
      is_query: which images are compared with the others, [n] bool.
      scratch: where the index lies for now, 368 bytes an image, twice that while it is made; None
        for the system's folder of temporary files.
      count: receives how many more images are in the index, then how many more were compared.

    Raises:
      UserError: the index cannot be written, or is cut short.
    """
    option = "TMPDIR" if scratch is None else "--data"
    place = scratch or Path(tempfile.gettempdir())
    with ExitStack() as stack:
        with files.writing_to(place, option=option):
            folder = tempfile.TemporaryDirectory(prefix=".index-", dir=place)
            index = CopyIndex(prints, parts, Path(stack.enter_context(folder)), count=count)
        for neighbours in index.neighbours(is_query):
            found = _likeliest(prints, index, neighbours)
            if found:
                a, b, way = np.concatenate(found, axis=1)
                yield a, b, way
            count(len(neighbours.queries))


def _likeliest(prints: PrintSource, index: CopyIndex, neighbours: Neighbours) -> list[np.ndarray]:
    """Returns [3, candidates] int arrays: rows of images, of those alike, and ways of turning."""
    chosen, firsts = np.unique(neighbours.owners, return_index=True)
    firsts = np.append(firsts, len(neighbours.owners))
    found: list[np.ndarray] = []
    for start in range(0, len(chosen), copy_features.BLOCK):
        own = slice(start, start + copy_features.BLOCK)
        queries = neighbours.queries[chosen[own]]
        bounds = firsts[start : start + len(queries) + 1]
        matches = index.entries(neighbours.places[bounds[0] : bounds[-1]])
        turned_cells = copy_features.turned_cells(prints.select(queries["row"]))
        for i, cells in enumerate(turned_cells):
            others = matches[bounds[i] - bounds[0] : bounds[i + 1] - bounds[0]]
            lit = _is_lit(queries["light"][i], others["light"])
            column, way = _ranked(cells, others["cells"].astype(np.float32), lit)
            rows = np.full(len(way), queries["row"][i])
            found.append(np.stack([rows, others["row"][column], way]))
    return found


def _reduced(prints: Prints) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns spectra [n, 44], cells [n, 64], log lengths [n, 2] and light [n, 2]."""
    return (
        copy_features.spectra(prints),
        copy_features.middle_cells(prints),
        copy_features.log_lengths(prints),
        prints.light,
    )


def _ranked(
    turned_cells: np.ndarray, cells: np.ndarray, lit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which of some images are the likeliest copies of one, and how it is turned.

    Args:
      turned_cells: of the one, from `copy_features.turned_cells`.
      cells: of the others, [n, 64].
      lit: whether they may be in the same light, [n].
    """
    scores = (turned_cells @ cells.T).reshape(N_WAYS, -1, len(cells))
    still = scores[:, len(MOVES) ** 2 // 2]
    best = np.where(lit | (still >= STILL_CELLS), scores.max(axis=1), -1)
    way, column = np.nonzero(best >= np.maximum(CELLS, best.max(axis=0) - TURN))
    order = np.argsort(-best[way, column], kind="stable")[:MOST_CANDIDATES]
    return column[order], way[order]


def _is_lit(light: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns which of some images [n] may be in the same light as one."""
    gain = np.abs(np.log(np.maximum(others[:, 1], 1e-12) / max(light[1], 1e-12)))
    is_near = np.abs(others[:, 0] - light[0]) <= NEAR_OFFSET * light[1]
    return is_near & (gain <= np.log(NEAR_GAIN))
