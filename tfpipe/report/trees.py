"""What a report tells of boosted trees, beside what it tells of any classifier."""

import numpy as np
import pandas as pd

from tfpipe.base import html, tables
from tfpipe.base.html import Html, joined, tag
from tfpipe.report import classifier, shap_plots
from tfpipe.report.classifier import in_words as in_words
from tfpipe.report.classifier import tiles as tiles
from tfpipe.report.facts import Facts
from tfpipe.report.sections import listed

BARS = 24  # columns of the stacked bars, at most
SWARMS, IN_A_SWARM = 3, 12  # classes, and columns of each
DEPENDENCES = 6  # columns


def titled(known: Facts):
    """Returns (title, function of the facts) of each section."""
    return (
        *classifier.titled(known),
        ("What the columns say", columns),
        ("Candidates", candidates),
    )


def columns(known: Facts) -> Html:
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
        drawn = shap_plots.beeswarm(
            added[:, c, top], values[:, top], names=[names[i] for i in top], title=classes[c]
        )
        says = f"What speaks for {classes[c]}: to the right, {names[top[0]]} most of all."
        figures.append(html.plot(drawn, caption=says))
    for i in order[:DEPENDENCES]:
        c = int(means[:, i].argmax())
        drawn = shap_plots.dependence(
            values[:, i], added[:, c, i], column=names[i], name=classes[c]
        )
        says = f"How {names[i]} speaks for or against {classes[c]}, where it matters most."
        figures.append(html.plot(drawn, caption=says))
    headings = ("mean |SHAP|", *classes)
    rows = [(name, *row) for name, *row in sizes.itertuples(index=False)]
    return joined(
        tag("p", text),
        tag("div", *figures, class_="plots"),
        listed(headings, rows, rest="shap.csv"),
    )


def candidates(known: Facts) -> Html:
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
    return html.plot(shap_plots.bars(sizes.head(BARS)), caption=says)


def _number(value) -> Html:
    return html.Number("" if value is None else f"{value:.3g}")
