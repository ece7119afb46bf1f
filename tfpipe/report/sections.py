"""Sections of every report: each function returns one, or None if there is nothing to report."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from tfpipe.base import html
from tfpipe.data import manifest as data_manifest
from tfpipe.evaluation import version_comparison
from tfpipe.evaluation.metric_names import METRICS, title_of
from tfpipe.report import plots
from tfpipe.report.report_data import COMPARED, ReportData
from tfpipe.search.results import TRIAL_KEYS
from tfpipe.tasks.task import SPLITS
from tfpipe.training import schedules

Section = tuple[str, Callable[[ReportData], Markup | None]]  # title and content

MAX_ROWS = 40  # of a table; the files have the others
ERRORS = ("mean_squared_error", "error_of_mean_image")  # small numbers, lower is better


def score(metric: str, scores: dict[str, Any] | None) -> html.Number:
    """Returns a metric's value as text, or a dash and the reason why it is missing."""
    if not scores or metric not in scores:
        return html.number(None)
    why = METRICS.get(metric, ("", "not defined here"))[1]
    digits = 2 if metric.endswith("_mm") else 5 if metric in ERRORS else 3
    return html.number(scores[metric], digits=digits, why=why)


def by_split(data: ReportData, metrics: Iterable[str]) -> Markup:
    """Returns a table of metrics with a column for each split."""
    scores = data.card.metrics
    splits = [split for split in SPLITS if split in scores]
    rows = [
        (title_of(metric), *(score(metric, scores[split]) for split in splits))
        for metric in metrics
    ]
    return html.table(("", *splits), rows)


def first_rows(headings: Sequence[str], rows: list, *, rest: str) -> Markup | None:
    """Returns a table of the first rows and the name of the file with the rest; None for none."""
    if not rows:
        return None
    table = html.table(headings, rows[:MAX_ROWS])
    if len(rows) <= MAX_ROWS:
        return table
    more = f"{len(rows) - MAX_ROWS:,} more are in {rest}."
    return html.joined(table, html.paragraph(more, style="soft"))


def comparison(data: ReportData) -> Markup | None:
    """Returns the comparison of a retrained version with the previous one."""
    comparison = data.card.comparison
    if not comparison:
        return None
    sentences = [f"The previous version is {comparison['with']}."]
    sentences += version_comparison.in_words(comparison)
    if comparison["forced"]:
        sentences.append("This version was published although it is worse.")
    rows = [
        (name, *(f1[key] for key in ("before", "after", "low", "high", "verdict")))
        for name, f1 in comparison["classes"].items()
    ]
    headings = ("F1 of", "before", "now", "difference, low", "high", "")
    return html.joined(html.bullets(sentences), html.table(headings, rows) if rows else None)


def random_split(data: ReportData) -> Markup:
    """Returns the scores of the same model with a random split, as published projects use."""
    optimistic, scores = data.card.random_split_scores, data.card.metrics["test"]
    if not optimistic and data_manifest.are_single(data.card.data.groups, data.card.data.counts):
        return html.paragraph(
            f"Each {data.example_noun} is a group of its own, so a random split is this split."
        )
    version = data.card.random_split_version
    if version:
        scores = data.card.random_split_grouped
    compared = [metric for metric in COMPARED if metric in scores]
    rows = [
        (title_of(metric), score(metric, scores), score(metric, optimistic)) for metric in compared
    ]
    group, example = data.group_column, data.example_noun
    text = (
        f"The {example}s of one {group} are near-duplicates: they overlap, or share light and "
        f"focus. A random split puts them into training and test, so the model is tested on what "
        f"it has memorized. For a new {group}, expect the scores of the first column."
    )
    if optimistic:
        metric = compared[0]
        text += _optimism(metric, scores[metric], optimistic.get(metric))
    if version:
        text += (
            f" Both columns are of version {version}: it has the same records, model and epochs, "
            f"and differs in something else, such as a hyperparameter or the seed."
        )
    headings = (
        "Test split",
        f"whole {group}s, version {version}" if version else f"whole {group}s, as here",
        f"random split of {example}s",
    )
    missing = "The second training, with a random split, was left out."
    return html.joined(
        html.paragraph(text),
        html.table(headings, rows),
        None if optimistic else html.paragraph(missing, style="soft"),
    )


