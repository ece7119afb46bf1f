"""What notebooks show of tables: layers along depth; figures without matplotlib's global state."""

import cv2
import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot

from tfpipe.base import figures
from tfpipe.base.errors import UserError
from tfpipe.report import notebook


@pytest.fixture
def layers():
    """Four layers of core-unet's table: one a lens, one uncertain, one without depths."""
    return pd.DataFrame(
        {
            "photo": "core.png",
            "kind": ["layer", "lens", "layer", "layer"],
            "depth_from_m": [120.1, 120.4, 121.0, np.nan],
            "depth_to_m": [120.11, 120.42, 121.2, np.nan],
            "probability": [0.9, 0.7, 0.5, 0.8],
            "uncertain": [False, False, True, False],
        }
    )


def test_layers_are_drawn_where_they_are_and_as_high_as_they_are_probable(layers):
    font_size = matplotlib.rcParams["font.size"]
    figure = notebook.depth(layers)
    (axes,) = figure.axes
    bars = [(bar.get_x(), bar.get_x() + bar.get_width(), bar.get_height()) for bar in axes.patches]
    expected = layers.dropna()[["depth_from_m", "depth_to_m", "probability"]].to_numpy()
    np.testing.assert_allclose(bars, expected)
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["layers (1)", "lenses (1)", "uncertain (1)"]
    assert "1 without depth left out" in axes.get_title(loc="left")
    assert axes.get_xlabel() == "depth (m)"
    assert not pyplot.get_fignums() and matplotlib.rcParams["font.size"] == font_size


def test_a_notebook_shows_a_figure_in_the_style_of_the_report(layers):
    figure = notebook.depth(layers[["depth_from_m", "depth_to_m", "probability"]])
    shown = figure._repr_png_()
    image = cv2.imdecode(np.frombuffer(shown, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image.shape == (468, 1170, 3)
    ink = [int(figures.INK[i : i + 2], 16) for i in (1, 3, 5)]
    assert (image == ink).all(axis=2).sum() > 200  # ticks, which matplotlib makes when it draws
    assert figure._repr_png_() == shown


def test_a_table_without_layers_is_empty_and_one_without_depths_is_refused(layers):
    assert not notebook.depth(layers[:0]).axes[0].patches
    with pytest.raises(UserError, match="no column depth_from_m, so it holds no layers"):
        notebook.depth(pd.DataFrame({"key": ["a"], "label": ["dust"]}))
    with pytest.raises(UserError, match=r"No layer of the table has a depth.*photos\.csv"):
        notebook.depth(layers.assign(depth_from_m=None))
