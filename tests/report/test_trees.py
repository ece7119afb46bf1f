"""SHAP plots of boosted trees: drawn by shap, the same each time, and without side effects."""

import cv2
import matplotlib
import numpy as np
import pytest

from tfpipe.base import figures
from tfpipe.report import trees

COUNT, COLUMNS = 400, ["area", "$size_2", "=ratio", "empty"]


@pytest.fixture(scope="module")
def contributions():
    """SHAP values [n, columns] and values [n, columns]: area adds most, one column has no value."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(COUNT, len(COLUMNS)))
    added = values * [2.0, 0.5, 0.1, 0.0]
    values[::7, 1] = np.nan
    values[:, 3] = np.nan
    return added, values


def image_of(figure) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(figures.png(figure), np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.slow
@pytest.mark.parametrize("draw", [trees.shap_bar, trees.shap_beeswarm])
def test_a_shap_plot_is_repeatable_and_leaves_no_trace(draw, contributions):
    from matplotlib import pyplot

    added, values = contributions
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    font_size = matplotlib.rcParams["font.size"]
    figure = draw(added, values, columns=COLUMNS, title="<b>dust</b>")
    image = image_of(figure)
    assert np.random.random() == expected, "numpy's global generator is as it was"
    assert not pyplot.get_fignums() and matplotlib.rcParams["font.size"] == font_size
    assert min(image.shape[:2]) > 400
    assert (np.ptp(image.astype(int), axis=2) > 60).mean() > 0.005, "bars or dots are in colour"
    again = draw(added, values, columns=COLUMNS, title="<b>dust</b>")
    np.testing.assert_array_equal(image_of(again), image)
