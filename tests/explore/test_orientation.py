"""Directions are axial, and normalized images keep their content."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tfpipe.explore import orientation


def line(angle_deg: float, *, side: int = 64, length: float = 40, fill: float = 100) -> np.ndarray:
    """Returns an image [side, side, 1] float32 of a line, its angle counter-clockwise as seen."""
    angle = np.radians(angle_deg)
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    along = columns * np.cos(angle) - rows * np.sin(angle)
    across = columns * np.sin(angle) + rows * np.cos(angle)
    inside = (np.abs(along) <= length / 2) & (np.abs(across) <= 2)
    return np.where(inside, fill + 900, fill).astype(np.float32)[..., None]


def difference_deg(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the angle between axes in degrees."""
    return np.abs((one - other + 90) % 180 - 90)


@settings(max_examples=40, deadline=None)
@given(some.floats(0, 180, exclude_max=True), some.floats(0, 3000))
def test_the_axis_of_a_line_is_its_own_whatever_the_background(angle, fill):
    axes = orientation.axes(line(angle, fill=fill)[None])
    assert difference_deg(np.degrees(axes.angle_rad), angle) < 1.5
    assert axes.strength[0] > 0.9
    assert axes.length_px[0] == pytest.approx(41, abs=3)


def test_half_a_turn_changes_nothing_and_neighbours_over_the_end_share_a_sector():
    images = np.stack([line(178), line(2), line(92)])
    same = orientation.axes(images[:, ::-1, ::-1])
    assert (
        difference_deg(*np.degrees([same.angle_rad, orientation.axes(images).angle_rad])) < 0.1
    ).all()
    sectors = orientation.sectors(
        orientation.Axes(np.radians([0.1, 180.1, 17.9, 18.1]), *np.ones((2, 4)))
    )
    assert sectors[0] == sectors[1] == sectors[2] != sectors[3]


def test_what_is_round_or_empty_has_no_direction():
    rows, columns = np.mgrid[:64, :64] - 31.5
    disc = np.where(rows**2 + columns**2 < 100, 900.0, 100.0)[..., None]
    axes = orientation.axes(np.stack([disc, np.full_like(disc, 7)]))
    assert (orientation.sectors(axes) == orientation.NO_SECTOR).all()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_normalized_images_lie_along_the_rows_and_keep_their_background(dtype):
    images = np.stack([line(a, length=85, fill=20) for a in (0, 30, 45, 90, 135)])
    images = (images / 5).astype(dtype)
    level = orientation.normalize(images)
    assert level.shape == images.shape and level.dtype == images.dtype
    axes = orientation.axes(level)
    assert (difference_deg(np.degrees(axes.angle_rad), 0) < 3).all()
    assert (level[:, 0, 0] == 4).all()


def test_clusters_by_direction_are_explained_and_others_are_not():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, np.pi, 600)
    axes = orientation.Axes(angle, np.ones(600), np.ones(600))
    # Cut at 40 and 100 degrees, so that one cluster goes over the end at 180.
    by_angle = ((np.degrees(angle) - 40) % 180 > 60).astype(int)
    table = orientation.explained(by_angle, axes)
    assert table["explained"].all() and (table["value"].to_numpy()[:2] > 0.9).all()
    table = orientation.explained(rng.integers(0, 2, 600), axes)
    assert not table["explained"].any() and table["value"].iloc[-1] < 0.02
