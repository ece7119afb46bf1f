"""Scores of each group, recall by rarity of the class, and errors of counts in each group."""

from functools import partial

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes

from tfpipe.base import html
from tfpipe.base.figures import COLOURS, HEIGHT_IN, INK, WIDTH_IN
from tfpipe.evaluation import count_errors, group_scores, metrics, selective
from tfpipe.evaluation.group_scores import Spread
from tfpipe.report import plots
from tfpipe.report.report_data import ReportData
from tfpipe.report.sections import MAX_ROWS, Section

ERRORS = ("Bray-Curtis of counts", "Bray-Curtis of shares", "counted too much", "too little")


def titled_sections(data: ReportData) -> tuple[Section, ...]:
    """Returns (title, function of the data) of each section."""
    return (
        (f"Scores of each {data.group_column}", scores),
        ("Recall by rarity of the class", rarity),
        (f"Counts of each {data.group_column}", counts),
    )


def scores(data: ReportData) -> Markup:
    """Returns the score of each test group, how far they differ, the worst, and what was nominal.

    Groups of one image each have no score of their own; then the section says so.
    """
    test, noun = data.test, data.group_column
    groups = data.scored[noun].to_numpy(str)
    table = group_scores.by_group(test.labels, test.predicted, groups, classes=len(test.classes))
    spread = group_scores.spread(table)
    if spread is None:
        return html.paragraph(
            f"Fewer than two test {noun}s have {group_scores.MIN_IMAGES} {data.example_noun}s or "
            f"more, so nothing tells how far {noun}s differ. Give groups, such as runs or sites.",
            style="soft",
        )
    metric = "F1" if len(test.classes) == 2 else "accuracy"
    rows = table[(table["images"] >= group_scores.MIN_IMAGES) & table["score"].notna()]
    few = list(rows.itertuples(index=False, name=None))[:MAX_ROWS]
    figure = html.plot(
        _draw_groups(rows, metric=metric, nominal=_nominal(data, metric), noun=noun),
        caption=f"{metric.capitalize()} of each test {noun} of {group_scores.MIN_IMAGES} "
        f"{data.example_noun}s or more, with its 95 % interval.",
    )
    headings = (noun, f"{data.example_noun}s", metric, "low", "high")
    return html.joined(
        html.paragraph(_spread_in_words(spread, len(rows), metric, data)),
        html.table(("Test split", metric), _nominal_rows(data, spread, metric)),
        html.plots([figure]),
        html.table(headings, few),
        html.paragraph(f"{len(rows) - MAX_ROWS:,} more {noun}s score higher.", style="soft")
        if len(rows) > MAX_ROWS
        else None,
    )


def _nominal(data: ReportData, metric: str) -> float | None:
    """Returns what a random split would have claimed; None where it was not for this version."""
    if data.card.random_split_version:
        return None
    return data.card.random_split_scores.get("f1" if metric == "F1" else "accuracy")


def _nominal_rows(data: ReportData, spread: Spread, metric: str) -> list[tuple[str, html.Number]]:
    noun = data.group_column
    whole = data.card.metrics["test"].get("f1" if metric == "F1" else "accuracy")
    return [
        (
            f"nominal: {data.example_noun}s split at random",
            html.number(_nominal(data, metric), why="not measured with this version"),
        ),
        (f"whole {noun}s, all {data.example_noun}s together", html.number(whole)),
        (f"mean of the {noun}s", html.number(spread.mean)),
        (f"the worst {noun}, {spread.worst}", html.number(spread.lowest)),
    ]


def _spread_in_words(spread: Spread, count: int, metric: str, data: ReportData) -> str:
    noun = data.group_column
    text = (
        f"The {metric} of {count:,} test {noun}s has a mean of {spread.mean:.3f} and a standard "
        f"deviation of {spread.deviation:.3f}. The lowest is {spread.lowest:.3f} ({spread.worst})."
    )
    if np.isnan(spread.between):
        return text
    text += (
        f" If all {noun}s were alike, the lowest would lie between {spread.chance_low:.3f} and "
        f"{spread.chance_high:.3f} in 95 of 100 cases"
    )
    is_chance = spread.lowest >= spread.chance_low
    text += ", so it may be chance." if is_chance else ": chance does not explain it."
    return (
        f"{text} Without the scatter of few {data.example_noun}s, {noun}s differ by a standard "
        f"deviation of {spread.between:.3f}."
    )


