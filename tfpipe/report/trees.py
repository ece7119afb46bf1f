"""What a report tells of boosted trees, beside what it tells of any classifier."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes

from tfpipe.base import html, tables
from tfpipe.base.figures import COLOURS, INK, WIDTH_IN
from tfpipe.base.html import Html, joined, tag
from tfpipe.report import classifier, plots
from tfpipe.report.classifier import in_words as in_words
from tfpipe.report.classifier import tiles as tiles
from tfpipe.report.report_data import ReportData
from tfpipe.report.sections import listed

ROW_IN = 0.27  # height of a column's row
MORE = tuple(colormaps["tab20"].colors)  # for more classes than there are COLOURS
DOTS = 300  # of a row at most
BARS = 24  # columns of the stacked bars, at most
SWARMS, IN_A_SWARM = 3, 12  # classes, and columns of each
DEPENDENCES = 6  # columns


def titled(known: ReportData):
    """Returns (title, function of the facts) of each section."""
    return (
        *classifier.titled(known),
        ("What the columns say", columns),
        ("Candidates", candidates),
    )


def columns(known: ReportData) -> Html:
    """Which columns the answers come from, how, and for which class."""
    classes, names = known.card["classes"], known.card["columns"]
    extra = known.version / "assets.extra"
    with np.load(extra / "contributions.npz", allow_pickle=False) as kept:
        added, values = kept["added"], kept["columns"]
    sizes = tables.read_csv(extra / "shap.csv")
    order = [names.index(name) for name in sizes.iloc[:, 0]]
    means = np.abs(added).mean(axis=0)  # [classes, columns]
    text = (
        f"SHAP values of {len(added):,} test {known.window}s: what a column adds to the log-odds "
        "of a class, exactly and for each answer. Columns that tell the same share their part. It "
        "tells what the trees look at, not what makes a particle what it is."
    )
    figures = [_bars(sizes)]
    for c in np.argsort(-means.sum(axis=1), kind="stable")[:SWARMS]:
        top = np.argsort(-means[c], kind="stable")[:IN_A_SWARM]
        drawn = beeswarm(
            added[:, c, top], values[:, top], names=[names[i] for i in top], title=classes[c]
        )
        says = f"What speaks for {classes[c]}: to the right, {names[top[0]]} most of all."
        figures.append(html.plot(drawn, caption=says))
    for i in order[:DEPENDENCES]:
        c = int(means[:, i].argmax())
        drawn = dependence(values[:, i], added[:, c, i], column=names[i], name=classes[c])
        says = f"How {names[i]} speaks for or against {classes[c]}, where it matters most."
        figures.append(html.plot(drawn, caption=says))
    headings = ("mean |SHAP|", *classes)
    rows = [(name, *row) for name, *row in sizes.itertuples(index=False)]
    return joined(
        tag("p", text),
        tag("div", *figures, class_="plots"),
        listed(headings, rows, rest="shap.csv"),
    )


def candidates(known: ReportData) -> Html:
    """What the randomized search tried, the best first."""
    best = known.card["search"]
    ranked = sorted(best["candidates"], key=lambda row: row["log_loss"])
    told = list(dict.fromkeys(name for row in ranked for name in row["arguments"]))
    told.remove("trees")
    rows = [
        (
            "published" if row["candidate"] == 0 else str(row["candidate"]),
            *(row[name] for name in ("log_loss", "spread", "accuracy", "balanced_accuracy")),
            row["trees"],
            *(_number(row["arguments"].get(name)) for name in told),
        )
        for row in ranked
    ]
    text = (
        f"{len(ranked)} candidates, each judged by {best['folds']}-fold cross-validation of whole "
        f"{known.photo}s of the training split; the lowest log loss wins. The first is the winner "
        "that seed 000 published. What it got itself is among these rows; the test split had no "
        "part in it."
    )
    headings = ("candidate", "log loss", "spread", "accuracy", "balanced", "trees")
    headings += tuple(name.replace("_", " ") for name in told)
    return joined(tag("p", text), listed(headings, rows, rest="card.json"))


def _bars(sizes: pd.DataFrame) -> Html:
    says = f"Mean size of what a column adds to each class, of the {min(BARS, len(sizes))} largest."
    return html.plot(bars(sizes.head(BARS)), caption=says)


def _number(value) -> Html:
    return html.Number("" if value is None else f"{value:.3g}")


def bars(sizes: pd.DataFrame) -> str:
    """Draws each column's mean |SHAP|, stacked by class, the largest on top (seed 000's slide).

    Args:
      sizes: "column" and a float for each class, see `trees.sizes`.
    """
    names, values = sizes.iloc[:, 0].astype(str), sizes.iloc[:, 1:].to_numpy(float)

    def draw(axes: Axes) -> None:
        left, rows = np.zeros(len(sizes)), np.arange(len(sizes))
        for i, name in enumerate(sizes.columns[1:]):
            colour = (COLOURS if values.shape[1] <= len(COLOURS) else MORE)[i % len(MORE)]
            axes.barh(rows, values[:, i], left=left, color=colour, label=str(name), height=0.75)
            left += values[:, i]
        _rows(axes, list(names))
        axes.grid(axis="y", visible=False)
        axes.legend(loc="lower right")
        plots.titles(axes, "Mean size of what a column adds", x="mean |SHAP| (log-odds)", y="")

    return plots.drawn(draw, size=_size(len(sizes)))


def beeswarm(added: np.ndarray, columns: np.ndarray, *, names: Sequence[str], title: str) -> str:
    """Draws a dot an example: right where a column speaks for the class, coloured by its value.

    Args:
      added: [n, columns] float, what each column adds to the class's log-odds.
      columns: [n, columns] float, the values; grey where nothing was measured.
      names: of the columns, the first on top.
      title: what is drawn, such as the class.
    """
    rows = np.linspace(0, len(added) - 1, min(DOTS, len(added))).astype(int)
    added, columns = added[rows], columns[rows]

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=INK, lw=1)
        for i in range(len(names)):
            ranks = _ranks(columns[:, i])
            known = np.isfinite(ranks)
            x, y = added[:, i], i + _swarm(added[:, i])
            axes.scatter(x[~known], y[~known], s=6, color="#b8c0c5", linewidths=0)
            axes.scatter(
                x[known], y[known], s=6, c=ranks[known], cmap="coolwarm", vmin=0, vmax=1, lw=0
            )
        _rows(axes, names)
        axes.grid(axis="y", visible=False)
        plots.titles(axes, title, x="SHAP (log-odds); blue: low values, red: high", y="")

    return plots.drawn(draw, size=_size(len(names)))


def dependence(values: np.ndarray, added: np.ndarray, *, column: str, name: str) -> str:
    """Draws what a column adds to a class's log-odds, [n] float, against its values [n] float."""
    rows = np.linspace(0, len(added) - 1, min(2 * DOTS, len(added))).astype(int)

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=INK, lw=1)
        axes.scatter(values[rows], added[rows], s=8, color=COLOURS[0], alpha=0.6, linewidths=0)
        plots.titles(axes, f"{name}: {column}", x=column, y="SHAP (log-odds)")

    return plots.drawn(draw)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    shown = [name if len(name) <= 28 else f"{name[:27]}…" for name in names]
    axes.set_yticks(range(len(shown)), shown)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _size(rows: int) -> tuple[float, float]:
    return WIDTH_IN * 1.1, max(2.4, 1.1 + ROW_IN * rows)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Returns the share of values below each, 0..1, nan where there is none."""
    ranks = pd.Series(values).rank(method="average").to_numpy()
    known = np.isfinite(ranks)
    return (ranks - 1) / max(int(known.sum()) - 1, 1)


def _swarm(x: np.ndarray) -> np.ndarray:
    """Returns how far dots [n] are moved aside, -0.35..0.35: those in a crowd the farthest."""
    low, high = x.min(), x.max()
    bins = np.floor((x - low) / max(high - low, 1e-12) * 60).astype(int)
    place = pd.Series(bins).groupby(bins).cumcount().to_numpy()
    most = max(int(np.bincount(bins).max()), 1)
    side = np.where(place % 2, 1, -1) * (place + 1) // 2
    return 0.7 * side / most
