"""Figures of a report: each function draws one, most return an address that contains it."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from sklearn import metrics

from tfpipe.base import figures, html
from tfpipe.base.figures import COLOURS, HEIGHT_IN, INK, WIDTH_IN, StyledFigure

BINS = 40


def losses(history: dict[str, list[float]], *, unit: str) -> str:
    """Draws training and validation loss by epoch; `unit` is what a loss is here."""

    def draw(axes: Axes) -> None:
        curves = (("loss", "training", COLOURS[0]), ("val_loss", "validation", COLOURS[1]))
        for key, label, colour in curves:
            values = history.get(key, [])
            axes.plot(range(1, len(values) + 1), values, marker=".", color=colour, label=label)
        axes.legend()
        titles(axes, "Loss", x="epoch", y=unit)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))

    return svg(draw)


def objective(values: Sequence[float], *, name: str, saved_epoch: int) -> str:
    """Draws the validation score by epoch; `saved_epoch` (from 0) is that of the saved weights."""

    def draw(axes: Axes) -> None:
        axes.plot(range(1, len(values) + 1), values, marker=".", color=COLOURS[1])
        (circle,) = axes.plot(
            saved_epoch + 1, values[saved_epoch], "o", ms=11, label="saved weights"
        )
        circle.set(markerfacecolor="none", markeredgewidth=1.6, markeredgecolor=INK)
        axes.legend()
        titles(axes, f"Validation {name}", x="epoch", y=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))

    return svg(draw)


def shifts(shift_mm: np.ndarray) -> str:
    """Draws how many photos have which shift [photos] float."""

    def draw(axes: Axes) -> None:
        axes.hist(
            shift_mm, bins=min(BINS, max(8, len(shift_mm) // 4)), color=COLOURS[0], ec="white"
        )
        axes.axvline(0, color=INK, lw=1)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        titles(axes, "Shift of the labels", x="shift (mm)", y="photos")

    return svg(draw)


def confusion(counts: np.ndarray, classes: Sequence[str], *, title: str) -> StyledFigure:
    """Returns a confusion matrix [true, predicted] int: colour is the share of the true class."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(HEIGHT_IN, 0.55 * len(classes) + 1.4)

    def draw(axes: Axes) -> None:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            share = shares[row, column]
            text = f"{count:,}" if len(classes) > 6 else f"{count:,}\n{100 * share:.1f} %"
            colour = "white" if share > 0.55 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour)
        names = [name if len(name) <= 18 else f"{name[:17]}…" for name in classes]
        is_tilted = len(classes) > 4
        rotation, ha = (40, "right") if is_tilted else (0, "center")
        axes.set_xticks(range(len(classes)), names, rotation=rotation, ha=ha)
        axes.set_yticks(range(len(classes)), names)
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        titles(axes, title, x="predicted class", y="true class")

    return drawn(draw, size=(max(WIDTH_IN, side * 1.15), side))


def precision_recall(labels: np.ndarray, positive: np.ndarray, *, threshold: float) -> str:
    """Draws precision against recall of labels [n] 0 or 1, and the threshold."""
    precision, recall, _ = metrics.precision_recall_curve(labels, positive, drop_intermediate=True)
    predicted = positive >= threshold
    chosen = (
        metrics.recall_score(labels, predicted),
        metrics.precision_score(labels, predicted, zero_division=np.nan),
    )
    area = metrics.average_precision_score(labels, positive)

    def draw(axes: Axes) -> None:
        axes.step(
            recall, precision, where="post", color=COLOURS[0], label=f"average precision {area:.3f}"
        )
        axes.axhline(labels.mean(), color=INK, lw=1, ls="--", label=f"chance {labels.mean():.3f}")
        axes.plot(*chosen, "o", color=COLOURS[1], ms=8, label=f"threshold {threshold:.3f}")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.05))
        axes.legend(loc="best")
        titles(axes, "Precision and recall", x="recall", y="precision")

    return svg(draw)


