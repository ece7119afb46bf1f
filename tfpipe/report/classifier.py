"""What a report tells of a classifier: what it was asked of the test split, and what it said."""

import numpy as np
from sklearn import metrics

from tfpipe.base import html
from tfpipe.base.html import Html, joined, tag
from tfpipe.evaluation import ordinal as evaluation_ordinal
from tfpipe.evaluation.metric_names import METRICS, title_of
from tfpipe.models.inference_modes import WAYS
from tfpipe.report import confidence, gallery, grad_cam, plots
from tfpipe.report.report_data import ReportData
from tfpipe.report.sections import MOST_ROWS, by_split, score


def titled(known: ReportData):
    """Returns (title, function of the facts) of each section."""
    return (
        (f"Scores of single {known.window}s", curves),
        ("Scores of each class", classes),
        *_ordinal_titled(known),
        *confidence.titled(known),
        ("Scores of whole layers", layers),
        ("Ways of looking along photos", ways),
        (f"Mistakes by what the {known.window} shows", gallery.by_kind),
        (f"The most wrong {known.window}s", gallery.gallery),
        (f"Where it looked in {known.window}s", grad_cam.looked_at),
    )


def tiles(known: ReportData) -> list[tuple[str, Html]]:
    """Returns (name, value) of the scores that matter most."""
    scores = known.card["scores"]["test"]
    if len(known.card["classes"]) != 2:
        names = ("accuracy", "balanced_accuracy", "macro_f1", "macro_average_precision")
        named = [(title_of(name), score(name, scores)) for name in names if name in scores]
        return [*named, *ordinal_tile(known)]
    first = f"Average precision of {known.window}s"
    named = [(first, score("average_precision", scores))]
    if "layer_f1" in scores:
        rest = ("layer_f1", "layer_precision", "layer_recall", "layer_depth_error_mm")
    else:
        rest = ("f1", "precision", "recall")
    named += [(title_of(name), score(name, scores)) for name in rest if name in scores]
    return [*named, ("Threshold, chosen on validation", html.number(known.threshold))]


def in_words(known: ReportData) -> str:
    """Returns what it did on the test split, the end of a sentence."""
    scores, judged = known.card["scores"]["test"], known.test
    if scores.get("layers_tabled") is not None:
        return _layers_in_words(scores)
    if len(judged.classes) != 2:
        right = int((judged.said == judged.labels).sum())
        return f"it named {right:,} of {len(judged.labels):,} {known.window}s rightly."
    name, holding = judged.classes[1], judged.labels == 1
    found, false = int(judged.said[holding].sum()), int(judged.said[~holding].sum())
    return (
        f"it found {found:,} of the {holding.sum():,} {known.window}s of class {name}, and "
        f"took {false:,} of the {(~holding).sum():,} others for it."
    )


def curves(known: ReportData) -> Html:
    """What the model says of single examples of the test split."""
    names = [name for name in known.card["scores"]["test"] if not name.startswith("layer")]
    labels, classes = known.test.labels, known.test.classes
    drawn = _many(known) if len(classes) != 2 or len(set(labels)) < 2 else _two(known)
    return joined(by_split(known, names), tag("div", *drawn, class_="plots"))


def classes(known: ReportData) -> Html | None:
    """How well each of many classes is told from the others."""
    told = known.card.get("by_class", {}).get("test")
    if not told or len(known.test.classes) == 2:
        return None
    names = ("precision", "recall", "f1")
    why = {"precision": "never said", "recall": "none there", "f1": "neither"}
    rows = [
        (name, *(html.number(about[n], why=why[n]) for n in names), about["support"])
        for name, about in told.items()
    ]
    absent = [name for name, about in told.items() if not about["support"]]
    lacking = (
        f"No test {known.window} is of class {' or '.join(absent)}, so these count in no mean."
    )
    return joined(
        html.table(("test split", *map(title_of, names), f"{known.window}s"), rows),
        tag("p", lacking, class_="soft") if absent else None,
    )


def layers(known: ReportData) -> Html | None:
    """What the model finds in whole photos, as a user would run it."""
    names = [name for name in METRICS if name.startswith("layer")]
    if not any(name in scores for scores in known.card["scores"].values() for name in names):
        return None
    kinds = sorted(known.card["false_findings"].items(), key=lambda item: -item[1])
    total = sum(count for _, count in kinds)
    rows = [(kind, count, html.bar(count / total)) for kind, count in kinds[:MOST_ROWS]]
    false = tag("p", "There is no false finding in the test photos.")
    if rows:
        false = html.table(("False findings in test photos lie on", "how many", ""), rows)
    text = (
        "A layer of the table counts as found if one that the model reports overlaps it in depth. "
        "Photos whose shift is not identifiable are not judged."
    )
    return joined(
        tag("p", text),
        tag("div", by_split(known, names), tag("div", false), class_="plots"),
    )


def _many(known: ReportData) -> list[Html]:
    """Returns the figures of any number of classes."""
    judged = known.test
    sure, right = judged.probabilities.max(axis=1), judged.said == judged.labels
    named = {"named rightly": sure[right], "named wrongly": sure[~right]}
    title, x = "How sure the model is", "probability of the class named"
    return [
        _confusion(known, title="Confusion matrix"),
        html.plot(
            plots.histograms(named, title=title, x=x),
            caption=f"The probability of the class named is {100 * sure.mean():.1f} % on average; "
            f"{100 * right.mean():.1f} % of the {known.window}s are named rightly.",
        ),
    ]


