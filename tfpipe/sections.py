"""The sections of a report: each function returns one, or None where there is nothing to tell."""

from typing import Any

import numpy as np
from sklearn import metrics

from tfpipe import page, plots
from tfpipe.facts import METRICS, Facts
from tfpipe.page import Html, joined, tag
from tfpipe.task import SPLITS

MOST_ROWS = 40  # of a table; the files have the rest


def score(metric: str, scores: dict[str, Any] | None) -> Html:
    """Returns a metric's value as text, or a dash and why it has none."""
    there = metric in (scores or {})
    why = METRICS.get(metric, ("", "not defined here"))[1] if there else "not measured"
    digits = 1 if metric.endswith("_mm") else 3
    return page.number(scores[metric] if there else None, digits=digits, why=why)


def random_split(known: Facts) -> Html:
    """What the seed projects' way of splitting would have told of the same model."""
    claimed, honest = known.card["random_split_scores"], known.card["scores"]["test"]
    wanted = ("average_precision", "f1", "accuracy", "accuracy_of_commoner_class")
    rows = [(METRICS[name][0], score(name, honest), score(name, claimed)) for name in wanted]
    photo, window = known.photo, known.window
    why = (
        f"The {window}s of one {photo} are near-copies: they overlap, or share light and focus. "
        f"Split at random, they stand on both sides: a model is tested on what it learnt by heart. "
        f"A new {photo} will get what the first column says."
    )
    key = "average_precision"
    if claimed and claimed[key] > honest[key]:
        why += f" It would have claimed {claimed[key] - honest[key]:.3f} more average precision."
    headings = ("Test split", f"whole {photo}s, as here", f"{window}s split at random")
    lacking = "The second training, on a random split, was left out, so nothing is claimed."
    return joined(
        tag("p", why),
        page.table(headings, rows),
        None if claimed else tag("p", lacking, class_="soft"),
    )


def data(known: Facts) -> Html:
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
    notes = [tag("li", note) for note in about["notes"]]
    return joined(
        page.table(("split", f"{known.photo}s", *classes, f"{known.window}s"), rows),
        tag("p", f"The {known.photo}s were shared out {shares} %{salt}.", class_="soft"),
        joined(tag("h3", "Left out"), tag("ul", *notes)) if notes else None,
        _listed(("unreadable file", "why"), list(about["bad"].items()), rest="manifest.json"),
    )


def alignment(known: Facts) -> Html | None:
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
        drawn = page.plot(plots.shifts(shift_mm), says=says)
    set_aside = list(zip(aside.iloc[:, 0], aside["why"], strict=True))
    tables = joined(
        page.table(("alignment", "why", "photos"), rows),
        _listed(("photo set aside", "why"), set_aside, rest=f"{known.table_name}.csv"),
    )
    return tag("div", tag("div", tables), drawn or "", class_="plots")


def training(known: Facts) -> Html | None:
    """Curves of the training."""
    history = known.card["history"]
    if not history.get("loss"):
        return None
    epochs, seconds = len(history["loss"]), history.get("seconds")
    drawn = [page.plot(plots.losses(history), says="Loss after each epoch.")]
    watched = next((n for n in history if n.startswith("val_") and n != "val_loss"), None)
    if watched:
        values, name = history[watched], watched.removeprefix("val_").replace("_", " ")
        kept = len(values) - 1
        says = f"Validation {name}: {values[kept]:.3f} after the last epoch, which is kept."
        drawn.append(page.plot(plots.objective(values, name=name, kept=kept), says=says))
    took = f", {sum(seconds):,.0f} s in all, {np.median(seconds):.1f} s an epoch" if seconds else ""
    return joined(
        tag("p", f"{epochs} epoch{'s' * (epochs > 1)}{took}."), tag("div", *drawn, class_="plots")
    )


def curves(known: Facts) -> Html | None:
    """What the model says of single examples of the test split."""
    labels, said, classes = known.test.labels, known.test.said, known.test.classes
    counts = metrics.confusion_matrix(labels, said, labels=range(len(classes)))
    right = int(np.trace(counts))
    says = f"{right:,} of {len(labels):,} test {known.window}s are named rightly"
    if len(classes) != 2 or len(set(labels)) < 2:
        title = "Confusion matrix"
        return page.plot(plots.confusion(counts, classes, title=title), says=f"{says}.")
    at, positive = known.threshold, known.test.probabilities[:, 1]
    title = f"Confusion matrix at {at:.3f}"
    drawn = [
        page.plot(
            plots.confusion(counts, classes, title=title),
            says=f"{says}, at the threshold chosen on validation.",
        ),
        page.plot(
            plots.precision_recall(labels, positive, threshold=at),
            says="Precision against recall, for every threshold; the dot is the one chosen.",
        ),
        page.plot(
            plots.roc(labels, positive, threshold=at),
            says=f"With {100 * np.mean(labels):.1f} % positives this curve flatters.",
        ),
        page.plot(
            plots.probabilities(labels, positive, classes=classes, threshold=at),
            says=f"How sure the model is, by what the {known.window} truly shows.",
        ),
    ]
    names = ("average_precision", "roc_auc", "precision", "recall", "f1", "balanced_accuracy")
    names += ("accuracy", "accuracy_of_commoner_class", "examples", "positives")
    return joined(_by_split(known, names), tag("div", *drawn, class_="plots"))