def roc(labels: np.ndarray, positive: np.ndarray, *, threshold: float) -> str:
    """Draws the true against the false positive rate, and the threshold."""
    false_rate, true_rate, _ = metrics.roc_curve(labels, positive)
    predicted = positive >= threshold
    chosen = (predicted[labels == 0].mean(), predicted[labels == 1].mean())
    area = metrics.auc(false_rate, true_rate)

    def draw(axes: Axes) -> None:
        axes.plot(false_rate, true_rate, color=COLOURS[0], label=f"area under the curve {area:.3f}")
        axes.plot([0, 1], [0, 1], color=INK, lw=1, ls="--", label="chance 0.500")
        axes.plot(*chosen, "o", color=COLOURS[1], ms=8, label=f"threshold {threshold:.3f}")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.05))
        axes.legend(loc="lower right")
        titles(
            axes,
            "Receiver operating characteristic",
            x="false positive rate",
            y="true positive rate",
        )

    return svg(draw)


def histograms(
    values_by_name: Mapping[str, np.ndarray],
    *,
    title: str,
    x: str,
    high: float = 1.0,
    threshold: float | None = None,
) -> str:
    """Draws histograms of values [n] from 0 to `high`, one for each name, and the threshold."""

    def draw(axes: Axes) -> None:
        edges = np.linspace(0, high, BINS + 1)
        for (name, values), colour in zip(values_by_name.items(), cycle(COLOURS), strict=False):
            counts = np.histogram(values, edges)[0]
            axes.stairs(counts, edges, color=colour, fill=True, alpha=0.25)
            axes.stairs(counts, edges, color=colour, lw=1.5, label=name)
        if threshold is not None:
            axes.axvline(threshold, color=INK, lw=1.2, ls="--", label=f"threshold {threshold:.3f}")
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(0, 10 * axes.get_ylim()[1])  # a decade for the legend
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.legend(loc="upper right", ncols=2)
        titles(axes, title, x=x, y="count (log scale)")

    return svg(draw)


def search(trials: Sequence[dict[str, Any]], *, name: str, is_lower_better: bool = False) -> str:
    """Draws the score of each trial, coloured by its epochs, and the best so far."""
    scores = np.array([np.nan if t["score"] is None else t["score"] for t in trials], float)
    epochs = np.array([t.get("epochs", 0) for t in trials])
    order = np.arange(1, len(trials) + 1)

    def draw(axes: Axes) -> None:
        best = (np.fmin if is_lower_better else np.fmax).accumulate(scores)
        axes.step(order, best, where="post", color=INK, lw=1.2, label="best so far")
        groups = np.array_split(np.unique(epochs), min(len(np.unique(epochs)), len(COLOURS)))
        for colour, few in zip(COLOURS, groups, strict=False):
            inside = np.isin(epochs, few)
            number = f"{few[0]}" if len(few) == 1 else f"{few[0]} to {few[-1]}"
            label = f"{number} epoch{'s' * (number != '1')}"
            axes.plot(order[inside], scores[inside], "o", ms=5, color=colour, label=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(0, len(trials) + 1)
        axes.legend(ncols=2)
        titles(axes, "Search", x="trial", y=name)

    return svg(draw)


def titles(axes: Axes, title: str, *, x: str, y: str) -> None:
    """Sets the title of a figure and the names of its axes."""
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def drawn(
    draw: Callable[[Axes], None], *, size: tuple[float, float] = (WIDTH_IN, HEIGHT_IN)
) -> StyledFigure:
    """Returns the figure that `draw` draws on the axes that it is given.

    Args:
      draw: draws on the axes.
      size: width and height in inches.
    """
    return figures.styled(lambda figure: draw(figure.subplots()), size=size)


def svg(draw: Callable[[Axes], None], *, size: tuple[float, float] = (WIDTH_IN, HEIGHT_IN)) -> str:
    """Returns the address of an SVG of what `draw` draws; see `drawn`."""
    return svg_of(drawn(draw, size=size))


def svg_of(figure: StyledFigure) -> str:
    """Returns the address of an SVG of a figure."""
    return html.data_uri(figures.for_pages(figures.svg(figure)), kind="image/svg+xml")


def png_of(figure: StyledFigure) -> str:
    """Returns the address of a PNG of a figure, for figures of many dots."""
    return html.data_uri(figures.png(figure), kind="image/png")
