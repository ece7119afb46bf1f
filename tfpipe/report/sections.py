"""The sections of any report: each function returns one, or None where there is nothing to tell."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tfpipe.base import html
from tfpipe.base.html import Html, joined, tag
from tfpipe.evaluation import version_comparison
from tfpipe.evaluation.metric_names import METRICS, title_of
from tfpipe.report import plots
from tfpipe.report.report_data import ReportData
from tfpipe.search.results import ABOUT
from tfpipe.tasks.task import SPLITS
from tfpipe.training import schedules

MOST_ROWS = 40  # of a table; the files have the rest
ERRORS = ("mean_squared_error", "error_of_mean_picture")  # small, and the smaller the better
COMPARED = (  # with those of a random split; the first that a model has is the one that counts
    *("average_precision", "macro_average_precision", "mean_squared_error"),
    *("f1", "macro_f1", "accuracy", "accuracy_of_commoner_class", "accuracy_of_commonest_class"),
    "error_of_mean_picture",
)


def score(metric: str, scores: dict[str, Any] | None) -> Html:
    """Returns a metric's value as text, or a dash and why it has none."""
    there = metric in (scores or {})
    why = METRICS.get(metric, ("", "not defined here"))[1] if there else "not measured"
    digits = 1 if metric.endswith("_mm") else 5 if metric in ERRORS else 3
    return html.number(scores[metric] if there else None, digits=digits, why=why)


def by_split(known: ReportData, names: Iterable[str]) -> Html:
    """Returns a table of metrics, a column for each split."""
    scores = known.card["scores"]
    splits = [split for split in SPLITS if split in scores]
    rows = [(title_of(n), *(score(n, scores[s]) for s in splits)) for n in names]
    return html.table(("", *splits), rows)


def listed(headings, rows: list, *, rest: str) -> Html | None:
    """Returns a table of the first rows, and where the others are; None for no rows."""
    if not rows:
        return None
    more = f"{len(rows) - MOST_ROWS:,} more are in {rest}."
    return joined(
        html.table(headings, rows[:MOST_ROWS]),
        tag("p", more, class_="soft") if len(rows) > MOST_ROWS else None,
    )


def random_split(known: ReportData) -> Html:
    """What the seed projects' way of splitting would have told of the same model."""
    claimed, honest = known.card["random_split_scores"], known.card["scores"]["test"]
    wanted = [name for name in COMPARED if name in honest]
    rows = [(title_of(name), score(name, honest), score(name, claimed)) for name in wanted]
    photo, window = known.photo, known.window
    why = (
        f"The {window}s of one {photo} are near-copies: they overlap, or share light and focus. "
        f"Split at random, they stand on both sides: a model is tested on what it learnt by heart. "
        f"A new {photo} will get what the first column says."
    )
    if claimed:
        why += _flattery(wanted[0], honest=honest[wanted[0]], claimed=claimed.get(wanted[0]))
    headings = ("Test split", f"whole {photo}s, as here", f"{window}s split at random")
    lacking = "The second training, on a random split, was left out, so nothing is claimed."
    return joined(
        tag("p", why),
        html.table(headings, rows),
        None if claimed else tag("p", lacking, class_="soft"),
    )


def compared(known: ReportData) -> Html | None:
    """How it answers beside the version before, where it was trained again on more data."""
    told = known.card.get("comparison")
    if not told:
        return None
    said = [f"Version {told['with']} is the one before.", *version_comparison.in_words(told)]
    said += ["It was published although it is worse."] if told["forced"] else []
    rows = [
        (name, one["before"], one["after"], one["low"], one["high"], one["verdict"])
        for name, one in told["classes"].items()
    ]
    heads = ("F1 of", "before", "now", "difference, low", "high", "")
    sentences = tag("ul", *(tag("li", sentence) for sentence in said))
    return joined(sentences, html.table(heads, rows) if rows else None)


def _flattery(metric: str, *, honest: float | None, claimed: float | None) -> str:
    """Says how much better a random split makes a model look; "" where it does not."""
    if _lacks(honest) or _lacks(claimed):
        return ""
    less = metric in ERRORS
    gain = honest - claimed if less else claimed - honest
    if gain <= 0:
        return ""
    amount = f"{gain:.5f} less" if less else f"{gain:.3f} more"
    return f" It would have claimed {amount} {title_of(metric).lower()}."


