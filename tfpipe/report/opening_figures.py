"""Figures at the head of a report: test examples, a core, and how sure the predictions are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from tfpipe.base import figures
from tfpipe.base.figures import COLOURS, INK
from tfpipe.report import plots

SIZE_IN = (3.8, 3.4)  # three of them stand beside each other
WIDE = 1.8  # from this ratio of width to height on, examples stand in two columns
BINS = 8
MAX_TEXT = 54  # characters of a line below examples, all columns together
LEVEL = 0.95
SHOWN_SHARE = (5, 50, 95)  # percentiles of ordinal predictions
RIGHT, WRONG = COLOURS[0], COLOURS[1]


class Tile(NamedTuple):
    """An example of a montage.

    Attributes:
      image: [height, width] or [height, width, 3] uint8.
      lines: text below it.
      is_right: whether its frame has the colour of right predictions.
    """

    image: np.ndarray
    lines: tuple[str, ...]
    is_right: bool


def montage(tiles: Sequence[Tile]) -> str:
    """Draws examples in rows, each with a frame and its lines of text; returns an address."""
    ratio = float(np.median([tile.image.shape[1] / tile.image.shape[0] for tile in tiles]))
    n_columns = min(2 if ratio > WIDE else 3, len(tiles))
    n_rows = -(-len(tiles) // n_columns)

    def draw(figure: Figure) -> None:
        every = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for axes in every:
            axes.set_axis_off()
        for axes, tile in zip(every, tiles, strict=False):
            grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if tile.image.ndim == 2 else {}
            axes.set_axis_on()
            axes.imshow(tile.image, interpolation="none", **grey)
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set(visible=True, color=RIGHT if tile.is_right else WRONG, linewidth=2)
            axes.set_xlabel(
                "\n".join(_short(line, MAX_TEXT // n_columns) for line in tile.lines), fontsize=9
            )

    return plots.svg_of(figures.styled(draw, size=SIZE_IN))


def core(
    windows: Sequence[np.ndarray | None],
    depths_m: np.ndarray,
    probability: np.ndarray,
    is_tabled: np.ndarray,
    *,
    threshold: float,
    name: str,
) -> str:
    """Draws the windows of a core at their depths beside the probability; returns an address.

    Args:
      windows: [h, w] or [h, w, 3] uint8 each; None where an image is missing.
      depths_m: [n, 2] float, top and bottom of each, rising.
      probability: [n] float.
      is_tabled: [n] bool, whether the table has a layer there.
      threshold: from which a window is reported.
      name: of the class.
    """
    top_m, bottom_m = float(depths_m[:, 0].min()), float(depths_m[:, 1].max())

    def draw(figure: Figure) -> None:
        ice, curve = figure.subplots(1, 2, sharey=True, width_ratios=(1, 2.2))
        for window, (top, bottom) in zip(windows, depths_m, strict=True):
            if window is not None:
                grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if window.ndim == 2 else {}
                place = (0, 1, bottom, top)
                ice.imshow(window, extent=place, aspect="auto", interpolation="none", **grey)
        ice.set(xticks=[], ylim=(bottom_m, top_m), xlim=(0, 1), xlabel="ice", ylabel="depth (m)")
        ice.yaxis.set_major_locator(MaxNLocator(8))
        ice.yaxis.set_major_formatter(lambda value, _: f"{value:.2f}")
        ice.grid(False)
        middles = depths_m.mean(axis=1)
        label = "in the table"
        for top, bottom in depths_m[is_tabled]:
            curve.axhspan(top, bottom, color=COLOURS[2], alpha=0.35, lw=0, label=label)
            label = "_"
        curve.plot(probability, middles, color=COLOURS[0], label="probability")
        line = f"reported from {threshold:.2f}"
        curve.axvline(threshold, color=INK, lw=1.2, ls="--", label=line)
        curve.set(xlim=(-0.02, 1.02), xlabel=f"probability of {_short(name)}")
        figure.legend(loc="outside upper center", ncols=3, fontsize=8, handlelength=1.2)

    return plots.svg_of(figures.styled(draw, size=SIZE_IN))


def reliability(
    probability: np.ndarray, is_so: np.ndarray, *, of: str, is_even: bool = False
) -> str:
    """Draws how often something is so, by its probability; returns an address.

    Args:
      probability: [n] float.
      is_so: [n] bool.
      of: what the probability is of.
      is_even: whether the dots are equally wide ranges of probability, else equally many examples.
    """
    ordered = np.argsort(probability, kind="stable")
    ends = np.searchsorted(probability[ordered], np.linspace(0, 1, BINS + 1)[1:-1])
    parts = np.array_split(ordered, ends if is_even else min(BINS, len(ordered)))
    parts = [part for part in parts if len(part)]
    x = 100 * np.array([probability[part].mean() for part in parts])
    hits = np.array([is_so[part].sum() for part in parts])
    counts = np.array([len(part) for part in parts])
    tail = (1 - LEVEL) / 2
    low = np.where(hits > 0, stats.beta.ppf(tail, hits, counts - hits + 1), 0)
    high = np.where(hits < counts, stats.beta.isf(tail, hits + 1, counts - hits), 1)

    what = "right" if not is_even else _short(of)

    def draw(axes: Axes) -> None:
        axes.plot([0, 100], [0, 100], color=INK, lw=1, ls="--", label="as often as it says")
        axes.vlines(x, 100 * low, 100 * high, color=COLOURS[0], lw=1.4)
        axes.plot(x, 100 * hits / counts, "o", color=COLOURS[0], label="test split")
        least = min(50.0, 10 * np.floor(x.min() / 10))
        axes.set(xlim=(least, 102), ylim=(0, 104))
        axes.legend(loc="best")
        plots.titles(
            axes, "", x=f"probability of {_short(of)} (%)", y=f"how often it is {what} (%)"
        )

    return plots.svg(draw, size=SIZE_IN)


def ordinal(values: np.ndarray, expected: np.ndarray, *, unit: str) -> str:
    """Draws the range of predictions [n] float at each true value [n] float."""
    places = np.unique(values)
    low, middle, high = np.transpose(
        [np.percentile(expected[values == place], SHOWN_SHARE) for place in places]
    )

    def draw(axes: Axes) -> None:
        ends = [places.min(), places.max()]
        axes.plot(ends, ends, color=INK, lw=1, ls="--", label="exactly right")
        axes.vlines(places, low, high, color=COLOURS[0], lw=1.4)
        axes.plot(places, middle, "o", ms=5, color=COLOURS[0], label="middle prediction")
        axes.legend(loc="upper left")
        plots.titles(axes, "", x=f"true {unit}", y=f"predicted {unit}")

    return plots.svg(draw, size=SIZE_IN)


def group_errors(means: np.ndarray, *, noun: str, of_mean_image: float) -> str:
    """Draws the mean error of each group [n] float, lowest first, beside that of the mean image."""

    def draw(axes: Axes) -> None:
        axes.plot(np.arange(1, len(means) + 1), np.sort(means), "o", color=COLOURS[0])
        label = "without a model: the mean image"
        axes.axhline(of_mean_image, color=INK, lw=1.2, ls="--", label=label)
        axes.set_ylim(0, 1.25 * max(float(means.max()), of_mean_image))
        axes.legend(loc="upper left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        plots.titles(axes, "", x=f"test {noun}s, the best first", y="mean squared error")

    return plots.svg(draw, size=SIZE_IN)


def _short(text: str, most: int = MAX_TEXT // 3) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
