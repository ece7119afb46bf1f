"""Novelty of images: ordinary ones are rarely called new, others mostly, whatever the exposure."""

import dataclasses

import cv2
import numpy as np
import pytest
from made_card import made_card

from tfpipe.base import json_dataclass
from tfpipe.base.errors import UserError
from tfpipe.evaluation import image_novelty
from tfpipe.registry.card import VersionCard


def banded(count: int, *, seed: int, gain: float = 1.0) -> np.ndarray:
    """Returns images [n, 20, 40, 3] uint8 of soft horizontal bands under noise."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 1, (count, 20, 1, 1)) + rng.normal(0, 0.5, (count, 20, 40, 1))
    soft = np.stack([cv2.GaussianBlur(image, (3, 3), 0)[..., None] for image in rows])
    return np.clip(gain * (110 + 25 * soft * np.ones(3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module", params=[False, True], ids=["exposure", "no exposure"])
def statistics(request):
    return image_novelty.fit(
        [banded(300, seed=1), banded(300, seed=2)],
        [banded(200, seed=3)],
        ignores_exposure=request.param,
    )


def others() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(9)
    images = banded(40, seed=5)
    return {
        "noise": rng.integers(0, 255, (40, 20, 40, 3), dtype=np.uint8),
        "grey": np.full((40, 20, 40, 3), 110, np.uint8),
        "turned": np.ascontiguousarray(images[:, :, :20].swapaxes(1, 2).repeat(2, axis=2)),
        "coloured": (images * np.array([1.0, 0.6, 0.3])).astype(np.uint8),
        "a dot": np.stack(
            [cv2.circle(np.full((20, 40, 3), 200, np.uint8), (20, 10), 4, 0, -1)] * 40
        ),
    }


def test_one_of_a_hundred_ordinary_images_is_called_new(statistics):
    share = image_novelty.is_new(banded(1500, seed=7), statistics).mean()
    # 1 % is asked for, of 800 images that the limit rests on: binomial, 0.2 to 2.7 % in 999 of 1000
    assert 0.001 < share < 0.028
    assert statistics.images == 800


@pytest.mark.parametrize("kind", others())
def test_images_of_another_kind_are_called_new(statistics, kind):
    assert image_novelty.is_new(others()[kind], statistics).mean() > 0.9


def test_another_exposure_is_new_unless_cameras_vary(statistics):
    dark = image_novelty.is_new(banded(400, seed=8, gain=0.35), statistics).mean()
    assert (dark < 0.1) if statistics.ignores_exposure else (dark > 0.9)


def test_floats_of_one_channel_and_tiny_images_have_finite_measures():
    for shape in ((5, 64, 64, 1), (5, 1, 9, 1), (5, 2, 2, 3)):
        images = np.random.default_rng(0).normal(4000, 100, shape).astype(np.float32)
        measures = image_novelty.measure(images, ignores_exposure=False)
        assert measures.shape == (5, image_novelty.count_measures(ignores_exposure=False))
        assert np.isfinite(measures).all()
    assert not len(image_novelty.is_new(banded(1, seed=0)[:0], fitted()))


def fitted():
    return image_novelty.fit([banded(60, seed=1)], [banded(20, seed=2)], ignores_exposure=False)


def test_too_few_images_have_no_statistics():
    few = [banded(49, seed=1)]
    assert image_novelty.fit(few, few, ignores_exposure=False) is None
    assert image_novelty.fit([], [], ignores_exposure=False) is None


def test_a_card_holds_them_and_refuses_damaged_ones():
    card = made_card(novelty=fitted())
    assert read(card) == card
    damaged = (
        {"mean": (1.0,)},
        {"scale": (0.0,) * 17},
        {"precision": ((1.0,),) * 17},
        {"limit": float("inf")},
    )
    for change in damaged:
        with pytest.raises(UserError, match="novelty"):
            read(made_card(novelty=dataclasses.replace(fitted(), **change)))


def read(card: VersionCard) -> VersionCard:
    return VersionCard.from_json(json_dataclass.parse(card.to_json()), file="card.json")
