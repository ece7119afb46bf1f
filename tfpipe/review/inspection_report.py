"""Report of an inspection: agreement with people, corrected counts, and what was claimed before."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes

from tfpipe.base import files, html, tables
from tfpipe.base.choose import listed
from tfpipe.base.errors import UserError
from tfpipe.base.figures import COLOURS
from tfpipe.evaluation import group_intervals, inspection, metrics, selective
from tfpipe.evaluation.inspection import UNKNOWN, Estimate, InspectedSample
from tfpipe.registry import predictions
from tfpipe.registry.card import VersionCard
from tfpipe.report import plots
from tfpipe.review.inspection_sample import SKIPPED, UNIDENTIFIABLE, InspectionFolder

PAGE = "inspection.html"
SUBSETS = ("all", "without unsure")  # of the predictions: the second without abstentions


@dataclass(frozen=True)
class InspectionResult:
    """What judges' answers say of a version.

    Attributes:
      agreement: a row for each judge, subset of predictions and set of images: agreement with its
        interval, what the version's report claimed, the difference and its interval.
      classes: a row for each judge, subset of predictions and class: precision likewise.
      counts: a row for each judge and class: images predicted, adjusted and corrected.
      judges: a row for each pair of judges: images that both answered, kappa with its interval.
      answers: a row for each drawn image: its prediction, and each judge's answer.
      sentences: the result in words.
      notes: what limits it.
    """

    agreement: pd.DataFrame
    classes: pd.DataFrame
    counts: pd.DataFrame
    judges: pd.DataFrame
    answers: pd.DataFrame
    sentences: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Claims:
    """What a version's report says of its test split: accuracy, and precision of each class."""

    accuracy: Estimate
    precision: list[Estimate]


def evaluate(folder: InspectionFolder, version: Path, card: VersionCard) -> InspectionResult:
    """Returns what the answers so far say of the version.

    Args:
      folder: the inspection.
      version: folder of the version.
      card: its card.

    Raises:
      UserError: nobody has answered yet, or files of the inspection are damaged.
    """
    classes = folder.plan.classes
    answers = _answers(folder)
    judges = [judge for judge in folder.judges if (answers[_column(judge)] != "").any()]
    if not judges:
        raise UserError(
            f"No image in {files.shown(folder.path)} has an answer yet. Open the page by `tfpipe "
            "inspect` without --report, and answer."
        )
    predicted = folder.predictions
    claims = {subset: _claims(version, card, subset) for subset in SUBSETS}
    agreement, by_class, counts = [], [], []
    notes = []
    for judge in judges:
        rows = answers[answers[_column(judge)] != ""]
        samples = {subset: _sample(rows, predicted, classes, judge, subset) for subset in SUBSETS}
        for subset, sample in samples.items():
            agreement += _agreement_rows(judge, subset, sample, claims[subset])
            by_class += _class_rows(judge, subset, sample, claims[subset], classes)
        counts += _count_rows(judge, samples["all"], folder)
        names = [classes[i] for i in samples["all"].missing]
        if names:
            notes.append(
                f"{judge} has answered about no image that was predicted {' or '.join(names)}, so "
                "agreement leaves these images out, and counts are not corrected."
            )
        notes += folder.log(judge).notes
    if skipped := folder.skipped:
        notes.append(
            f"{len(skipped)} new files could not be read, so none of their images was drawn "
            f"({SKIPPED} says why): {listed(skipped, most=5)}."
        )
    notes.append(_scope(samples["all"]))
    frame = pd.DataFrame(agreement)
    pairs = [_kappa_row(answers, pair, classes) for pair in combinations(judges, 2)]
    columns = ["first", "second", "images", "agreement", "kappa", "low", "high"]
    return InspectionResult(
        frame,
        pd.DataFrame(by_class),
        pd.DataFrame(counts),
        pd.DataFrame(pairs, columns=columns),
        answers,
        tuple(_sentences(frame, pairs)),
        tuple(notes),
    )


