"""Soft noise, undulations and broken lines, of which drawn ice is made."""

import cv2
import numpy as np


def fade(distance_mm: np.ndarray, softness_mm: float) -> np.ndarray:
    """Returns 0 far outside (negative) to 1 far inside, and 0.5 on the edge."""
    return 0.5 * (1 + np.tanh(distance_mm / softness_mm))


def wave(rng: np.random.Generator, across_mm: np.ndarray, *, amplitude_mm: float) -> np.ndarray:
    """Returns a smooth random undulation across the core."""
    wavelengths_mm = rng.uniform([90, 40, 20], [200, 90, 40])
    phases = rng.uniform(0, 2 * np.pi, size=3)
    angles = 2 * np.pi * across_mm[..., None] / wavelengths_mm + phases
    return amplitude_mm * (np.sin(angles) @ np.array([1, 0.5, 0.25]))


def jags(rng: np.random.Generator, across_mm: np.ndarray, *, amplitude_mm: float) -> np.ndarray:
    """Returns a random broken line across the core, with zero mean."""
    knots_mm = np.arange(-60, 61, 4) + rng.uniform(-1.5, 1.5, size=31)
    heights = rng.standard_normal(31)
    return np.interp(across_mm, knots_mm, amplitude_mm * (heights - heights.mean()))


def clouds(rng: np.random.Generator, shape: tuple[int, int], *, scale_px: float) -> np.ndarray:
    """Returns soft noise [rows, columns] float32 of variance near 1, `scale_px` wide."""
    small = [max(2, round(n / scale_px)) for n in shape]
    noise = rng.standard_normal(small, dtype=np.float32)
    return cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_CUBIC)
