"""Sharpness: it goes by the blur of edges, not by contrast, size or a little noise."""

import cv2
import numpy as np
import pytest

from tfpipe.evaluation import sharpness


def disc(
    *, blur_px: float, radius: int = 30, contrast: float = 120, noise: float = 0
) -> np.ndarray:
    """Returns a dark disc [128, 128, 1] uint8 on a light ground."""
    large = np.full((512, 512), 200, np.float32)
    cv2.circle(large, (256, 256), 4 * radius, 200 - contrast, -1)
    image = cv2.resize(large, (128, 128), interpolation=cv2.INTER_AREA)
    image = cv2.GaussianBlur(image, (0, 0), blur_px)
    image += np.random.default_rng(0).normal(0, noise, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)[..., None]


def measured(image: np.ndarray) -> float:
    return float(sharpness.measure(image[None])[0])


@pytest.mark.parametrize("blur_px", [1, 2, 3])
def test_it_is_the_reciprocal_of_the_blur_whatever_contrast_and_size(blur_px):
    # The gradient of neighbouring pixels blurs as well, by some 0.7 px.
    expected = 1 / np.hypot(blur_px, 0.7)
    for change in ({}, {"contrast": 30}, {"radius": 12}, {"radius": 50, "contrast": 180}):
        assert measured(disc(blur_px=blur_px, **change)) == pytest.approx(expected, rel=0.05)


def test_noise_hardly_changes_the_order():
    by_blur = [measured(disc(blur_px=blur, contrast=60, noise=4)) for blur in (0.5, 1, 2, 3)]
    assert by_blur == sorted(by_blur, reverse=True)
    assert by_blur[1] == pytest.approx(measured(disc(blur_px=1, contrast=60)), rel=0.3)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_even_images_have_none_and_padding_does_not_count(dtype):
    assert measured(np.full((9, 9, 3), 7, dtype)) == 0
    assert measured(np.zeros((1, 5, 1), dtype)) == 0
    image = np.random.default_rng(0).integers(10, 200, (40, 40, 1)).astype(dtype)
    padded = np.full((80, 80, 1), 7, dtype)
    padded[20:60, 20:60] = image
    assert measured(padded) == pytest.approx(measured(image))
    assert sharpness.measure(image[:0][None][:0]).shape == (0,)
