"""Sharpness of images: how narrow edges are, in pixels, whatever their contrast and number.

Measures of focus (Pertuz et al. 2013, doi:10.1016/j.patcog.2012.11.011) such as Tenenbaum's sum of
squared gradients grow with contrast and with the length of edges: a large dark particle would be
sharper than a small faint one. A step of height C that a Gaussian of deviation s has blurred has
gradients g across it whose moments are in proportion: the mean of g^3 over that of g^2 is
C / (s sqrt(3 pi)), however long the edge is. The moments that noise alone would have are taken off.
"""

import cv2
import numpy as np

from tfpipe.data.near_duplicates import crop_border

EXTREMES = (0.005, 0.995)  # quantiles of the grey values, between which the contrast lies
_SMALL = 1e-6  # of the largest grey value: less contrast is that of rounding
_FACTOR = float(np.sqrt(3 * np.pi))
# Deviation of the gradient along an axis, of noise of deviation 1 (Sobel / 8), and the second and
# third moments of the length of such gradients (Rayleigh).
_NOISE_GRADIENT, _SECOND, _THIRD = float(np.sqrt(12) / 8), 2.0, float(3 * np.sqrt(np.pi / 2))
# Two second derivatives, across and down, after which edges are gone and noise is not (Immerkaer
# 1996, doi:10.1006/cviu.1996.0060). Its median, not its mean: some edges remain.
_NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
_OF_MEDIAN = 1.4826  # deviation of normal numbers, in medians of their absolute values


def measure(images: np.ndarray) -> np.ndarray:
    """Returns the sharpness [n] float of images [n, height, width, channels].

    It is the reciprocal of the blur of edges in px: 1 for edges that a Gaussian of 1 px deviation
    has blurred, 0.5 for 2 px. Evenly grey images have 0. A border of one colour that was added
    around an image does not count.
    """
    return np.array([_measure(image) for image in images], np.float64).reshape(-1)


def _measure(image: np.ndarray) -> float:
    pixels = np.nan_to_num(crop_border(image).astype(np.float32))
    weights = np.full((1, pixels.shape[2]), 1 / pixels.shape[2], np.float32)
    grey = cv2.transform(pixels, weights).reshape(pixels.shape[:2])  # quicker than NumPy's mean
    if min(grey.shape) < 3:
        return 0.0
    low, high = _quantiles(grey, EXTREMES)
    contrast = high - low
    if contrast <= _SMALL * max(abs(high), abs(low)):
        return 0.0
    across, down = (
        cv2.Sobel(grey, cv2.CV_32F, *order, ksize=3, scale=1 / 8)[1:-1, 1:-1] / contrast
        for order in ((1, 0), (0, 1))
    )
    squares = across**2 + down**2
    second, third = float(squares.mean()), float((squares * np.sqrt(squares)).mean())
    if not second:
        return 0.0
    residue = np.abs(cv2.filter2D(grey, cv2.CV_32F, _NOISE_MASK)[1:-1, 1:-1])
    noise = _NOISE_GRADIENT * _OF_MEDIAN * _quantiles(residue[::2, ::2], (0.5,))[0] / contrast
    # Texture as fine as a pixel looks like noise: at most half of a moment is taken off.
    noise = min(noise, float(np.sqrt(second)) / 2)
    return _FACTOR * (third - _THIRD * noise**3) / (second - _SECOND * noise**2)


def _quantiles(values: np.ndarray, shares: tuple[float, ...]) -> list[float]:
    """Returns quantiles of values [...], each one of the values."""
    flat = values.reshape(-1)
    places = [round(share * (len(flat) - 1)) for share in shares]
    ordered = np.partition(flat, places)
    return [float(ordered[place]) for place in places]
