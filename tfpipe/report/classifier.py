"""Report of a classifier: scores and curves of the test split, classes, layers and mistakes."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from markupsafe import Markup

from tfpipe.base import html
from tfpipe.evaluation import ordinal as evaluation_ordinal
from tfpipe.evaluation.metric_names import METRICS, title_of
from tfpipe.models import sliding_window
from tfpipe.report import confidence, gallery, grad_cam, groups, plots
from tfpipe.report.opening import panels as panels
from tfpipe.report.report_data import ReportData
from tfpipe.report.sections import MAX_ROWS, Section, by_split, score

ORDINAL_METRICS = (
    "mean_absolute_error",
    "mean_absolute_error_of_expected",
    "mean_absolute_error_of_median",
    "mean_absolute_error_of_others",
)
WHOLE_FILES = ("layer", "lens")  # how the names of the metrics of whole files begin
INFERENCE_MODES = {
    "rows": "each row has a class; layers and lenses are runs of rows",
    "windows": "window by window; the dark rows of a layer are its thickness",
    "intervals": "window by window; the windows predict where a layer begins and ends",
}


def titled_sections(data: ReportData) -> tuple[Section, ...]:
    """Returns (title, function of the data) of each section."""
    return (
        (f"Scores of single {data.example_noun}s", curves),
        ("Scores of each class", classes),
        *groups.titled_sections(data),
        ("Ordinal classes", ordinal),
        ("Ambiguous images", ambiguous),
        *confidence.titled_sections(data),
        ("Scores of whole layers", layers),
        ("Inference modes for whole photos", inference_modes),
        (f"Mistakes by what the {data.example_noun} shows", gallery.mistakes_by_feature),
        (f"Worst {data.example_noun}s", gallery.gallery),
        ("Grad-CAM", grad_cam.heatmaps),
    )


def tiles(data: ReportData) -> list[tuple[str, Markup]]:
    """Returns (name, value) of the most important scores."""
    scores = data.card.metrics["test"]
    if len(data.card.classes) != 2:
        means = ("accuracy", "balanced_accuracy", "macro_f1", "macro_average_precision")
        return [*_named_scores(means, scores), *_ordinal_tile(data)]
    names: tuple[str, ...] = ("f1", "precision", "recall")
    if "layer_f1" in scores:
        names = ("layer_f1", "layer_precision", "layer_recall", "layer_depth_error_mm")
    title = f"Average precision of {data.example_noun}s"
    return [
        (title, score("average_precision", scores)),
        *_named_scores(names, scores),
        ("Threshold, chosen on validation", html.number(data.threshold)),
    ]


def _named_scores(names: Iterable[str], scores: dict[str, Any]) -> list[tuple[str, Markup]]:
    return [(title_of(name), score(name, scores)) for name in names if name in scores]


def summary(data: ReportData) -> str:
    """Returns the result on the test split, the end of a sentence."""
    scores, test = data.card.metrics["test"], data.test
    if scores.get("layers_tabled") is not None:
        return _summary_of_layers(scores)
    if len(test.classes) != 2:
        right = int(test.is_right.sum())
        return f"it classified {right:,} of {len(test.labels):,} {data.example_noun}s rightly."
    name, is_positive = test.classes[1], test.labels == 1
    detected = int(test.predicted[is_positive].sum())
    false_positives = int(test.predicted[~is_positive].sum())
    return (
        f"it detected {detected:,} of the {is_positive.sum():,} {data.example_noun}s of class "
        f"{name}; {false_positives:,} of the {(~is_positive).sum():,} others are false positives."
    )


def _summary_of_layers(scores: dict[str, Any]) -> str:
    tabled, detected = scores["layers_tabled"], scores["layers_found"]
    matched = round(tabled * scores["layer_recall"]) if tabled else 0
    error = scores["layer_depth_error_mm"]
    depth = ""
    if matched:  # rounded up, so that half of them are within it
        depth = (
            f", half of them within {math.ceil(100 * error) / 100:.2f} mm of their aligned depth"
        )
    return (
        f"it detected {matched:,} of the {tabled:,} layers in the table{depth}; "
        f"{detected - matched:,} more detections match no certain layer of the table."
    )


def curves(data: ReportData) -> Markup:
    """Returns the scores and curves of single test examples."""
    names = [name for name in data.card.metrics["test"] if not name.startswith(WHOLE_FILES)]
    is_binary = len(data.test.classes) == 2 and len(set(data.test.labels.tolist())) == 2
    figures = _binary_figures(data) if is_binary else _multiclass_figures(data)
    return html.joined(by_split(data, names), html.plots(figures))


def _binary_figures(data: ReportData) -> list[Markup]:
    labels, classes, threshold = data.test.labels, data.test.classes, data.threshold
    positive = data.test.probabilities[:, 1]
    by_class = {name: positive[labels == label] for label, name in enumerate(classes)}
    histogram = plots.histograms(
        by_class,
        title="Probabilities by true class",
        x=f"probability of {classes[1]}",
        threshold=threshold,
    )
    return [
        _confusion(data, title=f"Confusion matrix at {threshold:.3f}"),
        html.plot(
            plots.precision_recall(labels, positive, threshold=threshold),
            caption="Precision: the share of its reports that are right. Recall: the share of what "
            "is there that it reports. The dot is the chosen threshold.",
        ),
        html.plot(
            plots.roc(labels, positive, threshold=threshold),
            caption="The share of the positives that it reports, against the share of the others. "
            f"{100 * np.mean(labels):.1f} % are positives, so this curve is optimistic.",
        ),
        html.plot(
            histogram,
            caption=f"How many {data.example_noun}s of each true class have which probability. "
            "The better the model, the fewer are on the wrong side of the threshold.",
        ),
    ]


def _multiclass_figures(data: ReportData) -> list[Markup]:
    test = data.test
    highest = test.probabilities.max(axis=1)
    by_result = {"right": highest[test.is_right], "wrong": highest[~test.is_right]}
    histogram = plots.histograms(
        by_result, title="Confidence", x="probability of the predicted class"
    )
    caption = (
        f"The probability of the predicted class is {100 * highest.mean():.1f} % on average; "
        f"{100 * test.is_right.mean():.1f} % of the {data.example_noun}s are classified rightly."
    )
    return [_confusion(data, title="Confusion matrix"), html.plot(histogram, caption=caption)]


def _confusion(data: ReportData, *, title: str) -> Markup:
    test = data.test
    counts = test.confusion
    at = ", at the threshold chosen on validation" if len(test.classes) == 2 else ""
    caption = (
        f"{np.trace(counts):,} of {len(test.labels):,} test {data.example_noun}s are classified "
        f"rightly{at}. A row is what they are, a column what they were taken for."
    )
    figure = plots.confusion(counts, test.classes, title=title)
    return html.plot(plots.svg_of(figure), caption=caption)


def classes(data: ReportData) -> Markup | None:
    """Returns precision, recall and F1 of each of more than two classes."""
    by_class = data.card.class_metrics.get("test")
    if not by_class or len(data.test.classes) == 2:
        return None
    reasons = {"precision": "never predicted", "recall": "no examples", "f1": "neither"}
    rows = [
        (
            name,
            *(html.number(scores[metric], why=why) for metric, why in reasons.items()),
            scores["support"],
        )
        for name, scores in by_class.items()
    ]
    absent = [name for name, scores in by_class.items() if not scores["support"]]
    note = (
        f"No test {data.example_noun} is of class {' or '.join(absent)}, so the means leave this "
        f"out."
    )
    headings = ("test split", *map(title_of, reasons), f"{data.example_noun}s")
    return html.joined(
        html.table(headings, rows), html.paragraph(note, style="soft") if absent else None
    )


def layers(data: ReportData) -> Markup | None:
    """Returns the scores of layers that are detected in whole photos, as `predict` does."""
    every = {name for scores in data.card.metrics.values() for name in scores}
    names = [name for name in METRICS if name.startswith(WHOLE_FILES) and name in every]
    if not names:
        return None
    counts = sorted(data.card.false_positive_kinds.items(), key=lambda item: -item[1])
    total = sum(count for _, count in counts)
    rows = [(kind, count, html.bar(count / total)) for kind, count in counts[:MAX_ROWS]]
    false_positives = html.paragraph("There is no false positive in the test photos.")
    if rows:
        headings = ("False positives in test photos are on", "how many", "")
        false_positives = html.table(headings, rows)
    text = (
        "A layer of the table counts as detected if a detection overlaps it in depth. Photos whose "
        "shift is not identifiable are left out."
    )
    if "lens" in data.card.thresholds:
        text += " Lenses have a threshold of their own, and are compared with lenses."
    scores = html.plots([by_split(data, names), false_positives])
    return html.joined(html.paragraph(text), scores)


def inference_modes(data: ReportData) -> Markup | None:
    """Returns the scores of whole photos in each inference mode, and which one `predict` takes."""
    modes = data.card.inference_modes
    validation_scores = [mode["metrics"]["validation"] for mode in modes.values()]
    names = [name for name in METRICS if any(name in scores for scores in validation_scores)]
    if not names:
        return None
    present = [name for name in sliding_window.INFERENCE_MODES if name in modes]
    rows = [
        (
            f"{name}, the default of predict" if name == data.card.inference_mode else name,
            split,
            html.number(modes[name]["thresholds"]["decision"]),
            html.number(modes[name]["thresholds"].get("lens"), why="it names no lenses"),
            *(html.number(scores.get(metric), why="no examples") for metric in names),
        )
        for name in present
        for split, scores in modes[name]["metrics"].items()
    ]
    text = (
        "The inference mode and its threshold are chosen on the validation photos. "
        "`--inference-mode` chooses another."
    )
    headings = ("inference mode", "split", "threshold", "of lenses", *map(title_of, names))
    return html.joined(
        html.paragraph(text),
        html.table(headings, rows),
        html.bullets(f"{name}: {INFERENCE_MODES[name]}" for name in present),
    )


def _ordinal_tile(data: ReportData) -> list[tuple[str, Markup]]:
    """Returns (name, value) of the mean absolute error, if there is one."""
    metric = ORDINAL_METRICS[0]
    error = data.card.metrics["test"].get(metric)
    if error is None:
        return []
    return [(f"{title_of(metric)}, in {data.card.ordinal_target}", html.number(error))]


def ordinal(data: ReportData) -> Markup | None:
    """Returns the errors of classes that are ordered numbers."""
    unit = data.card.ordinal_target
    if not unit:
        return None
    test = data.test
    expected = evaluation_ordinal.expected(test.probabilities, classes=test.classes)
    predicted = evaluation_ordinal.values_of(test.classes)[test.predicted]
    rows = []
    for label, name in enumerate(test.classes):
        inside = test.labels == label
        if inside.any():
            error = np.abs(predicted[inside] - float(name)).mean()
            numbers = (expected[inside].mean(), expected[inside].std(), error)
            rows.append((name, int(inside.sum()), *map(html.number, numbers)))
    text = (
        f"The classes are values of {unit}, so a neighbouring class is a smaller mistake than a "
        f"distant one. The expected value is the mean of the values, weighted by the probabilities."
    )
    present = [name for name in ORDINAL_METRICS if name in data.card.metrics["test"]]
    headings = (
        f"true {unit}",
        f"{data.example_noun}s",
        "expected value",
        "standard deviation",
        "mean absolute error",
    )
    table = html.table(headings, rows)
    return html.joined(html.paragraph(text), by_split(data, present), table)


def ambiguous(data: ReportData) -> Markup | None:
    """Returns the accuracy of images that are ambiguous whatever their class, and of the others."""
    name = data.card.ambiguous
    scores = data.card.metrics["test"]
    if not name or f"examples_{name}" not in scores:
        return None
    count, total = scores[f"examples_{name}"], scores["examples"]
    text = (
        f"{count:,} of the {total:,} test {data.example_noun}s are {name.replace('_', ' ')}: "
        f"images of different classes look the same, so their accuracy is chance. The others show "
        f"what the model can do."
    )
    names = [f"examples_{name}", f"accuracy_{name}", "accuracy_of_others"]
    if ORDINAL_METRICS[-1] in scores:
        names.append(ORDINAL_METRICS[-1])
    return html.joined(html.paragraph(text), by_split(data, names))