def layers(known: Facts) -> Html | None:
    """What the model finds in whole photos, as a user would run it."""
    names = [name for name in METRICS if name.startswith("layer")]
    if not any(name in scores for scores in known.card["scores"].values() for name in names):
        return None
    kinds = sorted(known.card["false_findings"].items(), key=lambda item: -item[1])
    total = sum(count for _, count in kinds)
    rows = [(kind, count, page.bar(count / total)) for kind, count in kinds[:MOST_ROWS]]
    false = tag("p", "There is no false finding in the test photos.")
    if rows:
        false = page.table(("False findings in test photos lie on", "how many", ""), rows)
    text = (
        "A layer of the table counts as found if one that the model reports overlaps it in depth. "
        "Photos whose shift is not identifiable are not judged."
    )
    return joined(
        tag("p", text),
        tag("div", _by_split(known, names), tag("div", false), class_="plots"),
    )


def search(known: Facts) -> Html | None:
    """The trials of the search that chose the hyperparameters."""
    best = known.card["search"]
    if not best or not best.get("trials"):
        return None
    name = str(best.get("objective", "score")).removeprefix("val_").replace("_", " ")
    trials = best["trials"]
    ranked = sorted(
        trials, key=lambda t: -np.inf if _lacks(t["score"]) else t["score"], reverse=True
    )
    varied = [key for key in trials[0] if key not in ("trial", "status", "score", "epochs")]
    rows = [
        (t["trial"], _score_or_status(t), t["epochs"], *(_plain(t.get(key, "")) for key in varied))
        for t in ranked
    ]
    chosen = {**best["model"], **best["training"]}
    values = ", ".join(f"{key} {_plain(value)}" for key, value in chosen.items())
    says = f"{len(trials)} trials by {best.get('algorithm', 'search')}; each dot is one."
    headings = ("trial", f"validation {name}", "epochs", *(key.replace("_", " ") for key in varied))
    return joined(
        tag("p", f"Best: {values}, with a validation {name} of {best['score']:.4f}."),
        page.plot(plots.search(trials, name=f"validation {name}"), says=says),
        _listed(headings, rows, rest="card.json"),
    )


def card(known: Facts) -> Html:
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
        page.table((title, ""), [(key, _plain(value)) for key, value in values.items()])
        for title, values in told.items()
        if values
    ]
    checked = (
        f"The exported model, loaded in a fresh process, differs from the trained one by at most "
        f"{parity['max_difference']:.1e} in probability on {parity['pictures']} {known.window}s "
        f"(allowed: {parity['tolerance']:.0e})."
    )
    mark = joined("Fingerprint of the data: ", tag("code", about["data"]["fingerprint"]))
    return joined(tag("div", *blocks, class_="blocks"), tag("p", checked), tag("p", mark))


def _by_split(known: Facts, names) -> Html:
    scores = known.card["scores"]
    splits = [split for split in SPLITS if split in scores]
    rows = [(METRICS[n][0], *(score(n, scores[s]) for s in splits)) for n in names]
    return page.table(("", *splits), rows)


def _listed(headings, rows: list, *, rest: str) -> Html | None:
    """Returns a table of the first rows, and where the others are; None for no rows."""
    if not rows:
        return None
    more = f"{len(rows) - MOST_ROWS:,} more are in {rest}."
    return joined(
        page.table(headings, rows[:MOST_ROWS]),
        tag("p", more, class_="soft") if len(rows) > MOST_ROWS else None,
    )


def _lacks(value: float | None) -> bool:
    return value is None or not np.isfinite(value)


def _score_or_status(trial: dict[str, Any]) -> page.Number:
    if _lacks(trial["score"]):
        return page.Number(page.escaped(str(trial["status"]).lower()))
    return page.number(trial["score"], digits=4)


def _plain(value: Any) -> Any:
    """Returns a value of whatever kind as it is told; numbers without separators, as typed."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return page.Number(f"{value:.4g}" if isinstance(value, float) else value)