def _two(known: ReportData) -> list[Html]:
    """Returns the figures of two classes."""
    labels, classes, at = known.test.labels, known.test.classes, known.threshold
    positive = known.test.probabilities[:, 1]
    named = {name: positive[labels == label] for label, name in enumerate(classes)}
    title, x = "Probabilities by true class", f"probability of {classes[1]}"
    return [
        _confusion(known, title=f"Confusion matrix at {at:.3f}"),
        html.plot(
            plots.precision_recall(labels, positive, threshold=at),
            caption="Precision against recall, for every threshold; the dot is the one chosen.",
        ),
        html.plot(
            plots.roc(labels, positive, threshold=at),
            caption=f"With {100 * np.mean(labels):.1f} % positives this curve flatters.",
        ),
        html.plot(
            plots.histograms(named, title=title, x=x, threshold=at),
            caption=f"How sure the model is, by what the {known.window} truly shows.",
        ),
    ]


def _confusion(known: ReportData, *, title: str) -> Html:
    judged = known.test
    every = range(len(judged.classes))
    counts = metrics.confusion_matrix(judged.labels, judged.said, labels=every)
    right = f"{np.trace(counts):,} of {len(judged.labels):,} test {known.window}s"
    at = ", at the threshold chosen on validation" if len(judged.classes) == 2 else ""
    return html.plot(
        plots.confusion(counts, judged.classes, title=title),
        caption=f"{right} are named rightly{at}.",
    )


def _layers_in_words(scores: dict) -> str:
    tabled, found = scores["layers_tabled"], scores["layers_found"]
    hits = round(tabled * scores["layer_recall"]) if tabled else 0
    error = scores["layer_depth_error_mm"]
    where = f", half of them within {error:.1f} mm of their depth" if hits else ""
    return (
        f"it found {hits:,} of the {tabled:,} layers in the table{where}; it also reported "
        f"{found - hits:,} where the table has none."
    )


ERRORS = (
    "mean_absolute_error",
    "mean_absolute_error_of_expected",
    "mean_absolute_error_of_median",
    "mean_absolute_error_of_others",
)


def _ordinal_titled(known: ReportData):
    """Returns (title, function of the facts) of each section, none for cards that tell nothing."""
    return (("Classes as numbers", _values), ("Pictures set apart", _apart))


def ordinal_tile(known: ReportData) -> list[tuple[str, Html]]:
    """Returns (name, value) of the mean absolute error, where there is one."""
    name = ERRORS[0]
    error = known.card["scores"]["test"].get(name)
    if error is None:
        return []
    return [(f"{title_of(name)}, in {known.card['quantity']}", html.number(error))]


def _values(known: ReportData) -> Html | None:
    unit = known.card.get("quantity")
    if not unit:
        return None
    judged = known.test
    classes = judged.classes
    value = evaluation_ordinal.expected(judged.probabilities, classes=classes)
    said = evaluation_ordinal.values_of(classes)[judged.said]
    rows = []
    for label, name in enumerate(classes):
        own = judged.labels == label
        if own.any():
            error = np.abs(said[own] - float(name)).mean()
            numbers = (value[own].mean(), value[own].std(), error)
            rows.append((name, int(own.sum()), *map(html.number, numbers)))
    text = (
        f"The classes are values of {unit}, so a neighbour is a smaller mistake than a far one. "
        "What is expected is the mean of the values by the model's probabilities."
    )
    there = [name for name in ERRORS if name in known.card["scores"]["test"]]
    headings = (f"true {unit}", f"{known.window}s", "expected", "deviation", "mean absolute error")
    return joined(tag("p", text), by_split(known, there), html.table(headings, rows))


def _apart(known: ReportData) -> Html | None:
    name = known.card.get("apart")
    if not name or f"examples_{name}" not in known.card["scores"]["test"]:
        return None
    scores = known.card["scores"]["test"]
    count, total = scores[f"examples_{name}"], scores["examples"]
    text = (
        f"{count:,} of the {total:,} test {known.window}s are marked {name.replace('_', ' ')}: "
        "they are alike whatever their class, so nobody can tell them apart, and the accuracy on "
        "them is luck and habit. The others show what the model can do."
    )
    metrics = [f"examples_{name}", f"accuracy_{name}", "accuracy_of_others"]
    metrics += [ERRORS[-1]] if ERRORS[-1] in scores else []
    return joined(tag("p", text), by_split(known, metrics))


SAID = {
    "scan": "windows share their work, those that may show something are seen one by one, too",
    "scan-intervals": "likewise, and where a layer begins and ends is what the windows say",
    "windows": "window by window; a layer is as thick as its rows are dark",
    "intervals": "window by window, and where a layer begins and ends is what the windows say",
}


def ways(known: ReportData) -> Html | None:
    """What whole photos' layers are found like in each way, and which one predict takes."""
    told = known.card.get("ways") or {}
    names = [
        name
        for name in METRICS
        if any(name in one["scores"]["validation"] for one in told.values())
    ]
    if not names:
        return None
    rows = [
        (
            f"{name}, predict's default" if name == known.card["way"] else name,
            split,
            html.number(told[name]["thresholds"]["decision"]),
            *(html.number(scores.get(metric), why="none there") for metric in names),
        )
        for name in WAYS
        if name in told
        for split, scores in told[name]["scores"].items()
    ]
    headings = ("way", "split", "threshold", *map(title_of, names))
    explained = [tag("li", f"{name}: {SAID[name]}") for name in WAYS if name in told]
    text = (
        "The way and its threshold are chosen on the validation photos; of equally good ones the "
        "faster is taken. `--way` asks for another."
    )
    return joined(tag("p", text), html.table(headings, rows), tag("ul", *explained))
