"""The shape of tracks: known by hand, and the same however a track is turned."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tfpipe.tasks.ccd_tracks import shape_features

START = np.zeros(1, int)


def of(mask) -> dict[str, float]:
    return dict(
        zip(shape_features.NAMES, shape_features.measure(*np.nonzero(mask), START)[0], strict=True)
    )


@pytest.mark.parametrize("length", [1, 2, 9, 60])
def test_a_row_of_pixels_is_straight(length):
    shape = of(np.ones((1, length)))
    assert (shape["length_px"], shape["breadth_px"]) == pytest.approx((length, 1))
    # The variance of a uniform line of that length is length ** 2 / 12.
    assert shape["roundness"] == pytest.approx(1 / length)
    assert shape["fill"] == pytest.approx(1)
    assert (shape["bend_px"], shape["scatter_px"]) == pytest.approx((0, 0), abs=1e-9)


def test_a_diagonal_is_as_straight_as_a_row():
    shape = of(np.eye(30))
    assert shape["length_px"] == pytest.approx(29 * np.sqrt(2) + 1)
    assert shape["breadth_px"] == pytest.approx(1)
    assert (shape["bend_px"], shape["scatter_px"]) == pytest.approx((0, 0), abs=1e-9)


def test_a_disc_is_round_and_fills_its_box_as_a_circle_does():
    y, x = np.mgrid[-20:21, -20:21]
    shape = of(y**2 + x**2 <= 20.3**2)
    assert shape["roundness"] == pytest.approx(1, abs=1e-6)
    assert shape["fill"] == pytest.approx(np.pi / 4, rel=0.03)


def test_a_bent_line_is_shape_by_how_far_it_bends():
    mask = np.zeros((60, 101), bool)
    for x in range(101):
        mask[round(0.01 * (x - 50) ** 2), x] = True
    shape = of(mask)
    assert shape["bend_px"] == pytest.approx(0.01 * (shape["length_px"] / 2) ** 2, rel=0.05)
    assert shape["scatter_px"] == pytest.approx(np.sqrt(1 / 12), rel=0.15)  # of rounding to pixels


@given(
    arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))).filter(lambda m: m.any())
)
@settings(max_examples=150, deadline=None)
def test_all_is_finite_and_turning_changes_nothing(mask):
    one = shape_features.measure(*np.nonzero(mask), START)[0]
    assert np.isfinite(one).all()
    assert one[0] >= one[1] >= 1 - 1e-9
    rows, columns = np.nonzero(mask)
    spread = np.cov(rows, columns, bias=True)
    has_axis = np.hypot(spread[0, 0] - spread[1, 1], 2 * spread[0, 1]) > 1e-6
    for turned in (mask.T, mask[::-1], mask[:, ::-1], mask.T[::-1]):
        other = shape_features.measure(*np.nonzero(turned), START)[0]
        # Without a principal axis, as in a plus, only what needs none is the same.
        kept = slice(None) if has_axis else slice(2, 3)
        np.testing.assert_allclose(other[kept], one[kept], atol=1e-6)


def test_tracks_measured_together_are_as_alone():
    masks = [np.eye(5), np.ones((3, 2)), np.ones((1, 7))]
    pixels = [np.nonzero(mask) for mask in masks]
    rows, columns = (np.concatenate(part) for part in zip(*pixels, strict=True))
    starts = np.cumsum([0, *(len(part[0]) for part in pixels[:-1])])
    together = shape_features.measure(rows, columns, starts)
    alone = [shape_features.measure(*part, START)[0] for part in pixels]
    np.testing.assert_allclose(together, alone)
    assert shape_features.measure(rows[:0], columns[:0], starts[:0]).shape == (0, 6)
