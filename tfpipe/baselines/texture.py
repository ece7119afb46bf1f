"""Texture features of images: noise, mean, standard deviation, Haralick's features, HOG, LBP.

They are computed for the grey image ("original"), for its response to a Gabor filter ("gabor") and
for its Sobel gradient ("edge"): the columns of the feature tables of seed document 004, by the same
names.
"""

import cv2
import numpy as np
import pandas as pd
from skimage import feature

from tfpipe.base import images as base_images

KINDS = ("texture", "hog", "lbp")
LEVELS, SIDE_HOG = 256, 64  # grey levels; side in px to which images are resized for HOG
DIRECTIONS = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
# The high-pass filter of Daubechies' wavelet of two vanishing moments (1988, table 1).
WAVELET = np.array([-0.482962913145, 0.836516303738, -0.224143868042, -0.129409522551])
ROUNDING = 1e-6  # grey levels; a coefficient of whole ones is 0 or far above
NORMAL = 0.6744897501960817  # the median size of a draw from the unit normal distribution


def table(images: np.ndarray, *, kinds: tuple[str, ...] = ("texture",)) -> pd.DataFrame:
    """Returns a row of features for each image.

    Args:
      images: [n, height, width, channels] uint8 or uint16, of one or three channels.
      kinds: some of `KINDS`: 48 columns of texture, 36 of HOG, 10 of LBP.
    """
    rows = []
    for image in images:
        grey = base_images.to_grey(image[..., 0] if image.shape[-1] == 1 else image)
        row: dict[str, float] = {}
        for kind in kinds:
            row |= {"texture": _texture, "hog": _hog, "lbp": _lbp}[kind](grey)
        rows.append(row)
    return pd.DataFrame(rows)


def haralick(grey: np.ndarray) -> np.ndarray:
    """Returns Haralick's features [13] of [height, width] uint8, means over four directions.

    Of symmetric co-occurrences of neighbours.
    """
    matrices = feature.graycomatrix(grey, [1], DIRECTIONS, LEVELS, symmetric=True, normed=True)
    return np.mean(
        [haralick_of_matrix(matrices[:, :, 0, i]) for i in range(len(DIRECTIONS))], axis=0
    )


def haralick_of_matrix(p: np.ndarray) -> np.ndarray:
    """Returns features 1 to 13 of Haralick, Shanmugam & Dinstein (1973), appendix I.

    Entropies are in bits. Feature 10 is the variance of the values of p_{x-y}, as Mahotas and so
    the tables of seed document 004 have it. The sum variance is about the sum average, where the
    paper's text has the sum entropy by a misprint.

    Args:
      p: [levels, levels] float, symmetric, its sum 1; a row for each level of the first pixel.
    """
    levels = np.arange(len(p))
    i, j = np.meshgrid(levels, levels, indexing="ij")
    px = p.sum(axis=1)
    mean = px @ levels
    variance = px @ (levels - mean) ** 2
    sums = np.bincount((i + j).ravel(), p.ravel())
    differences = np.bincount(np.abs(i - j).ravel(), p.ravel())
    both = np.outer(px, px)
    entropy, of_x = _entropy(p), _entropy(px)
    crossed = -np.sum(p * _log2(both))
    average = sums @ np.arange(len(sums))
    return np.array(
        [
            (p**2).sum(),
            differences @ levels**2,
            (np.sum(i * j * p) - mean**2) / variance if variance > 0 else 1.0,
            variance,
            differences @ (1 / (1 + levels**2)),
            average,
            sums @ (np.arange(len(sums)) - average) ** 2,
            _entropy(sums),
            entropy,
            differences.var(),
            _entropy(differences),
            (entropy - crossed) / of_x if of_x > 0 else 0.0,
            np.sqrt(max(0.0, 1 - np.exp(-2 * (_entropy(both) - entropy)))),
        ]
    )


def noise(grey: np.ndarray) -> float:
    """Returns the deviation of the noise in [height, width], in grey levels.

    By the median size of the finest diagonal wavelet coefficients that are not 0 (Donoho &
    Johnstone 1994, section 4.2); nan where all are 0, as a uniform image has no measurable noise.
    """
    fine = cv2.sepFilter2D(
        grey.astype(np.float64), -1, WAVELET, WAVELET, borderType=cv2.BORDER_REFLECT
    )[::2, ::2]
    fine = np.abs(fine[np.abs(fine) > ROUNDING])
    return float(np.median(fine) / NORMAL) if len(fine) else float("nan")


def _texture(grey: np.ndarray) -> dict[str, float]:
    row: dict[str, float] = {}
    for name, image in (("original", grey), ("gabor", _gabor(grey)), ("edge", _edge(grey))):
        row |= {f"{name}_noise": noise(image)}
        row |= {f"{name}_mean": float(image.mean()), f"{name}_std": float(image.std())}
        row |= {f"{name}_h_{i}": value for i, value in enumerate(haralick(image), start=1)}
    return row


def _gabor(grey: np.ndarray) -> np.ndarray:
    """Returns the response to waves of 10 px, [height, width] uint8; the kernel has mean 0."""
    kernel = cv2.getGaborKernel((21, 21), sigma=4, theta=np.pi / 4, lambd=10, gamma=0.5, psi=0)
    kernel = (kernel - kernel.mean()) / np.abs(kernel).sum()
    return cv2.convertScaleAbs(cv2.filter2D(grey, cv2.CV_32F, kernel))


def _edge(grey: np.ndarray) -> np.ndarray:
    """Returns the magnitude of the Sobel gradient, [height, width] uint8, clipped at 255."""
    across = cv2.Sobel(grey, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    return cv2.convertScaleAbs(cv2.magnitude(across, down))


def _hog(grey: np.ndarray) -> dict[str, float]:
    """Returns nine directions of gradients in 2 x 2 parts (Dalal & Triggs 2005)."""
    small = cv2.resize(grey, (SIDE_HOG, SIDE_HOG), interpolation=cv2.INTER_AREA)
    half = SIDE_HOG // 2
    values = feature.hog(small, 9, pixels_per_cell=(half, half), cells_per_block=(2, 2))
    return {f"hog_{i}": value for i, value in enumerate(values, start=1)}


def _lbp(grey: np.ndarray) -> dict[str, float]:
    """Returns shares of the uniform patterns of eight neighbours (Ojala et al. 2002)."""
    patterns = feature.local_binary_pattern(grey, 8, 1, method="uniform").astype(int)
    shares = np.bincount(patterns.ravel(), minlength=10) / patterns.size
    return {f"lbp_{i}": value for i, value in enumerate(shares, start=1)}


def _log2(p: np.ndarray) -> np.ndarray:
    """Returns logarithms, 0 of 0."""
    return np.log2(p, out=np.zeros_like(p), where=p > 0)


def _entropy(p: np.ndarray) -> float:
    return float(-np.sum(p * _log2(p)))