def _optimism(metric: str, value: float | None, random_value: float | None) -> str:
    """Returns by how much a random split makes a score look better; "" if it does not."""
    if value is None or random_value is None or _is_missing(value) or _is_missing(random_value):
        return ""
    is_error = metric in ERRORS
    gain = value - random_value if is_error else random_value - value
    if gain <= 0:
        return ""
    amount = f"{gain:.5f} lower" if is_error else f"{gain:.3f} higher"
    return f" The random split looks better: {title_of(metric).lower()} is {amount}."


def counts(data: ReportData) -> Markup:
    """Returns the numbers of groups and examples, how they were split, and what was left out."""
    card = data.card.data
    classes = list(dict.fromkeys(name for split in SPLITS for name in card.counts[split]))
    rows = []
    for split in SPLITS:
        numbers = [card.counts[split].get(name, 0) for name in classes]
        rows.append((split, card.groups[split], *numbers, sum(numbers)))
    columns = list(zip(*rows, strict=True))[1:]
    rows.append(("all", *(sum(column) for column in columns)))
    shares = " / ".join(f"{100 * share:g}" for share in card.fractions)
    salt = f", by the salt {card.salt!r}" if card.salt else ""
    how = f"The {data.group_column}s were split {shares} %{salt}."
    if card.user_defined_split:
        how = f"The split of the {data.group_column}s was given by the user, see below."
    headings = ("split", f"{data.group_column}s", *classes, f"{data.example_noun}s")
    return html.joined(
        html.table(headings, rows),
        html.paragraph(how, style="soft"),
        _titled_bullets("Left out", card.left_out),
        _titled_bullets("Notes", card.notes),
        first_rows(("unreadable file", "why"), list(card.unreadable.items()), rest="manifest.json"),
    )


def _titled_bullets(title: str, sentences: Sequence[str]) -> Markup | None:
    return html.joined(html.heading(title), html.bullets(sentences)) if sentences else None


def alignment(data: ReportData) -> Markup | None:
    """Returns how far the labels were shifted, and the photos whose shift is not identifiable."""
    table = data.table
    if table is None or not {"status", "why", "shift_mm"} <= set(table):
        return None
    by_status = table.groupby(["status", "why"]).size().sort_values(ascending=False).reset_index()
    rows = list(zip(by_status["status"], by_status["why"], by_status[0].tolist(), strict=True))
    unidentifiable = table[table["status"] == "not identifiable"]
    photos = list(zip(unidentifiable.iloc[:, 0], unidentifiable["why"], strict=True))
    tables = html.joined(
        html.table(("alignment", "why", "photos"), rows),
        first_rows(("photo set aside", "why"), photos, rest=f"{data.table_name}.csv"),
    )
    shift_mm = table.loc[table["status"] == "aligned", "shift_mm"].to_numpy(float)
    return html.plots([tables, _shifts(shift_mm)] if len(shift_mm) else [tables])


def _shifts(shift_mm: np.ndarray) -> Markup:
    caption = (
        f"Labels were shifted by {shift_mm.min():.1f} to {shift_mm.max():.1f} mm; the median "
        f"distance is {np.median(np.abs(shift_mm)):.1f} mm, of {len(shift_mm):,} aligned photos."
    )
    return html.plot(plots.shifts(shift_mm), caption=caption)


def training(data: ReportData) -> Markup | None:
    """Returns the curves of the training."""
    history = data.card.history
    if not history.get("loss"):
        return None
    epochs, seconds = len(history["loss"]), history.get("seconds")
    unit = "loss" if data.is_autoencoder else "cross-entropy (nats)"
    figures = [
        html.plot(
            plots.losses(history, unit=unit),
            caption="Loss after each epoch, the lower the better. Where only that of validation "
            "rises again, the model learns its images by heart.",
        )
    ]
    metrics = [name for name in history if name.startswith("val_") and name != "val_loss"]
    if metrics:
        figures.append(_validation_curve(data, metrics[0]))
    text = f"{epochs} epoch{'s' * (epochs > 1)}"
    if seconds:
        text += f", {sum(seconds):,.0f} s in all, {np.median(seconds):.1f} s an epoch"
    return html.joined(html.paragraph(f"{text}."), html.plots(figures))