def data(known: ReportData) -> Html:
    """How many there are of everything, and what was left out."""
    about = known.card["data"]
    classes = list(dict.fromkeys(name for split in SPLITS for name in about["counts"][split]))
    rows = []
    for split in SPLITS:
        counts = [about["counts"][split].get(name, 0) for name in classes]
        rows.append((split, about["groups"][split], *counts, sum(counts)))
    rows.append(("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))
    shares = " / ".join(f"{100 * share:g}" for share in about["fractions"])
    salt = f", drawn with the salt {about['salt']!r}" if about["salt"] else ""
    shared = f"The {known.photo}s were shared out {shares} %{salt}."
    if about.get("user_defined_split"):
        shared = f"Which {known.photo}s teach and which test was settled by hand, see below."
    left_out = [tag("li", sentence) for sentence in about["left_out"]]
    notes = [tag("li", note) for note in about["notes"]]
    return joined(
        html.table(("split", f"{known.photo}s", *classes, f"{known.window}s"), rows),
        tag("p", shared, class_="soft"),
        joined(tag("h3", "Left out"), tag("ul", *left_out)) if left_out else None,
        joined(tag("h3", "Notes"), tag("ul", *notes)) if notes else None,
        listed(("unreadable file", "why"), list(about["unreadable"].items()), rest="manifest.json"),
    )


def alignment(known: ReportData) -> Html | None:
    """How far the labels had to be moved, and where nobody can know."""
    table = known.table
    if table is None or not {"status", "why", "shift_mm"} <= set(table):
        return None
    counted = table.groupby(["status", "why"]).size().sort_values(ascending=False)
    rows = [(status, why, int(count)) for (status, why), count in counted.items()]
    shift_mm = table.loc[table["status"] == "aligned", "shift_mm"].to_numpy(float)
    aside = table[table["status"] == "not identifiable"]
    drawn = None
    if len(shift_mm):
        says = (
            f"Labels were moved by {shift_mm.min():.1f} to {shift_mm.max():.1f} mm, by "
            f"{np.median(np.abs(shift_mm)):.1f} mm either way in the "
            f"median of {len(shift_mm):,} aligned photos."
        )
        drawn = html.plot(plots.shifts(shift_mm), caption=says)
    set_aside = list(zip(aside.iloc[:, 0], aside["why"], strict=True))
    tables = joined(
        html.table(("alignment", "why", "photos"), rows),
        listed(("photo set aside", "why"), set_aside, rest=f"{known.table_name}.csv"),
    )
    return tag("div", tag("div", tables), drawn or "", class_="plots")


def training(known: ReportData) -> Html | None:
    """Curves of the training."""
    history = known.card["history"]
    if not history.get("loss"):
        return None
    epochs, seconds = len(history["loss"]), history.get("seconds")
    unit = "loss" if known.is_autoencoder else "cross-entropy (nats)"
    drawn = [html.plot(plots.losses(history, unit=unit), caption="Loss after each epoch.")]
    watched = next((n for n in history if n.startswith("val_") and n != "val_loss"), None)
    if watched:
        values, name = history[watched], watched.removeprefix("val_").replace("_", " ")
        is_last = schedules.ends_at_zero(known.card["training"].get("schedule", "cosine"))
        kept = len(values) - 1 if is_last else int(np.argmax(values))
        after = "the last epoch" if is_last else f"epoch {kept + 1}, the best"
        says = f"Validation {name}: {values[kept]:.3f} after {after}, which is kept."
        drawn.append(html.plot(plots.objective(values, name=name, kept=kept), caption=says))
    took = f", {sum(seconds):,.0f} s in all, {np.median(seconds):.1f} s an epoch" if seconds else ""
    return joined(
        tag("p", f"{epochs} epoch{'s' * (epochs > 1)}{took}."), tag("div", *drawn, class_="plots")
    )


def search(known: ReportData) -> Html | None:
    """The trials of the search that chose the hyperparameters."""
    best = known.card["search"]
    if not best or not best.get("trials"):
        return None
    name = str(best.get("objective", "score")).removeprefix("val_").replace("_", " ")
    trials, lowest = best["trials"], best.get("direction") == "min"
    sign = 1 if lowest else -1
    ranked = sorted(trials, key=lambda t: np.inf if _lacks(t["score"]) else sign * t["score"])
    told = ["epochs", *(["spread"] if any("spread" in t for t in trials) else [])]
    told += dict.fromkeys(key for t in trials for key in t if key not in ABOUT)
    rows = [
        (t["trial"], _score_or_status(t), *(_plain(t.get(key, "")) for key in told)) for t in ranked
    ]
    chosen = {**best["model"], **best["training"]}
    values = ", ".join(f"{key} {_plain(value)}" for key, value in chosen.items())
    says = f"{len(trials)} trials by {best.get('algorithm', 'search')}; each dot is one."
    headings = ("trial", f"validation {name}", *(key.replace("_", " ") for key in told))
    return joined(
        tag("p", f"Best: {values}, with a validation {name} of {best['score']:.4f}."),
        html.plot(plots.search(trials, name=f"validation {name}", lowest=lowest), caption=says),
        listed(headings, rows, rest="card.json"),
    )


def card(known: ReportData) -> Html:
    """All that is needed to do it again."""
    about = known.card
    parity = about["parity"]
    told = {
        "Hyperparameters": about["hyperparameters"],
        "Training": about["training"],
        "Options of the task": about["options"],
        "Thresholds": about["thresholds"],
        "Packages": about["packages"],
    }
    blocks = [
        html.table((title, ""), [(key, _plain(value)) for key, value in values.items()])
        for title, values in told.items()
        if values
    ]
    loaded = parity.get("loaded", "in a fresh process")
    checked = (
        f"The exported model, loaded {loaded}, differs from the trained one by at most "
        f"{parity['max_difference']:.1e} in its answers to {parity['pictures']} {known.window}s "
        f"(allowed: {parity['tolerance']:.0e})."
    )
    mark = joined("Fingerprint of the data: ", tag("code", about["data"]["fingerprint"]))
    return joined(tag("div", *blocks, class_="blocks"), tag("p", checked), tag("p", mark))


def _lacks(value: float | None) -> bool:
    return value is None or not np.isfinite(value)


def _score_or_status(trial: dict[str, Any]) -> html.Number:
    if _lacks(trial["score"]):
        return html.Number(html.escaped(str(trial["status"]).lower()))
    return html.number(trial["score"], digits=4)


def _plain(value: Any) -> Any:
    """Returns a value of whatever kind as it is told; numbers without separators, as typed."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return html.Number(f"{value:.4g}" if isinstance(value, float) else value)
