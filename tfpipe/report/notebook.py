"""What notebooks show of a version: a summary, and figures drawn as the report draws them."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes

from tfpipe.base import html
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.base.figures import COLOURS, StyledFigure
from tfpipe.evaluation import calibration
from tfpipe.evaluation.metric_names import title_of
from tfpipe.registry import store
from tfpipe.registry.card import AUTOENCODER, BOOSTED_TREES
from tfpipe.report import confidence, plots, report_data, sections, trees
from tfpipe.report.report_data import VersionScores

DEPTH_SIZE_IN = (9.0, 3.6)
DEPTHS = ("depth_from_m", "depth_to_m", "probability")  # columns of a table of layers


def summary(version: Path, *, name: str) -> Markup:
    """Returns what a version is and how good it is, as HTML; its other scores are folded away.

    Args:
      version: folder of the version. Where its predictions are missing, so is the interval.
      name: what the summary is headed by.
    """
    card = store.read_card(version)
    test = card.metrics.get("test", {})
    rows = [("task", card.task), ("model", f"{card.model}, {card.parameters or 0:,} parameters")]
    if card.classes:
        rows.append(("classes", ", ".join(card.classes)))
    try:
        scores = report_data.read_scores(version)
    except UserError:
        pass
    else:
        metric = scores.main_metric
        text = f"{sections.score(metric, test)}{_interval(scores)}"
        rows.append((f"{title_of(metric)}, test split", Markup(text)))
    page = version / "assets.extra" / "report.html"
    return html.render(
        "report/templates/summary.html",
        name=name,
        rows=rows,
        report=os.path.relpath(page) if page.is_file() else "",
        others=[(title_of(metric), sections.score(metric, test)) for metric in test],
    )


def _interval(scores: VersionScores) -> str:
    """Returns the 95 % interval of the main metric in words; "" where there is none."""
    if scores.interval is None:
        return ""
    digits = 5 if scores.is_autoencoder else 3
    low, high = (f"{bound:.{digits}f}" for bound in scores.interval)
    return f" (95 % interval for new {scores.group_column}s: {low} to {high})"


def confusion(version: Path) -> StyledFigure:
    """Returns the confusion matrix of a classifier's test split.

    Raises:
      UserError: the version is no classifier, or its files are damaged.
    """
    scores = _classifier(version)
    is_binary = len(scores.card.classes) == 2
    at = f" at {scores.threshold:.3f}" if is_binary else ""
    title = f"Confusion matrix{at}"
    return plots.confusion(scores.test.confusion, scores.test.classes, title=title)


def reliability(version: Path) -> StyledFigure:
    """Returns the reliability diagram of a classifier's test split.

    Raises:
      UserError: the version was not calibrated, is no classifier, or its files are damaged.
    """
    scores = _classifier(version)
    fit, test = scores.card.calibration, scores.test
    if not fit:
        raise UserError(f"{_name(version)} was not calibrated, so there is no reliability diagram.")
    before = calibration.undo(test.probabilities, fit["temperature"], fit.get("bias", ()))
    return confidence.draw_reliability(test.labels, before, test.probabilities)


def shap(version: Path, class_name: str | None) -> StyledFigure:
    """Returns the SHAP values of the columns for one class: a dot is a test image.

    Args:
      version: folder of the version.
      class_name: the class; None for the one to which columns add most.

    Raises:
      UserError: the version is of no boosted trees, or has no such class.
    """
    card = _classifier(version).card
    if card.kind != BOOSTED_TREES:
        raise UserError(
            f"{_name(version)} is a network. SHAP values are of boosted trees: train them by "
            f"tfpipe shallow, or Project.train_trees."
        )
    if class_name is not None:
        choose(class_name, card.classes, noun="class")
    added, values = trees.read_contributions(version)
    largest = int(np.abs(added).mean(axis=0).sum(axis=1).argmax())
    label = largest if class_name is None else list(card.classes).index(class_name)
    title = f"{card.classes[label]}: what columns add"
    return trees.shap_beeswarm(added[:, label], values, columns=card.columns, title=title)


def depth(table: pd.DataFrame) -> StyledFigure:
    """Returns layers along depth: each is as wide as it is thick, and as high as it is probable.

    Args:
      table: of `predict` for photos of cores; layers without depths are left out.

    Raises:
      UserError: the table has no layers with depths.
    """
    if missing := [name for name in DEPTHS if name not in table]:
        raise UserError(
            f"The table has no column {missing[0]}, so it holds no layers along depth. Give the "
            "table that predict returns for photos of cores."
        )
    placed = table.dropna(subset=list(DEPTHS))
    if len(table) and not len(placed):
        raise UserError(
            "No layer of the table has a depth. Predict again with the table of the photos' "
            "depths: predict(..., table='photos.csv')."
        )
    left_out = len(table) - len(placed)
    note = f" ({left_out:,} without depth left out)" if left_out else ""

    def draw(axes: Axes) -> None:
        for name, rows, colour in _kinds(placed):
            top, bottom = rows["depth_from_m"].to_numpy(), rows["depth_to_m"].to_numpy()
            height, middle = rows["probability"].to_numpy(), (top + bottom) / 2
            axes.bar(top, height, bottom - top, align="edge", color=colour, alpha=0.4, lw=0)
            axes.vlines(middle, 0, height, color=colour, lw=1)
            axes.plot(middle, height, "o", ms=4, color=colour, label=f"{name} ({len(rows):,})")
        axes.set_ylim(0, 1.05)
        if len(placed):
            axes.legend(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=3)  # above the axes
        plots.titles(axes, f"Layers along depth{note}", x="depth (m)", y="probability")

    return plots.drawn(draw, size=DEPTH_SIZE_IN)


def _kinds(table: pd.DataFrame) -> Sequence[tuple[str, pd.DataFrame, str]]:
    """Returns (name, rows, colour) of layers, of lenses, and of what is uncertain of both."""
    nothing = pd.Series(False, index=table.index)
    is_uncertain = table["uncertain"].astype(bool) if "uncertain" in table else nothing
    is_lens = table["kind"] == "lens" if "kind" in table else nothing
    kinds = (
        ("layers", ~is_uncertain & ~is_lens, COLOURS[0]),
        ("lenses", ~is_uncertain & is_lens, COLOURS[2]),
        ("uncertain", is_uncertain, COLOURS[1]),
    )
    return [(name, table[chosen], colour) for name, chosen, colour in kinds if chosen.any()]


def _classifier(version: Path) -> VersionScores:
    """Returns a classifier's scores."""
    scores = report_data.read_scores(version)
    if scores.card.kind == AUTOENCODER:
        raise UserError(f"{_name(version)} is an autoencoder, which predicts no classes.")
    return scores


def _name(version: Path) -> str:
    return f"Version {version.name} of {version.parent.name}"