def _validation_curve(data: ReportData, metric: str) -> Markup:
    values = data.card.history[metric]
    name = metric.removeprefix("val_").replace("_", " ")
    is_last = schedules.ends_at_zero(data.card.training.get("schedule", "cosine"))
    epoch = len(values) - 1 if is_last else int(np.argmax(values))
    which = "the last epoch" if is_last else f"epoch {epoch + 1}, the best"
    caption = f"Validation {name}: {values[epoch]:.3f} after {which}, whose weights are saved."
    return html.plot(plots.objective(values, name=name, saved_epoch=epoch), caption=caption)


def search(data: ReportData) -> Markup | None:
    """Returns the trials of the search that chose the hyperparameters."""
    best = data.card.search
    if not best or not best.get("trials"):
        return None
    name = str(best.get("objective", "score")).removeprefix("val_").replace("_", " ")
    trials, is_lower_better = best["trials"], best.get("direction") == "min"
    sign = 1 if is_lower_better else -1
    ranked = sorted(
        trials,
        key=lambda trial: np.inf if _is_missing(trial["score"]) else sign * trial["score"],
    )
    columns = ["epochs"]
    if any("spread" in trial for trial in trials):
        columns.append("spread")
    columns += dict.fromkeys(key for trial in trials for key in trial if key not in TRIAL_KEYS)
    rows = [
        (
            trial["trial"],
            _score_or_status(trial),
            *(_plain(trial.get(column, "")) for column in columns),
        )
        for trial in ranked
    ]
    chosen = {**best["model"], **best["training"]}
    values = ", ".join(f"{key} {_plain(value)}" for key, value in chosen.items())
    svg = plots.search(trials, name=f"validation {name}", is_lower_better=is_lower_better)
    caption = f"{len(trials)} trials by {best.get('algorithm', 'search')}; each dot is a trial."
    headings = ("trial", f"validation {name}", *(column.replace("_", " ") for column in columns))
    return html.joined(
        html.paragraph(f"Best: {values}, with a validation {name} of {best['score']:.4f}."),
        html.plot(svg, caption=caption),
        first_rows(headings, rows, rest="card.json"),
    )


def card(data: ReportData) -> Markup:
    """Returns everything that is needed to repeat the training."""
    card = data.card
    parity = card.parity
    named_values = {
        "Hyperparameters": card.hyperparameters,
        "Training": card.training,
        "Options of the task": card.options,
        "Thresholds": card.thresholds,
        "Packages": card.packages,
    }
    tables = [
        html.table((title, ""), [(key, _plain(value)) for key, value in values.items()])
        for title, values in named_values.items()
        if values
    ]
    loaded = parity.get("loaded", "in a fresh process")
    text = (
        f"The exported model, loaded {loaded}, differs from the trained one by at most "
        f"{parity['max_difference']:.1e} in its predictions for {parity['examples']} "
        f"{data.example_noun}s (allowed: {parity['tolerance']:.0e})."
    )
    fingerprint = html.code(card.data.fingerprint)
    return html.joined(
        html.blocks(tables),
        html.paragraph(text),
        html.paragraph("Fingerprint of the data: ", fingerprint),
    )


def _is_missing(value: float | None) -> bool:
    return value is None or not np.isfinite(value)


def _score_or_status(trial: dict[str, Any]) -> html.Number:
    if _is_missing(trial["score"]):
        return html.Number(html.escaped(str(trial["status"]).lower()))
    return html.number(trial["score"], digits=4)


def _plain(value: Any) -> str | html.Number:
    """Returns a value as text; numbers without separators, as a user types them."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return html.Number(f"{value:.4g}" if isinstance(value, float) else value)