def write(folder: InspectionFolder, result: InspectionResult) -> Path:
    """Writes inspection.html and its tables as CSV into the inspection's folder."""
    named = {
        "agreement": result.agreement,
        "classes": result.classes,
        "corrected_counts": result.counts,
        "agreement_of_judges": result.judges,
        "answers": result.answers,
    }
    for name, frame in named.items():
        tables.write_csv(frame.round(4), folder.path / f"{name}.csv")
    plan = folder.plan
    title = f"{plan.task}: inspection of {plan.model} {plan.version}"
    about = (
        f"{len(result.answers):,} of {len(folder.predictions):,} new images were drawn, at most "
        f"{plan.per_class} of each predicted class, and judged without their predictions."
    )
    lead = html.joined(
        html.title(title),
        html.paragraph(about, style="soft"),
        html.bullets(result.sentences),
        html.bullets(result.notes),
    )
    sections = [("Agreement", _agreement_section(result))]
    sections += [("Precision of each class", _class_section(result))]
    sections += [("Corrected counts", _count_section(result))]
    if len(result.judges):
        sections += [("Agreement of judges", _judge_section(result))]
    page = folder.path / PAGE
    files.replace(page, html.document(title, lead, sections).encode("utf-8", "replace"))
    return page


def _answers(folder: InspectionFolder) -> pd.DataFrame:
    """Returns image, key, group, label, abstain and a column for each judge; "" for no answer."""
    predicted = folder.predictions[["key", "label", "abstain"]]
    frame = folder.sample.merge(predicted, on="key", how="left")
    for judge in folder.judges:
        answers = folder.answers(judge)
        labels = [answers[name].label if name in answers else "" for name in frame["image"]]
        frame[_column(judge)] = labels
    return frame


def _column(judge: str) -> str:
    return f"by {judge}"


def _sample(
    rows: pd.DataFrame, predicted: pd.DataFrame, classes: Sequence[str], judge: str, subset: str
) -> InspectedSample:
    """Returns the images that a judge has answered about, as numbers."""
    group_codes, groups = pd.factorize(predicted["group"], sort=True)
    numbers = {name: i for i, name in enumerate(classes)}
    numbers[UNIDENTIFIABLE] = inspection.UNIDENTIFIABLE
    labels = predicted["label"].map(numbers).to_numpy(int)
    group_of = dict(zip(predicted["key"], group_codes, strict=True))
    if subset != SUBSETS[0]:
        is_confident = ~predicted["abstain"].to_numpy(bool)
        group_codes, labels = group_codes[is_confident], labels[is_confident]
        rows = rows[~rows["abstain"].astype(bool)]
    population = np.zeros((len(groups), len(classes)), int)
    np.add.at(population, (group_codes, labels), 1)
    return InspectedSample(
        population,
        rows["label"].map(numbers).to_numpy(int),
        rows[_column(judge)].map(numbers).to_numpy(int),
        rows["key"].map(group_of).to_numpy(int),
    )


def _claims(version: Path, card: VersionCard, subset: str) -> _Claims:
    """Returns the accuracy and precision of the version's own predictions of its test split."""
    classes = card.classes
    frame = predictions.predictions(version, {}, classes=classes)
    frame = frame[frame["label"] >= 0]
    by_split = {}
    for split in ("validation", "test"):
        part = frame[frame["split"] == split]
        probabilities = part[[f"p_{name}" for name in classes]].to_numpy(float)
        named = metrics.predict_labels(probabilities, thresholds=card.thresholds)
        by_split[split] = (part["label"].to_numpy(int), probabilities, named)
    labels, probabilities, named = by_split["test"]
    groups = frame[frame["split"] == "test"]["group"].to_numpy(str)
    if subset != SUBSETS[0]:
        true, probs, of_validation = by_split["validation"]
        thresholds = selective.thresholds(
            true, probs, predicted=of_validation, min_precision=selective.MIN_PRECISION
        )
        named = selective.predict_labels(probabilities, thresholds, predicted=named)
    rows = named >= 0
    precision = []
    for label in range(len(classes)):
        of_class = named == label
        hits = labels[of_class] == label
        bounds = group_intervals.share_interval(hits, groups[of_class]) if len(hits) else None
        low, high = bounds or (np.nan, np.nan)
        precision.append(Estimate(float(hits.mean()), low, high) if len(hits) else UNKNOWN)
    return _Claims(inspection.accuracy(labels[rows] == named[rows], groups[rows]), precision)


def _compared(found: Estimate, claimed: Estimate) -> dict[str, Any]:
    """Returns the cells of an estimate beside what was claimed."""
    difference = found.minus(claimed)
    verdict = ""
    if np.isfinite(difference).all():
        is_chance = difference.low <= 0 <= difference.high
        verdict = "may be chance" if is_chance else "lower" if difference.value < 0 else "higher"
    return {
        "low": found.low,
        "high": found.high,
        "claimed": claimed.value,
        "claimed_low": claimed.low,
        "claimed_high": claimed.high,
        "difference": difference.value,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "verdict": verdict,
    }