def _draw_groups(rows: pd.DataFrame, *, metric: str, nominal: float | None, noun: str) -> str:
    """Draws the score of each group with its interval, the lowest at the left."""
    places = np.arange(len(rows))
    score, low, high = (rows[name].to_numpy(float) for name in ("score", "low", "high"))

    def draw(axes: Axes) -> None:
        axes.vlines(places, low, high, color=COLOURS[0], lw=1)
        axes.plot(places, score, "o", ms=4, color=COLOURS[0])
        axes.axhline(score.mean(), color=INK, lw=1, label=f"mean {score.mean():.3f}")
        if nominal is not None and np.isfinite(nominal):
            label = f"random split {nominal:.3f}"
            axes.axhline(nominal, color=COLOURS[1], lw=1.2, ls="--", label=label)
        axes.set(ylim=(-0.02, 1.12), xticks=[])
        axes.legend(loc="lower right", ncols=2)
        title = f"{metric.capitalize()} of each {noun}"
        plots.titles(axes, title, x=f"{noun}s, the lowest first", y=metric)

    return plots.svg(draw, size=(1.4 * WIDTH_IN, HEIGHT_IN))


def rarity(data: ReportData) -> Markup | None:
    """Returns the recall of each of more than two classes against its training images."""
    test = data.test
    if len(test.classes) == 2:
        return None
    in_training = data.card.data.counts["train"]
    table = group_scores.by_rarity(
        test.labels,
        test.predicted,
        data.scored[data.group_column].to_numpy(str),
        training_counts=np.array([in_training.get(name, 0) for name in test.classes]),
    )
    table["class"] = [test.classes[label] for label in table["class"]]
    found = table[table["recall"].notna()]
    if found.empty:
        return None
    third = max(1, len(found) // 3)
    rare, common = found["recall"][:third].mean(), found["recall"][-third:].mean()
    plural = "es" * (third > 1)
    text = (
        f"The rarest class{plural} of the training split ({third}) {'have' if plural else 'has'} a "
        f"mean recall of {rare:.3f}, the commonest ({third}) of {common:.3f}."
    )
    noun = data.example_noun
    headings = ("class", f"training {noun}s", f"test {noun}s", "recall", "low", "high")
    rows = [
        (*row[:3], *(html.number(value, why="no examples") for value in row[3:]))
        for row in table.itertuples(index=False, name=None)
    ]
    caption = f"Recall of each class against its number of training {noun}s."
    figure = html.plot(_draw_rarity(found), caption=caption)
    return html.joined(
        html.paragraph(text), html.plots([figure]), html.table(headings, rows[:MAX_ROWS])
    )


def _draw_rarity(rows: pd.DataFrame) -> str:
    """Draws recall with its interval against the number of training images."""

    def draw(axes: Axes) -> None:
        x, recall = rows["training"].to_numpy(float), rows["recall"].to_numpy(float)
        axes.vlines(x, rows["low"], rows["high"], color=COLOURS[0], lw=1)
        axes.plot(x, recall, "o", color=COLOURS[0])
        for name, place in zip(rows["class"], zip(x, recall, strict=True), strict=True):
            short = name if len(name) <= 14 else f"{name[:13]}…"
            axes.annotate(short, place, xytext=(4, 3), textcoords="offset points", fontsize=7)
        is_wide = x.max() > 10 * max(x.min(), 1)
        if is_wide:
            axes.set_xscale("symlog", linthresh=1)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_ylim(-0.02, 1.05)
        scale = " (log scale)" if is_wide else ""
        plots.titles(axes, "Recall by rarity", x=f"training examples{scale}", y="recall")

    return plots.svg(draw)


def counts(data: ReportData) -> Markup | None:
    """Returns the errors of counts and shares: plain, adjusted, abstaining, at a threshold."""
    test, noun = data.test, data.group_column
    validation = data.of_split("validation")
    validation = validation[validation["label"] >= 0]
    if data.example_noun == "window" or validation.empty or not len(test.labels):
        return None  # nobody counts overlapping windows
    names = [f"p_{name}" for name in test.classes]
    thresholds, classes = data.card.thresholds, len(test.classes)
    labels = validation["label"].to_numpy(int)
    probabilities = validation[names].to_numpy(float)
    validation_units, _ = count_errors.units(validation[noun].to_numpy(str))
    threshold = count_errors.best_threshold(
        labels, probabilities, validation_units, thresholds=thresholds
    )
    confidence = selective.thresholds(
        labels,
        probabilities,
        predicted=metrics.predict_labels(probabilities, thresholds=thresholds),
        min_precision=selective.MIN_PRECISION,
    )
    confident = selective.predict_labels(test.probabilities, confidence, predicted=test.predicted)
    at_threshold = count_errors.named(
        test.probabilities, thresholds=thresholds, threshold=threshold
    )
    unit, unit_names = count_errors.units(data.scored[noun].to_numpy(str))
    true = count_errors.count(test.labels, unit, classes=classes)
    counted = partial(count_errors.count_in, true, unit=unit)
    estimates = {
        "predicted": counted(test.predicted),
        "adjusted": count_errors.adjusted(test.labels, confident, unit, classes=classes),
        "without abstentions": counted(confident),
        f"at the threshold {threshold:.2f}": counted(at_threshold),
    }
    by_method = {
        name: count_errors.errors(true, estimated)
        for name, estimated in estimates.items()
        if np.isfinite(estimated).all()
    }
    plain = by_method["predicted"]
    rows = []
    for name, found in by_method.items():
        gain, low, high = count_errors.difference(plain.shares, found.shares)
        change = f"{gain:+.3f}" if np.isnan(low) else f"{gain:+.3f} ({low:+.3f} to {high:+.3f})"
        means = (html.number(float(values.mean())) for values in found)
        rows.append((name, *means, "" if name == "predicted" else change))
    means_of = f"the {len(true)} {noun}s" if len(true) > 1 else "all test images as one sample"
    text = (
        f"Errors of the number of {data.example_noun}s of each class, means over {means_of} (0 is "
        f"perfect, 1 the worst; {noun}s of fewer than {count_errors.MIN_IMAGES} "
        f"{data.example_noun}s count together). Adjusted: as counts.csv of `predict` is, by the "
        "errors in the other test groups. Without abstentions: what the model is confident of."
    )
    headings = ("counts", *ERRORS, "change of the shares' error")
    return html.joined(
        html.paragraph(text),
        html.table(headings, rows),
        html.paragraph(_offer(threshold, data)),
        html.heading("Counts of each class in all test groups"),
        _class_counts(true, estimates, test.classes),
        _unit_table(unit_names, true, by_method, noun=noun),
    )


def _offer(threshold: float, data: ReportData) -> str:
    if len(data.test.classes) == 2:
        return (
            f"The decision threshold that serves counts is {threshold:.2f}, in place of "
            f"{data.threshold:.3f}: it has the nearest shares in the validation {data.group_column}"
            "s (arXiv:2605.15835). The test split only measures it."
        )
    if threshold == 0:
        return (
            "No threshold of the probability serves counts better than counting everything, by the "
            f"validation {data.group_column}s. The test split only measures it."
        )
    return (
        f"The threshold that serves shares is {threshold:.2f}: leave out {data.example_noun}s "
        "whose most probable class is less probable. It has the nearest shares in the validation "
        f"{data.group_column}s (arXiv:2605.15835). The test split only measures it."
    )


def _class_counts(true: np.ndarray, estimates: dict, classes: tuple[str, ...]) -> Markup:
    """Returns the table of true and estimated numbers of each class."""
    columns = [true, *estimates.values()]
    rows = [
        (name, *(html.number(float(values[:, i].sum()), digits=0) for values in columns))
        for i, name in enumerate(classes[:MAX_ROWS])
    ]
    return html.table(("class", "true", *estimates), rows)


def _unit_table(names: list[str], true: np.ndarray, by_method: dict, *, noun: str) -> Markup | None:
    """Returns the error of shares of each unit by each method, the worst first."""
    if len(names) < 2:
        return None
    order = np.argsort(-by_method["predicted"].shares, kind="stable")[:MAX_ROWS]
    rows = [
        (
            names[i],
            int(true[i].sum()),
            *(html.number(float(found.shares[i])) for found in by_method.values()),
        )
        for i in order.tolist()
    ]
    return html.joined(
        html.heading("Bray-Curtis dissimilarity of shares"),
        html.table((noun, "images", *by_method), rows),
    )
