"""Maps as PNG for papers: the same points by class and by cluster."""

import io

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfpipe.base import figures
from tfpipe.explore.result import UNLABELLED, Findings

SIZE_IN, DPI = (11.0, 5.2), 200
PALE = "#c3ccd2"  # of what has no class, or no cluster
MOST_NAMED = 20


def png(known: Findings) -> bytes:
    """Returns a PNG of the map coloured by class, and beside it by cluster."""
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=SIZE_IN, layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        _points(left, known, known.labels, plain=UNLABELLED, title="By class")
        _points(right, known, known.clusters, plain="no cluster", title="By cluster")
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=DPI, metadata={"Software": None})
    return data.getvalue()


def colours(count: int) -> list[str]:
    """Returns so many colours; those of all figures first, then paler and darker ones."""
    more = [matplotlib.colors.to_hex(colour) for colour in matplotlib.colormaps["tab20"].colors]
    every = [*figures.COLOURS, *more]
    return [every[i % len(every)] for i in range(count)]


def _points(axes: Axes, known: Findings, names: np.ndarray, *, plain: str, title: str) -> None:
    x, y = known.frame["x"].to_numpy(), known.frame["y"].to_numpy()
    dots = {"s": 6, "linewidths": 0, "alpha": 0.8}
    rest = names == plain
    if rest.any():
        axes.scatter(x[rest], y[rest], color=PALE, label=plain, **dots)
    kinds, counts = np.unique(names[~rest], return_counts=True)
    order = kinds[np.argsort(-counts, kind="stable")]
    for place, (kind, colour) in enumerate(zip(order, colours(len(order)), strict=True)):
        own = names == kind
        label = str(kind) if place < MOST_NAMED else None
        axes.scatter(x[own], y[own], color=colour, label=label, **dots)
    if len(order) or rest.any():
        axes.legend(markerscale=2.5, fontsize=8, loc="best")
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