def _agreement_rows(
    judge: str, subset: str, sample: InspectedSample, claims: _Claims
) -> list[dict[str, Any]]:
    total = max(int(sample.population.sum()), 1)
    of_missing = int(sample.population[:, sample.missing].sum())
    rows = []
    for images, named_only in (("identified", True), ("all", False)):
        found = inspection.agreement(sample, named_only=named_only)
        rows.append(
            {
                "judge": judge,
                "predictions": subset,
                "images": images,
                "answers": len(sample.named.labels if named_only else sample.labels),
                "share_of_images": 1 - of_missing / total,
                "agreement": found.value,
                **_compared(found, claims.accuracy),
            }
        )
    return rows


def _class_rows(
    judge: str, subset: str, sample: InspectedSample, claims: _Claims, classes: Sequence[str]
) -> list[dict[str, Any]]:
    rows = []
    for label, name in enumerate(classes):
        answers = sample.labels[sample.predicted == label]
        found = inspection.precision(sample, label)
        rows.append(
            {
                "judge": judge,
                "predictions": subset,
                "class": name,
                "predicted": int(sample.population[:, label].sum()),
                "answers": len(answers),
                "unidentifiable": int((answers == inspection.UNIDENTIFIABLE).sum()),
                "agreeing": int((answers == label).sum()),
                "precision": found.value,
                **_compared(found, claims.precision[label]),
            }
        )
    return rows


def _count_rows(
    judge: str, sample: InspectedSample, folder: InspectionFolder
) -> list[dict[str, Any]]:
    adjusted = tables.read_csv(folder.path / "predictions" / "counts.csv", text={"class"})
    by_class = adjusted.set_index("class")["adjusted"].to_dict()
    corrected = inspection.counts(sample)
    predicted = [*sample.population.sum(axis=0).tolist(), 0]
    names = (*folder.plan.classes, UNIDENTIFIABLE)
    return [
        {
            "judge": judge,
            "class": name,
            "predicted": count,
            "adjusted": by_class.get(name),
            "corrected": round(estimate.value, 1),
            "low": round(estimate.low, 1),
            "high": round(estimate.high, 1),
        }
        for name, count, estimate in zip(names, predicted, corrected, strict=True)
    ]


def _kappa_row(
    answers: pd.DataFrame, pair: tuple[str, str], classes: Sequence[str]
) -> dict[str, Any]:
    columns = [_column(judge) for judge in pair]
    both = answers[(answers[columns] != "").all(axis=1)]
    numbers = {name: i for i, name in enumerate(classes)} | {UNIDENTIFIABLE: len(classes)}
    first, second = (both[name].map(numbers).to_numpy(int) for name in columns)
    found = inspection.kappa(first, second, pd.factorize(both["group"])[0])
    return {
        "first": pair[0],
        "second": pair[1],
        "images": len(both),
        "agreement": float((first == second).mean()) if len(both) else np.nan,
        "kappa": found.value,
        "low": found.low,
        "high": found.high,
    }


def _scope(sample: InspectedSample) -> str:
    if sample.has_groups:
        return (
            f"Agreement and precision have intervals for new groups such as the "
            f"{len(sample.population)} of these images; corrected counts for these images."
        )
    return (
        "The intervals are for these new images, not for other groups: there are fewer than "
        f"{group_intervals.MIN_GROUPS} groups, or each image is one."
    )


def _sentences(agreement: pd.DataFrame, pairs: list[dict[str, Any]]) -> list[str]:
    sentences = []
    for row in agreement[agreement["images"] == "identified"].to_dict("records"):
        if np.isnan(row["agreement"]):
            if row["predictions"] != SUBSETS[0]:
                sentences.append(f"{row['judge']} has answered about no image that is not unsure.")
            continue
        of = "all predictions" if row["predictions"] == SUBSETS[0] else "those that are not unsure"
        text = (
            f"{row['judge']} agrees with {_interval(row, 'agreement', 'low', 'high')} of {of}, "
            "over images that could be identified."
        )
        if not np.isnan(row["claimed"]):
            claimed = _interval(row, "claimed", "claimed_low", "claimed_high")
            text += f" The version's report claims {claimed}"
            if row["verdict"]:
                bounds = f"{row['difference_low']:+.3f} to {row['difference_high']:+.3f}"
                is_chance = row["verdict"] == "may be chance"
                text += f": the difference is {row['difference']:+.3f} ({bounds}), which "
                text += "may be chance" if is_chance else "is more than chance"
            text += "."
        sentences.append(text)
    return sentences + [
        f"{row['first']} and {row['second']} agree with a kappa of "
        f"{_interval(row, 'kappa', 'low', 'high')} on {row['images']:,} images."
        for row in pairs
        if not np.isnan(row["kappa"])
    ]


