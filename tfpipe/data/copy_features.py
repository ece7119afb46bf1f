"""Features of fingerprints by which near-copies are looked for, whatever way one is turned."""

from collections.abc import Iterator

import cv2
import numpy as np
from scipy import fft

from tfpipe.data import registration
from tfpipe.data.copy_prints import SIDE, Prints, PrintSource

BLUR = 2.0  # px of `SIDE`, taken away from the cells
BLOCK = 512  # images in memory at once
N_WAYS = 8
N_TEMPLATES = 64
N_AMPLITUDES = 44
MOVES = (-4, -2, 0, 2, 4)
_FINE_MOVES = range(-4, 5)


def blocks(prints: PrintSource) -> Iterator[tuple[int, Prints]]:
    """Yields the first row of each block, and its fingerprints."""
    for start in range(0, prints.n_images, BLOCK):
        yield start, prints.select(np.arange(start, min(start + BLOCK, prints.n_images)))


def turned(images: np.ndarray, way: int) -> np.ndarray:
    """Returns images [..., side, side] laid on themselves in one of eight ways."""
    images = images.swapaxes(-1, -2) if way & 4 else images
    return images[..., :: -1 if way & 2 else 1, :: -1 if way & 1 else 1]


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
    return np.concatenate([2 * spectra(prints), filtered], axis=1)


def spectra(prints: Prints) -> np.ndarray:
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


def log_lengths(prints: Prints) -> np.ndarray:
    """Returns the logarithms of the shorter and the longer side, [n, 2] float32."""
    return np.log(np.sort(prints.extents, axis=1) + 1.0).astype(np.float32)


def middle_cells(prints: Prints) -> np.ndarray:
    """Returns the 8 x 8 cells of the middle, [n, 64]."""
    return _cells(prints, (0,)).reshape(prints.n_images, -1)


def turned_cells(prints: Prints) -> np.ndarray:
    """Returns the cells at all shifts, laid on themselves in eight ways, [n, 8 * shifts, 64]."""
    cells = _cells(prints, MOVES)
    ways = np.stack([turned(cells, way) for way in range(N_WAYS)], axis=1)
    return ways.reshape(len(cells), -1, cells.shape[-1] ** 2)


def _cells(prints: Prints, moves: tuple[int, ...]) -> np.ndarray:
    """Returns the 8 x 8 cells of the middle at some shifts, over their norm, [n, shifts, 8, 8]."""
    images = registration.detail_of(prints.small.astype(np.float32), blur=BLUR)
    low, high = SIDE // 8, SIDE - SIDE // 8
    parts = [images[:, low + y : high + y, low + x : high + x] for y in moves for x in moves]
    cells = np.stack(parts, axis=1).reshape(len(images), len(parts), 8, 3, 8, 3).mean(axis=(3, 5))
    cells -= cells.mean(axis=(2, 3), keepdims=True)
    return cells / np.maximum(np.linalg.norm(cells, axis=(2, 3), keepdims=True), 1e-12)


def _draw_templates() -> np.ndarray:
    """Returns random soft templates in eight turns, [64, 8 * `N_TEMPLATES`]."""
    noise = np.random.default_rng(0).standard_normal((N_TEMPLATES, 8, 8)).astype(np.float32)
    soft = np.stack([cv2.GaussianBlur(one, (0, 0), 0.8) for one in noise])
    soft -= soft.mean(axis=(1, 2), keepdims=True)
    soft /= np.linalg.norm(soft, axis=(1, 2), keepdims=True)
    ways = np.stack([turned(soft, way).reshape(N_TEMPLATES, 64) for way in range(N_WAYS)])
    return np.ascontiguousarray(ways.reshape(-1, 64).T)


_TEMPLATES = _draw_templates()
