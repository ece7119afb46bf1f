"""Report of boosted trees: SHAP plots and the candidates of the search, beside a classifier's."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes

from tfpipe.base import files, html
from tfpipe.base.figures import COLOURS, INK, StyledFigure
from tfpipe.report import classifier, plots
from tfpipe.report.classifier import panels as panels
from tfpipe.report.classifier import summary as summary
from tfpipe.report.classifier import tiles as tiles
from tfpipe.report.report_data import ReportData
from tfpipe.report.sections import Section, first_rows

MAX_CLASSES = 6  # with SHAP plots; shap.csv has all
MAX_COLUMNS = 12  # of a SHAP plot
MAX_DEPENDENCES = 6
MAX_DOTS = 300  # of a row of a beeswarm
SHAP_SIZE_IN = (7.0, 5.2)


def titled_sections(data: ReportData) -> tuple[Section, ...]:
    """Returns (title, function of the data) of each section."""
    return (
        *classifier.titled_sections(data),
        ("SHAP values of the columns", shap_values),
        ("Candidates", candidates),
    )


def shap_values(data: ReportData) -> Markup:
    """Returns SHAP plots: which columns the predictions come from, and how, for each class."""
    classes, columns = data.card.classes, data.card.columns
    added, values = read_contributions(data.version)
    sizes = np.abs(added).mean(axis=0)  # [classes, columns]
    ranked = np.argsort(-sizes.sum(axis=1), kind="stable")[:MAX_CLASSES]
    figures = []
    for label in ranked.tolist():
        figures += _shap_figures(added[:, label], values, columns=columns, name=classes[label])
    for column in np.argsort(-sizes.max(axis=0), kind="stable")[:MAX_DEPENDENCES].tolist():
        label = int(sizes[:, column].argmax())
        name, column_name = classes[label], columns[column]
        svg = dependence(values[:, column], added[:, label, column], column=column_name, name=name)
        caption = f"{column_name}: its values, and what they add for {name}, where it adds most."
        figures.append(html.plot(svg, caption=caption))
    with files.open_regular(data.version, "assets.extra/shap.csv") as file:
        table = pd.read_csv(file, keep_default_na=False)
    text = (
        f"SHAP values of {len(added):,} test {data.example_noun}s, by TreeSHAP (Lundberg et al. "
        f"2020): what a column adds to the log-odds of a class. Correlated columns share it. They "
        f"explain the model, and not the causes."
    )
    rows = list(table.itertuples(index=False, name=None))
    return html.joined(
        html.paragraph(text),
        html.plots(figures),
        first_rows(("mean |SHAP|", *classes), rows, rest="shap.csv"),
    )


def read_contributions(version: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns SHAP values [n, classes, columns] float, and the columns' values [n, columns]."""
    with (
        files.open_regular(version, "assets.extra/contributions.npz") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return arrays["added"], arrays["columns"]


def _shap_figures(
    added: np.ndarray, values: np.ndarray, *, columns: Sequence[str], name: str
) -> list[Markup]:
    """Returns the bar plot and the beeswarm of a class."""
    bar = plots.png_of(shap_bar(added, values, columns=columns, title=name))
    swarm = plots.png_of(shap_beeswarm(added, values, columns=columns, title=name))
    return [
        html.plot(bar, caption=f"{name}: mean |SHAP value| of the columns that add most."),
        html.plot(swarm, caption=f"{name}: a dot is an image; to the right, it adds to {name}."),
    ]


def shap_bar(
    added: np.ndarray, values: np.ndarray, *, columns: Sequence[str], title: str
) -> StyledFigure:
    """Returns the figure of `shap.plots.bar` for a class.

    Args:
      added: [n, columns] float, SHAP values.
      values: [n, columns] float, the columns' values; nan for missing ones.
      columns: their names.
      title: of the plot.
    """
    shap = _shap()

    def draw(axes: Axes) -> None:
        explanation = _explanation(added, values, columns)
        shap.plots.bar(explanation, max_display=MAX_COLUMNS, ax=axes, show=False)
        axes.set_title(title)
        axes.grid(False)

    return plots.drawn(draw, size=SHAP_SIZE_IN)


def shap_beeswarm(
    added: np.ndarray, values: np.ndarray, *, columns: Sequence[str], title: str
) -> StyledFigure:
    """Returns the figure of `shap.plots.beeswarm` for a class.

    Args:
      added: [n, columns] float, SHAP values.
      values: [n, columns] float, the columns' values; nan for missing ones.
      columns: their names.
      title: of the plot.
    """
    shap = _shap()

    rows = np.linspace(0, len(added) - 1, min(MAX_DOTS, len(added))).astype(int)
    # A column without any value has no range of colours; 0 draws it in a single colour.
    shown = np.where(np.isnan(values).all(axis=0), 0.0, values)

    def draw(axes: Axes) -> None:
        with _repeatable():
            shap.plots.beeswarm(
                _explanation(added[rows], shown[rows], columns),
                max_display=MAX_COLUMNS,
                ax=axes,
                show=False,
                plot_size=None,
            )
        axes.set_title(title)
        axes.grid(False)

    return plots.drawn(draw, size=SHAP_SIZE_IN)


def _explanation(added: np.ndarray, values: np.ndarray, columns: Sequence[str]) -> Any:
    shap = _shap()

    return shap.Explanation(values=added, data=values, feature_names=list(columns))


def _shap() -> ModuleType:
    """Imports shap, which is slow, and in notebooks warns of a bar that nobody asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        import shap
    return shap


@contextmanager
def _repeatable() -> Iterator[None]:
    """Seeds numpy's global generator, by which shap shuffles dots; afterwards restores it."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


def dependence(values: np.ndarray, added: np.ndarray, *, column: str, name: str) -> str:
    """Returns the SVG of SHAP values [n] float against the values [n] float of a column."""
    rows = np.linspace(0, len(added) - 1, min(2 * MAX_DOTS, len(added))).astype(int)

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=INK, lw=1)
        axes.scatter(values[rows], added[rows], s=8, color=COLOURS[0], alpha=0.6, linewidths=0)
        plots.titles(axes, f"{name}: {column}", x=column, y="SHAP value (log-odds)")

    return plots.svg(draw)


def candidates(data: ReportData) -> Markup:
    """Returns the candidates of the randomized search, the best first."""
    best = data.card.search
    ranked = sorted(best["candidates"], key=lambda candidate: candidate["log_loss"])
    arguments = list(dict.fromkeys(name for row in ranked for name in row["arguments"]))
    arguments.remove("trees")
    rows = [
        (
            "published" if row["candidate"] == 0 else str(row["candidate"]),
            *(row[name] for name in ("log_loss", "spread", "accuracy", "balanced_accuracy")),
            row["trees"],
            *(_argument(row["arguments"].get(name)) for name in arguments),
        )
        for row in ranked
    ]
    text = (
        f"{len(ranked)} candidates, scored by {best['folds']}-fold cross-validation of whole "
        f"{data.group_column}s of the training split; the lowest log loss wins. The candidate "
        f"named published has the hyperparameters of seed document 000. The test split was not "
        f"used."
    )
    headings = ("candidate", "log loss", "spread", "accuracy", "balanced", "trees")
    headings += tuple(name.replace("_", " ") for name in arguments)
    return html.joined(html.paragraph(text), first_rows(headings, rows, rest="card.json"))


def _argument(value: float | None) -> html.Number:
    return html.Number("" if value is None else f"{value:.3g}")