def _interval(row: dict[str, Any], value: str, low: str, high: str) -> str:
    if np.isnan(row[low]):
        return f"{row[value]:.3f} (no interval)"
    return f"{row[value]:.3f} ({row[low]:.3f} to {row[high]:.3f})"


def _table(frame: pd.DataFrame, value: str, *, digits: int = 3) -> Markup:
    """Returns a table with each number and its interval in one cell, rows of answers only."""
    if "answers" in frame:
        frame = frame[frame["answers"] > 0]
    bounds = {value: "", "claimed": "claimed_", "difference": "difference_"}
    headings = [name for name in frame if not name.endswith(("low", "high"))]
    rows = []
    for row in frame.to_dict("records"):
        cells = []
        for name in headings:
            cell = row[name]
            if name in bounds:
                low, high = (row[f"{bounds[name]}{end}"] for end in ("low", "high"))
                cell = _with_bounds(cell, low, high, digits=digits)
            cells.append(cell)
        rows.append(cells)
    return html.table([name.replace("_", " ") for name in headings], rows)


def _with_bounds(value: float, low: float, high: float, *, digits: int) -> html.Number:
    """Returns a number and its interval, as a cell of a table."""
    if np.isnan(value):
        return html.Number("")
    if np.isnan(low):
        return html.number(value, digits=digits)
    interval = f"({low:.{digits}f} to {high:.{digits}f})".replace(" ", "\N{NO-BREAK SPACE}")
    return html.Number(f"{value:.{digits}f} {interval}")


def _agreement_section(result: InspectionResult) -> Markup:
    text = (
        "Each predicted class counts by how many of the new images were predicted so, as rare and "
        "common classes are drawn alike. Images that the judge could not identify are left out, "
        "or count as disagreement (all). Without unsure: without predictions from which "
        "`predict` abstains. Claimed: accuracy of the test split, whose classes have other shares."
    )
    return html.joined(html.paragraph(text), _table(result.agreement, "agreement"))


def _class_section(result: InspectionResult) -> Markup:
    figures = []
    everything = result.classes[result.classes["predictions"] == SUBSETS[0]]
    for judge, rows in everything.groupby("judge"):
        caption = f"Precision by {judge}'s answers, and what the report of the version claims."
        figures.append(html.plot(_precision_plot(rows), caption=caption))
    return html.joined(html.plots(figures), _table(result.classes, "precision"))


def _precision_plot(rows: pd.DataFrame) -> str:
    """Draws the precision of each class with its interval, inspected and claimed."""
    names = rows["class"].tolist()
    places = np.arange(len(names))[::-1]

    def draw(axes: Axes) -> None:
        for shift, colour, label, columns in (
            (0.15, COLOURS[0], "inspected", ("precision", "low", "high")),
            (-0.15, COLOURS[5], "claimed", ("claimed", "claimed_low", "claimed_high")),
        ):
            value, low, high = (rows[name].to_numpy(float) for name in columns)
            axes.plot(value, places + shift, "o", color=colour, label=label)
            axes.hlines(places + shift, low, high, color=colour)
        axes.set_yticks(places, names)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.6, len(names) + 0.2)  # room for the legend
        axes.legend(loc="upper left", ncols=2)
        plots.titles(axes, "Precision of each class", x="precision", y="")

    return plots.svg(draw, size=(6.4, max(2.4, 0.45 * len(names) + 1.2)))


def _count_section(result: InspectionResult) -> Markup:
    text = (
        "Predicted: how often a class was predicted. Adjusted: by the errors on the test split. "
        "Corrected: by the judge's answers, each predicted class weighted by its number of images "
        "(Olofsson et al. 2014), with a 95 % interval for these images."
    )
    return html.joined(html.paragraph(text), _table(result.counts, "corrected", digits=0))


def _judge_section(result: InspectionResult) -> Markup:
    text = (
        "Cohen's kappa is agreement beyond chance, on drawn images that both have answered about. "
        "For its interval each group is left out in turn, or each image of fewer than five groups."
    )
    return html.joined(html.paragraph(text), _table(result.judges, "kappa"))
